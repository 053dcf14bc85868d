// Pictures fitted to the network. The twin of runtime/fit.py; docs/full_resolution.md has the algorithm.
#pragma once

#include "manifest.hpp"
#include "picture.hpp"

#include <cstdint>
#include <vector>

namespace hrt {

struct Size {
    int width;
    int height;
    bool operator==(const Size &other) const noexcept { return width == other.width && height == other.height; }
};

// The size at which a picture goes through the network: the engine's, or for engines that take any multiple of a number
// an area of about working_size squared at the picture's aspect ratio.
Size network_size(const Manifest &manifest, int width, int height);

// A picture and its mask at the network's size. Planar.
struct Fitted {
    Size size;
    std::vector<float> image;        // 3 x height x width, RGB in [0, 1]
    std::vector<float> mask;         // height x width in [0, 1]: coverage, before any threshold
    std::vector<float> network_mask; // what the network gets: 0 and 1 where it was trained on binary masks
};

Fitted fit(const Picture &picture, const Mask &mask, Size size, bool binary_mask, int threads);

// Threshold at one half, without losing a foreground that is too small for that.
std::vector<float> binary(const std::vector<float> &coverage, Size size);

} // namespace hrt
