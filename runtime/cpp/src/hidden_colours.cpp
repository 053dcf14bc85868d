#include "hidden_colours.hpp"

#include <array>

namespace hrt {
namespace {

constexpr std::uint64_t kNoBackground = 20; // times as much visible foreground as background: its own soft border
constexpr std::uint8_t kHalf = 127;

using Colour = std::array<std::uint32_t, 3>;

struct Sums {
    std::array<std::uint64_t, 3> colours{};
    std::uint64_t total = 0;

    void add(const std::uint8_t *pixel, std::uint64_t weight) {
        for (std::size_t c = 0; c < 3; ++c) colours[c] += pixel[c] * weight;
        total += weight;
    }
    Colour mean() const {
        Colour colour{};
        if (total == 0) return colour;
        for (std::size_t c = 0; c < 3; ++c) colour[c] = static_cast<std::uint32_t>((colours[c] + total / 2) / total);
        return colour;
    }
};

} // namespace

bool is_opaque(const Picture &picture) {
    if (picture.step != 4) return true;
    for (int y = 0; y < picture.height; ++y) {
        const std::uint8_t *p = picture.row(y) + 3;
        std::uint8_t least = 255;
        for (int x = 0; x < picture.width; ++x, p += 4) least = least < *p ? least : *p;
        if (least != 255) return false;
    }
    return true;
}

Seen seen(const Picture &picture, const Mask &mask) {
    const auto width = static_cast<std::size_t>(picture.width), height = static_cast<std::size_t>(picture.height);
    Seen result{{}, {}, {}, {}, false, false};
    result.colours.resize(width * height * 3);
    result.levels.resize(width * height);
    Sums background, foreground;
    std::uint64_t inside = 0, outside = 0;
    for (int y = 0; y < picture.height; ++y) {
        const std::uint8_t *p = picture.row(y), *m = mask.row(y);
        std::uint8_t *level = result.levels.data() + static_cast<std::size_t>(y) * width;
        for (std::size_t x = 0; x < width; ++x, p += 4) {
            const std::uint64_t alpha = p[3];
            background.add(p, alpha * (255U - m[x]));
            foreground.add(p, alpha * m[x]);
            if (m[x] > kHalf) inside += alpha;
            if (m[x] == 0) outside += alpha;
            level[x] = alpha > 0 ? m[x] : std::uint8_t{0};
            result.has_foreground = result.has_foreground || level[x] != 0;
        }
    }
    result.has_background = outside * kNoBackground >= inside;
    const Colour backdrop = background.total != 0 ? background.mean() : foreground.mean();
    for (int y = 0; y < picture.height; ++y) {
        const std::uint8_t *p = picture.row(y);
        std::uint8_t *out = result.colours.data() + static_cast<std::size_t>(y) * width * 3;
        for (std::size_t x = 0; x < width; ++x, p += 4, out += 3) {
            for (std::size_t c = 0; c < 3; ++c)
                out[c] =
                    static_cast<std::uint8_t>((p[c] * std::uint32_t{p[3]} + backdrop[c] * (255U - p[3]) + 127U) / 255U);
        }
    }
    result.picture = {result.colours.data(), picture.width, picture.height, width * 3, 3, picture.red};
    result.mask = {result.levels.data(), picture.width, picture.height, width};
    return result;
}

} // namespace hrt
