// Which backend runs a bundle: as asked, or by a documented order; never silently another. The twin of
// runtime/select.py.
#pragma once

#include "bundle.hpp"
#include "cpu_speed.hpp"
#include "module.hpp"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hrt {

struct EngineOptions {
    std::string backend = "auto";
    std::string device; // "": any
    std::string target; // "": any
    std::string precision; // "": any but INT8 unless nothing else can run; "fastest": any
    const char *cache = nullptr;
    std::string module_folder;
    int threads = 0;
    int streams = 1;
    int pin_threads = 0; // 1: yes, -1 or 0: no
    std::string provider; // of ONNX Runtime on a GPU; "": its CUDA provider
    std::vector<std::string> provider_options; // names and values in turn
};

// One network of a bundle, and the tensors that its engine is run with.
struct Part {
    std::string component; // "": the bundle has one network
    std::vector<std::string> inputs;
    std::vector<std::string> outputs;
};

// The one network of a bundle that says in its manifest which tensors mean composite, mask and output.
// Throws Error (HRT_UNSUPPORTED): it does not.
Part only_part(const Manifest &manifest);

struct Selected {
    std::shared_ptr<Engine> engine;
    const EngineSpec *spec; // in the bundle that was given
    std::string backend;
    std::string notes;
};

// One engine of a bundle with the backend that is to run it.
struct Choice {
    std::string backend;
    const EngineSpec *spec;
    std::string device; // "": the backend's own

    std::string label() const; // "onnxruntime (onnx fp32, cpu)"
};

// What open_best() tries, in its order, and why the first one comes first. `speed` is what was measured of this CPU.
std::vector<Choice> choices_for(const Manifest &manifest, const Part &part, const EngineOptions &options,
                                const std::optional<CpuSpeed> &speed, std::string &why);

// Opens the engine that was asked for, or with "auto" the first of the order that this machine can run.
// Throws Error: an unknown name, an altered file, or nothing that was asked for can run here.
Selected open_best(const Bundle &bundle, const Part &part, const EngineOptions &options);

} // namespace hrt
