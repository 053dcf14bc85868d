// What the operators of ONNX Runtime's face have in common: its API, its threads, and what is known of tensors.
#pragma once

#include <onnxruntime_c_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>

#include "fused_convolution.h"

namespace hrt::native::ort {

inline const OrtApi *api = nullptr; // set by the first registration; that of one process is one

struct Operator : OrtCustomOp { // one for each number of threads; sessions point to it
    int threads = 1;
};

inline OrtStatus *refused(const char *reason, OrtErrorCode code = ORT_INVALID_GRAPH) {
    return api->CreateStatus(code, reason);
}

// ---- Threads: the kernel asks for parts, and the session's pool computes them.

inline thread_local const OrtKernelContext *running = nullptr;

inline void on_threads(int parts, const Parts &part) {
    const auto count = static_cast<std::size_t>(parts);
    const auto call = [](void *piece, std::size_t i) { (*static_cast<const Parts *>(piece))(static_cast<int>(i)); };
    OrtStatus *status =
        parts == 1 ? nullptr : api->KernelContext_ParallelFor(running, call, count, count, const_cast<Parts *>(&part));
    if (parts > 1 && status == nullptr) return;
    if (status != nullptr) api->ReleaseStatus(status); // it refuses before it calls
    serially(parts, part);
}

// ---- What is known of tensors

struct ReleaseShape {
    void operator()(OrtTensorTypeAndShapeInfo *info) const noexcept { api->ReleaseTensorTypeAndShapeInfo(info); }
};

inline OrtStatus *count_of(const OrtValue *value, std::size_t &count) {
    OrtTensorTypeAndShapeInfo *raw = nullptr;
    if (OrtStatus *status = api->GetTensorTypeAndShape(value, &raw)) return status;
    const std::unique_ptr<OrtTensorTypeAndShapeInfo, ReleaseShape> info(raw);
    return api->GetTensorShapeElementCount(raw, &count);
}

inline OrtStatus *shape_of(const OrtValue *value, Shape &shape) {
    OrtTensorTypeAndShapeInfo *raw = nullptr;
    if (OrtStatus *status = api->GetTensorTypeAndShape(value, &raw)) return status;
    const std::unique_ptr<OrtTensorTypeAndShapeInfo, ReleaseShape> info(raw);
    std::size_t rank = 0;
    if (OrtStatus *status = api->GetDimensionsCount(raw, &rank)) return status;
    if (rank != shape.size()) return refused("the source must be (N,C,H,W)");
    return api->GetDimensions(raw, shape.data(), rank);
}

// ---- What every operator reads of its node

inline OrtStatus *read_attributes(const OrtKernelInfo *info, Attributes &attributes) {
    const struct {
        const char *name;
        std::int64_t *value;
    } whole[] = {{"kernel", &attributes.kernel},
                 {"outputs", &attributes.outputs},
                 {"top", &attributes.top},
                 {"left", &attributes.left},
                 {"height", &attributes.height},
                 {"width", &attributes.width},
                 {"activation", &attributes.activation}};
    for (const auto &one : whole)
        if (OrtStatus *status = api->KernelInfoGetAttribute_int64(info, one.name, one.value)) return status;
    if (OrtStatus *status = api->KernelInfoGetAttribute_float(info, "slope", &attributes.slope)) return status;
    if (const char *reason = why_not(attributes)) return refused(reason);
    return nullptr;
}

// The tensor of a value.
inline OrtStatus *data_of(const OrtValue *value, void *&data) {
    return api->GetTensorMutableData(const_cast<OrtValue *>(value), &data);
}

// One input of a call; `missing` says that there is none.
inline OrtStatus *input_of(const OrtKernelContext *context, std::size_t index, const OrtValue *&value,
                           const float *&data, const char *missing) {
    if (OrtStatus *status = api->KernelContext_GetInput(context, index, &value)) return status;
    if (value == nullptr) return refused(missing);
    void *raw = nullptr;
    if (OrtStatus *status = data_of(value, raw)) return status;
    data = static_cast<const float *>(raw);
    return nullptr;
}

// The result of a call, of the shape that it has for `source`.
inline OrtStatus *result_of(OrtKernelContext *context, const Attributes &of, const Shape &source, float *&data) {
    const std::int64_t shape[] = {source[0], of.outputs, of.height, of.width};
    OrtValue *value = nullptr;
    if (OrtStatus *status = api->KernelContext_GetOutput(context, 0, shape, 4, &value)) return status;
    void *raw = nullptr;
    if (OrtStatus *status = data_of(value, raw)) return status;
    data = static_cast<float *>(raw);
    return nullptr;
}

// A constant input, looked at once, when the session is made; `variable` says that it is none.
inline OrtStatus *constant_of(const OrtKernelInfo *info, std::size_t index, std::size_t &count, const void *&data,
                              const char *variable) {
    int is_constant = 0;
    const OrtValue *value = nullptr;
    if (OrtStatus *status = api->KernelInfoGetConstantInput_tensor(info, index, &is_constant, &value)) return status;
    if (is_constant == 0 || value == nullptr) return refused(variable);
    void *raw = nullptr;
    if (OrtStatus *status = data_of(value, raw)) return status;
    data = raw;
    return count_of(value, count);
}

// What the descriptions of the operators have in common. A Node has `kernel`, `threads`, `read` and `compute`.
template <typename Node>
void fill(Operator &op) {
    op.CreateKernelV2 = [](const OrtCustomOp *of, const OrtApi *, const OrtKernelInfo *info, void **made) {
        std::unique_ptr<Node> node(new (std::nothrow) Node);
        if (node == nullptr) return refused("bad allocation", ORT_FAIL);
        if (node->kernel == nullptr) return refused(Node::unable, ORT_NOT_IMPLEMENTED);
        node->threads = static_cast<const Operator *>(of)->threads;
        if (OrtStatus *status = node->read(info)) return status;
        *made = node.release();
        return static_cast<OrtStatus *>(nullptr);
    };
    op.KernelComputeV2 = [](void *node, OrtKernelContext *context) {
        return static_cast<Node *>(node)->compute(context);
    };
    op.KernelDestroy = [](void *node) { delete static_cast<Node *>(node); };
    op.version = ORT_API_VERSION; // of the header: libraries from that version on serve it
    op.GetExecutionProviderType = [](const OrtCustomOp *) { return "CPUExecutionProvider"; };
    op.GetOutputType = [](const OrtCustomOp *, std::size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; };
    op.GetOutputTypeCount = [](const OrtCustomOp *) -> std::size_t { return 1; };
    op.GetOutputCharacteristic = [](const OrtCustomOp *, std::size_t) { return INPUT_OUTPUT_REQUIRED; };
    op.GetInputMemoryType = [](const OrtCustomOp *, std::size_t) { return OrtMemTypeDefault; };
    op.GetVariadicInputMinArity = [](const OrtCustomOp *) { return 1; };
    op.GetVariadicInputHomogeneity = [](const OrtCustomOp *) { return 1; };
    op.GetVariadicOutputMinArity = [](const OrtCustomOp *) { return 1; };
    op.GetVariadicOutputHomogeneity = [](const OrtCustomOp *) { return 1; };
    op.GetStartVersion = [](const OrtCustomOp *) { return 1; };
    op.GetEndVersion = [](const OrtCustomOp *) { return 1; };
}

} // namespace hrt::native::ort
