// Pictures and masks in device memory, as callers give them, checked. The twin of runtime/kernels/frames.py.
#pragma once

#include "driver.hpp"
#include "harmonyrt_device.h"
#include "structures.hpp"

namespace hrt::device {

// What a caller gave, as the kernels take it; the size at the network is not filled in. Structs are of this library's
// size. Throws Error (HRT_INVALID_ARGUMENT).
Picture checked_picture(const hrt_device_picture &composite, const hrt_device_mask &mask,
                        const hrt_device_picture &output, const hrt_device_options &options);

// Throws Error (HRT_INVALID_ARGUMENT): some of it lies elsewhere than on this GPU.
void check_places(const Picture &picture, const Device &device);

// Throws Error (HRT_INVALID_ARGUMENT): a matrix, range or number of bits that is not known.
hrt_colour_space colour_space_of(int matrix, int range, int bits);

} // namespace hrt::device
