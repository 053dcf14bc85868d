// The loop's schedule in a DiffHarmony manifest: read as Python reads it, and never trusted.
#include "sampling_schedule.hpp"

#include "diffusion.hpp"
#include "status.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <functional>
#include <string>

namespace {

using nlohmann::json;

json good() {
    std::ifstream file(HRT_VECTORS "/hand-made-kl/manifest.json");
    return json::parse(file);
}

hrt::SamplingSchedule schedule_of(const json &manifest) {
    return hrt::sampling_schedule_of(hrt::parse_manifest(manifest.dump(), "manifest.json"));
}

std::string refusal_after(const std::function<void(json &)> &change) {
    json manifest = good();
    change(manifest["model"]["config"]["loop"]);
    try {
        (void)schedule_of(manifest);
    } catch (const hrt::Error &error) {
        CHECK(error.status() == HRT_BAD_BUNDLE);
        return error.what();
    }
    return "accepted";
}

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

} // namespace

TEST_CASE("a schedule that a build wrote is read") {
    const hrt::SamplingSchedule schedule = schedule_of(good());
    CHECK(schedule.inference_size == hrt::Size{64, 64});
    CHECK(schedule.output_size == hrt::Size{32, 32});
    CHECK(schedule.latent_size == hrt::Size{8, 8});
    CHECK(schedule.refiner_channels == 7);
    CHECK(schedule.program(0).steps == 2);
    CHECK(schedule.program(3).rows == std::vector<std::int64_t>{3, 1, 2});
    CHECK(schedule.program(1).initial_scale == 2.5F);
}

TEST_CASE("steps that the bundle does not have are named with those that it has") {
    try {
        (void)schedule_of(good()).program(4);
        FAIL("accepted");
    } catch (const hrt::Error &error) {
        CHECK(error.status() == HRT_UNSUPPORTED);
        CHECK(std::string(error.what()) ==
              "steps 4 are not in this bundle, which has 1, 2, 3; build it with --steps 4");
    }
}

TEST_CASE("components take what the schedule says") {
    hrt::SamplingSchedule schedule = schedule_of(good());
    CHECK(hrt::diffusion_parts(schedule).size() == 4);
    CHECK(hrt::diffusion_parts(schedule)[2].inputs == std::vector<std::string>{"latents"});
    CHECK(hrt::diffusion_parts(schedule)[3].inputs == std::vector<std::string>{"image", "mask", "composite"});
    schedule.refiner_channels = 4;
    CHECK(hrt::diffusion_parts(schedule)[3].inputs == std::vector<std::string>{"image", "mask"});
    schedule.refiner_channels = 3;
    CHECK(hrt::diffusion_parts(schedule)[3].inputs == std::vector<std::string>{"image"});
    schedule.refiner_channels = 0;
    schedule.conditional = true;
    CHECK(hrt::diffusion_parts(schedule).size() == 3);
    CHECK(hrt::diffusion_parts(schedule)[2].inputs == std::vector<std::string>{"latents", "image", "mask", "noise"});
}

TEST_CASE("a schedule that no build writes is refused") {
    CHECK(refusal_after([](json &) {}) == "accepted");
    CHECK(contains(refusal_after([](json &l) { l = nullptr; }), "model.config.loop should be an object"));
    CHECK(contains(refusal_after([](json &l) { l.erase("factor"); }), "has no field 'factor'"));
    CHECK(contains(refusal_after([](json &l) { l["colour"] = 1; }), "unknown field 'colour'"));
    CHECK(contains(refusal_after([](json &l) { l["conditional"] = 1; }), "should be of type bool"));
    CHECK(contains(refusal_after([](json &l) { l["programs"][0].erase("rows"); }), "programs[0] has no field 'rows'"));
    CHECK(contains(refusal_after([](json &l) { l["programs"][0]["rows"] = {1}; }), "do not make a loop"));
    CHECK(contains(refusal_after([](json &l) { l["programs"][0]["steps"] = -2; }), "do not make a loop"));
    CHECK(contains(refusal_after([](json &l) { l["programs"][0]["initial_scale"] = 1e300; }), "do not make a loop"));
    CHECK(contains(refusal_after([](json &l) { l["programs"] = json::array(); }), "no program for its own 2 steps"));
    CHECK(contains(refusal_after([](json &l) { l["default_steps"] = 9; }), "no program for its own 9 steps"));
    CHECK(contains(refusal_after([](json &l) { l["refiner_channels"] = 5; }), "a refiner has 3, 4 or 7"));
    for (const char *name : {"inference_size", "output_size"}) {
        for (const int side : {0, -64, 1 << 20, 65}) {
            const auto change = [=](json &l) { l[name] = {side, 64}; };
            const bool fits = std::string(name) == "output_size" && side == 65; // a refiner may give any size
            CHECK((refusal_after(change) == "accepted") == fits);
        }
    }
    for (const int value : {0, -1, 1 << 30}) {
        CHECK(contains(refusal_after([=](json &l) { l["factor"] = value; }), "sizes that no engines can have"));
        CHECK(
            contains(refusal_after([=](json &l) { l["latent_channels"] = value; }), "sizes that no engines can have"));
    }
    // Without a refiner stage one's picture is the result.
    CHECK(contains(refusal_after([](json &l) { l["refiner_channels"] = 0; }), "sizes that no engines can have"));
}
