// The noise is NumPy's stream, and the normal numbers are Python's.
#include "noise.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace {

nlohmann::json vectors() {
    std::ifstream file(HRT_VECTORS "/diffusion.json");
    return nlohmann::json::parse(file)["noise"];
}

std::uint64_t number(const nlohmann::json &text, int base = 10) {
    return std::strtoull(text.get<std::string>().c_str(), nullptr, base);
}

} // namespace

TEST_CASE("the raw stream is numpy.random.Philox, word for word") {
    const nlohmann::json streams = vectors();
    REQUIRE(streams.size() >= 4);
    for (const auto &one : streams) {
        hrt::Philox philox(number(one["seed"]), number(one["sample"]));
        for (const auto &word : one["words"]) CHECK(philox.next() == number(word, 16));
    }
}

TEST_CASE("tensors of normal numbers follow each other as in Python") {
    for (const auto &one : vectors()) {
        hrt::NoiseStream stream(number(one["seed"]), number(one["sample"]));
        for (const auto &tensor : one["tensors"]) {
            const auto expected = tensor.get<std::vector<float>>();
            std::vector<float> found(expected.size());
            stream.normal(found);
            for (std::size_t i = 0; i < found.size(); ++i) {
                const float next = std::nextafter(expected[i], expected[i] + 1);
                CHECK(std::abs(found[i] - expected[i]) <= std::abs(next - expected[i])); // one step of a float32
            }
        }
    }
}
