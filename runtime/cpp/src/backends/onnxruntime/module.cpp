// ONNX Runtime: the CPU, and NVIDIA GPUs by its CUDA and TensorRT providers where the GPU build is. The twin of
// runtime/backends/onnxruntime.py.

#include "../module.hpp"
#include "../native.hpp"
#include "library.hpp"
#include "on_gpu.hpp"
#include "providers.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace hrt::onnxruntime;

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
        const Asked asked(request);
        const std::string reason = refusal(asked, asked.on_gpu() ? available_providers() : std::vector<std::string>());
        if (!reason.empty()) throw std::runtime_error(reason);
        if (asked.on_gpu() && request.need_native != nullptr) {
            throw std::runtime_error("its native kernels compute on CPUs, not on " + asked.device +
                                     ": build it without --rewrites native for a GPU");
        }
        hrt::backends::native::check(request.need_native, "onnxruntime", request.precision);
        if (request.need_native != nullptr && runtime().kernels_api == nullptr) {
            throw std::runtime_error("its native kernels need ONNX Runtime 1.17 or later, found " + runtime().version);
        }
    }

    explicit Engine(const hrt_module_request &request)
        : asked_(request),
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
        if (asked_.on_gpu()) folder_ = append_providers(raw, asked_, request);
        OrtSession *session = nullptr;
        check(api.CreateSession(runtime().env, request.file, raw, &session), std::string("load ") + request.file);
        session_.reset(session);
        OrtMemoryInfo *memory = nullptr;
        check(api.CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &memory), "describe memory");
        memory_.reset(memory);
        if (asked_.on_gpu()) {
            const int index = std::stoi(asked_.index());
            check(api.CreateMemoryInfo("Cuda", OrtDeviceAllocator, index, OrtMemTypeDefault, &memory),
                  "describe memory");
            gpu_memory_.reset(memory);
        }
        if (folder_) folder_->save();
    }

    const char *device() const { return asked_.device.c_str(); }
    // It has a stream of its own, which all sessions share.
    int device_runs() const noexcept { return asked_.on_gpu() ? HRT_MODULE_WAITS : HRT_MODULE_NOT_ON_DEVICE; }
    std::string note() const {
        std::string note = tf32_note(asked_);
        if (folder_ && !folder_->notes().empty()) note += (note.empty() ? "" : "; ") + folder_->notes();
        return note;
    }
    const char *version() const { return runtime().version.c_str(); }

    // Thread-safe: ONNX Runtime's Run is. Waits for the result.
    void run(const hrt_module_tensor *tensors, bool on_gpu) {
        const OrtMemoryInfo *place = on_gpu ? gpu_memory_.get() : memory_.get();
        std::vector<Value> values;
        std::vector<OrtValue *> raw;
        for (std::size_t i = 0; i < names_.size(); ++i) {
            values.push_back(value_of(tensors[i], place));
            raw.push_back(values.back().get());
        }
        check(runtime().api->Run(session_.get(), nullptr, c_names_.data(), raw.data(), inputs_,
                                 c_names_.data() + inputs_, raw.size() - inputs_, raw.data() + inputs_),
              "run the engine");
        if (folder_) folder_->save();
    }

private:
    using Value = std::unique_ptr<OrtValue, ReleaseValue>;

    static Value value_of(const hrt_module_tensor &tensor, const OrtMemoryInfo *place) {
        const auto type =
            tensor.type == HRT_MODULE_I64 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 : ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
        OrtValue *value = nullptr;
        check(runtime().api->CreateTensorWithDataAsOrtValue(place, tensor.data, hrt::backends::bytes_of(tensor),
                                                            tensor.shape, static_cast<std::size_t>(tensor.rank), type,
                                                            &value),
              "take a tensor");
        return Value(value);
    }

    Asked asked_;
    std::unique_ptr<EngineFolder> folder_; // of the TensorRT provider; outlives the session
    std::vector<std::string> names_;       // of the inputs, then of the outputs
    std::vector<const char *> c_names_;
    std::size_t inputs_;
    std::unique_ptr<OrtSession, ReleaseSession> session_;
    std::unique_ptr<OrtMemoryInfo, ReleaseMemory> memory_, gpu_memory_;
};

class Session {
public:
    explicit Session(Engine &engine) : engine_(engine) {}
    void run(const hrt_module_tensor *tensors) { engine_.run(tensors, false); }
    void run_on_device(const hrt_module_tensor *tensors, void *) { engine_.run(tensors, true); }

private:
    Engine &engine_;
};

} // namespace

HRT_BACKEND_MODULE("onnxruntime", Engine, Session)
