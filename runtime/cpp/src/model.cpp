#include "model.hpp"

#include "diffusion.hpp"
#include "machine.hpp"
#include "status.hpp"

#include <unistd.h>

#include <algorithm>

namespace hrt {
namespace {

std::vector<Part> parts_of(const Bundle &bundle, const std::optional<SamplingSchedule> &schedule) {
    if (!schedule) return {only_part(bundle.manifest)};
    std::vector<Part> parts = diffusion_parts(*schedule);
    for (const Part &part : parts) {
        const auto &engines = bundle.manifest.engines;
        const bool there = std::any_of(engines.begin(), engines.end(),
                                       [&](const EngineSpec &engine) { return engine.component == part.component; });
        if (!there) {
            throw Error(HRT_BAD_BUNDLE,
                        bundle.path + " has no engine of its component " + part.component + "; build the bundle again");
        }
    }
    return parts;
}

// Null for a family with one network. Others than ours are right in themselves: the sentence says so.
std::optional<SamplingSchedule> schedule_of(const Bundle &bundle) {
    const std::string &family = bundle.manifest.model.family;
    if (family == "phnet") return std::nullopt;
    if (family == kDiffHarmony) return sampling_schedule_of(bundle.manifest);
    throw Error(HRT_UNSUPPORTED, bundle.path + " holds the model " + quoted(family) +
                                     ", this library knows phnet and diffharmony; install a newer harmonyrt");
}

std::vector<std::int32_t> steps_of(const std::optional<SamplingSchedule> &schedule) {
    std::vector<std::int32_t> steps;
    if (!schedule) return steps;
    for (const Program &program : schedule->programs) steps.push_back(static_cast<std::int32_t>(program.steps));
    std::sort(steps.begin(), steps.end());
    const auto own = std::find(steps.begin(), steps.end(), schedule->default_steps);
    std::rotate(steps.begin(), own, own + 1);
    return steps;
}

} // namespace

Model::Model(const std::string &path, const EngineOptions &options, std::uint64_t most_pixels)
    : bundle(open_bundle(path)),
      schedule(schedule_of(bundle)),
      steps(steps_of(schedule)),
      cache_folder(options.cache != nullptr ? std::optional<std::string>(options.cache) : std::nullopt),
      threads(options.threads > 0 ? options.threads : cores()),
      max_pixels(most_pixels),
      process(getpid()) {
    for (const Part &part : parts_of(bundle, schedule)) {
        parts.push_back(open_best(bundle, part, options));
        notes += parts.back().notes;
    }
    device = main().engine->device();
    engine_version = main().engine->version();
}

void Model::check_not_forked() const {
    if (process == getpid()) return;
    throw Error(HRT_UNSUPPORTED, bundle.path + " was opened in process " + std::to_string(process) +
                                     " and this is its fork " + std::to_string(getpid()) +
                                     ", which has none of the engine's threads: open the model after the fork, in each "
                                     "process");
}

} // namespace hrt
