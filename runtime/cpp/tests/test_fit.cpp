// Fitting to the network: what resampling and the mask's threshold must keep.
#include "fit.hpp"

#include "resample.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace {

std::vector<std::uint8_t> ramp(int width, int height, std::size_t step) {
    std::vector<std::uint8_t> data(static_cast<std::size_t>(width * height) * step, 77);
    for (int i = 0; i < width * height; ++i)
        data[static_cast<std::size_t>(i) * step] = static_cast<std::uint8_t>(i * 7 % 256);
    return data;
}

} // namespace

TEST_CASE("weights sum to one and lie inside the line") {
    for (const auto &[source, target] :
         {std::pair(1, 1), {1, 9}, {9, 1}, {64, 64}, {100, 33}, {33, 100}, {4000, 256}}) {
        const hrt::Line line(source, target);
        REQUIRE(line.size() == target);
        for (int i = 0; i < target; ++i) {
            const hrt::Taps taps = line[i];
            CHECK(taps.first >= 0);
            CHECK(taps.first + taps.count <= source);
            CHECK(std::accumulate(taps.weights, taps.weights + taps.count, 0.0) == doctest::Approx(1.0).epsilon(1e-5));
            if (source == target) CHECK((taps.count == 1 && taps.first == i));
        }
    }
}

TEST_CASE("a flat picture stays flat at every size") {
    const std::vector<std::uint8_t> flat(37 * 23 * 3, 201);
    for (const int side : {1, 2, 5, 23, 37, 64, 200}) {
        const auto out = hrt::resample({flat.data(), 37, 23, 37 * 3, 3}, 3, side, side + 1, 2);
        CHECK(out.size() == static_cast<std::size_t>(side * (side + 1) * 3));
        CHECK(std::all_of(out.begin(), out.end(), [](float v) { return std::fabs(v - 201.F) < 1e-3F; }));
    }
}

TEST_CASE("strides, steps and threads do not change the result") {
    const auto packed = ramp(31, 600, 1);
    std::vector<std::uint8_t> loose(600 * 200, 9);
    for (std::size_t y = 0; y < 600; ++y) {
        for (std::size_t x = 0; x < 31; ++x) loose[y * 200 + x * 4] = packed[y * 31 + x];
    }
    const auto once = hrt::resample({packed.data(), 31, 600, 31, 1}, 1, 8, 8, 1);
    CHECK(once == hrt::resample({loose.data(), 31, 600, 200, 4}, 1, 8, 8, 1));
    CHECK(once == hrt::resample({packed.data(), 31, 600, 31, 1}, 1, 8, 8, 3));
}

TEST_CASE("a foreground that is too small for the threshold is kept") {
    std::vector<float> coverage(16 * 16, 0.F);
    coverage[5 * 16 + 6] = 0.1F;
    const auto mask = hrt::binary(coverage, {16, 16});
    float total = 0;
    for (const float value : mask) total += value;
    CHECK(total == 16); // the pixel's cell of 4x4, so that every level of the pyramid sees it
    CHECK(mask[4 * 16 + 4] == 1);
    coverage[8 * 16 + 8] = 0.9F;
    const auto other = hrt::binary(coverage, {16, 16});
    CHECK(other[5 * 16 + 6] == 0);
    CHECK(other[8 * 16 + 8] == 1);
}

TEST_CASE("engines of any size keep the aspect ratio and the area") {
    hrt::Manifest manifest;
    manifest.working_size = 256;
    manifest.size_multiple = 8;
    CHECK(hrt::network_size(manifest, 640, 640) == hrt::Size{256, 256});
    const hrt::Size wide = hrt::network_size(manifest, 1600, 400);
    CHECK(wide.width == 512);
    CHECK(wide.height == 128);
    const hrt::Size strip = hrt::network_size(manifest, 100000, 1);
    CHECK(strip.width == 1024);
    CHECK(strip.height == 32);
    manifest.size = {64, 128};
    CHECK(hrt::network_size(manifest, 5, 5) == hrt::Size{128, 64});
}
