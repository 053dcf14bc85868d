// Which engines of a bundle are tried, by which backends, and in which order: as asked, or by a documented one. The
// twin of runtime/choices.py.
#pragma once

#include "bundle.hpp"
#include "cpu_speed.hpp"

#include <optional>
#include <string>
#include <vector>

namespace hrt {

struct EngineOptions {
    std::string backend = "auto";
    std::string device;    // "": any
    std::string target;    // "": any
    std::string precision; // "": any but INT8 unless nothing else can run; "fastest": any
    const char *cache = nullptr;
    std::string module_folder;
    int threads = 0;
    int streams = 1;
    int pin_threads = 0;                       // 1: yes, -1 or 0: no
    std::string provider;                      // of ONNX Runtime on a GPU; "": its CUDA provider
    std::vector<std::string> provider_options; // names and values in turn
};

// One network of a bundle, and the tensors that its engine is run with.
struct Part {
    std::string component; // "": the bundle has one network
    std::vector<std::string> inputs;
    std::vector<std::string> outputs;
};

// One engine of a bundle with the backend that is to run it.
struct Choice {
    std::string backend;
    const EngineSpec *spec;
    std::string device; // "": the backend's own

    std::string label() const; // "onnxruntime (onnx fp32, cpu)"
};

using Engines = std::vector<const EngineSpec *>;

inline constexpr const char *kFastest = "fastest"; // asked for as a precision: any, by speed alone

// Which targets a backend opens, the one it prefers first. Throws Error (HRT_INVALID_ARGUMENT): no such backend.
std::vector<std::string> targets_of(const std::string &backend);

// Nothing takes it unasked as long as another precision can run.
bool only_asked_for(const EngineSpec &engine);

// The engines of a part that are of a target and a precision, in the manifest's order; "" is any.
Engines engines_of(const Manifest &manifest, const Part &part, const std::string &target, const std::string &precision);

// Throws Error: there is no such precision, or the bundle, which chooses one for each component, is not of it.
void check_precision(const Bundle &bundle, const Part &part, const std::string &precision);

// Whether what was measured of precisions counts.
bool by_rates(const EngineOptions &options);

// What was measured of this CPU, or is now; none where it decides nothing.
std::optional<CpuSpeed> speed_for(const Manifest &manifest, const Part &part, const EngineOptions &options);

// What to say of an engine that was measured slower than FP32 here; "" for nothing.
std::string slower_than_fp32(const Choice &choice, const std::optional<CpuSpeed> &speed, const Engines &engines);

// What open_best() tries, in its order, and why the first one comes first. `speed` is what was measured of this CPU.
std::vector<Choice> choices_for(const Manifest &manifest, const Part &part, const EngineOptions &options,
                                const std::optional<CpuSpeed> &speed, std::string &why);

} // namespace hrt
