// What the TensorRT module decides by itself: which plans a machine takes, and how much of their weights stays on the
// GPU. The same questions as in tests/runtime/backends/tensorrt.
#include "backends/tensorrt/budget.hpp"
#include "backends/tensorrt/needs.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

using namespace hrt::tensorrt;

TEST_CASE("a plan needs the release that built it, or a later one where it is compatible") {
    CHECK(version_fits("10.3.0", "10.3.0", false));
    CHECK(version_fits("10.3", "10.3.0", false));
    CHECK_FALSE(version_fits("10.3.0", "10.4.0", false));
    CHECK(version_fits("10.3.0", "10.4.0", true));
    CHECK(version_fits("8.6.1", "10.16.1", true));
    CHECK_FALSE(version_fits("10.3.0", "10.2.9", true));
}

TEST_CASE("a plan names the GPUs that it is for") {
    CHECK(capability_fits("8.9", {8, 9}));
    CHECK(capability_fits("8.6, 8.9", {8, 9}));
    CHECK_FALSE(capability_fits("8.6", {8, 9}));
    CHECK(capability_fits("8.0+", {9, 0}));
    CHECK_FALSE(capability_fits("8.0+", {7, 5}));
    CHECK_FALSE(capability_fits("none", {7, 5}));
}

TEST_CASE("devices") {
    CHECK(index_of(nullptr) == 0);
    CHECK(index_of("cuda") == 0);
    CHECK(index_of("cuda:3") == 3);
    for (const char *wrong : {"cpu", "cuda:", "cuda:x", "cuda:12345"})
        CHECK_THROWS_AS(index_of(wrong), std::runtime_error);
}

TEST_CASE("weights stay on the GPU where they take less than three quarters of its free memory") {
    constexpr std::uint64_t free = 4'000'000'000;
    bool asked = false;
    const auto automatic = [&] {
        asked = true;
        return std::int64_t{1'000'000'000};
    };
    const Budget all = choose_budget(3'000'000'000, free, "unet.engine", automatic);
    CHECK(all.bytes == 3'000'000'000);
    CHECK(all.note.empty());
    CHECK_FALSE(asked);
    const Budget some = choose_budget(3'000'000'001, free, "unet.engine", automatic);
    CHECK(some.bytes == 1'000'000'000);
    CHECK(some.note ==
          "unet.engine: its weights, 3000 MB, do not fit into the GPU's free 4000 MB: 1000 MB stay there, the rest "
          "is streamed, which is slower; free the GPU's memory for full speed");
}
