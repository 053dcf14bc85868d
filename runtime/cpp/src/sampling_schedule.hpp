// What a DiffHarmony bundle's manifest says about its loop. The twin of runtime/diffusion/schedule.py.
#pragma once

#include "fit.hpp"
#include "manifest.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace hrt {

// One step count that the UNet's engine can run.
struct Program {
    std::int64_t steps = 0;
    std::vector<std::int64_t> rows; // of the engine's step table, one for each step
    float initial_scale = 0;        // what the initial noise is multiplied by
};

struct SamplingSchedule {
    Size inference_size{}; // of stage one
    Size output_size{};    // of the result: the refiner's, or stage one's
    Size latent_size{};
    int latent_channels = 0;
    bool conditional = false; // the decoder sees the composite again (harmony VAE)
    int refiner_channels = 0; // 7, 4 or 3; 0 without a refiner
    int default_steps = 0;
    std::vector<Program> programs;

    // The program for a step count; 0: the bundle's own number.
    // Throws Error (HRT_UNSUPPORTED): the engine has no table for it.
    const Program &program(int steps) const;
};

constexpr const char *kDiffHarmony = "diffharmony";

// Throws Error (HRT_BAD_BUNDLE): a schedule that cannot be read, or that no build writes.
SamplingSchedule sampling_schedule_of(const Manifest &manifest);

} // namespace hrt
