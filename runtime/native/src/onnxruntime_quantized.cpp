// ONNX Runtime's face of the INT8 kernel: the operator QuantizedConvolution, as openvino_quantized.cpp describes it.
#include <onnxruntime_c_api.h>

#include <memory>
#include <new>

#include "onnxruntime_face.h"
#include "quantized.h"
#include "workspace.h"

namespace {

using namespace hrt::native;
using namespace hrt::native::ort;

constexpr std::size_t kSource = 0, kWeights = 1, kScales = 2, kBias = 3, kGate = 4, kMostInputs = 5;

struct Node {
    Attributes attributes;
    bool is_gated = false;
    int threads = 1;
    std::int64_t channels = 0; // of the source
    const QuantizedKernel *kernel = best_quantized_kernel();
    static constexpr const char *unable = "this CPU has neither AVX-512 with VNNI nor AVX2";
    Workspace prepared; // the weights, transformed when the session is made
    const void *weights = nullptr;

    OrtStatus *read(const OrtKernelInfo *info) {
        if (OrtStatus *status = read_attributes(info, attributes)) return status;
        std::size_t inputs = 0;
        if (OrtStatus *status = api->KernelInfo_GetInputCount(info, &inputs)) return status;
        if (inputs != kMostInputs && inputs != kMostInputs - 1)
            return refused("QuantizedConvolution takes 4 inputs, or 5 with gates");
        is_gated = inputs == kMostInputs;
        std::size_t counts[kMostInputs] = {};
        const void *data[kMostInputs] = {};
        for (std::size_t i : {kWeights, kScales, kBias})
            if (OrtStatus *status =
                    constant_of(info, i, counts[i], data[i], "QuantizedConvolution: the weights must be constants"))
                return status;
        const auto outputs = static_cast<std::size_t>(attributes.outputs);
        const std::size_t of_one = packed_size(attributes, 1), times = is_gated ? 2 : 1;
        channels = static_cast<std::int64_t>(counts[kWeights] / (of_one * times));
        if (channels == 0 || counts[kWeights] != of_one * times * static_cast<std::size_t>(channels))
            return refused("the weights are not packed for these channels");
        if (counts[kScales] != outputs || counts[kBias] != outputs)
            return refused("scales and bias must have one value per output channel");
        if (is_gated && channels % 4 != 0) return refused("a gated source must have channels in fours");
        const Convolution conv = convolution_of(attributes, {1, channels, 1, 1});
        try {
            void *const to = prepared.at_least((kernel->prepared(conv, is_gated) + 3) / sizeof(float));
            kernel->prepare(conv, is_gated, static_cast<const std::int8_t *>(data[kWeights]),
                            static_cast<const float *>(data[kScales]), to, 1, serially);
            weights = to;
        } catch (const std::bad_alloc &) {
            return refused("bad allocation: no memory for the weights of QuantizedConvolution", ORT_FAIL);
        }
        return nullptr;
    }

    OrtStatus *compute(OrtKernelContext *context) const {
        const OrtValue *values[kMostInputs] = {};
        const float *data[kMostInputs] = {};
        for (std::size_t i : {kSource, kBias, kGate}) {
            if (i == kGate && !is_gated) continue;
            const char *const missing = "QuantizedConvolution: an input is missing";
            if (OrtStatus *status = input_of(context, i, values[i], data[i], missing)) return status;
        }
        Shape source = {};
        if (OrtStatus *status = shape_of(values[kSource], source)) return status;
        const char *reason = why_not(attributes, source);
        if (reason == nullptr && source[1] != channels) reason = "the weights are not packed for these channels";
        if (reason == nullptr && is_gated) {
            std::size_t gates = 0;
            if (OrtStatus *status = count_of(values[kGate], gates)) return status;
            if (gates != static_cast<std::size_t>(source[0] * source[1]))
                reason = "there must be one gate per picture and channel";
        }
        if (reason != nullptr) return refused(reason, ORT_INVALID_ARGUMENT);

        QuantizedOperands with;
        if (OrtStatus *status = result_of(context, attributes, source, with.result)) return status;
        with.source = data[kSource];
        with.weights = weights;
        with.gate = data[kGate];
        with.bias = data[kBias];
        const Convolution conv = convolution_of(attributes, source);
        thread_local Workspace workspace;
        try {
            float *space = workspace.at_least(kernel->workspace(conv, is_gated, threads));
            running = context;
            kernel->run(conv, with, space, threads, on_threads);
        } catch (const std::bad_alloc &) {
            return refused("bad allocation: no memory for the scratch space of QuantizedConvolution", ORT_FAIL);
        }
        return nullptr;
    }
};

} // namespace

void fill_quantized(Operator &op) {
    fill<Node>(op);
    op.GetName = [](const OrtCustomOp *) { return "QuantizedConvolution"; };
    op.GetInputTypeCount = [](const OrtCustomOp *) { return kMostInputs; };
    op.GetInputType = [](const OrtCustomOp *, std::size_t i) {
        return i == kWeights ? ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    };
    op.GetInputCharacteristic = [](const OrtCustomOp *, std::size_t i) {
        return i < kGate ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL;
    };
}
