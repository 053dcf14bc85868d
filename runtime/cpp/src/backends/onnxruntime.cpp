// ONNX Runtime: the CPU, and CUDA where the GPU build is. The twin of runtime/backends/onnxruntime.py.
//
// Compiled with the C API's header (1.14 or later) alone. The library is loaded when the first engine opens, so that one build serves
// every installation: $HARMONYRT_ONNXRUNTIME names the file, else the system's loader finds libonnxruntime.so.1.

#include "module.hpp"
#include "native.hpp"

#include <onnxruntime_c_api.h>

#include <dlfcn.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

// The first API version that has all that is used here; newer libraries serve it too.
constexpr uint32_t kApiVersion = 11;
// The first that the native kernels' custom operators know.
constexpr uint32_t kApiVersionOfKernels = 17;

struct Runtime {
    const OrtApi *api = nullptr;
    OrtEnv *env = nullptr;
    std::string version;
    std::string reason;
    const OrtApi *kernels_api = nullptr; // null where the library is too old for the native kernels
};

Runtime load() {
    Runtime runtime;
    const char *named = std::getenv("HARMONYRT_ONNXRUNTIME");
    const std::array<const char *, 3> names = {named != nullptr && *named != '\0' ? named : "libonnxruntime.so.1",
                                               "libonnxruntime.so", nullptr};
    void *library = nullptr;
    for (std::size_t i = 0; names[i] != nullptr && library == nullptr; ++i) {
        library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (named != nullptr && *named != '\0') break;
    }
    using GetApiBase = const OrtApiBase *(*)();
    const auto get = library == nullptr ? nullptr : reinterpret_cast<GetApiBase>(dlsym(library, "OrtGetApiBase"));
    if (get == nullptr) {
        const char *error = dlerror();
        runtime.reason = std::string("libonnxruntime.so.1 was not found (") +
                         (error != nullptr ? error : "no OrtGetApiBase") + "): set HARMONYRT_ONNXRUNTIME to its path";
        return runtime;
    }
    runtime.version = get()->GetVersionString();
    runtime.api = get()->GetApi(kApiVersion);
    if (runtime.api == nullptr) {
        runtime.reason = "ONNX Runtime " + runtime.version + " is older than 1.11: install a newer one";
        return runtime;
    }
    // Asked for more than it has, a library complains on stderr; its version is 1.<API version>.
    const bool is_new = std::atoi(runtime.version.c_str() + 2) >= static_cast<int>(kApiVersionOfKernels);
    if (is_new) runtime.kernels_api = get()->GetApi(kApiVersionOfKernels);
    OrtStatus *status = runtime.api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "harmonyrt", &runtime.env);
    if (status != nullptr) {
        runtime.reason = runtime.api->GetErrorMessage(status);
        runtime.api->ReleaseStatus(status);
        runtime.api = nullptr;
    }
    return runtime;
}

// One for the process; never unloaded, since its threads may outlive the last model.
const Runtime &runtime() {
    static const Runtime *loaded = new Runtime(load());
    return *loaded;
}

void check(OrtStatus *status, const std::string &doing) {
    if (status == nullptr) return;
    const std::string reason = runtime().api->GetErrorMessage(status);
    runtime().api->ReleaseStatus(status);
    throw std::runtime_error("ONNX Runtime " + runtime().version + " cannot " + doing + ": " +
                             reason.substr(0, reason.find('\n')));
}

struct ReleaseOptions {
    void operator()(OrtSessionOptions *options) const noexcept { runtime().api->ReleaseSessionOptions(options); }
};
struct ReleaseSession {
    void operator()(OrtSession *session) const noexcept { runtime().api->ReleaseSession(session); }
};
struct ReleaseMemory {
    void operator()(OrtMemoryInfo *memory) const noexcept { runtime().api->ReleaseMemoryInfo(memory); }
};
struct ReleaseValue {
    void operator()(OrtValue *value) const noexcept { runtime().api->ReleaseValue(value); }
};

bool is_cuda(const std::string &device) {
    return device == "cuda" || (device.rfind("cuda:", 0) == 0 && device.size() > 5 &&
                                device.find_first_not_of("0123456789", 5) == std::string::npos);
}

bool has_cuda_provider() {
    char **names = nullptr;
    int count = 0;
    check(runtime().api->GetAvailableProviders(&names, &count), "list its providers");
    bool found = false;
    for (int i = 0; i < count; ++i) found = found || std::string(names[i]) == "CUDAExecutionProvider";
    OrtStatus *released = runtime().api->ReleaseAvailableProviders(names, count);
    if (released != nullptr) runtime().api->ReleaseStatus(released);
    return found;
}

void add_native(OrtSessionOptions *options, int threads) {
    const std::string path = hrt::backends::native::library("onnxruntime");
    const OrtApi &api = *runtime().kernels_api;
    check(api.AddSessionConfigEntry(options, "harmonyrt.threads", std::to_string(threads).c_str()), "take options");
    check(api.RegisterCustomOpsLibrary_V2(options, path.c_str()), "load the native kernels of " + path);
}

