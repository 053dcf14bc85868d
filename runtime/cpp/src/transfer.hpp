// The network's edit upsampled to full resolution. The twin of runtime/transfer.py; docs/full_resolution.md.
#pragma once

#include "controls.hpp"
#include "fit.hpp"
#include "picture.hpp"

#include <cstddef>
#include <cstdint>

namespace hrt {

// Writes the harmonized picture: where the mask is 0 the composite's bytes, elsewhere
// floor(composite + mask/255 * (mapped - composite) + 0.5), clipped to 0..255.
// `result` is planar, 3 x height x width at the fitted size, before blending; finite. The mask is not empty.
// The output may be the composite's own buffer. `as_seen`: the network saw the composite itself; false where it saw
// transparent pixels otherwise, so that its picture is none of the composite. `controls`: what becomes of the change
// before it is blended.
void upsample_edit(const Picture &picture, const Mask &mask, const Fitted &fitted, const float *result,
                   std::uint8_t *output, std::size_t output_stride, int threads, bool as_seen = true,
                   const Controls &controls = {});

} // namespace hrt
