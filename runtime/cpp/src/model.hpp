// A bundle that is open: what a model's sessions share.
#pragma once

#include "bundle.hpp"
#include "sampling_schedule.hpp"
#include "select.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace hrt {

// Immutable once it is open.
struct Model {
    // Throws Error: no bundle, a damaged one, a family that this library does not know, or nothing runs it here.
    Model(const std::string &path, const EngineOptions &options, std::uint64_t max_pixels);

    // The engine that does all of the work, or nearly all of it.
    const Selected &main() const { return schedule ? parts[1] : parts[0]; }

    // What the caller gave as the cache's folder; null for the user's.
    const char *cache() const { return cache_folder ? cache_folder->c_str() : nullptr; }

    // Throws Error (HRT_UNSUPPORTED) in a forked child of the process that opened it.
    void check_not_forked() const;

    Bundle bundle;
    std::optional<SamplingSchedule> schedule; // DiffHarmony's
    std::vector<Selected> parts;              // one network; or DiffHarmony's, in the order in which they run
    std::string notes;                        // of all parts
    std::string device;                       // of main()
    std::string engine_version;
    std::vector<std::int32_t> steps; // that the bundle can run, its own number first; empty for one network
    std::optional<std::string> cache_folder;
    int threads;
    std::uint64_t max_pixels;
    long process; // that opened it
};

} // namespace hrt