class Engine {
public:
    static void why_not(const hrt_module_request &request) {
        if (runtime().api == nullptr) throw std::runtime_error(runtime().reason);
        const std::string device = request.device == nullptr ? "cpu" : request.device;
        if (is_cuda(device)) {
            if (request.need_native != nullptr) {
                throw std::runtime_error("its native kernels compute on CPUs, not on " + device +
                                         ": build it without --rewrites native for a GPU");
            }
            if (!has_cuda_provider()) {
                throw std::runtime_error("device " + device +
                                         " needs ONNX Runtime's GPU build, found the CPU one: set "
                                         "HARMONYRT_ONNXRUNTIME to a libonnxruntime.so of the GPU package");
            }
            return;
        }
        if (device != "cpu") throw std::runtime_error("it knows no device '" + device + "': give cpu, cuda or cuda:N");
        if (std::string(request.precision) == "bf16") {
            throw std::runtime_error(
                "ONNX Runtime has no BF16 kernels for the CPU: use an openvino engine, or device cuda");
        }
        hrt::backends::native::check(request.need_native, "onnxruntime", request.precision);
        if (request.need_native != nullptr && runtime().kernels_api == nullptr) {
            throw std::runtime_error("its native kernels need ONNX Runtime 1.17 or later, found " + runtime().version);
        }
    }

    explicit Engine(const hrt_module_request &request)
        : device_(request.device == nullptr ? "cpu" : request.device),
          names_(hrt::backends::names_of(request)),
          inputs_(static_cast<std::size_t>(request.input_count)) {
        for (const std::string &name : names_) c_names_.push_back(name.c_str());
        const OrtApi &api = *runtime().api;
        OrtSessionOptions *raw = nullptr;
        check(api.CreateSessionOptions(&raw), "make options");
        const std::unique_ptr<OrtSessionOptions, ReleaseOptions> options(raw);
        check(api.SetSessionGraphOptimizationLevel(raw, ORT_ENABLE_ALL), "take options");
        check(api.SetIntraOpNumThreads(raw, request.threads), "take options");
        check(api.SetInterOpNumThreads(raw, 1), "take options");
        if (request.need_native != nullptr) add_native(raw, request.threads);
        if (is_cuda(device_)) {
            OrtCUDAProviderOptionsV2 *cuda = nullptr;
            check(api.CreateCUDAProviderOptions(&cuda), "make CUDA options");
            const std::string id = device_.size() > 5 ? device_.substr(5) : "0";
            // TF32 would put products of ten bits into FP32 graphs; each call sets all options, so both go in one.
            const char *keys[] = {"device_id", "use_tf32"}, *values[] = {id.c_str(), "0"};
            OrtStatus *status = api.UpdateCUDAProviderOptions(cuda, keys, values, 2);
            if (status != nullptr) {  // releases before 1.18 have no such option
                api.ReleaseStatus(status);
                status = api.UpdateCUDAProviderOptions(cuda, keys, values, 1);
            }
            if (status == nullptr) status = api.SessionOptionsAppendExecutionProvider_CUDA_V2(raw, cuda);
            api.ReleaseCUDAProviderOptions(cuda);
            check(status, "come up on " + device_ + " (CUDA or cuDNN did not load)");
        }
        OrtSession *session = nullptr;
        check(api.CreateSession(runtime().env, request.file, raw, &session), std::string("load ") + request.file);
        session_.reset(session);
        OrtMemoryInfo *memory = nullptr;
        check(api.CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory), "describe memory");
        memory_.reset(memory);
    }

    const char *device() const { return device_.c_str(); }
    const char *version() const { return runtime().version.c_str(); }

    // Thread-safe: ONNX Runtime's Run is.
    void run(const hrt_module_tensor *tensors) {
        std::vector<Value> values;
        std::vector<OrtValue *> raw;
        for (std::size_t i = 0; i < names_.size(); ++i) {
            values.push_back(value_of(tensors[i]));
            raw.push_back(values.back().get());
        }
        check(runtime().api->Run(session_.get(), nullptr, c_names_.data(), raw.data(), inputs_,
                                 c_names_.data() + inputs_, raw.size() - inputs_, raw.data() + inputs_),
              "run the engine");
    }

private:
    using Value = std::unique_ptr<OrtValue, ReleaseValue>;

    Value value_of(const hrt_module_tensor &tensor) const {
        const auto type =
            tensor.type == HRT_MODULE_I64 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
        OrtValue *value = nullptr;
        check(runtime().api->CreateTensorWithDataAsOrtValue(memory_.get(), tensor.data, hrt::backends::bytes_of(tensor),
                                                            tensor.shape, static_cast<std::size_t>(tensor.rank), type,
                                                            &value),
              "take a tensor");
        return Value(value);
    }

    std::string device_;
    std::vector<std::string> names_; // of the inputs, then of the outputs
    std::vector<const char *> c_names_;
    std::size_t inputs_;
    std::unique_ptr<OrtSession, ReleaseSession> session_;
    std::unique_ptr<OrtMemoryInfo, ReleaseMemory> memory_;
};

class Session {
public:
    explicit Session(Engine &engine) : engine_(engine) {}
    void run(const hrt_module_tensor *tensors) { engine_.run(tensors); }

private:
    Engine &engine_;
};

} // namespace

HRT_BACKEND_MODULE("onnxruntime", Engine, Session)
