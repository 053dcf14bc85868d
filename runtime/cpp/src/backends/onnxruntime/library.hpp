// ONNX Runtime, loaded when the first engine opens, so that one build serves every installation: $HARMONYRT_ONNXRUNTIME
// names the file, else the system's loader finds libonnxruntime.so.1. Compiled with the C API's header (1.14 or later)
// alone.
#pragma once

#include <onnxruntime_c_api.h>

#include <string>
#include <vector>

namespace hrt::onnxruntime {

struct Runtime {
    const OrtApi *api = nullptr;
    OrtEnv *env = nullptr;
    std::string version;
    std::string reason;
    const OrtApi *kernels_api = nullptr; // null where the library is too old for the native kernels
};

// One for the process; never unloaded, since its threads may outlive the last model.
const Runtime &runtime();

// Throws std::runtime_error with ONNX Runtime's words, and releases the status.
void check(OrtStatus *status, const std::string &doing);

// ONNX Runtime's names of the execution providers that it was built with.
std::vector<std::string> available_providers();

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

} // namespace hrt::onnxruntime
