#include "select.hpp"

#include "machine.hpp"
#include "status.hpp"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

namespace hrt {
namespace {

// The order of "auto", and which targets a backend opens, the one it prefers first; as in runtime/select.py.
struct Row {
    const char *backend;
    const char *kind;
};
constexpr Row kOrder[] = {{"tensorrt", "cuda"}, {"onnxruntime", "cuda"}, {"openvino", "cpu"}, {"onnxruntime", "cpu"}};

std::vector<std::string> targets_of(const std::string &backend) {
    if (backend == "tensorrt") return {"tensorrt", "tensorrt-rtx"};
    if (backend == "onnxruntime") return {"onnx"};
    if (backend == "openvino") return {"openvino", "onnx"};
    throw Error(HRT_INVALID_ARGUMENT,
                "backend " + quoted(backend) + " is not known; give auto or one of tensorrt, onnxruntime, openvino");
}

struct Choice {
    std::string backend;
    const EngineSpec *spec;
    std::string device; // "": the backend's own

    std::string label() const {
        return backend + " (" + spec->label() + ", " + (device.empty() ? "its device" : device) + ")";
    }
};

using Engines = std::vector<const EngineSpec *>;

Engines engines_of(const Manifest &manifest, const Part &part, const std::string &target) {
    Engines engines;
    for (const EngineSpec &engine : manifest.engines) {
        const bool wanted = target.empty() || engine.target == target;
        if (wanted && (part.component.empty() || engine.component == part.component)) engines.push_back(&engine);
    }
    return engines;
}

const EngineSpec *engine_of(const Engines &engines, const std::string &target) {
    const EngineSpec *native = nullptr;
    for (const EngineSpec *engine : engines) {
        if (engine->target == target && !engine->is_native()) return engine;
        if (engine->target == target && native == nullptr) native = engine;
    }
    return native;
}

void add_ways(std::vector<Choice> &choices, const Engines &engines, const std::string &backend,
              const std::string &device) {
    for (const std::string &target : targets_of(backend)) {
        if (const EngineSpec *spec = engine_of(engines, target)) {
            // On a CPU, an engine for the native kernels goes first, and the plain one stands by it.
            for (const EngineSpec *other : engines) {
                const bool native = other->is_native() && other != spec && other->precision == spec->precision;
                if (other->target == target && native && (device.empty() || device == "cpu")) {
                    choices.push_back({backend, other, device});
                }
            }
            choices.push_back({backend, spec, device});
            if (backend != "tensorrt") return; // OpenVINO reads ONNX only where the bundle has no IR
        }
    }
}

// What `build --tune` measured fastest on this machine with this many threads.
const Measurement *fastest(const Manifest &manifest, int threads) {
    const std::string here = manifest.measurements.empty() ? "" : machine_name();
    const Measurement *best = nullptr;
    for (const Measurement &m : manifest.measurements) {
        const bool usable = m.machine == here && m.threads == (threads > 0 ? threads : cores());
        if (usable && (best == nullptr || m.milliseconds < best->milliseconds)) best = &m;
    }
    return best;
}

std::vector<Choice> choices_for(const Manifest &manifest, const Part &part, const EngineOptions &options,
                                std::string &why) {
    const Engines engines = engines_of(manifest, part, options.target);
    std::vector<Choice> choices;
    if (options.backend != "auto") {
        why = "asked for";
        add_ways(choices, engines, options.backend, options.device);
        return choices;
    }
    for (const Row &row : kOrder) {
        const std::string kind = options.device.substr(0, options.device.find(':'));
        if (!options.device.empty() && kind != row.kind) continue;
        const bool finds_its_gpu = std::string(row.backend) == "tensorrt";
        add_ways(choices, engines, row.backend,
                 !options.device.empty() ? options.device
                 : finds_its_gpu         ? ""
                                         : row.kind);
    }
    why = "the documented order";
    if (const Measurement *measured = fastest(manifest, options.threads)) {
        const auto rest = std::stable_partition(choices.begin(), choices.end(), [&](const Choice &c) {
            return c.backend == measured->backend && c.spec->target == measured->target;
        });
        if (rest != choices.begin()) why = "measured fastest here";
    }
    return choices;
}

// One TensorRT module for each major version, since plans and headers of one do not serve another.
std::string module_name(const Choice &choice, const std::string &need_version) {
    if (choice.backend != "tensorrt") return choice.backend;
    if (choice.spec->target == "tensorrt-rtx") return "tensorrt_rtx";
    return "tensorrt" + need_version.substr(0, need_version.find('.'));
}

std::string need(const EngineSpec &spec, const char *name) {
    const auto found = spec.needs.find(name);
    return found == spec.needs.end() ? "" : found->second;
}

// Names of the graph's tensors by their meaning.
std::string tensor(const std::vector<TensorSpec> &specs, const char *meaning) {
    for (const TensorSpec &spec : specs) {
        if (spec.meaning == meaning && spec.dtype == "float32" && spec.layout == "NCHW") return spec.name;
    }
    throw Error(HRT_UNSUPPORTED, std::string("the bundle has no float32 NCHW tensor that means ") + meaning +
                                     "; give a bundle that `harmonyrt build phnet` wrote");
}

void check_target(const std::string &target) {
    constexpr const char *known[] = {"onnx", "openvino", "tensorrt", "tensorrt-rtx"};
    if (target.empty() || std::find(std::begin(known), std::end(known), target) != std::end(known)) return;
    throw Error(HRT_INVALID_ARGUMENT,
                "target " + quoted(target) + " is not known; give onnx, openvino, tensorrt or tensorrt-rtx");
}

// cpu, cuda or cuda:N; "" is any. The twin of open_best in runtime/select.py.
void check_device(const std::string &device) {
    if (device.empty() || device == "cpu" || device == "cuda") return;
    if (device.size() > 5 && device.compare(0, 5, "cuda:") == 0 &&
        std::all_of(device.begin() + 5, device.end(), [](char c) { return c >= '0' && c <= '9'; }))
        return;
    throw Error(HRT_INVALID_ARGUMENT,
                "device " + quoted(device) + " is not known; give cpu, cuda or cuda:N, or none for any");
}

std::vector<const char *> pointers(const std::vector<std::string> &names) {
    std::vector<const char *> out;
    out.reserve(names.size());
    for (const std::string &name : names) out.push_back(name.c_str());
    return out;
}

const char *or_null(const std::string &text) { return text.empty() ? nullptr : text.c_str(); }

// The engine of a choice, or null and the reason why it cannot run here.
std::shared_ptr<Engine> try_open(const Bundle &bundle, const Part &part, const Choice &choice,
                                 const EngineOptions &options, std::string &reason, bool &no_memory) {
    const std::string version = need(*choice.spec, "version"), capability = need(*choice.spec, "compute_capability");
    const std::string native = need(*choice.spec, "native");
    for (const auto &[apart, option] : {std::pair{"lean_runtime", "--lean-runtime"}, {"weights", "--strip-weights"}}) {
        if (need(*choice.spec, apart).empty()) continue;
        reason = std::string("its plan needs another file, which libharmonyrt does not open: build without ") + option;
        return nullptr;
    }
    const std::vector<const char *> inputs = pointers(part.inputs), outputs = pointers(part.outputs);
    std::string hashes;
    for (const FileSpec &one : choice.spec->files) hashes += (hashes.empty() ? "" : ",") + one.sha256;
    hrt_module_request request = {};
    request.target = choice.spec->target.c_str();
    request.precision = choice.spec->precision.c_str();
    request.device = or_null(choice.device);
    request.cache = options.cache;
    request.inputs = inputs.data();
    request.outputs = outputs.data();
    request.input_count = static_cast<std::int32_t>(inputs.size());
    request.output_count = static_cast<std::int32_t>(outputs.size());
    request.need_version = or_null(version);
    request.need_compute_capability = or_null(capability);
    request.need_compatible = need(*choice.spec, "version_compatible") == "true" ? 1 : 0;
    request.threads = options.threads > 0 ? options.threads : cores(); // engines count those of the whole machine
    request.streams = std::max(1, options.streams);
    request.pin_threads = options.pin_threads;
    request.files_sha256 = hashes.c_str();
    request.need_native = or_null(native);

    const Module *module = Module::find(module_name(choice, version), options.module_folder, reason);
    if (module != nullptr) reason = module->why_not(request);
    if (!reason.empty()) return nullptr;
    const std::string file = bundle.verified_file(*choice.spec); // an altered file is no reason to take another
    request.file = file.c_str();
    try {
        return std::make_shared<Engine>(*module, request);
    } catch (const Error &error) {
        no_memory = no_memory || error.status() == HRT_OUT_OF_MEMORY;
        reason = error.what();
        return nullptr;
    }
}

std::string none_found(const Bundle &bundle, const Part &part, const EngineOptions &options) {
    std::string found;
    for (const EngineSpec *engine : engines_of(bundle.manifest, part, "")) {
        found += (found.empty() ? "" : ", ") + engine->label();
    }
    return bundle.path + " has no engine for backend " + options.backend +
           (options.target.empty() ? "" : ", target " + options.target) +
           (options.device.empty() ? "" : " on device " + options.device) + ": found " +
           (found.empty() ? "none" : found) + "; build one with --targets";
}

} // namespace

Part only_part(const Manifest &manifest) {
    return {"",
            {tensor(manifest.inputs, "composite"), tensor(manifest.inputs, "mask")},
            {tensor(manifest.outputs, "output")}};
}

Selected open_best(const Bundle &bundle, const Part &part, const EngineOptions &options) {
    if (options.backend != "auto") (void)targets_of(options.backend);
    check_target(options.target);
    check_device(options.device);
    const std::string prefix = part.component.empty() ? "" : part.component + ": ";
    std::string why, skipped, notes;
    std::map<std::pair<std::string, std::string>, std::string> without_kernels; // by backend and target
    bool no_memory = false;
    for (const Choice &choice : choices_for(bundle.manifest, part, options, why)) {
        const std::string label = prefix + choice.label();
        std::string reason;
        if (std::shared_ptr<Engine> engine = try_open(bundle, part, choice, options, reason, no_memory)) {
            notes += prefix + "opened " + choice.label() + ": " + why + "\n";
            if (!engine->note().empty()) {
                notes += prefix + engine->note() + "\n";
                log(HRT_LOG_WARNING, prefix + engine->note());
            }
            const auto native = without_kernels.find({choice.backend, choice.spec->target});
            if (native != without_kernels.end() && !choice.spec->is_native()) {
                log(HRT_LOG_WARNING, label + " runs, slower than with native kernels: " + native->second);
            }
            log(HRT_LOG_INFO, "opened " + bundle.path + " with " + label + ": " + why);
            return {std::move(engine), choice.spec, choice.backend, std::move(notes)};
        }
        log(HRT_LOG_INFO, "skipped " + label + ": " + reason);
        notes += prefix + "skipped " + choice.label() + ": " + reason + "\n";
        if (choice.spec->is_native()) without_kernels[{choice.backend, choice.spec->target}] = reason;
        skipped += (skipped.empty() ? "" : "; ") + label + ": " + reason;
    }
    if (skipped.empty()) throw Error(HRT_NO_BACKEND, none_found(bundle, part, options));
    throw Error(no_memory ? HRT_OUT_OF_MEMORY : HRT_NO_BACKEND,
                bundle.path + " cannot run as asked (backend " + options.backend + "): " + skipped);
}

} // namespace hrt
