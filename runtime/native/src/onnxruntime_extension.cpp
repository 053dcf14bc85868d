// ONNX Runtime's face of the kernels: a library of custom operators (fused_convolution.h), from 1.17 on.
//
// Compiled with the C API's header alone, and linked with nothing of ONNX Runtime: one build serves every installation.
// The session's entry "harmonyrt.threads" says how many threads a call is divided among; without it, the cores that
// this process may use. The threads are those of the session.
#include <onnxruntime_c_api.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "fused_convolution.h"
#include "workspace.h"

namespace {

using hrt::native::Attributes;
using hrt::native::Counts;
using hrt::native::Operands;
using hrt::native::Shape;

constexpr std::size_t kInputs = 5;
constexpr std::size_t kRequiredInputs = 3;
constexpr int kMostThreads = 1024;

const OrtApi *api = nullptr; // set by the first registration; that of one process is one

struct Operator : OrtCustomOp { // one for each number of threads; sessions point to it
    int threads = 1;
    OrtCustomOpDomain *domain = nullptr;
};

OrtStatus *refused(const char *reason, OrtErrorCode code = ORT_INVALID_GRAPH) { return api->CreateStatus(code, reason); }

// ---- Threads: the kernel asks for parts, and the session's pool computes them.

thread_local const OrtKernelContext *running = nullptr;

void on_threads(int parts, const hrt::native::Parts &part) {
    const auto count = static_cast<std::size_t>(parts);
    const auto call = [](void *piece, std::size_t i) {
        (*static_cast<const hrt::native::Parts *>(piece))(static_cast<int>(i));
    };
    OrtStatus *status = parts == 1 ? nullptr
                                   : api->KernelContext_ParallelFor(running, call, count, count,
                                                                    const_cast<hrt::native::Parts *>(&part));
    if (parts > 1 && status == nullptr) return;
    if (status != nullptr) api->ReleaseStatus(status); // it refuses before it calls
    hrt::native::serially(parts, part);
}

// ---- What is known of tensors

struct ReleaseShape {
    void operator()(OrtTensorTypeAndShapeInfo *info) const noexcept { api->ReleaseTensorTypeAndShapeInfo(info); }
};

OrtStatus *count_of(const OrtValue *value, std::size_t &count) {
    OrtTensorTypeAndShapeInfo *raw = nullptr;
    if (OrtStatus *status = api->GetTensorTypeAndShape(value, &raw)) return status;
    const std::unique_ptr<OrtTensorTypeAndShapeInfo, ReleaseShape> info(raw);
    return api->GetTensorShapeElementCount(raw, &count);
}

OrtStatus *shape_of(const OrtValue *value, Shape &shape) {
    OrtTensorTypeAndShapeInfo *raw = nullptr;
    if (OrtStatus *status = api->GetTensorTypeAndShape(value, &raw)) return status;
    const std::unique_ptr<OrtTensorTypeAndShapeInfo, ReleaseShape> info(raw);
    std::size_t rank = 0;
    if (OrtStatus *status = api->GetDimensionsCount(raw, &rank)) return status;
    if (rank != shape.size()) return refused("FusedConvolution: the source must be (N,C,H,W)");
    return api->GetDimensions(raw, shape.data(), rank);
}

// ---- The kernel of one node

struct Node {
    Attributes attributes;
    Counts counts;
    bool is_gated = false;
    int threads = 1;
    const hrt::native::Kernel *kernel = nullptr;

