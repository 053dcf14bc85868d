// How much of the change, and which part of it. The twin of runtime/controls.py and runtime/images/luminance.py;
// docs/controls.md.
#pragma once

#include <cstddef>

namespace hrt {

enum class Keep { nothing, luminance, hue };

struct Controls {
    float strength = 1;
    Keep keep = Keep::nothing;

    bool plain() const noexcept { return strength == 1.F && keep == Keep::nothing; }
};

// Turns `after`, the network's answer, into what these controls make of the change from `before`. Both are planar RGB,
// `count` values in [0, 255] each; `after` may leave that range.
void control(const Controls &controls, const float *const before[3], float *const after[3], std::size_t count);

} // namespace hrt
