// What the values of a mask mean: the cases of 8 bits that Python is held to, too.
#include "mask_levels.hpp"

#include "status.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <map>
#include <string>

namespace {

hrt::Counts counts_of(const nlohmann::json &one) {
    hrt::Counts counts{};
    for (const auto &[value, count] : one["counts"].items()) counts[std::stoul(value)] = count.get<std::uint64_t>();
    return counts;
}

} // namespace

TEST_CASE("masks that are not black and white are understood as in Python") {
    const std::map<std::string, std::uint32_t> notes = {
        {"binary", HRT_NOTE_LABELS},       {"labels", HRT_NOTE_LABELS},       {"video range", HRT_NOTE_VIDEO_RANGE},
        {"not white", HRT_NOTE_NOT_WHITE}, {"not black", HRT_NOTE_NOT_BLACK}, {"mixed", HRT_NOTE_MIXED_MASK}};
    std::ifstream file(HRT_VECTORS "/masks.json");
    const nlohmann::json document = nlohmann::json::parse(file);
    int cases = 0;
    for (const auto &one : document["cases"]) {
        if (one["bits"] != 8) continue;
        INFO(one["name"].get<std::string>());
        const hrt::Levels levels = hrt::levels_for(counts_of(one), 255);
        for (const auto &[value, level] : one["table"].items())
            CHECK(levels.table[std::stoul(value)] == level.get<int>());
        std::uint32_t expected = 0;
        for (const auto &remark : one["remarks"]) expected |= notes.at(remark.get<std::string>());
        CHECK(levels.notes == expected);
        ++cases;
    }
    CHECK(cases >= 20);
}

TEST_CASE("a value that the caller calls full is taken at its word") {
    hrt::Counts counts{};
    counts[0] = 700;
    counts[1] = 300;
    hrt::Levels levels = hrt::levels_for(counts, 1);
    CHECK(levels.notes == 0);
    CHECK(levels.table[1] == 255);
    levels = hrt::levels_for(counts, 200);
    CHECK(levels.notes == HRT_NOTE_NOT_WHITE);
    CHECK(levels.table[100] == 128);
}

TEST_CASE("one label is the foreground, and must be there") {
    hrt::Counts counts{};
    counts[0] = counts[90] = counts[91] = 100;
    const hrt::Levels levels = hrt::levels_of_label(counts, 91);
    CHECK(levels.notes == 0);
    CHECK(levels.table[91] == 255);
    CHECK(levels.table[90] == 0);
    CHECK_THROWS_AS((void)hrt::levels_of_label(counts, 92), hrt::Error);
}
