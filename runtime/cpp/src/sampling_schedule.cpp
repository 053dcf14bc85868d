#include "sampling_schedule.hpp"

#include "json_fields.hpp"

#include <algorithm>
#include <cmath>

namespace hrt {
namespace {

constexpr std::int64_t kLargestSide = 1 << 14;
constexpr std::int64_t kMostChannels = 1 << 10;
constexpr std::int64_t kMostSteps = 1000; // time steps that the networks were trained with

using Sides = std::pair<std::int64_t, std::int64_t>; // height, width

Size size_of(const Sides &sides) { return {static_cast<int>(sides.second), static_cast<int>(sides.first)}; }

bool between(std::int64_t value, std::int64_t least, std::int64_t most) { return value >= least && value <= most; }

bool has_sides(const Sides &sides) {
    return between(sides.first, 1, kLargestSide) && between(sides.second, 1, kLargestSide);
}

} // namespace

static void read(const Json &value, const std::string &where, Program &out) {
    Object object(value, where);
    double scale = 0;
    take(object, "steps", out.steps);
    take(object, "rows", out.rows);
    take(object, "initial_scale", scale);
    object.refuse_unknown();
    if (!between(out.steps, 1, kMostSteps) || out.rows.size() != static_cast<std::size_t>(out.steps) ||
        !(std::abs(scale) <= 1e6)) {
        bad(where + " has " + std::to_string(out.steps) + " steps, " + std::to_string(out.rows.size()) +
            " rows and the scale " + std::to_string(scale) + ", which do not make a loop");
    }
    out.initial_scale = static_cast<float>(scale);
}

const Program &SamplingSchedule::program(int steps) const {
    const std::int64_t wanted = steps == 0 ? default_steps : steps;
    std::vector<std::int64_t> counts;
    for (const Program &program : programs) {
        if (program.steps == wanted) return program;
        counts.push_back(program.steps);
    }
    std::sort(counts.begin(), counts.end());
    std::string known;
    for (const std::int64_t count : counts) known += (known.empty() ? "" : ", ") + std::to_string(count);
    throw Error(HRT_UNSUPPORTED, "steps " + std::to_string(wanted) + " are not in this bundle, which has " + known +
                                     "; build it with --steps " + std::to_string(wanted));
}

SamplingSchedule sampling_schedule_of(const Manifest &manifest) {
    const std::string config = "the manifest's model.config";
    const Json *loop = manifest.model.config.find("loop");
    if (loop == nullptr) bad(config + " has no field 'loop'");
    Object object(*loop, config + ".loop");
    Sides inference, output;
    std::int64_t channels = 0, factor = 0, refiner = 0, steps = 0;
    std::string spacing; // for the reader: the engine's tables have it inside
    SamplingSchedule schedule;
    take(object, "inference_size", inference);
    take(object, "output_size", output);
    take(object, "latent_channels", channels);
    take(object, "factor", factor);
    take(object, "conditional", schedule.conditional);
    take(object, "refiner_channels", refiner);
    take(object, "timestep_spacing", spacing);
    take(object, "default_steps", steps);
    take(object, "programs", schedule.programs);
    object.refuse_unknown();

    const bool sizes = has_sides(inference) && has_sides(output) && between(factor, 1, kLargestSide) &&
                       inference.first % factor == 0 && inference.second % factor == 0 &&
                       between(channels, 1, kMostChannels) && (refiner != 0 || output == inference);
    if (!sizes) bad(config + ".loop has sizes that no engines can have");
    if (refiner != 0 && refiner != 3 && refiner != 4 && refiner != 7) {
        bad(config + ".loop.refiner_channels is " + std::to_string(refiner) + ", a refiner has 3, 4 or 7");
    }
    schedule.inference_size = size_of(inference);
    schedule.output_size = size_of(output);
    schedule.latent_size = size_of({inference.first / factor, inference.second / factor});
    schedule.latent_channels = static_cast<int>(channels);
    schedule.refiner_channels = static_cast<int>(refiner);
    const bool known = std::any_of(schedule.programs.begin(), schedule.programs.end(),
                                   [=](const Program &program) { return program.steps == steps; });
    if (!known) bad(config + ".loop has no program for its own " + std::to_string(steps) + " steps");
    schedule.default_steps = static_cast<int>(steps);
    return schedule;
}

} // namespace hrt
