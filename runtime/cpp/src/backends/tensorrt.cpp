// TensorRT 8.6 to 11, and TensorRT for RTX: plans on an NVIDIA GPU. The twin of runtime/backends/tensorrt/__init__.py.
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
#include <type_traits>
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

int index_of(const char *device) {
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

// Whether a manifest's "8.9", "8.6, 8.9" or "8.0+" takes a GPU.
bool capability_fits(const std::string &need, int major, int minor) {
    const std::pair<int, int> capability(major, minor);
    std::istringstream parts(need);
    for (std::string part; std::getline(parts, part, ',');) {
        std::pair<int, int> wanted(0, 0);
        if (std::sscanf(part.c_str(), " %d.%d", &wanted.first, &wanted.second) != 2) continue;
        if (capability == wanted || (part.find('+') != std::string::npos && capability >= wanted)) return true;
    }
    return false;
}

void check_device(const hrt_module_request &request) {
    const Cuda &cuda = runtime().cuda;
    const int index = index_of(request.device);
    int count = 0;
    if (cuda.get_device_count(&count) != cudaSuccess || count == 0) {
        throw std::runtime_error(
            "no NVIDIA GPU was found: use a backend for the CPU, or check the driver with nvidia-smi");
    }
    if (index >= count) {
        throw std::runtime_error("device cuda:" + std::to_string(index) + " was asked for, found " +
                                 std::to_string(count) + " GPUs: give cuda:0 to cuda:" + std::to_string(count - 1));
    }
    int major = 0, minor = 0;
    cuda.check(cuda.attribute(&major, cudaDevAttrComputeCapabilityMajor, index), "ask for the GPU's kind");
    cuda.check(cuda.attribute(&minor, cudaDevAttrComputeCapabilityMinor, index), "ask for the GPU's kind");
    if (request.need_compute_capability != nullptr && !capability_fits(request.need_compute_capability, major, minor)) {
        throw std::runtime_error("found a GPU of compute capability " + std::to_string(major) + "." +
                                 std::to_string(minor) + ", need " + request.need_compute_capability +
                                 ": build the bundle on this machine");
    }
}

using DimsValue = std::remove_reference_t<decltype(nvinfer1::Dims{}.d[0])>; // 32 bits up to 8.6, then 64

bool is_integer(nvinfer1::DataType type) {
#if NV_TENSORRT_MAJOR >= 10
    if (type == nvinfer1::DataType::kINT64) return true;
#endif
    return type == nvinfer1::DataType::kINT32;
}

std::size_t bytes_of(nvinfer1::DataType type) {
    if (type == nvinfer1::DataType::kFLOAT || type == nvinfer1::DataType::kINT32) return 4;
    return 8; // enough for any other
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
        check_device(request);
    }

    explicit Engine(const hrt_module_request &request)
        : index_(index_of(request.device)),
          device_("cuda:" + std::to_string(index_)),
          names_(hrt::backends::names_of(request)),
          inputs_(static_cast<std::size_t>(request.input_count)),
          read_(static_cast<std::size_t>(request.output_count)) {
        const Cuda &cuda = runtime().cuda;
        cuda.check(cuda.set_device(index_), "use the GPU");
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
        check_names(request.file);
    }

    const char *device() const { return device_.c_str(); }
    const char *version() const { return runtime().version.c_str(); }
    int index() const { return index_; }
    const std::vector<std::string> &names() const { return names_; }
    std::size_t inputs() const { return inputs_; }
    std::size_t read() const { return read_; }
    nvinfer1::DataType type(const std::string &name) const { return engine_->getTensorDataType(name.c_str()); }
    std::unique_ptr<nvinfer1::IExecutionContext> context() {
        const std::lock_guard<std::mutex> lock(mutex_); // contexts are made one at a time; they run at once
        return std::unique_ptr<nvinfer1::IExecutionContext>(engine_->createExecutionContext());
    }

private:
    // The names that runs are given must be there. What else the engine answers with gets its own memory: every
    // tensor of a plan needs an address.
    void check_names(const char *file) {
        std::vector<std::string> found;
        for (int32_t i = 0; i < engine_->getNbIOTensors(); ++i) found.emplace_back(engine_->getIOTensorName(i));
        for (const std::string &name : names_) {
            if (std::find(found.begin(), found.end(), name) == found.end()) {
                throw std::runtime_error(std::string(file) + " has no tensor " + name + "; build the bundle again");
            }
        }
        for (const std::string &name : found) {
            if (std::find(names_.begin(), names_.end(), name) != names_.end()) continue;
            if (engine_->getTensorIOMode(name.c_str()) != nvinfer1::TensorIOMode::kOUTPUT) {
                throw std::runtime_error(std::string(file) + " needs an input " + name + "; build the bundle again");
            }
            names_.push_back(name);
        }
    }

    int index_;
    std::string device_;
    std::vector<std::string> names_; // inputs, outputs, then the outputs that nobody reads
    std::size_t inputs_, read_;
    std::mutex mutex_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
};

