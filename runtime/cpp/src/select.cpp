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
    const std::vector<const char *> provider_options = pointers(options.provider_options);
    request.provider = or_null(options.provider);
    request.provider_options = provider_options.data();
    request.provider_option_count = static_cast<std::int32_t>(provider_options.size() / 2);
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
    for (const EngineSpec *engine : engines_of(bundle.manifest, part, "", "")) {
        found += (found.empty() ? "" : ", ") + engine->target + " " + engine->precision;
    }
    const bool named = !options.precision.empty() && options.precision != kFastest;
    return bundle.path + " has no engine for backend " + options.backend +
           (options.target.empty() ? "" : ", target " + options.target) +
           (named ? ", precision " + options.precision : "") +
           (options.device.empty() ? "" : " on device " + options.device) + ": found " +
           (found.empty() ? "none" : found) + "; build one with --targets" + (named ? " and --precisions" : "");
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
    check_precision(bundle, part, options.precision);
    const std::optional<CpuSpeed> speed = speed_for(bundle.manifest, part, options);
    const Engines every = engines_of(bundle.manifest, part, "", "");
    const std::string prefix = part.component.empty() ? "" : part.component + ": ";
    std::string why, skipped, notes;
    std::map<std::pair<std::string, std::string>, std::string> no_kernels; // by backend and target
    bool no_memory = false;
    for (const Choice &choice : choices_for(bundle.manifest, part, options, speed, why)) {
        const std::string label = prefix + choice.label();
        std::string reason;
        if (std::shared_ptr<Engine> engine = try_open(bundle, part, choice, options, reason, no_memory)) {
            const bool another =
                std::any_of(every.begin(), every.end(), [](const EngineSpec *one) { return !only_asked_for(*one); });
            if (options.precision.empty() && only_asked_for(*choice.spec) && another) {
                log(HRT_LOG_WARNING, bundle.path + ": " + choice.spec->precision +
                                         " runs unasked, since no other engine of it can run here");
            }
            const std::string slow = by_rates(options) ? slower_than_fp32(choice, speed, every) : "";
            if (!slow.empty()) {
                why += "; " + slow;
                log(HRT_LOG_WARNING, bundle.path + ": " + slow);
            }
            notes += prefix + "opened " + choice.label() + ": " + why + "\n";
            if (!engine->note().empty()) {
                notes += prefix + engine->note() + "\n";
                log(HRT_LOG_WARNING, prefix + engine->note());
            }
            const auto native = no_kernels.find({choice.backend, choice.spec->target});
            if (native != no_kernels.end() && !choice.spec->is_native()) {
                log(HRT_LOG_WARNING, label + " runs, slower than with native kernels: " + native->second);
            }
            log(HRT_LOG_INFO, "opened " + bundle.path + " with " + label + ": " + why);
            return {std::move(engine), choice.spec, choice.backend, std::move(notes)};
        }
        log(HRT_LOG_INFO, "skipped " + label + ": " + reason);
        notes += prefix + "skipped " + choice.label() + ": " + reason + "\n";
        if (choice.spec->is_native()) no_kernels[{choice.backend, choice.spec->target}] = reason;
        skipped += (skipped.empty() ? "" : "; ") + label + ": " + reason;
    }
    if (skipped.empty()) throw Error(HRT_NO_BACKEND, none_found(bundle, part, options));
    throw Error(no_memory ? HRT_OUT_OF_MEMORY : HRT_NO_BACKEND,
                bundle.path + " cannot run as asked (backend " + options.backend + "): " + skipped);
}

} // namespace hrt
