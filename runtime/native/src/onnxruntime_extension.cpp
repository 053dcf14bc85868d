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

#include "onnxruntime_face.h"
#include "workspace.h"

void fill_quantized(hrt::native::ort::Operator &op); // onnxruntime_quantized.cpp

namespace {

using namespace hrt::native;
using namespace hrt::native::ort;

constexpr std::size_t kInputs = 5;
constexpr std::size_t kRequiredInputs = 3;
constexpr int kMostThreads = 1024;

// ---- The kernel of one node

struct Node {
    Attributes attributes;
    Counts counts;
    bool is_gated = false;
    int threads = 1;
    const hrt::native::Kernel *kernel = best_kernel();
    static constexpr const char *unable = "this CPU has neither AVX-512 nor AVX2";

    OrtStatus *read(const OrtKernelInfo *info) {
        if (OrtStatus *status = read_attributes(info, attributes)) return status;
        std::size_t inputs = 0;
        if (OrtStatus *status = api->KernelInfo_GetInputCount(info, &inputs)) return status;
        if (inputs != kRequiredInputs && inputs != kInputs)
            return refused("FusedConvolution takes 3 inputs, or 5 with gates");
        is_gated = inputs == kInputs;
        // Sizes of weights are checked once: they are constants, so they stay.
        std::size_t *const sizes[] = {&counts.plain, &counts.bias, &counts.gated};
        const void *data = nullptr;
        for (std::size_t i = 0; i < (is_gated ? 3 : 2); ++i)
            if (OrtStatus *status =
                    constant_of(info, i + 1, *sizes[i], data, "FusedConvolution: the weights must be constants"))
                return status;
        return nullptr;
    }

    OrtStatus *compute(OrtKernelContext *context) const {
        const OrtValue *values[kInputs] = {};
        const float *data[kInputs] = {};
        for (std::size_t i = 0; i < (is_gated ? kInputs : kRequiredInputs); ++i) {
            const char *const missing = "FusedConvolution: an input is missing";
            if (OrtStatus *status = input_of(context, i, values[i], data[i], missing)) return status;
        }
        Shape source = {};
        if (OrtStatus *status = shape_of(values[0], source)) return status;
        Counts found = counts;
        if (is_gated)
            if (OrtStatus *status = count_of(values[4], found.gates)) return status;
        const char *reason = why_not(attributes, source);
        if (reason == nullptr) reason = why_not(attributes, source, found, is_gated);
        if (reason != nullptr) return refused(reason, ORT_INVALID_ARGUMENT);

        Operands with;
        if (OrtStatus *status = result_of(context, attributes, source, with.result)) return status;
        with.source = data[0];
        with.plain = data[1];
        with.bias = data[2];
        with.gated = data[3];
        with.gate = data[4];
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
};

void fill_fused(Operator &op) {
    fill<Node>(op);
    op.GetName = [](const OrtCustomOp *) { return "FusedConvolution"; };
    op.GetInputType = [](const OrtCustomOp *, std::size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; };
    op.GetInputTypeCount = [](const OrtCustomOp *) { return kInputs; };
    op.GetInputCharacteristic = [](const OrtCustomOp *, std::size_t i) {
        return i < kRequiredInputs ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_OPTIONAL;
    };
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
    struct Domain {
        int threads;
        Operator fused, quantized;
        OrtCustomOpDomain *domain;
    };
    static auto *const made = new std::vector<std::unique_ptr<Domain>>();
    const std::lock_guard<std::mutex> lock(mutex);
    for (const auto &one : *made)
        if (one->threads == threads) domain = one->domain;
    if (domain != nullptr) return nullptr;
    auto all = std::make_unique<Domain>();
    all->threads = all->fused.threads = all->quantized.threads = threads;
    fill_fused(all->fused);
    fill_quantized(all->quantized);
    if (OrtStatus *status = api->CreateCustomOpDomain("harmonyrt", &all->domain)) return status;
    for (Operator *op : {&all->fused, &all->quantized})
        if (OrtStatus *status = api->CustomOpDomain_Add(all->domain, op)) return status;
    domain = all->domain;
    made->push_back(std::move(all));
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
