// What the values of a mask mean: levels from black to white, labels, or video range. The twin of
// runtime/images/mask_levels.py, for 8 bits; docs/masks.md.
#pragma once

#include "harmonyrt.h"

#include <array>
#include <cstdint>

namespace hrt {

// How often each value occurs.
using Counts = std::array<std::uint64_t, 256>;

struct Levels {
    std::array<std::uint8_t, 256> table; // from values to levels, 255 = foreground
    std::uint32_t notes;                 // HRT_NOTE_..., 0 for black, white and grey
};

// `full` is the value that the caller calls full foreground: 255 asks for the rule, anything else is taken at its word.
Levels levels_for(const Counts &counts, int full);

// One value is the foreground and everything else is not. Throws Error (HRT_INVALID_ARGUMENT): it occurs nowhere.
Levels levels_of_label(const Counts &counts, int label);

} // namespace hrt
