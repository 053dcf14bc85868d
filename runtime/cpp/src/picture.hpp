// Pictures and masks that the caller owns, checked once and then trusted.
#pragma once

#include "harmonyrt.h"

#include <cstddef>
#include <cstdint>

namespace hrt {

// Interleaved 8-bit pixels. Bytes 0 to 2 of a pixel are colours; `red` says where red is (0 or 2), blue is opposite.
struct Picture {
    const std::uint8_t *data;
    int width;
    int height;
    std::size_t stride;
    int step; // bytes of a pixel: 3 or 4
    int red;

    const std::uint8_t *row(int y) const noexcept { return data + static_cast<std::size_t>(y) * stride; }
};

// 8-bit mask, 255 = foreground, pixels side by side.
struct Mask {
    const std::uint8_t *data;
    int width;
    int height;
    std::size_t stride;

    const std::uint8_t *row(int y) const noexcept { return data + static_cast<std::size_t>(y) * stride; }
    std::uint8_t at(int x, int y) const noexcept { return row(y)[x]; }
};

constexpr std::uint64_t kMaxPixels = 200'000'000;

// Throws Error (HRT_INVALID_ARGUMENT): null, a size that cannot be, a stride shorter than a row, too many pixels.
Picture checked_picture(const hrt_picture *picture, std::uint64_t max_pixels);

// The caller's mask, as it is. Throws Error (HRT_INVALID_ARGUMENT): likewise, or not of the composite's size.
hrt_mask checked_mask(const hrt_mask *mask, const Picture &picture, const char *name = "mask");

// Throws Error (HRT_INVALID_ARGUMENT): null, a stride shorter than a row, or an overlap other than the composite
// itself.
std::size_t checked_output_stride(const std::uint8_t *output, std::size_t stride, const Picture &picture);

} // namespace hrt
