// A bundle on disk: its manifest, and files whose hashes match it. The twin of runtime/bundle.py.
#pragma once

#include "manifest.hpp"

#include <string>

namespace hrt {

struct Bundle {
    std::string path;
    Manifest manifest;

    // Path of the file that a backend opens, after every file of the engine proved equal to its hash.
    // Throws Error: a file is missing, cut short or altered.
    std::string verified_file(const EngineSpec &engine) const;
};

// Reads a bundle's manifest. Throws Error: no such folder, no manifest, or one that cannot be read.
Bundle open_bundle(const std::string &path);

} // namespace hrt
