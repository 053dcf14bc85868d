// OpenVINO's face of the INT8 kernel: the operator QuantizedConvolution of the operator set "harmonyrt".
//
// Inputs: source (N,C,H,W); weights, int8, packed as in quantized.h; their scales and the bias, one per output; and for
// a gated source the gates (N,C,1,1). Attributes: those of fused_convolution.h.
#include <memory>
#include <mutex>

#include "openvino_face.h"
#include "quantized.h"

namespace {

using namespace hrt::native;

class QuantizedConvolution : public ov::op::Op {
public:
    OPENVINO_OP("QuantizedConvolution", "harmonyrt");

    QuantizedConvolution() = default;
    QuantizedConvolution(const ov::OutputVector &inputs, const QuantizedConvolution &like)
        : Op(inputs), values_(like.values_) {
        constructor_validate_and_infer_types();
    }

    void validate_and_infer_types() override {
        const std::size_t count = get_input_size();
        NODE_VALIDATION_CHECK(this, count == 4 || count == 5, "it takes 4 inputs, or 5 with gates");
        for (std::size_t i = 0; i < count; ++i)
            NODE_VALIDATION_CHECK(this,
                                  get_input_element_type(i) == (i == 1 ? ov::element::i8 : ov::element::f32) &&
                                      get_input_partial_shape(i).is_static(),
                                  "input ", i, " must be ", i == 1 ? "int8" : "float32", " of a fixed shape");
        const ov::Shape source = get_input_shape(0);
        NODE_VALIDATION_CHECK(this, source.size() == 4, "the source must be (N,C,H,W)");
        const char *wrong = why_not(values_);
        if (wrong == nullptr) wrong = why_not(values_, shape_of(source));
        if (wrong == nullptr && get_input_size() == 5 && source[1] % 4 != 0)
            wrong = "a gated source must have channels in fours";
        if (wrong == nullptr) {
            const std::int64_t channels = static_cast<std::int64_t>(source[1]) * (count == 5 ? 2 : 1);
            const std::size_t outputs = static_cast<std::size_t>(values_.outputs);
            if (ov::shape_size(get_input_shape(1)) != packed_size(values_, channels))
                wrong = "the weights are not packed for these channels";
            else if (ov::shape_size(get_input_shape(2)) != outputs || ov::shape_size(get_input_shape(3)) != outputs)
                wrong = "scales and bias must have one value per output channel";
            else if (count == 5 && ov::shape_size(get_input_shape(4)) != source[0] * source[1])
                wrong = "there must be one gate per picture and channel";
        }
        NODE_VALIDATION_CHECK(this, wrong == nullptr, wrong == nullptr ? "" : wrong);
        set_output_type(0, ov::element::f32, result_shape(values_, shape_of(source)));
    }

    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector &inputs) const override {
        return std::make_shared<QuantizedConvolution>(inputs, *this);
    }

    bool visit_attributes(ov::AttributeVisitor &visitor) override { return visit(visitor, values_); }

    bool has_evaluate() const override { return true; }

    bool evaluate(ov::TensorVector &outputs, const ov::TensorVector &inputs) const override {
        static const QuantizedKernel *const kernel = best_quantized_kernel();
        OPENVINO_ASSERT(kernel != nullptr, "this CPU has neither AVX-512 with VNNI nor AVX2");
        const bool gated = inputs.size() == 5;
        const ov::Shape source = inputs[0].get_shape();
        const Convolution conv = convolution_of(values_, shape_of(source));
        outputs[0].set_shape(result_shape(values_, shape_of(source)));
        const int threads = threads_here();
        // The first call transforms the weights: the graph keeps them small, and all sessions of a model share them.
        std::call_once(prepared_->once, [&] {
            void *const to = prepared_->memory.at_least((kernel->prepared(conv, gated) + 3) / sizeof(float));
            kernel->prepare(conv, gated, inputs[1].data<const std::int8_t>(), inputs[2].data<const float>(), to,
                            threads, on_threads);
            prepared_->weights = to;
        });
        QuantizedOperands with;
        with.source = inputs[0].data<const float>();
        with.weights = prepared_->weights;
        with.bias = inputs[3].data<const float>();
        with.gate = gated ? inputs[4].data<const float>() : nullptr;
        with.result = outputs[0].data<float>();
        thread_local Workspace workspace;
        kernel->run(conv, with, workspace.at_least(kernel->workspace(conv, gated, threads)), threads, on_threads);
        return true;
    }

private:
    Attributes values_;

    struct Prepared {
        std::once_flag once;
        Workspace memory;
        const void *weights = nullptr;
    };
    const std::shared_ptr<Prepared> prepared_ = std::make_shared<Prepared>();
};

} // namespace

void add_quantized(std::vector<ov::Extension::Ptr> &to) { add<QuantizedConvolution>(to, "QuantizedConvolution"); }