// One context, one stream and device memory that grows to the largest call.
class Session {
public:
    explicit Session(Engine &engine) : engine_(engine), memory_(engine.names().size()) {
        const Cuda &cuda = runtime().cuda;
        cuda.check(cuda.set_device(engine.index()), "use the GPU");
        context_ = engine.context();
        if (!context_)
            throw std::runtime_error(std::string(kName) + " has no context to give: " + runtime().logger.last());
        cuda.check(cuda.stream_create(&stream_, cudaStreamNonBlocking), "make a stream");
    }
    ~Session() {
        const Cuda &cuda = runtime().cuda;
        for (const Memory &memory : memory_) (void)cuda.free(memory.data);
        (void)cuda.stream_destroy(stream_);
    }
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;

    void run(const hrt_module_tensor *tensors) {
        const Cuda &cuda = runtime().cuda;
        cuda.check(cuda.set_device(engine_.index()), "use the GPU"); // it belongs to the calling thread
        const std::size_t inputs = engine_.inputs();
        for (std::size_t i = 0; i < inputs; ++i) feed(i, tensors[i]);
        for (std::size_t i = inputs; i < memory_.size(); ++i) {
            const nvinfer1::Dims shape = context_->getTensorShape(engine_.names()[i].c_str());
            std::size_t bytes = bytes_of(engine_.type(engine_.names()[i]));
            for (int32_t d = 0; d < shape.nbDims; ++d)
                bytes *= static_cast<std::size_t>(std::max<int64_t>(0, shape.d[d]));
            if (i < inputs + engine_.read()) {
                check_type(i, tensors[i]);
                if (bytes != hrt::backends::bytes_of(tensors[i])) refused("answer in this size");
            }
            reserve(i, bytes);
        }
        if (!context_->enqueueV3(stream_)) refused("run the engine");
        for (std::size_t i = inputs; i < inputs + engine_.read(); ++i) {
            cuda.check(cuda.copy(tensors[i].data, memory_[i].data, hrt::backends::bytes_of(tensors[i]),
                                 cudaMemcpyDeviceToHost, stream_),
                       "copy from the GPU");
        }
        cuda.check(cuda.stream_wait(stream_), "finish the run");
    }

private:
    struct Memory {
        void *data = nullptr;
        std::size_t bytes = 0;
    };

    void check_type(std::size_t i, const hrt_module_tensor &tensor) const {
        const nvinfer1::DataType type = engine_.type(engine_.names()[i]);
        if (tensor.type == HRT_MODULE_I64 ? is_integer(type) : type == nvinfer1::DataType::kFLOAT) return;
        throw std::runtime_error("the plan has the tensor " + engine_.names()[i] +
                                 " in another type than the manifest's; build the bundle again");
    }

    // Hands an input to the context. TensorRT 8.6 takes 64-bit numbers as 32-bit ones.
    void feed(std::size_t i, const hrt_module_tensor &tensor) {
        const Cuda &cuda = runtime().cuda;
        check_type(i, tensor);
        const void *data = tensor.data;
        std::size_t bytes = hrt::backends::bytes_of(tensor);
        if (tensor.type == HRT_MODULE_I64 && engine_.type(engine_.names()[i]) == nvinfer1::DataType::kINT32) {
            const auto *wide = static_cast<const int64_t *>(tensor.data);
            narrow_.assign(wide, wide + bytes / sizeof(int64_t));
            data = narrow_.data();
            bytes /= 2;
        }
        nvinfer1::Dims shape{};
        shape.nbDims = tensor.rank;
        for (int32_t d = 0; d < tensor.rank; ++d) shape.d[d] = static_cast<DimsValue>(tensor.shape[d]);
        if (!context_->setInputShape(engine_.names()[i].c_str(), shape)) refused("take this size");
        reserve(i, bytes);
        cuda.check(cuda.copy(memory_[i].data, data, bytes, cudaMemcpyHostToDevice, stream_), "copy to the GPU");
    }

    void reserve(std::size_t i, std::size_t bytes) {
        Memory &memory = memory_[i];
        if (bytes > memory.bytes) {
            const Cuda &cuda = runtime().cuda;
            (void)cuda.free(memory.data);
            memory = {};
            cuda.check(cuda.malloc(&memory.data, bytes), "give device memory");
            memory.bytes = bytes;
        }
        if (!context_->setTensorAddress(engine_.names()[i].c_str(), memory.data)) refused("take its memory");
    }
    [[noreturn]] static void refused(const char *doing) {
        throw std::runtime_error(std::string(kName) + " cannot " + doing + ": " + runtime().logger.last());
    }

    Engine &engine_;
    std::unique_ptr<nvinfer1::IExecutionContext> context_;
    cudaStream_t stream_ = nullptr;
    std::vector<Memory> memory_; // by tensor
    std::vector<int32_t> narrow_;
};

} // namespace

HRT_BACKEND_MODULE("tensorrt", Engine, Session)
