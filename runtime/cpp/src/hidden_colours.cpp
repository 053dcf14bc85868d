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

// The product of two levels, 255 = 1, rounded.
std::uint32_t times(std::uint32_t level, std::uint32_t other) { return (level * other + 127U) / 255U; }

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

Seen seen(const Picture &picture, const Mask &mask, const Mask *match) {
    const auto width = static_cast<std::size_t>(picture.width), height = static_cast<std::size_t>(picture.height);
    const auto step = static_cast<std::size_t>(picture.step);
    const auto alpha_of = [&](const std::uint8_t *pixel) { return step == 4 ? std::uint32_t{pixel[3]} : 255U; };
    Seen result{{}, {}, {}, {}, false, false};
    result.colours.resize(width * height * 3);
    result.levels.resize(width * height);
    Sums background, foreground;
    std::uint64_t inside = 0, outside = 0;
    for (int y = 0; y < picture.height; ++y) {
        const std::uint8_t *p = picture.row(y), *m = mask.row(y), *chosen = match == nullptr ? nullptr : match->row(y);
        std::uint8_t *level = result.levels.data() + static_cast<std::size_t>(y) * width;
        for (std::size_t x = 0; x < width; ++x, p += step) {
            const std::uint64_t alpha = alpha_of(p);
            const std::uint32_t weight = 255U - m[x];
            background.add(p, alpha * (chosen == nullptr ? weight : times(weight, chosen[x])));
            foreground.add(p, alpha * m[x]);
            if (m[x] > kHalf) inside += alpha;
            if (m[x] == 0) outside += alpha;
            level[x] = alpha > 0 ? m[x] : std::uint8_t{0};
            result.has_foreground = result.has_foreground || level[x] != 0;
        }
    }
    result.has_background = match != nullptr || outside * kNoBackground >= inside;
    const Colour backdrop = background.total != 0 || match != nullptr ? background.mean() : foreground.mean();
    for (int y = 0; y < picture.height; ++y) {
        const std::uint8_t *p = picture.row(y), *m = mask.row(y), *chosen = match == nullptr ? nullptr : match->row(y);
        std::uint8_t *out = result.colours.data() + static_cast<std::size_t>(y) * width * 3;
        for (std::size_t x = 0; x < width; ++x, p += step, out += 3) {
            std::uint32_t shown = alpha_of(p);
            if (chosen != nullptr) shown = times(shown, m[x] > chosen[x] ? m[x] : chosen[x]);
            for (std::size_t c = 0; c < 3; ++c)
                out[c] = static_cast<std::uint8_t>((p[c] * shown + backdrop[c] * (255U - shown) + 127U) / 255U);
        }
    }
    result.picture = {result.colours.data(), picture.width, picture.height, width * 3, 3, picture.red};
    result.mask = {result.levels.data(), picture.width, picture.height, width};
    return result;
}

} // namespace hrt
