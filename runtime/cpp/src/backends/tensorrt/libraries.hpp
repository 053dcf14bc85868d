// TensorRT and the CUDA runtime, loaded when the first engine opens: $HARMONYRT_TENSORRT (TensorRT for RTX:
// $HARMONYRT_TENSORRT_RTX) and $HARMONYRT_CUDART name the files, else the system's loader finds them.
//
// Compiled with headers alone, once for each major version of them (their classes differ between majors). A library may
// be older than the headers: what a release brought is called only after at_least() has said that it is there.
#pragma once

#include <NvInferRuntime.h>
#include <NvInferVersion.h>
#include <cuda_runtime_api.h>

#include <array>
#include <memory>
#include <mutex>
#include <string>

// Whether the headers are of this release or a newer one; those of TensorRT for RTX, which counts from 1 and began with
// what TensorRT 10.9 has, are newer than any that is asked for here.
#if defined(TRT_MAJOR_RTX)
#define HRT_TENSORRT_HEADERS(major, minor) 1
#else
#define HRT_TENSORRT_HEADERS(major, minor) \
    (NV_TENSORRT_MAJOR > (major) || (NV_TENSORRT_MAJOR == (major) && NV_TENSORRT_MINOR >= (minor)))
#endif

namespace hrt::tensorrt {

#if defined(TRT_MAJOR_RTX)
constexpr const char *kName = "TensorRT for RTX";
#else
constexpr const char *kName = "TensorRT";
#endif

// The part of the CUDA runtime that is used here.
struct Cuda {
    explicit Cuda(void *library);

    // Throws std::runtime_error with CUDA's words.
    void check(cudaError_t error, const char *doing) const;

    decltype(&cudaGetDeviceCount) get_device_count;
    decltype(&cudaSetDevice) set_device;
    decltype(&cudaDeviceGetAttribute) attribute;
    decltype(&cudaMemGetInfo) memory;
    cudaError_t (*malloc)(void **, std::size_t);
    decltype(&cudaFree) free;
    decltype(&cudaMemcpyAsync) copy;
    decltype(&cudaStreamCreateWithFlags) stream_create;
    decltype(&cudaStreamDestroy) stream_destroy;
    decltype(&cudaStreamSynchronize) stream_wait;
    decltype(&cudaGetErrorString) error_text;
};

// TensorRT keeps a pointer to it. Only the last error is of use: it goes into our message.
class Logger : public nvinfer1::ILogger {
public:
    void log(Severity severity, nvinfer1::AsciiChar const *message) noexcept override;
    std::string last();

private:
    std::mutex mutex_;
    std::array<char, 512> last_{};
};

struct Runtime {
    Runtime();

    // Whether the library that was loaded is of this release of TensorRT or a newer one. TensorRT for RTX: always.
    bool at_least(int major, int minor) const noexcept;

    Cuda cuda;
    Logger logger;
    std::string version;
    std::unique_ptr<nvinfer1::IRuntime> runtime;

private:
    int number_ = 0; // 8601 is 8.6.1, 100300 is 10.3.0
};

// One for the process, never destroyed: CUDA's own globals may go first at exit.
Runtime &runtime();

// Throws std::runtime_error: what TensorRT refused, in its words.
[[noreturn]] void refused(const char *doing);

} // namespace hrt::tensorrt
