// What the operators of ONNX Runtime's face have in common: its API, its threads, and what is known of tensors.
#pragma once

#include <onnxruntime_c_api.h>

#include <cstddef>
#include <cstdint>
#include <memory>

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

// What the descriptions of the operators have in common.
inline void fill(Operator &op) {
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
