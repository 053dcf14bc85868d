#include "libraries.hpp"

#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <vector>

namespace hrt::tensorrt {
namespace {

void *open_library(const char *variable, const std::vector<std::string> &names, const std::string &what) {
    const char *named = std::getenv(variable);
    if (named != nullptr && *named != '\0') {
        if (void *library = dlopen(named, RTLD_NOW | RTLD_GLOBAL)) return library;
        throw std::runtime_error(std::string(variable) + " names " + named + ", which does not load (" + dlerror() +
                                 ")");
    }
    for (const std::string &name : names) {
        if (void *library = dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL)) return library;
    }
    throw std::runtime_error(what + " was not found (" + names.front() + "): install it, or set " + variable +
                             " to the library's path");
}

template <class Function>
Function symbol(void *library, const char *name) {
    auto function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr)
        throw std::runtime_error(std::string("the library has no ") + name + ": install another version");
    return function;
}

int unit_of(int number) { return number < 10000 ? 1000 : 10000; }

std::string version_text(int number) {
    const int unit = unit_of(number);
    return std::to_string(number / unit) + "." + std::to_string(number % unit / 100) + "." +
           std::to_string(number % 100);
}

} // namespace

Cuda::Cuda(void *library)
    : get_device_count(symbol<decltype(&cudaGetDeviceCount)>(library, "cudaGetDeviceCount")),
      set_device(symbol<decltype(&cudaSetDevice)>(library, "cudaSetDevice")),
      attribute(symbol<decltype(&cudaDeviceGetAttribute)>(library, "cudaDeviceGetAttribute")),
      memory(symbol<decltype(&cudaMemGetInfo)>(library, "cudaMemGetInfo")),
      malloc(symbol<cudaError_t (*)(void **, std::size_t)>(library, "cudaMalloc")),
      free(symbol<decltype(&cudaFree)>(library, "cudaFree")),
      copy(symbol<decltype(&cudaMemcpyAsync)>(library, "cudaMemcpyAsync")),
      stream_create(symbol<decltype(&cudaStreamCreateWithFlags)>(library, "cudaStreamCreateWithFlags")),
      stream_destroy(symbol<decltype(&cudaStreamDestroy)>(library, "cudaStreamDestroy")),
      stream_wait(symbol<decltype(&cudaStreamSynchronize)>(library, "cudaStreamSynchronize")),
      error_text(symbol<decltype(&cudaGetErrorString)>(library, "cudaGetErrorString")) {}

void Cuda::check(cudaError_t error, const char *doing) const {
    if (error != cudaSuccess) throw std::runtime_error(std::string("CUDA cannot ") + doing + ": " + error_text(error));
}

void Logger::log(Severity severity, nvinfer1::AsciiChar const *message) noexcept {
    if (severity > Severity::kERROR) return;
    const std::lock_guard<std::mutex> lock(mutex_);
    std::snprintf(last_.data(), last_.size(), "%s", message);
}

std::string Logger::last() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return last_[0] == '\0' ? "it does not say why" : last_.data();
}

Runtime::Runtime()
    : cuda(open_library("HARMONYRT_CUDART", {"libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so"},
                        "the CUDA runtime")) {
    const std::string major = std::to_string(NV_TENSORRT_MAJOR);
#if defined(TRT_MAJOR_RTX)
    void *library =
        open_library("HARMONYRT_TENSORRT_RTX", {"libtensorrt_rtx.so." + major, "libtensorrt_rtx.so"}, kName);
#else
    void *library = open_library("HARMONYRT_TENSORRT", {"libnvinfer.so." + major}, kName);
#endif
    number_ = symbol<int32_t (*)()>(library, "getInferLibVersion")();
    version = version_text(number_);
    const auto create = symbol<void *(*)(void *, int32_t)>(library, "createInferRuntime_INTERNAL");
    runtime.reset(static_cast<nvinfer1::IRuntime *>(create(&logger, static_cast<int32_t>(NV_TENSORRT_VERSION))));
    if (!runtime) throw std::runtime_error(std::string(kName) + " " + version + " does not start: " + logger.last());
}

bool Runtime::at_least([[maybe_unused]] int major, [[maybe_unused]] int minor) const noexcept {
#if defined(TRT_MAJOR_RTX)
    return true;
#else
    const int unit = unit_of(number_);
    return number_ / unit > major || (number_ / unit == major && number_ % unit / 100 >= minor);
#endif
}

Runtime &runtime() {
    static Runtime *loaded = new Runtime();
    return *loaded;
}

void refused(const char *doing) {
    throw std::runtime_error(std::string(kName) + " cannot " + doing + ": " + runtime().logger.last());
}

} // namespace hrt::tensorrt
