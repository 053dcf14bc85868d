// OpenVINO on the CPU: FP32, BF16 where the CPU has it, INT8. The twin of runtime/backends/openvino.py.
//
// The precision is always passed: left to itself, OpenVINO computes FP32 models in BF16 on CPUs that have it.

#include "../compiled_cache.hpp"
#include "../machine.hpp"
#include "../sha256.hpp"
#include "cpu_speed.hpp"
#include "fork_gate.hpp"
#include "module.hpp"
#include "native.hpp"

#include <openvino/openvino.hpp>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

namespace {

std::string precision_hint(const std::string &precision) {
    if (precision == "bf16") return "bf16";
    if (precision == "fp16") return "f16";
    return "f32"; // INT8 engines carry their quantisation in the graph; what is left outside it computes in FP32
}

std::string last_line(const std::string &text) {
    const auto end = text.find_last_not_of(" \r\n\t");
    if (end == std::string::npos) return "no reason given";
    const auto start = text.find_last_of('\n', end);
    return text.substr(start == std::string::npos ? 0 : start + 1,
                       end - (start == std::string::npos ? 0 : start + 1) + 1);
}

// One for the process: plugins are loaded once. Never destroyed, since OpenVINO's own globals may go first at exit. The
// CPU's plugin is loaded in a thread that ends at once: it gives the thread that loads it another signal stack.
ov::Core &core() {
    static ov::Core *core = [] {
        auto *made = new ov::Core();
        std::thread([made] {
            try {
                made->get_property("CPU", ov::device::capabilities);
            } catch (const std::exception &) { // the next use says it
            }
        }).join();
        return made;
    }();
    return *core;
}

std::atomic<bool> closed_one{false};

// OpenVINO keeps the threads of engines that were closed, for the next one that is opened with the same settings. A
// forked child has the list and not the threads. What empties the list is the end of a CPU plugin, any one: so a second
// one is loaded and unloaded, under a name that OpenVINO wants CPU in.
void forget_threads() {
    if (!closed_one.exchange(false)) return;
    try {
        std::thread([] {
            try {
                static std::once_flag named;
                std::call_once(named, [] { core().register_plugin("openvino_intel_cpu_plugin", "HARMONYRTCPU"); });
                core().get_property("HARMONYRTCPU", ov::device::capabilities);
                core().unload_plugin("HARMONYRTCPU");
            } catch (const std::exception &) { // the child is then as it would be without this
            }
        }).join();
    } catch (const std::system_error &) {
    }
}

hrt::backends::ForkGate &gate() {
    static auto *gate = new hrt::backends::ForkGate(forget_threads);
    return *gate;
}

using Inside = hrt::backends::ForkGate::Inside;

void add_native(const char *needed) {
    if (needed == nullptr) return;
    const std::string path = hrt::backends::native::library("openvino");
    static std::once_flag once; // the core keeps them; after a failure the next engine tries again
    try {
        std::call_once(once, [&path] { core().add_extension(path); });
    } catch (const std::exception &error) {
        throw std::runtime_error("the native kernels of " + path + " do not fit this OpenVINO, " +
                                 ov::get_openvino_version().buildNumber + " (" + last_line(error.what()) +
                                 "): install the one that they were built with, or run make native again");
    }
}

class Engine {
public:
    static void why_not(const hrt_module_request &request) {
        hrt::backends::native::check(request.need_native, "openvino", request.precision);
        const std::string precision = request.precision, target = request.target;
        if (target == "onnx" && (precision == "fp16" || precision == "bf16")) {
            throw std::runtime_error("it computes " + precision +
                                     " only from an openvino engine: build one with --targets openvino");
        }
        if (request.device != nullptr && std::string(request.device) != "cpu") {
            throw std::runtime_error(std::string("it runs on device cpu here, not on '") + request.device +
                                     "': use onnxruntime or tensorrt for a GPU");
        }
        if (precision != "bf16" && precision != "fp16") return;
        const std::string needed = precision == "bf16" ? "BF16" : "FP16";
        const auto found = core().get_property("CPU", ov::device::capabilities);
        if (std::find(found.begin(), found.end(), needed) == found.end()) {
            throw std::runtime_error(precision + " needs a CPU with " + needed + ": use the fp32 bundle");
        }
    }

    explicit Engine(const hrt_module_request &request)
        : version_(ov::get_openvino_version().buildNumber), names_(hrt::backends::names_of(request)) {
        ov::AnyMap settings = {
            {"INFERENCE_PRECISION_HINT", precision_hint(request.precision)},
            {"PERFORMANCE_HINT", "LATENCY"},
            {"NUM_STREAMS", request.streams},
        };
        settings["INFERENCE_NUM_THREADS"] = request.threads;
        // OpenVINO's own choice ties threads to the first cores, in every process alike: processes would share one
        // core.
        settings["ENABLE_CPU_PINNING"] = request.pin_threads > 0;
        add_native(request.need_native);
        const Inside inside(gate());
        try {
            compiled_ = compiled(request, settings);
        } catch (const ov::Exception &error) {
            if (hrt::backends::speaks_of_memory(error.what())) throw std::bad_alloc();
            throw std::runtime_error("OpenVINO " + version_ + " cannot open " + request.file + ": " +
                                     last_line(error.what()) + "; build the bundle again or install a newer openvino");
        }
    }

