// OpenVINO's face of the kernel: the operator FusedConvolution of the operator set "harmonyrt".
//
// Inputs: source (N,C,H,W), packed weights, bias (outputs), and for gated weights the second packed weights and the
// gates (N,C,1,1). Packed: see winograd.h. Attributes: those of hrt::native::Convolution.
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include <memory>
#include <openvino/core/extension.hpp>
#include <openvino/core/op_extension.hpp>
#include <openvino/frontend/onnx/extension/op.hpp>
#include <openvino/op/op.hpp>

#include "winograd.h"
#include "workspace.h"

namespace {

using hrt::native::Activation;
using hrt::native::Convolution;
using hrt::native::Kernel;
using hrt::native::Operands;
using hrt::native::Workspace;

void on_threads(int parts, const hrt::native::Parts &part) {
    if (parts == 1) {
        part(0);
        return;
    }
    // Isolated: a thread that waits here must not begin another inference, which would want the same workspace.
    oneapi::tbb::this_task_arena::isolate([&] {
        oneapi::tbb::parallel_for(
            0, parts, 1, [&](int i) { part(i); }, oneapi::tbb::static_partitioner());
    });
}

class FusedConvolution : public ov::op::Op {
public:
    OPENVINO_OP("FusedConvolution", "harmonyrt");

    FusedConvolution() = default;
    FusedConvolution(const ov::OutputVector &inputs, const FusedConvolution &like) : Op(inputs), values_(like.values_) {
        constructor_validate_and_infer_types();
    }

    void validate_and_infer_types() override {
        const std::size_t count = get_input_size();
        NODE_VALIDATION_CHECK(this, count == 3 || count == 5, "it takes 3 inputs, or 5 with gates");
        for (std::size_t i = 0; i < count; ++i)
            NODE_VALIDATION_CHECK(
                this, get_input_element_type(i) == ov::element::f32 && get_input_partial_shape(i).is_static(), "input ",
                i, " must be float32 of a fixed shape");
        const ov::Shape source = get_input_shape(0);
        const std::int64_t c = source.size() == 4 ? static_cast<std::int64_t>(source[1]) : 0;
        NODE_VALIDATION_CHECK(this, c > 0 && source[2] > 0 && source[3] > 0, "the source must be (N,C,H,W)");
        NODE_VALIDATION_CHECK(this,
                              (values_.kernel == 2 || values_.kernel == 3) && values_.outputs > 0 &&
                                  values_.height > 0 && values_.width > 0 && values_.top >= 0 &&
                                  values_.top < values_.kernel && values_.left >= 0 && values_.left < values_.kernel &&
                                  values_.activation >= 0 && values_.activation <= 2,
                              "an attribute is out of range");
        // Every row and column of the result has the source under it, not only padding.
        NODE_VALIDATION_CHECK(this,
                              values_.height <= static_cast<std::int64_t>(source[2]) + values_.top &&
                                  values_.width <= static_cast<std::int64_t>(source[3]) + values_.left,
                              "the result is larger than the padded source");
        const std::size_t packed =
            static_cast<std::size_t>((values_.outputs + hrt::native::kOutputBlock - 1) / hrt::native::kOutputBlock *
                                     hrt::native::kOutputBlock * c * values_.kernel * values_.kernel);
        NODE_VALIDATION_CHECK(this,
                              ov::shape_size(get_input_shape(1)) == packed &&
                                  (count == 3 || ov::shape_size(get_input_shape(3)) == packed),
                              "the weights are not packed for these channels");
        NODE_VALIDATION_CHECK(this, ov::shape_size(get_input_shape(2)) == static_cast<std::size_t>(values_.outputs),
                              "the bias must have one value per output channel");
        NODE_VALIDATION_CHECK(this, count == 3 || ov::shape_size(get_input_shape(4)) == source[0] * source[1],
                              "there must be one gate per picture and channel");
        set_output_type(0, ov::element::f32,
                        ov::Shape{source[0], static_cast<std::size_t>(values_.outputs),
                                  static_cast<std::size_t>(values_.height), static_cast<std::size_t>(values_.width)});
    }

    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector &inputs) const override {
        return std::make_shared<FusedConvolution>(inputs, *this);
    }

    bool visit_attributes(ov::AttributeVisitor &visitor) override {
        visitor.on_attribute("kernel", values_.kernel);
        visitor.on_attribute("outputs", values_.outputs);
        visitor.on_attribute("top", values_.top);
        visitor.on_attribute("left", values_.left);
        visitor.on_attribute("height", values_.height);
        visitor.on_attribute("width", values_.width);
        visitor.on_attribute("activation", values_.activation);
        visitor.on_attribute("slope", values_.slope);
        return true;
    }

    bool has_evaluate() const override { return true; }

    bool evaluate(ov::TensorVector &outputs, const ov::TensorVector &inputs) const override {
        static const Kernel *const kernel = hrt::native::best_kernel();
        OPENVINO_ASSERT(kernel != nullptr, "this CPU has neither AVX-512 nor AVX2");
        const ov::Shape source = inputs[0].get_shape();
        Convolution conv;
        conv.batch = static_cast<int>(source[0]);
        conv.inputs = static_cast<int>(source[1]);
        conv.outputs = static_cast<int>(values_.outputs);
        conv.kernel = static_cast<int>(values_.kernel);
        conv.source_height = static_cast<int>(source[2]);
        conv.source_width = static_cast<int>(source[3]);
        conv.top = static_cast<int>(values_.top);
        conv.left = static_cast<int>(values_.left);
        conv.height = static_cast<int>(values_.height);
        conv.width = static_cast<int>(values_.width);
        conv.activation = static_cast<Activation>(values_.activation);
        conv.slope = values_.slope;
        outputs[0].set_shape({source[0], static_cast<std::size_t>(values_.outputs),
                              static_cast<std::size_t>(values_.height), static_cast<std::size_t>(values_.width)});
        Operands with;
        with.source = inputs[0].data<const float>();
        with.plain = inputs[1].data<const float>();
        with.bias = inputs[2].data<const float>();
        if (inputs.size() == 5) {
            with.gated = inputs[3].data<const float>();
            with.gate = inputs[4].data<const float>();
        }
        with.result = outputs[0].data<float>();
        const int threads = oneapi::tbb::this_task_arena::max_concurrency();
        thread_local Workspace workspace;
        kernel->run(conv, with, workspace.at_least(kernel->workspace(conv, threads)), threads, on_threads);
        return true;
    }

private:
    struct Values {
        std::int64_t kernel = 3, outputs = 0, top = 0, left = 0, height = 0, width = 0, activation = 0;
        float slope = 0.0F;
    } values_;
};

} // namespace

OPENVINO_CREATE_EXTENSIONS(std::vector<ov::Extension::Ptr>({
    std::make_shared<ov::OpExtension<FusedConvolution>>(),
    std::make_shared<ov::frontend::onnx::OpExtension<FusedConvolution>>("FusedConvolution", "harmonyrt"),
}));
