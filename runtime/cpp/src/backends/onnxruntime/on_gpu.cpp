#include "on_gpu.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <stdexcept>
#include <vector>

namespace hrt::onnxruntime {
namespace {

// The loader's words where a provider's own library lacks another; "" where it does not say.
std::string missing_library(const Asked &asked) {
    Dl_info info = {};
    if (dladdr(reinterpret_cast<const void *>(runtime().api->CreateEnv), &info) == 0 || info.dli_fname == nullptr)
        return "";
    const std::string own = info.dli_fname;
    const std::string file = own.substr(0, own.find_last_of('/') + 1) + "libonnxruntime_providers_" +
                             (asked.tensorrt() ? "tensorrt" : "cuda") + ".so";
    if (dlopen(file.c_str(), RTLD_LAZY | RTLD_LOCAL) != nullptr) return "";
    const char *error = dlerror();
    const std::string text = error == nullptr ? "" : error;
    constexpr const char *words = ": cannot open shared object file";
    const std::size_t end = text.find(words);
    return end == std::string::npos ? "" : text.substr(0, end) + words;
}

// What the cache's key needs to know of this machine; "" where it is unknown.
std::string gpu_name(int index) {
    const char *named = std::getenv("HARMONYRT_CUDA");
    void *driver = dlopen(named != nullptr && *named != '\0' ? named : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (driver == nullptr) return "";
    const auto init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
    const auto get = reinterpret_cast<int (*)(int *, int)>(dlsym(driver, "cuDeviceGet"));
    const auto name = reinterpret_cast<int (*)(char *, int, int)>(dlsym(driver, "cuDeviceGetName"));
    std::array<char, 256> text{};
    int device = 0;
    const bool known = init != nullptr && get != nullptr && name != nullptr && init(0) == 0 &&
                       get(&device, index) == 0 && name(text.data(), static_cast<int>(text.size()) - 1, device) == 0;
    return known ? text.data() : "";
}

// Every TensorRT that the loader finds: which of them the provider takes is not known before it has loaded.
std::string tensorrt_releases() {
    std::string found;
    for (const char *name : {"libnvinfer.so.11", "libnvinfer.so.10", "libnvinfer.so.8"}) {
        void *library = dlopen(name, RTLD_LAZY | RTLD_LOCAL);
        if (library == nullptr) continue;
        const auto version = reinterpret_cast<int (*)()>(dlsym(library, "getInferLibVersion"));
        if (version != nullptr) found += (found.empty() ? "" : " ") + std::to_string(version());
    }
    return found;
}

// Null where nothing can be kept.
std::unique_ptr<EngineFolder> folder_for(const Asked &asked, const hrt_module_request &request) {
    const bool none = request.cache != nullptr && *request.cache == '\0';
    const std::string gpu = none ? "" : gpu_name(std::stoi(asked.index())), tensorrt = none ? "" : tensorrt_releases();
    if (gpu.empty() || tensorrt.empty() || request.files_sha256 == nullptr) return nullptr;
    std::string settings;
    Options sorted = asked.options;
    std::sort(sorted.begin(), sorted.end());
    for (const auto &[name, value] : sorted) settings += (settings.empty() ? "" : " ") + name + "=" + value;
    const CacheKey key = {{"kind", "onnxruntime-tensorrt libharmonyrt"},
                          {"files", request.files_sha256},
                          {"library", "onnxruntime " + runtime().version + " tensorrt " + tensorrt},
                          {"gpu", gpu},
                          {"settings", settings}};
    return std::make_unique<EngineFolder>(CompiledCache(request.cache), key);
}

// Options of a provider, as the C API wants them.
struct Pointers {
    explicit Pointers(const Options &options) {
        for (const auto &[name, value] : options) {
            names.push_back(name.c_str());
            values.push_back(value.c_str());
        }
    }
    std::vector<const char *> names, values;
};

void append_tensorrt(OrtSessionOptions *session, const Options &options) {
    const OrtApi &api = *runtime().api;
    OrtTensorRTProviderOptionsV2 *made = nullptr;
    check(api.CreateTensorRTProviderOptions(&made), "make TensorRT options");
    const Pointers given(options);
    OrtStatus *status =
        api.UpdateTensorRTProviderOptions(made, given.names.data(), given.values.data(), options.size());
    if (status == nullptr) status = api.SessionOptionsAppendExecutionProvider_TensorRT_V2(session, made);
    api.ReleaseTensorRTProviderOptions(made);
    check(status, "take the TensorRT provider");
}

void append_cuda(OrtSessionOptions *session, const Options &options) {
    const OrtApi &api = *runtime().api;
    OrtCUDAProviderOptionsV2 *made = nullptr;
    check(api.CreateCUDAProviderOptions(&made), "make CUDA options");
    const Pointers given(options); // each call sets all options: they go in one
    OrtStatus *status = api.UpdateCUDAProviderOptions(made, given.names.data(), given.values.data(), options.size());
    if (status == nullptr) status = api.SessionOptionsAppendExecutionProvider_CUDA_V2(session, made);
    api.ReleaseCUDAProviderOptions(made);
    check(status, "take the CUDA provider");
}

} // namespace

std::unique_ptr<EngineFolder> append_providers(OrtSessionOptions *session, const Asked &asked,
                                               const hrt_module_request &request) {
    std::unique_ptr<EngineFolder> folder;
    if (asked.tensorrt()) folder = folder_for(asked, request);
    try {
        if (asked.tensorrt()) append_tensorrt(session, tensorrt_options(asked, folder ? folder->path() : ""));
        append_cuda(session, cuda_options(asked, runtime().version));
    } catch (const std::runtime_error &error) {
        const std::string missing = missing_library(asked);
        throw std::runtime_error(did_not_load(asked, runtime().version, missing.empty() ? error.what() : missing));
    }
    return folder;
}

} // namespace hrt::onnxruntime
