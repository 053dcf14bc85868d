// The hand-made DiffHarmony networks of tests/vectors/write_diffusion_vectors.py, computed here: one function for each
// component, from the tensors of a run in their order.
#pragma once

#include "backend_module.h"

#include <algorithm>
#include <cstddef>
#include <vector>

namespace stand_in {

constexpr int kFactor = 8;
constexpr float kEncode[4][3] = {{0.9F, 0.1F, 0.F}, {0.1F, 0.8F, 0.1F}, {0.F, 0.2F, 0.9F}, {0.3F, -0.4F, 0.2F}};
constexpr float kEncodedNoise = 0.05F;
constexpr float kStep[4][5] = {{0.10F, 0.9F, 0.1F, 0.F, 0.1F},
                               {-0.05F, 0.F, 0.8F, 0.2F, -0.1F},
                               {0.05F, 0.1F, 0.F, 0.9F, 0.2F},
                               {0.02F, -0.2F, 0.3F, 0.1F, 0.7F}};
constexpr float kTable[4][3] = {{0.05F, 0.9F, 0.08F}, {0.5F, 0.45F, 0.1F}, {0.02F, 0.95F, 0.06F}, {0.6F, 0.3F, 0.07F}};
constexpr float kDecode[3][4] = {{0.8F, 0.1F, -0.05F, 0.1F}, {0.05F, 0.7F, 0.1F, -0.1F}, {0.F, 0.15F, 0.75F, 0.15F}};
constexpr float kOfImage = 0.2F, kOfMask = -0.06F, kOfNoise = 0.03F;
constexpr float kRefine[3][7] = {{0.7F, 0.05F, 0.F, 0.06F, 0.2F, 0.05F, 0.F},
                                 {0.F, 0.65F, 0.1F, -0.05F, 0.F, 0.25F, 0.F},
                                 {0.05F, 0.F, 0.7F, 0.04F, 0.F, 0.05F, 0.2F}};

// Planes of one picture.
struct Planes {
    const float *data;
    std::size_t channels, height, width;

    explicit Planes(const hrt_module_tensor &tensor)
        : data(static_cast<const float *>(tensor.data)),
          channels(static_cast<std::size_t>(tensor.shape[1])),
          height(static_cast<std::size_t>(tensor.shape[2])),
          width(static_cast<std::size_t>(tensor.shape[3])) {}
    float at(std::size_t c, std::size_t y, std::size_t x) const { return data[(c * height + y) * width + x]; }
    float mean(std::size_t c, std::size_t y, std::size_t x, std::size_t side) const {
        float sum = 0;
        for (std::size_t i = 0; i < side * side; ++i) sum += at(c, y * side + i / side, x * side + i % side);
        return sum / static_cast<float>(side * side);
    }
    // Calls set(channel, y, x) for every value of `out`.
    template <class Value>
    static void fill(const hrt_module_tensor &tensor, Value &&value) {
        const Planes out(tensor);
        auto *to = static_cast<float *>(tensor.data);
        for (std::size_t c = 0; c < out.channels; ++c) {
            for (std::size_t y = 0; y < out.height; ++y) {
                for (std::size_t x = 0; x < out.width; ++x) *to++ = value(c, y, x);
            }
        }
    }
};

inline void encode(const hrt_module_tensor *t) {
    const Planes image(t[0]), mask(t[1]), noise(t[2]);
    Planes::fill(t[3], [&](std::size_t c, std::size_t y, std::size_t x) {
        if (c == 0) return mask.mean(0, y, x, kFactor);
        float sum = kEncodedNoise * noise.at(c - 1, y, x);
        for (std::size_t k = 0; k < 3; ++k) sum += kEncode[c - 1][k] * image.mean(k, y, x, kFactor);
        return sum;
    });
}

inline void step(const hrt_module_tensor *t) {
    const Planes latents(t[0]), condition(t[1]), noise(t[2]);
    const float *row = kTable[*static_cast<const int64_t *>(t[3].data)];
    Planes::fill(t[4], [&](std::size_t c, std::size_t y, std::size_t x) {
        float sum = 0;
        for (std::size_t k = 0; k < 5; ++k) sum += kStep[c][k] * condition.at(k, y, x);
        return row[0] * latents.at(c, y, x) + row[1] * sum + row[2] * noise.at(c, y, x);
    });
}

// With the harmony VAE the image, the mask and noise follow the latents.
inline void decode(const hrt_module_tensor *t, bool conditional) {
    const Planes latents(t[0]);
    Planes::fill(t[conditional ? 4 : 1], [&](std::size_t c, std::size_t y, std::size_t x) {
        float sum = 0;
        for (std::size_t k = 0; k < 4; ++k) sum += kDecode[c][k] * latents.at(k, y / kFactor, x / kFactor);
        if (conditional) {
            const Planes image(t[1]), mask(t[2]), noise(t[3]);
            sum += kOfNoise * noise.at(c, y / kFactor, x / kFactor);
            sum += kOfImage * image.at(c, y, x) + kOfMask * mask.at(0, y, x);
        }
        return std::clamp(sum, 0.F, 1.F);
    });
}

// Inputs: the picture, and as the refiner has channels the mask and the composite.
inline void refine(const hrt_module_tensor *t, std::size_t inputs) {
    const Planes image(t[0]);
    const std::size_t side = image.height / static_cast<std::size_t>(t[inputs].shape[2]);
    Planes::fill(t[inputs], [&](std::size_t c, std::size_t y, std::size_t x) {
        float sum = 0;
        for (std::size_t k = 0; k < 3; ++k) sum += kRefine[c][k] * image.mean(k, y, x, side);
        if (inputs > 1) sum += kRefine[c][3] * Planes(t[1]).at(0, y, x);
        for (std::size_t k = 0; inputs > 2 && k < 3; ++k) sum += kRefine[c][4 + k] * Planes(t[2]).at(k, y, x);
        return std::clamp(sum, 0.F, 1.F);
    });
}

} // namespace stand_in