    ~Engine() {
        const Inside inside(gate());
        compiled_ = {};
        closed_one = true;
    }
    Engine(const Engine &) = delete;
    Engine &operator=(const Engine &) = delete;

    static std::string cpu_speed(const char *cache, bool measure) {
        const Inside inside(gate());
        closed_one = true; // engines of its own
        return hrt::backends::cpu_speed(core(), cache, measure, [] { add_native("1"); });
    }

    const char *device() const { return "cpu"; }
    const char *version() const { return version_.c_str(); }
    ov::InferRequest request() {
        const Inside inside(gate());
        return compiled_.create_infer_request();
    }
    const std::vector<std::string> &names() const { return names_; }
    const std::string &note() const { return note_; }

private:
    // All that a compiled model depends on; as in runtime/backends/openvino.py.
    hrt::CacheKey key_of(const hrt_module_request &request, const ov::AnyMap &settings) const {
        auto capabilities = core().get_property("CPU", ov::device::capabilities);
        std::sort(capabilities.begin(), capabilities.end());
        std::string listed;
        for (const std::string &one : capabilities) listed += (listed.empty() ? "" : ",") + one;
        const std::string flags = hrt::cpu_flags();
        hrt::Sha256 digest;
        digest.update(flags.data(), flags.size());
        hrt::CacheKey key = {
            {"kind", "openvino"},
            {"library", version_},
            {"files", request.files_sha256},
            {"cpu", hrt::cpu_model()},
            {"features", digest.hex().substr(0, 16)},
            {"capabilities", listed},
        };
        for (const auto &[name, value] : settings) {
            key[name] = value.is<bool>() ? (value.as<bool>() ? "true" : "false") : value.as<std::string>();
        }
        return key;
    }

    // The model as an earlier opening left it in the cache, else compiled now and left there. OpenVINO's own cache goes
    // by path, size and time, and believes what it reads; so only its export and import serve.
    ov::CompiledModel compiled(const hrt_module_request &request, const ov::AnyMap &settings) {
        // A native engine compiles in the time in which its copy would be read from the cache (docs/cache.md).
        hrt::CompiledCache cache(request.need_native != nullptr ? "" : request.cache);
        const hrt::CacheKey key = key_of(request, settings);
        ov::Tensor kept; // the imported model computes with the weights where they lie in it, and shares its ownership
        const auto make = [&kept](std::size_t size) {
            kept = ov::Tensor(ov::element::u8, ov::Shape{size});
            return kept.data();
        };
        if (cache.read(key, make)) {
            try {
                return imported(kept, settings);
            } catch (const std::exception &error) {
                cache.note(std::string("the cached model of ") + request.file + " is not used (" +
                           last_line(error.what()) + "); compiling again");
                cache.remove(key);
            }
        }
        ov::CompiledModel made = core().compile_model(std::string(request.file), "CPU", settings);
        cache.write(key, [&made](std::ostream &stream) { made.export_model(stream); });
        note_ = cache.notes();
        return made;
    }

    static ov::CompiledModel imported(const ov::Tensor &kept, const ov::AnyMap &settings) {
#if OPENVINO_VERSION_MAJOR >= 2026
        return core().import_model(kept, "CPU", settings);
#else // releases that import from streams only
        std::istringstream stream(std::string(static_cast<const char *>(kept.data()), kept.get_byte_size()));
        return core().import_model(stream, "CPU", settings);
#endif
    }

    std::string note_;
    std::string version_;
    std::vector<std::string> names_;
    ov::CompiledModel compiled_;
};

class Session {
public:
    explicit Session(Engine &engine) : engine_(engine), request_(engine.request()), bound_(engine.names().size()) {}
    ~Session() { closed_one = true; }
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;

    void run(const hrt_module_tensor *tensors) {
        for (std::size_t i = 0; i < bound_.size(); ++i) bind(i, tensors[i]);
        const Inside inside(gate());
        request_.infer();
    }

private:
    // The engine computes in the caller's memory; the same memory twice in a row needs no new binding.
    void bind(std::size_t i, const hrt_module_tensor &tensor) {
        ov::Shape shape(static_cast<std::size_t>(tensor.rank));
        for (std::size_t d = 0; d < shape.size(); ++d) shape[d] = static_cast<std::size_t>(tensor.shape[d]);
        Bound &bound = bound_[i];
        if (bound.data == tensor.data && bound.shape == shape) return;
        const auto type = tensor.type == HRT_MODULE_I64 ? ov::element::i64 : ov::element::f32;
        request_.set_tensor(engine_.names()[i], ov::Tensor(type, shape, tensor.data));
        bound = {tensor.data, std::move(shape)};
    }

    struct Bound {
        void *data = nullptr;
        ov::Shape shape;
    };
    Engine &engine_;
    ov::InferRequest request_;
    std::vector<Bound> bound_;
};

} // namespace

HRT_BACKEND_MODULE("openvino", Engine, Session)
