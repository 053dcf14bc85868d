#include "mask_levels.hpp"

#include "status.hpp"

#include <algorithm>
#include <string>

namespace hrt {
namespace {

constexpr int kMostLabels = 16;
constexpr int kFaint = 32; // an eighth of white
constexpr int kNoLabel = 255;
constexpr int kFarBelowWhite = 240;
constexpr int kVideoLow[2] = {12, 20}, kVideoHigh[2] = {230, 240};

std::uint64_t sum(const Counts &counts, int from, int to) { // both included
    std::uint64_t total = 0;
    for (int value = from; value <= to; ++value) total += counts[static_cast<std::size_t>(value)];
    return total;
}

// Whether the values are labels.
bool are_labels(const Counts &counts, int high) {
    if (high <= 1) return high == 1;
    const bool bordered = high == kNoLabel;
    int labels = 0, last = 0;
    for (int value = 1; value < kNoLabel; ++value) {
        if (counts[static_cast<std::size_t>(value)] == 0) continue;
        ++labels;
        last = value;
    }
    if (labels == 0 || labels > kMostLabels || last > kFaint) return false;
    return !bordered || sum(counts, 1, kNoLabel - 1) >= counts[kNoLabel];
}

std::uint8_t scaled(int value, int full) {
    return static_cast<std::uint8_t>((std::min(value, full) * 255 + full / 2) / full);
}

} // namespace

Levels levels_for(const Counts &counts, int full) {
    Levels levels{{}, 0};
    int low = 255, high = 0;
    for (int value = 0; value < 256; ++value) {
        if (counts[static_cast<std::size_t>(value)] == 0) continue;
        low = std::min(low, value);
        high = value;
    }
    if (full == 255 && are_labels(counts, high)) {
        for (int value = 1; value < kNoLabel; ++value) levels.table[static_cast<std::size_t>(value)] = 255;
        levels.notes = HRT_NOTE_LABELS;
        return levels;
    }
    if (full == 255 && low >= kVideoLow[0] && low <= kVideoLow[1] && high >= kVideoHigh[0] && high <= kVideoHigh[1]) {
        for (int value = 0; value < 256; ++value) {
            const int level = value < 16 ? 0 : ((value - 16) * 255 + 109) / 219;
            levels.table[static_cast<std::size_t>(value)] = static_cast<std::uint8_t>(std::min(level, 255));
        }
        levels.notes = HRT_NOTE_VIDEO_RANGE;
        return levels;
    }
    for (int value = 0; value < 256; ++value) levels.table[static_cast<std::size_t>(value)] = scaled(value, full);
    if (full == 255 && high == kNoLabel) {
        const std::uint64_t faint = sum(counts, 1, kFaint), white = counts[kNoLabel];
        if (sum(counts, kFaint + 1, kNoLabel - 1) == 0 && faint > 0 && faint < white && faint * 100 >= white)
            levels.notes |= HRT_NOTE_MIXED_MASK;
    }
    if (high > 0 && levels.table[static_cast<std::size_t>(high)] < kFarBelowWhite) levels.notes |= HRT_NOTE_NOT_WHITE;
    const std::uint8_t lowest = levels.table[static_cast<std::size_t>(low)];
    if (lowest > 0 && lowest < 128) levels.notes |= HRT_NOTE_NOT_BLACK;
    return levels;
}

Levels levels_of_label(const Counts &counts, int label) {
    if (counts[static_cast<std::size_t>(label)] == 0) {
        throw Error(HRT_INVALID_ARGUMENT,
                    "the mask holds no label " + std::to_string(label) + "; give one that it holds");
    }
    Levels levels{{}, 0};
    levels.table[static_cast<std::size_t>(label)] = 255;
    return levels;
}

} // namespace hrt
