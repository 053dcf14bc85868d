// Which backend runs a bundle: the first of choices.hpp that this machine can run; never silently another. The twin of
// runtime/select.py.
#pragma once

#include "bundle.hpp"
#include "choices.hpp"
#include "module.hpp"

#include <memory>
#include <string>

namespace hrt {

// The one network of a bundle that says in its manifest which tensors mean composite, mask and output.
// Throws Error (HRT_UNSUPPORTED): it does not.
Part only_part(const Manifest &manifest);

struct Selected {
    std::shared_ptr<Engine> engine;
    const EngineSpec *spec; // in the bundle that was given
    std::string backend;
    std::string notes;
};

// Opens the engine that was asked for, or with "auto" the first of the order that this machine can run.
// Throws Error: an unknown name, an altered file, or nothing that was asked for can run here.
Selected open_best(const Bundle &bundle, const Part &part, const EngineOptions &options);

} // namespace hrt
