#include "library.hpp"

#include <dlfcn.h>

#include <array>
#include <cstdlib>
#include <stdexcept>

namespace hrt::onnxruntime {
namespace {

// The first API version that has all that is used here; newer libraries serve it too.
constexpr uint32_t kApiVersion = 11;
// The first that the native kernels' custom operators know.
constexpr uint32_t kApiVersionOfKernels = 17;

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

} // namespace

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

std::vector<std::string> available_providers() {
    char **names = nullptr;
    int count = 0;
    check(runtime().api->GetAvailableProviders(&names, &count), "list its providers");
    const std::vector<std::string> found(names, names + count);
    OrtStatus *released = runtime().api->ReleaseAvailableProviders(names, count);
    if (released != nullptr) runtime().api->ReleaseStatus(released);
    return found;
}

} // namespace hrt::onnxruntime
