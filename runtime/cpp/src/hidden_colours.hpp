// What is transparent stays without effect: the network sees a composite with alpha over a flat backdrop. The twin of
// runtime/images/hidden_colours.py; docs/full_resolution.md.
#pragma once

#include "picture.hpp"

#include <cstdint>
#include <vector>

namespace hrt {

// A composite as it is seen. Its picture and mask point into its storage.
struct Seen {
    std::vector<std::uint8_t> colours, levels;
    Picture picture;     // three bytes a pixel, over the backdrop
    Mask mask;           // the caller's, and 0 where nothing is visible: there the bytes stay
    bool has_foreground; // whether any of it is visible
    bool has_background; // likewise; true wherever a part of it was chosen
};

// Whether any pixel lets something through. Pictures without alpha are opaque.
bool is_opaque(const Picture &picture);

// `match`: the part of the background that counts; the rest is hidden as if it were transparent. NULL: all of it
// counts.
Seen seen(const Picture &picture, const Mask &mask, const Mask *match = nullptr);

} // namespace hrt
