// TensorRT 8.6 to 11, and TensorRT for RTX: plans on an NVIDIA card. The twin of runtime/backends/tensorrt.py.
//
// Compiled with headers alone, once for each major version of them (their classes differ between majors). TensorRT and
// the CUDA runtime are loaded when the first engine opens: $HARMONYRT_TENSORRT and $HARMONYRT_CUDART name the files,
// else the system's loader finds them.

#include "module.hpp"

#include <NvInferRuntime.h>
#include <NvInferVersion.h>
#include <cuda_runtime_api.h>

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace {

#if defined(TRT_MAJOR_RTX)
constexpr const char *kName = "TensorRT for RTX";
#else
constexpr const char *kName = "TensorRT";
#endif

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

// The part of the CUDA runtime that is used here.
struct Cuda {
    explicit Cuda(void *library)
        : get_device_count(symbol<decltype(&cudaGetDeviceCount)>(library, "cudaGetDeviceCount")),
          set_device(symbol<decltype(&cudaSetDevice)>(library, "cudaSetDevice")),
          attribute(symbol<decltype(&cudaDeviceGetAttribute)>(library, "cudaDeviceGetAttribute")),
          malloc(symbol<cudaError_t (*)(void **, std::size_t)>(library, "cudaMalloc")),
          free(symbol<decltype(&cudaFree)>(library, "cudaFree")),
          copy(symbol<decltype(&cudaMemcpyAsync)>(library, "cudaMemcpyAsync")),
          stream_create(symbol<decltype(&cudaStreamCreateWithFlags)>(library, "cudaStreamCreateWithFlags")),
          stream_destroy(symbol<decltype(&cudaStreamDestroy)>(library, "cudaStreamDestroy")),
          stream_wait(symbol<decltype(&cudaStreamSynchronize)>(library, "cudaStreamSynchronize")),
          error_text(symbol<decltype(&cudaGetErrorString)>(library, "cudaGetErrorString")) {}

    void check(cudaError_t error, const char *doing) const {
        if (error != cudaSuccess) {
            throw std::runtime_error(std::string("CUDA cannot ") + doing + ": " + error_text(error));
        }
    }

    decltype(&cudaGetDeviceCount) get_device_count;
    decltype(&cudaSetDevice) set_device;
    decltype(&cudaDeviceGetAttribute) attribute;
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
    void log(Severity severity, nvinfer1::AsciiChar const *message) noexcept override {
        if (severity > Severity::kERROR) return;
        const std::lock_guard<std::mutex> lock(mutex_);
        std::snprintf(last_.data(), last_.size(), "%s", message);
    }
    std::string last() {
        const std::lock_guard<std::mutex> lock(mutex_);
        return last_[0] == '\0' ? "it does not say why" : last_.data();
    }

private:
    std::mutex mutex_;
    std::array<char, 512> last_{};
};

struct Runtime {
    Runtime()
        : cuda(open_library("HARMONYRT_CUDART",
                            {"libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so"},
                            "the CUDA runtime")) {
        const std::string major = std::to_string(NV_TENSORRT_MAJOR);
#if defined(TRT_MAJOR_RTX)
        void *library =
            open_library("HARMONYRT_TENSORRT_RTX", {"libtensorrt_rtx.so." + major, "libtensorrt_rtx.so"}, kName);
#else
        void *library = open_library("HARMONYRT_TENSORRT", {"libnvinfer.so." + major}, kName);
#endif
        version = version_text(symbol<int32_t (*)()>(library, "getInferLibVersion")());
        const auto create = symbol<void *(*)(void *, int32_t)>(library, "createInferRuntime_INTERNAL");
        runtime.reset(static_cast<nvinfer1::IRuntime *>(create(&logger, static_cast<int32_t>(NV_TENSORRT_VERSION))));
        if (!runtime)
            throw std::runtime_error(std::string(kName) + " " + version + " does not start: " + logger.last());
    }

    // 8601 is 8.6.1, 100300 is 10.3.0.
    static std::string version_text(int32_t number) {
        const int32_t unit = number < 10000 ? 1000 : 10000;
        return std::to_string(number / unit) + "." + std::to_string(number % unit / 100) + "." +
               std::to_string(number % 100);
    }

    Cuda cuda;
    Logger logger;
    std::string version;
    std::unique_ptr<nvinfer1::IRuntime> runtime;
};

// One for the process, never destroyed: CUDA's own globals may go first at exit.
Runtime &runtime() {
    static Runtime *loaded = new Runtime();
    return *loaded;
}

int card_of(const char *device) {
    const std::string name = device == nullptr ? "cuda" : device;
    if (name == "cuda") return 0;
    if (name.rfind("cuda:", 0) == 0 && name.size() > 5 && name.size() < 9 &&
        name.find_first_not_of("0123456789", 5) == std::string::npos) {
        return std::stoi(name.substr(5));
    }
    throw std::runtime_error("it knows no device '" + name + "': give cuda or cuda:N");
}

std::vector<int> numbers_of(const std::string &version) {
    std::vector<int> numbers;
    std::istringstream parts(version);
    for (std::string part; std::getline(parts, part, '.');) numbers.push_back(std::atoi(part.c_str()));
    return numbers;
}

// Plans are tied to the release that built them; `compatible` ones open in later releases too. Compared as far as both
// numbers go.
bool version_fits(const std::string &need, const std::string &found, bool compatible) {
    std::vector<int> needed = numbers_of(need), having = numbers_of(found);
    const std::size_t length = std::min(needed.size(), having.size());
    needed.resize(length);
    having.resize(length);
    return compatible ? having >= needed : having == needed;
}

// Whether a manifest's "8.9", "8.6, 8.9" or "8.0+" takes a card.
bool capability_fits(const std::string &need, int major, int minor) {
    const std::pair<int, int> card(major, minor);
    std::istringstream parts(need);
    for (std::string part; std::getline(parts, part, ',');) {
        std::pair<int, int> wanted(0, 0);
        if (std::sscanf(part.c_str(), " %d.%d", &wanted.first, &wanted.second) != 2) continue;
        if (card == wanted || (part.find('+') != std::string::npos && card >= wanted)) return true;
    }
    return false;
}

void check_card(const hrt_module_request &request) {
    const Cuda &cuda = runtime().cuda;
    const int card = card_of(request.device);
    int count = 0;
    if (cuda.get_device_count(&count) != cudaSuccess || count == 0) {
        throw std::runtime_error(
            "no NVIDIA card was found: use a backend for the CPU, or check the driver with nvidia-smi");
    }
    if (card >= count) {
        throw std::runtime_error("device cuda:" + std::to_string(card) + " was asked for, found " +
                                 std::to_string(count) + " cards: give cuda:0 to cuda:" + std::to_string(count - 1));
    }
    int major = 0, minor = 0;
    cuda.check(cuda.attribute(&major, cudaDevAttrComputeCapabilityMajor, card), "ask for the card's kind");
    cuda.check(cuda.attribute(&minor, cudaDevAttrComputeCapabilityMinor, card), "ask for the card's kind");
    if (request.need_compute_capability != nullptr && !capability_fits(request.need_compute_capability, major, minor)) {
        throw std::runtime_error("found a card of compute capability " + std::to_string(major) + "." +
                                 std::to_string(minor) + ", need " + request.need_compute_capability +
                                 ": build the bundle on this machine");
    }
}

std::vector<char> read_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> data{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (!file) throw std::runtime_error(path + " cannot be read");
    return data;
}

class Engine {
public:
    static void why_not(const hrt_module_request &request) {
        const std::string found = runtime().version;
        if (request.need_version != nullptr &&
            !version_fits(request.need_version, found, request.need_compatible != 0)) {
            throw std::runtime_error(std::string("found ") + kName + " " + found + ", need " + request.need_version +
                                     ": build the bundle again, or install that version");
        }
        check_card(request);
    }

    explicit Engine(const hrt_module_request &request)
        : card_(card_of(request.device)),
          device_("cuda:" + std::to_string(card_)),
          names_{request.image, request.mask, request.output} {
        const Cuda &cuda = runtime().cuda;
        cuda.check(cuda.set_device(card_), "use the card");
        const std::vector<char> plan = read_file(request.file);
#if !defined(TRT_MAJOR_RTX)
        // Such plans bring a runtime along, as code. The library opens none whose hash the manifest does not have.
        if (request.need_compatible != 0) runtime().runtime->setEngineHostCodeAllowed(true);
#endif
        engine_.reset(runtime().runtime->deserializeCudaEngine(plan.data(), plan.size()));
        if (!engine_) {
            throw std::runtime_error(std::string(kName) + " " + runtime().version + " cannot open " + request.file +
                                     ": " + runtime().logger.last() + "; build the bundle again");
        }
        for (const std::string &name : names_) {
            if (engine_->getTensorDataType(name.c_str()) != nvinfer1::DataType::kFLOAT) {
                throw std::runtime_error(std::string(request.file) + " has no float32 tensor " + name +
                                         "; build the bundle again");
            }
        }
    }

    const char *device() const { return device_.c_str(); }
    const char *version() const { return runtime().version.c_str(); }
    int card() const { return card_; }
    const char *name(std::size_t i) const { return names_[i].c_str(); }
    std::unique_ptr<nvinfer1::IExecutionContext> context() {
        const std::lock_guard<std::mutex> lock(mutex_); // contexts are made one at a time; they run at once
        return std::unique_ptr<nvinfer1::IExecutionContext>(engine_->createExecutionContext());
    }

private:
    int card_;
    std::string device_;
    std::array<std::string, 3> names_;
    std::mutex mutex_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
};

// One context, one stream and device memory that grows to the largest call.
class Session {
public:
    explicit Session(Engine &engine) : engine_(engine) {
        const Cuda &cuda = runtime().cuda;
        cuda.check(cuda.set_device(engine.card()), "use the card");
        context_ = engine.context();
        if (!context_)
            throw std::runtime_error(std::string(kName) + " has no context to give: " + runtime().logger.last());
        cuda.check(cuda.stream_create(&stream_, cudaStreamNonBlocking), "make a stream");
    }
    ~Session() {
        const Cuda &cuda = runtime().cuda;
        for (void *memory : memory_) (void)cuda.free(memory);
        (void)cuda.stream_destroy(stream_);
    }
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;

    void run(const float *image, const float *mask, float *output, int batch, int height, int width) {
        const Cuda &cuda = runtime().cuda;
        cuda.check(cuda.set_device(engine_.card()), "use the card"); // it belongs to the calling thread
        const std::size_t plane = static_cast<std::size_t>(batch) * static_cast<std::size_t>(height) *
                                  static_cast<std::size_t>(width) * sizeof(float);
        const std::array<std::size_t, 3> bytes = {3 * plane, plane, 3 * plane};
        const std::array<int, 3> channels = {3, 1, 3};
        for (std::size_t i = 0; i < 3; ++i) {
            reserve(i, bytes[i]);
            if (!context_->setTensorAddress(engine_.name(i), memory_[i])) refused("take its memory");
            if (i == 2) continue;
            nvinfer1::Dims shape{};
            shape.nbDims = 4;
            shape.d[0] = batch;
            shape.d[1] = channels[i];
            shape.d[2] = height;
            shape.d[3] = width;
            if (!context_->setInputShape(engine_.name(i), shape)) refused("take this size");
        }
        cuda.check(cuda.copy(memory_[0], image, bytes[0], cudaMemcpyHostToDevice, stream_), "copy to the card");
        cuda.check(cuda.copy(memory_[1], mask, bytes[1], cudaMemcpyHostToDevice, stream_), "copy to the card");
        if (!context_->enqueueV3(stream_)) refused("run the engine");
        cuda.check(cuda.copy(output, memory_[2], bytes[2], cudaMemcpyDeviceToHost, stream_), "copy from the card");
        cuda.check(cuda.stream_wait(stream_), "finish the run");
    }

private:
    void reserve(std::size_t i, std::size_t bytes) {
        if (bytes <= sizes_[i]) return;
        const Cuda &cuda = runtime().cuda;
        (void)cuda.free(memory_[i]);
        memory_[i] = nullptr;
        sizes_[i] = 0;
        cuda.check(cuda.malloc(&memory_[i], bytes), "give device memory");
        sizes_[i] = bytes;
    }
    [[noreturn]] static void refused(const char *doing) {
        throw std::runtime_error(std::string(kName) + " cannot " + doing + ": " + runtime().logger.last());
    }

    Engine &engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    cudaStream_t stream_ = nullptr;
    std::array<void *, 3> memory_{};
    std::array<std::size_t, 3> sizes_{};
};

} // namespace

HRT_BACKEND_MODULE("tensorrt", Engine, Session)
