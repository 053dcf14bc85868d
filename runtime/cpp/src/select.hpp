// Which backend runs a bundle: as asked, or by a documented order; never silently another. The twin of
// runtime/select.py.
#pragma once

#include "bundle.hpp"
#include "module.hpp"

#include <memory>
#include <string>

namespace hrt {

struct EngineOptions {
    std::string backend = "auto";
    std::string device; // "": any
    const char *cache = nullptr;
    std::string module_folder;
    int threads = 0;
    int streams = 1;
};

struct Selected {
    std::shared_ptr<Engine> engine;
    const EngineSpec *spec; // in the bundle that was given
    std::string backend;
    std::string notes;
};

// Opens the engine that was asked for, or with "auto" the first of the order that this machine can run.
// Throws Error: an unknown name, an altered file, or nothing that was asked for can run here.
Selected open_best(const Bundle &bundle, const EngineOptions &options);

} // namespace hrt
