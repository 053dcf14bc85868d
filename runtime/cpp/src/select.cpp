#include "select.hpp"

#include "machine.hpp"
#include "status.hpp"

#include <algorithm>
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
        return backend + " (" + spec->target + " " + spec->precision + ", " + (device.empty() ? "its device" : device) +
               ")";
    }
};

const EngineSpec *engine_of(const Manifest &manifest, const std::string &target) {
    for (const EngineSpec &engine : manifest.engines) {
        if (engine.target == target) return &engine;
    }
    return nullptr;
}

void add_ways(std::vector<Choice> &choices, const Manifest &manifest, const std::string &backend,
              const std::string &device) {
    for (const std::string &target : targets_of(backend)) {
        if (const EngineSpec *spec = engine_of(manifest, target)) {
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

std::vector<Choice> choices_for(const Manifest &manifest, const EngineOptions &options, std::string &why) {
    std::vector<Choice> choices;
    if (options.backend != "auto") {
        why = "asked for";
        add_ways(choices, manifest, options.backend, options.device);
        return choices;
    }
    for (const Row &row : kOrder) {
        const std::string kind = options.device.substr(0, options.device.find(':'));
        if (!options.device.empty() && kind != row.kind) continue;
        const bool finds_its_card = std::string(row.backend) == "tensorrt";
        add_ways(choices, manifest, row.backend,
                 !options.device.empty() ? options.device
                 : finds_its_card        ? ""
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
                                     "; this library runs single-network bundles: use the Python runtime for others");
}

} // namespace

Selected open_best(const Bundle &bundle, const EngineOptions &options) {
    const Manifest &manifest = bundle.manifest;
    const std::string image = tensor(manifest.inputs, "composite"), mask = tensor(manifest.inputs, "mask"),
                      output = tensor(manifest.outputs, "output");
    if (options.backend != "auto") (void)targets_of(options.backend);
    std::string why, skipped, notes;
    for (const Choice &choice : choices_for(manifest, options, why)) {
        const std::string version = need(*choice.spec, "version"),
                          capability = need(*choice.spec, "compute_capability");
        hrt_module_request request = {};
        request.target = choice.spec->target.c_str();
        request.precision = choice.spec->precision.c_str();
        request.device = choice.device.empty() ? nullptr : choice.device.c_str();
        request.cache = options.cache;
        request.image = image.c_str();
        request.mask = mask.c_str();
        request.output = output.c_str();
        request.need_version = version.empty() ? nullptr : version.c_str();
        request.need_compute_capability = capability.empty() ? nullptr : capability.c_str();
        request.need_compatible = need(*choice.spec, "version_compatible") == "true" ? 1 : 0;
        request.threads = options.threads;
        request.streams = std::max(1, options.streams);

        std::string reason;
        const Module *module = Module::find(module_name(choice, version), options.module_folder, reason);
        if (module != nullptr) reason = module->why_not(request);
        if (reason.empty()) {
            const std::string file = bundle.verified_file(*choice.spec); // an altered file is no reason to take another
            request.file = file.c_str();
            try {
                Selected selected{std::make_shared<Engine>(*module, request), choice.spec, choice.backend, ""};
                notes += "opened " + choice.label() + ": " + why + "\n";
                log(HRT_LOG_INFO, "opened " + bundle.path + " with " + choice.label() + ": " + why);
                selected.notes = std::move(notes);
                return selected;
            } catch (const Error &error) {
                reason = error.what();
            }
        }
        log(HRT_LOG_INFO, "skipped " + choice.label() + ": " + reason);
        notes += "skipped " + choice.label() + ": " + reason + "\n";
        skipped += (skipped.empty() ? "" : "; ") + choice.label() + ": " + reason;
    }
    if (skipped.empty()) {
        std::string found;
        for (const EngineSpec &engine : manifest.engines) {
            found += (found.empty() ? "" : ", ") + engine.target + " " + engine.precision;
        }
        throw Error(HRT_NO_BACKEND, bundle.path + " has no engine for backend " + options.backend +
                                        (options.device.empty() ? "" : " on device " + options.device) + ": found " +
                                        (found.empty() ? "none" : found) + "; build one with --targets");
    }
    throw Error(HRT_NO_BACKEND, bundle.path + " cannot run as asked (backend " + options.backend + "): " + skipped);
}

} // namespace hrt