    OrtStatus *read(const OrtKernelInfo *info) {
        const struct {
            const char *name;
            std::int64_t *value;
        } whole[] = {{"kernel", &attributes.kernel},        {"outputs", &attributes.outputs}, {"top", &attributes.top},
                     {"left", &attributes.left},            {"height", &attributes.height},   {"width", &attributes.width},
                     {"activation", &attributes.activation}};
        for (const auto &one : whole)
            if (OrtStatus *status = api->KernelInfoGetAttribute_int64(info, one.name, one.value)) return status;
        if (OrtStatus *status = api->KernelInfoGetAttribute_float(info, "slope", &attributes.slope)) return status;
        if (const char *reason = why_not(attributes)) return refused(reason);
        std::size_t inputs = 0;
        if (OrtStatus *status = api->KernelInfo_GetInputCount(info, &inputs)) return status;
        if (inputs != kRequiredInputs && inputs != kInputs)
            return refused("FusedConvolution takes 3 inputs, or 5 with gates");
        is_gated = inputs == kInputs;
        if (OrtStatus *status = constant(info, 1, counts.plain)) return status;
        if (OrtStatus *status = constant(info, 2, counts.bias)) return status;
        return is_gated ? constant(info, 3, counts.gated) : nullptr;
    }

    OrtStatus *compute(OrtKernelContext *context) const {
        const OrtValue *values[kInputs] = {};
        const float *data[kInputs] = {};
        for (std::size_t i = 0; i < (is_gated ? kInputs : kRequiredInputs); ++i) {
            if (OrtStatus *status = api->KernelContext_GetInput(context, i, &values[i])) return status;
            if (values[i] == nullptr) return refused("FusedConvolution: an input is missing");
            void *raw = nullptr;
            if (OrtStatus *status = api->GetTensorMutableData(const_cast<OrtValue *>(values[i]), &raw)) return status;
            data[i] = static_cast<const float *>(raw);
        }
        Shape source = {};
        if (OrtStatus *status = shape_of(values[0], source)) return status;
        Counts found = counts;
        if (is_gated)
            if (OrtStatus *status = count_of(values[4], found.gates)) return status;
        const char *reason = why_not(attributes, source);
        if (reason == nullptr) reason = why_not(attributes, source, found, is_gated);
        if (reason != nullptr) return refused(reason, ORT_INVALID_ARGUMENT);

        const std::int64_t shape[] = {source[0], attributes.outputs, attributes.height, attributes.width};
        OrtValue *result = nullptr;
        if (OrtStatus *status = api->KernelContext_GetOutput(context, 0, shape, 4, &result)) return status;
        void *to = nullptr;
        if (OrtStatus *status = api->GetTensorMutableData(result, &to)) return status;
        Operands with;
        with.source = data[0];
        with.plain = data[1];
        with.bias = data[2];
        with.gated = data[3];
        with.gate = data[4];
        with.result = static_cast<float *>(to);
        const hrt::native::Convolution conv = convolution_of(attributes, source);
        thread_local hrt::native::Workspace workspace;
        try {
            float *space = workspace.at_least(kernel->workspace(conv, threads));
            running = context;
            kernel->run(conv, with, space, threads, on_threads);
        } catch (const std::bad_alloc &) {
            return refused("bad allocation: no memory for the scratch space of FusedConvolution", ORT_FAIL);
        }
        return nullptr;
    }

private:
    // Sizes of weights are checked once: they are constants, so they stay.
    static OrtStatus *constant(const OrtKernelInfo *info, std::size_t index, std::size_t &count) {
        int is_constant = 0;
        const OrtValue *value = nullptr;
        if (OrtStatus *status = api->KernelInfoGetConstantInput_tensor(info, index, &is_constant, &value)) return status;
        if (is_constant == 0 || value == nullptr) return refused("FusedConvolution: the weights must be constants");
        return count_of(value, count);
    }
};

OrtStatus *create(const OrtCustomOp *op, const OrtApi *, const OrtKernelInfo *info, void **made) {
    std::unique_ptr<Node> node(new (std::nothrow) Node);
    if (node == nullptr) return refused("bad allocation", ORT_FAIL);
    node->kernel = hrt::native::best_kernel();
    if (node->kernel == nullptr) return refused("this CPU has neither AVX-512 nor AVX2", ORT_NOT_IMPLEMENTED);
    node->threads = static_cast<const Operator *>(op)->threads;
    if (OrtStatus *status = node->read(info)) return status;
    *made = node.release();
    return nullptr;
}

void fill(Operator &op) {
    op.version = ORT_API_VERSION; // of the header: libraries from that version on serve it
    op.GetName = [](const OrtCustomOp *) { return "FusedConvolution"; };
    op.GetExecutionProviderType = [](const OrtCustomOp *) { return "CPUExecutionProvider"; };
    op.GetInputType = [](const OrtCustomOp *, std::size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; };
    op.GetInputTypeCount = [](const OrtCustomOp *) { return kInputs; };
    op.GetOutputType = [](const OrtCustomOp *, std::size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; };
    op.GetOutputTypeCount = [](const OrtCustomOp *) -> std::size_t { return 1; };
    op.GetInputCharacteristic = [](const OrtCustomOp *, std::size_t i) {
        return i < kRequiredInputs ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL;
    };
    op.GetOutputCharacteristic = [](const OrtCustomOp *, std::size_t) { return INPUT_OUTPUT_REQUIRED; };
    op.GetInputMemoryType = [](const OrtCustomOp *, std::size_t) { return OrtMemTypeDefault; };
    op.GetVariadicInputMinArity = [](const OrtCustomOp *) { return 1; };
    op.GetVariadicInputHomogeneity = [](const OrtCustomOp *) { return 1; };
    op.GetVariadicOutputMinArity = [](const OrtCustomOp *) { return 1; };
    op.GetVariadicOutputHomogeneity = [](const OrtCustomOp *) { return 1; };
    op.GetStartVersion = [](const OrtCustomOp *) { return 1; };
    op.GetEndVersion = [](const OrtCustomOp *) { return 1; };
    op.CreateKernelV2 = create;
    op.KernelComputeV2 = [](void *node, OrtKernelContext *context) { return static_cast<Node *>(node)->compute(context); };
    op.KernelDestroy = [](void *node) { delete static_cast<Node *>(node); };
}

int allowed_cores() {
    cpu_set_t set;
    const int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return std::max(1, cores);
}

OrtStatus *threads_of(const OrtSessionOptions *options, int &threads) {
    constexpr const char *key = "harmonyrt.threads";
    int given = 0;
    if (OrtStatus *status = api->HasSessionConfigEntry(options, key, &given)) return status;
    char text[16] = {};
    std::size_t size = sizeof text;
    if (given != 0)
        if (OrtStatus *status = api->GetSessionConfigEntry(options, key, text, &size)) return status;
    const long count = given != 0 ? std::strtol(text, nullptr, 10) : allowed_cores();
    threads = static_cast<int>(std::min<long>(std::max<long>(count, 1), kMostThreads));
    return nullptr;
}

// Never freed: sessions point to it until the process ends.
OrtStatus *domain_for(int threads, OrtCustomOpDomain *&domain) {
    static std::mutex mutex;
    static auto *const made = new std::vector<std::unique_ptr<Operator>>();
    const std::lock_guard<std::mutex> lock(mutex);
    for (const auto &one : *made)
        if (one->threads == threads) domain = one->domain;
    if (domain != nullptr) return nullptr;
    auto op = std::make_unique<Operator>();
    fill(*op);
    op->threads = threads;
    if (OrtStatus *status = api->CreateCustomOpDomain("harmonyrt", &op->domain)) return status;
    if (OrtStatus *status = api->CustomOpDomain_Add(op->domain, op.get())) return status;
    domain = op->domain;
    made->push_back(std::move(op));
    return nullptr;
}

} // namespace

// What ONNX Runtime calls when a session's options name this library.
extern "C" __attribute__((visibility("default"))) OrtStatus *RegisterCustomOps(OrtSessionOptions *options,
                                                                               const OrtApiBase *base) {
    api = base->GetApi(ORT_API_VERSION);
    if (api == nullptr) return nullptr; // checked by who registers: without an API there is no way to say why
    try {
        int threads = 1;
        OrtCustomOpDomain *domain = nullptr;
        if (OrtStatus *status = threads_of(options, threads)) return status;
        if (OrtStatus *status = domain_for(threads, domain)) return status;
        return api->AddCustomOpDomain(options, domain);
    } catch (const std::bad_alloc &) {
        return refused("bad allocation", ORT_FAIL);
    }
}
