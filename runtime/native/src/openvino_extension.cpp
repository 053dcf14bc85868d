// OpenVINO's face of the kernels: an extension with the operator of fused_convolution.h, and that of
// openvino_quantized.cpp.
#include <memory>

#include "openvino_face.h"

namespace {

using namespace hrt::native;

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
        const ov::element::Type type = get_input_element_type(0);
        NODE_VALIDATION_CHECK(this, type == ov::element::f32 || type == ov::element::bf16,
                              "its numbers must be float32 or bfloat16");
        for (std::size_t i = 0; i < count; ++i)
            NODE_VALIDATION_CHECK(this, get_input_element_type(i) == type && get_input_partial_shape(i).is_static(),
                                  "input ", i, " must be of the first one's type and of a fixed shape");
        NODE_VALIDATION_CHECK(this, get_input_shape(0).size() == 4, "the source must be (N,C,H,W)");
        const Shape source = shape_of(get_input_shape(0));
        const char *reason = why_not(values_);
        if (reason == nullptr) reason = why_not(values_, source);
        Counts counts;
        counts.plain = ov::shape_size(get_input_shape(1));
        counts.bias = ov::shape_size(get_input_shape(2));
        if (count == 5) {
            counts.gated = ov::shape_size(get_input_shape(3));
            counts.gates = ov::shape_size(get_input_shape(4));
        }
        if (reason == nullptr) reason = why_not(values_, source, counts, count == 5);
        NODE_VALIDATION_CHECK(this, reason == nullptr, reason);
        set_output_type(0, type, result_shape(values_, source));
    }

    std::shared_ptr<ov::Node> clone_with_new_inputs(const ov::OutputVector &inputs) const override {
        return std::make_shared<FusedConvolution>(inputs, *this);
    }

    bool visit_attributes(ov::AttributeVisitor &visitor) override { return visit(visitor, values_); }

    bool has_evaluate() const override { return true; }

    bool evaluate(ov::TensorVector &outputs, const ov::TensorVector &inputs) const override {
        const ov::element::Type type = inputs[0].get_element_type();
        for (const ov::Tensor &input : inputs)
            OPENVINO_ASSERT(input.get_element_type() == type, "the inputs have come in several types");
        outputs[0].set_shape(result_shape(values_, shape_of(inputs[0].get_shape())));
        OPENVINO_ASSERT(outputs[0].get_element_type() == type, "the result is wanted in another type");
        if (type == ov::element::bf16) {
            static const KernelOf<Bfloat16> *const kernel = best_bf16_kernel();
            OPENVINO_ASSERT(kernel != nullptr, "this CPU has no AVX512-BF16");
            compute(*kernel, outputs[0], inputs);
        } else {
            static const KernelOf<float> *const kernel = best_kernel();
            OPENVINO_ASSERT(kernel != nullptr, "this CPU has neither AVX-512 nor AVX2");
            compute(*kernel, outputs[0], inputs);
        }
        return true;
    }

private:
    template <typename Number>
    void compute(const KernelOf<Number> &kernel, ov::Tensor &output, const ov::TensorVector &inputs) const {
        const auto numbers = [&](std::size_t i) { return static_cast<const Number *>(inputs[i].data()); };
        OperandsOf<Number> with;
        with.source = numbers(0);
        with.plain = numbers(1);
        with.bias = numbers(2);
        if (inputs.size() == 5) {
            with.gated = numbers(3);
            with.gate = numbers(4);
        }
        with.result = static_cast<Number *>(output.data());
        const Convolution conv = convolution_of(values_, shape_of(inputs[0].get_shape()));
        const int threads = threads_here();
        kernel.run(conv, with, workspace().at_least(kernel.workspace(conv, threads)), threads, on_threads);
    }

    static Workspace &workspace() {
        thread_local Workspace of_thread;
        return of_thread;
    }

    Attributes values_;
};

} // namespace

void add_quantized(std::vector<ov::Extension::Ptr> &to); // openvino_quantized.cpp

static std::vector<ov::Extension::Ptr> operators() {
    std::vector<ov::Extension::Ptr> all;
    hrt::native::add<FusedConvolution>(all, "FusedConvolution");
    add_quantized(all);
    return all;
}

OPENVINO_CREATE_EXTENSIONS(operators());
