#include "controls.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace hrt {
namespace {

constexpr double kMostChroma = 4.0; // largest scale of a chroma: more would mostly show the noise of dark places
constexpr double kLeast = 1e-12;

using Colour = std::array<double, 3>;

double linear(double value) { return value <= 0.04045 ? value / 12.92 : std::pow((value + 0.055) / 1.055, 2.4); }

double stored(double light) { return light <= 0.0031308 ? light * 12.92 : 1.055 * std::pow(light, 1 / 2.4) - 0.055; }

Colour light_of(const float *const levels[3], std::size_t i) {
    Colour light{};
    for (std::size_t c = 0; c < 3; ++c)
        light[c] = linear(std::clamp(static_cast<double>(levels[c][i]) / 255, 0.0, 1.0));
    return light;
}

double luminance(const Colour &light) { return 0.2126 * light[0] + 0.7152 * light[1] + 0.0722 * light[2]; }

// `colour` with another luminance: its chroma is scaled, less where the result would leave the space.
Colour with_luminance(const Colour &colour, double wanted) {
    const double own = luminance(colour);
    double scale = std::min(wanted / std::max(own, kLeast), kMostChroma);
    for (const double light : colour) {
        const double chroma = light - own;
        scale = std::min(scale, (chroma > 0 ? 1 - wanted : wanted) / std::max(std::fabs(chroma), kLeast));
    }
    Colour out{};
    for (std::size_t c = 0; c < 3; ++c) out[c] = std::clamp(wanted + scale * (colour[c] - own), 0.0, 1.0);
    return out;
}

} // namespace

void control(const Controls &controls, const float *const before[3], float *const after[3], std::size_t count) {
    if (controls.strength != 1.F) {
        for (std::size_t c = 0; c < 3; ++c) {
            for (std::size_t i = 0; i < count; ++i)
                after[c][i] = (after[c][i] - before[c][i]) * controls.strength + before[c][i];
        }
    }
    if (controls.keep == Keep::nothing) return;
    for (std::size_t i = 0; i < count; ++i) {
        const Colour old = light_of(before, i), changed = light_of(after, i);
        const Colour kept = controls.keep == Keep::luminance ? with_luminance(changed, luminance(old))
                                                             : with_luminance(old, luminance(changed));
        for (std::size_t c = 0; c < 3; ++c) after[c][i] = static_cast<float>(stored(kept[c]) * 255);
    }
}

} // namespace hrt
