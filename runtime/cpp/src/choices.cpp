#include "choices.hpp"

#include "machine.hpp"
#include "status.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <iterator>
#include <limits>
#include <set>
#include <tuple>

namespace hrt {
namespace {

// The order of "auto".
struct Row {
    const char *backend;
    const char *kind;
};
constexpr Row kOrder[] = {{"tensorrt", "cuda"}, {"onnxruntime", "cuda"}, {"openvino", "cpu"}, {"onnxruntime", "cpu"}};

constexpr const char *kPrecisions[] = {"fp32", "fp16", "bf16", "int8"}; // the most exact first
constexpr double kNever = std::numeric_limits<double>::infinity();

// What was measured of this CPU, and what of it decides here.
struct Measured {
    const CpuSpeed *speed = nullptr;
    bool of_kernels = true;    // `build --tune` has timed engines with and without native kernels whole
    bool of_precisions = true; // on the CPU, where the precision is free

    // Whether what stands by an engine of native kernels goes before it.
    bool plain_first(const std::string &backend, const std::string &precision, const Engines &among) const {
        if (backend != "openvino" || !of_kernels || speed == nullptr) return false;
        return std::any_of(among.begin(), among.end(), [&](const EngineSpec *engine) {
            const auto &made = engine->rewrites;
            return engine->precision == precision && !engine->is_native() &&
                   speed->native_is_slower(precision, std::find(made.begin(), made.end(), "winograd") != made.end());
        });
    }
};

// What the engines of one target are sorted by. On a CPU, one for the native kernels goes before the plain one that
// stands by it, unless it was measured slower.
std::tuple<double, std::ptrdiff_t, bool> place_of(const EngineSpec &engine, const Measured &measured,
                                                  const std::string &backend, bool on_cpu, const Engines &same) {
    const auto exactness = std::find(std::begin(kPrecisions), std::end(kPrecisions), engine.precision) - kPrecisions;
    const bool later = engine.is_native() != (on_cpu && !measured.plain_first(backend, engine.precision, same));
    const CpuSpeed *speed = measured.of_precisions ? measured.speed : nullptr;
    if (speed == nullptr) return {0, exactness, later};
    // ONNX Runtime computes FP16 graphs in FP32 on a CPU, whatever the CPU could do.
    const bool in_fp32 = backend == "onnxruntime" && engine.precision == "fp16";
    const double share = engine.precision == "fp32" ? 1 : CpuSpeed::worthwhile; // what is no faster stays exact
    return {speed->best(in_fp32 ? "fp32" : engine.precision).value_or(kNever) / share, exactness, later};
}

// The engines that a backend opens: of the target that it prefers, TensorRT of each that it has.
void add_ways(std::vector<Choice> &choices, const Engines &engines, const std::string &backend,
              const std::string &device, bool on_cpu, const Measured &measured) {
    for (const std::string &target : targets_of(backend)) {
        Engines same;
        std::copy_if(engines.begin(), engines.end(), std::back_inserter(same),
                     [&](const EngineSpec *engine) { return engine->target == target; });
        const Engines unsorted = same;
        const auto place = [&](const EngineSpec *engine) {
            return place_of(*engine, measured, backend, on_cpu, unsorted);
        };
        std::stable_sort(same.begin(), same.end(),
                         [&](const EngineSpec *a, const EngineSpec *b) { return place(a) < place(b); });
        for (const EngineSpec *engine : same) choices.push_back({backend, engine, device});
        if (!same.empty() && backend != "tensorrt") return; // OpenVINO reads ONNX only where the bundle has no IR
    }
}

// Where a plain engine goes before one for the native kernels: why.
std::string without_kernels(const std::vector<Choice> &choices, const Measured &measured) {
    if (choices.empty()) return "";
    const std::string &backend = choices.front().backend, &precision = choices.front().spec->precision;
    Engines same;
    bool has_kernels = false;
    for (const Choice &choice : choices) {
        if (choice.backend != backend) continue;
        same.push_back(choice.spec);
        has_kernels = has_kernels || (choice.spec->is_native() && choice.spec->precision == precision);
    }
    if (!has_kernels || !measured.plain_first(backend, precision, same)) return "";
    return "; in " + precision + " the native kernels are measured slower on this CPU";
}

bool is_of(const Measurement &measured, const Choice &choice) {
    return measured.backend == choice.backend && measured.target == choice.spec->target &&
           (measured.precision.empty() || measured.precision == choice.spec->precision);
}

std::string in_tenths(double value) {
    char text[64];
    std::snprintf(text, sizeof text, "%.1f", value);
    return text;
}

// What `build --tune` measured fastest here comes first; the others in the order that they have.
std::string put_tuned_first(const Manifest &manifest, std::vector<Choice> &choices, int asked_threads,
                            const CpuSpeed *speed) {
    const std::string here = manifest.measurements.empty() ? "" : machine_name();
    const int threads = asked_threads > 0 || manifest.measurements.empty() ? asked_threads : cores();
    std::vector<const Measurement *> usable;
    for (const Measurement &m : manifest.measurements) {
        if (m.machine == here && m.threads == threads) usable.push_back(&m);
    }
    std::stable_sort(usable.begin(), usable.end(),
                     [](const Measurement *a, const Measurement *b) { return a->milliseconds < b->milliseconds; });
    for (const Measurement *measured : usable) {
        const auto rest = std::stable_partition(choices.begin(), choices.end(),
                                                [&](const Choice &choice) { return is_of(*measured, choice); });
        if (rest != choices.begin()) {
            return "measured fastest here: " + in_tenths(measured->milliseconds) + " ms with " +
                   std::to_string(threads) + " thread" + (threads != 1 ? "s" : "");
        }
    }
    std::set<std::string> on_cpu;
    for (const Choice &choice : choices) {
        if (choice.device == "cpu") on_cpu.insert(choice.spec->precision);
    }
    const bool by_rates = on_cpu.size() > 1 && speed != nullptr;
    return "the documented order" + (by_rates ? "; " + speed->sentence() + ", as measured on this CPU" : "");
}

// The rows of the order, for some of a bundle's engines.
std::vector<Choice> in_order(const Engines &engines, const std::string &device, Measured measured) {
    std::vector<Choice> choices;
    for (const Row &row : kOrder) {
        if (!device.empty() && device.substr(0, device.find(':')) != row.kind) continue;
        const bool finds_its_gpu = std::string(row.backend) == "tensorrt", on_cpu = std::string(row.kind) == "cpu";
        const std::string own = finds_its_gpu ? "" : row.kind;
        measured.of_precisions = on_cpu;
        add_ways(choices, engines, row.backend, device.empty() ? own : device, on_cpu, measured);
    }
    return choices;
}

} // namespace

std::string Choice::label() const {
    return backend + " (" + spec->label() + ", " + (device.empty() ? "its device" : device) + ")";
}

std::vector<std::string> targets_of(const std::string &backend) {
    if (backend == "tensorrt") return {"tensorrt", "tensorrt-rtx"};
    if (backend == "onnxruntime") return {"onnx"};
    if (backend == "openvino") return {"openvino", "onnx"};
    throw Error(HRT_INVALID_ARGUMENT,
                "backend " + quoted(backend) + " is not known; give auto or one of tensorrt, onnxruntime, openvino");
}

bool only_asked_for(const EngineSpec &engine) { return engine.precision == "int8"; }

Engines engines_of(const Manifest &manifest, const Part &part, const std::string &target,
                   const std::string &precision) {
    Engines engines;
    for (const EngineSpec &engine : manifest.engines) {
        // A build chooses a precision for each component of its own.
        const bool any = precision.empty() || precision == kFastest || !part.component.empty();
        const bool wanted = (target.empty() || engine.target == target) && (any || engine.precision == precision);
        if (wanted && (part.component.empty() || engine.component == part.component)) engines.push_back(&engine);
    }
    return engines;
}

void check_precision(const Bundle &bundle, const Part &part, const std::string &precision) {
    if (precision.empty() || precision == kFastest) return;
    if (std::find(std::begin(kPrecisions), std::end(kPrecisions), precision) == std::end(kPrecisions)) {
        throw Error(HRT_INVALID_ARGUMENT,
                    "precision " + quoted(precision) + " is not known; give one of fp32, fp16, bf16, int8, or fastest");
    }
    if (!part.component.empty() && precision != bundle.manifest.precision) {
        throw Error(HRT_NO_BACKEND, bundle.path + " is of precision " + bundle.manifest.precision + ", not " +
                                        precision + "; build one with harmonyrt build diffharmony --precisions " +
                                        precision);
    }
}

bool by_rates(const EngineOptions &options) { return options.backend == "auto" || options.precision == kFastest; }

std::optional<CpuSpeed> speed_for(const Manifest &manifest, const Part &part, const EngineOptions &options) {
    if (!options.device.empty() && options.device != "cpu") return std::nullopt;
    const Engines engines = engines_of(manifest, part, options.target, options.precision);
    if (!by_rates(options)) { // a backend that is asked for by name waits for no measurement
        const bool may_choose =
            options.backend == "openvino" &&
            std::any_of(engines.begin(), engines.end(), [](const EngineSpec *engine) { return engine->is_native(); });
        return may_choose ? cpu_speed(options.cache, options.module_folder, false) : std::nullopt;
    }
    const bool decides = std::any_of(engines.begin(), engines.end(), [](const EngineSpec *engine) {
        return (engine->target == "openvino" || engine->target == "onnx") && engine->precision != "fp32";
    });
    if (!decides) return std::nullopt;
    const bool unlikely = options.device.empty() && may_have_gpu(); // not worth the wait
    return cpu_speed(options.cache, options.module_folder, !unlikely);
}

std::string slower_than_fp32(const Choice &choice, const std::optional<CpuSpeed> &speed, const Engines &engines) {
    const auto times = speed && choice.device == "cpu" ? speed->against_fp32(choice.spec->precision) : std::nullopt;
    if (!times || *times <= 1 / CpuSpeed::worthwhile) return "";
    const bool has_fp32 = std::any_of(engines.begin(), engines.end(),
                                      [](const EngineSpec *engine) { return engine->precision == "fp32"; });
    char text[64];
    std::snprintf(text, sizeof text, "%.2f", *times);
    return "measured on this CPU, " + choice.spec->precision + " takes " + text +
           " times the time of fp32: " + (has_fp32 ? "its fp32 engine" : "an fp32 bundle") + " is faster here";
}

std::vector<Choice> choices_for(const Manifest &manifest, const Part &part, const EngineOptions &options,
                                const std::optional<CpuSpeed> &speed, std::string &why) {
    const bool tuned_here = std::any_of(manifest.measurements.begin(), manifest.measurements.end(),
                                        [](const Measurement &m) { return m.machine == machine_name(); });
    Measured measured = {speed ? &*speed : nullptr, !tuned_here, true};
    const Engines engines = engines_of(manifest, part, options.target, options.precision);
    Engines unasked, others;
    std::partition_copy(engines.begin(), engines.end(), std::back_inserter(unasked), std::back_inserter(others),
                        [&](const EngineSpec *engine) { return options.precision.empty() && only_asked_for(*engine); });
    std::vector<Choice> choices, last;
    if (options.backend != "auto") {
        why = "asked for";
        const bool on_cpu = options.device.empty() || options.device == "cpu";
        measured.of_precisions = on_cpu && options.precision == kFastest;
        add_ways(choices, engines, options.backend, options.device, on_cpu, measured);
        if (options.backend == "tensorrt" || choices.empty()) return choices;
        const std::string first = choices.front().spec->precision;
        const auto other = std::find_if(choices.begin(), choices.end(),
                                        [&](const Choice &choice) { return choice.spec->precision != first; });
        choices.erase(on_cpu ? other : choices.begin() + 1, choices.end());
        why += without_kernels(choices, measured);
        return choices;
    }
    choices = in_order(others, options.device, measured);
    last = in_order(unasked, options.device, measured);
    if (choices.empty()) choices.swap(last);
    why = put_tuned_first(manifest, choices, options.threads, measured.speed);
    why += without_kernels(choices, measured);
    if (!last.empty()) why += "; int8 only where it is asked for or nothing else can run";
    choices.insert(choices.end(), last.begin(), last.end());
    return choices;
}

} // namespace hrt
