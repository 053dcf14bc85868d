#include "pixels.hpp"

#include <algorithm>

namespace {

constexpr std::uint64_t kMostPixels = 200000000;

// A TIFF header and what follows it, in its own byte order; 0 beyond the end.
struct Tiff {
    const std::uint8_t *data;
    std::size_t size;
    bool big;

    std::uint32_t number(std::size_t at, std::size_t bytes) const {
        if (at > size || bytes > size - at) return 0;
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | data[at + (big ? i : bytes - 1 - i)];
        return value;
    }
};

constexpr std::uint32_t kOrientation = 0x0112, kShort = 3; // EXIF 2.3, 4.6.4

} // namespace

int exif_orientation(const std::uint8_t *data, std::size_t size) {
    if (size < 8 || data[0] != data[1] || (data[0] != 'I' && data[0] != 'M')) return 1;
    const Tiff tiff{data, size, data[0] == 'M'};
    const std::size_t directory = tiff.number(4, 4);
    const std::uint32_t entries = tiff.number(directory, 2);
    for (std::uint32_t i = 0; i < entries; ++i) {
        const std::size_t entry = directory + 2 + std::size_t{12} * i;
        if (entry > size) return 1;
        if (tiff.number(entry, 2) != kOrientation) continue;
        const std::uint32_t value = tiff.number(entry + 8, tiff.number(entry + 2, 2) == kShort ? 2 : 4);
        return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
    return 1;
}

void check_size(const std::string &path, std::uint64_t width, std::uint64_t height) {
    if (width * height <= kMostPixels) return;
    refuse_file(path, "has " + std::to_string(width) + " x " + std::to_string(height) +
                          " pixels, more than the limit of 200 megapixels; scale it down");
}

std::uint8_t luma_of(const std::uint8_t *rgb) {
    return static_cast<std::uint8_t>((rgb[0] * 19595U + rgb[1] * 38470U + rgb[2] * 7471U + 32768U) >> 16);
}

Bytes narrowed(const std::vector<std::uint16_t> &wide) {
    Bytes result(wide.size());
    std::transform(wide.begin(), wide.end(), result.begin(),
                   [](auto value) { return static_cast<std::uint8_t>((value * 255U + 32767U) / 65535U); });
    return result;
}

void look_up(Pixels &pixels) {
    if (pixels.palette.empty()) return;
    bool alpha = false;
    for (std::uint8_t index : pixels.samples) alpha = alpha || pixels.palette[4U * index + 3] != 255;
    const std::size_t channels = alpha ? 4 : 3;
    Bytes colours(pixels.samples.size() * channels);
    for (std::size_t i = 0; i < pixels.samples.size(); ++i)
        std::copy_n(&pixels.palette[4U * pixels.samples[i]], channels, &colours[i * channels]);
    pixels.samples = std::move(colours);
    pixels.channels = static_cast<int>(channels);
}
