#include "fit.hpp"

#include "resample.hpp"

#include <algorithm>
#include <cmath>

namespace hrt {
namespace {

constexpr double kSmallestSide = 32;
constexpr double kLongest = 4; // times the working size: what a strip of a picture is stretched to at most
constexpr float kThreshold = 0.5F;
constexpr int kCell = 4; // the networks' mask pyramid keeps every fourth row and column, counted from 0

bool on_the_pyramid(const std::vector<float> &mask, Size size) {
    for (int y = 0; y < size.height; y += kCell) {
        for (int x = 0; x < size.width; x += kCell) {
            if (mask[static_cast<std::size_t>(y) * static_cast<std::size_t>(size.width) +
                     static_cast<std::size_t>(x)] != 0)
                return true;
        }
    }
    return false;
}

// Spreads each pixel over the cell of 4x4 that it lies in.
std::vector<float> spread(const std::vector<float> &mask, Size size) {
    std::vector<float> out = mask;
    const auto width = static_cast<std::size_t>(size.width), height = static_cast<std::size_t>(size.height);
    for (std::size_t i = 0; i < mask.size(); ++i) {
        if (mask[i] == 0) continue;
        const std::size_t top = i / width / kCell * kCell, left = i % width / kCell * kCell;
        for (std::size_t y = top; y < std::min(top + kCell, height); ++y) {
            for (std::size_t x = left; x < std::min(left + kCell, width); ++x) out[y * width + x] = 1;
        }
    }
    return out;
}

} // namespace

Size network_size(const Manifest &manifest, int width, int height) {
    if (manifest.size) return {static_cast<int>(manifest.size->second), static_cast<int>(manifest.size->first)};
    const auto multiple = static_cast<double>(manifest.size_multiple),
               working = static_cast<double>(manifest.working_size);
    const double aspect = std::sqrt(static_cast<double>(height) / width);
    const auto rounded = [&](double side) {
        side = std::min(std::max(side, kSmallestSide), kLongest * working);
        return static_cast<int>(std::max(1.0, std::floor(side / multiple + 0.5)) * multiple);
    };
    return {rounded(working / aspect), rounded(working * aspect)};
}

Fitted fit(const Picture &picture, const Mask &mask, Size size, bool binary_mask, int threads) {
    constexpr float to_unit = 1.0F / 255.0F;
    Fitted fitted{size, {}, {}, {}};
    const std::vector<float> pixels =
        resample({picture.data, picture.width, picture.height, picture.stride, picture.step}, 3, size.width,
                 size.height, threads);
    const std::size_t plane = pixels.size() / 3;
    fitted.image.resize(pixels.size());
    for (std::size_t c = 0; c < 3; ++c) {
        const std::size_t from = picture.red == 0 ? c : 2 - c;
        float *out = fitted.image.data() + c * plane;
        for (std::size_t i = 0; i < plane; ++i) out[i] = pixels[i * 3 + from] * to_unit;
    }
    fitted.mask = resample({mask.data, mask.width, mask.height, mask.stride, 1}, 1, size.width, size.height, threads);
    for (float &value : fitted.mask) value = std::clamp(value * to_unit, 0.F, 1.F);
    fitted.network_mask = binary_mask ? binary(fitted.mask, size) : fitted.mask;
    return fitted;
}

std::vector<float> binary(const std::vector<float> &coverage, Size size) {
    const float most = *std::max_element(coverage.begin(), coverage.end());
    const float threshold = most >= kThreshold ? kThreshold : most / 2;
    std::vector<float> mask(coverage.size());
    bool any = false;
    for (std::size_t i = 0; i < mask.size(); ++i) {
        mask[i] = coverage[i] >= threshold ? 1.F : 0.F;
        any = any || mask[i] != 0;
    }
    return any && !on_the_pyramid(mask, size) ? spread(mask, size) : mask;
}

} // namespace hrt
