// Weights and products of a block of Winograd's tiles in AMX's registers, for winograd_kernel.cpp in BF16.
#pragma once

#include "amx.h"
#include "tiles.h"

namespace hrt::native::HRT_KERNEL {
namespace {

constexpr int kCells = kSide; // along the input channels that one step of the product takes: a register's row
static_assert(kOutputBlock == kSide, "a register of weights is a block of outputs");

// Floats per cell of input channels: a register for each position, their number made odd.
constexpr std::size_t weight_step(int n) { return static_cast<std::size_t>(n * n | 1) * kSide; }

HRT_INLINE void transpose(Vec m[kSide]) {
    HRT_UNROLL
    for (int step = 1; step < kSide; step *= 2) {
        Index low{}, high{};
        for (int lane = 0; lane < kSide; ++lane) {
            low[lane] = (lane & step) != 0 ? lane - step + kSide : lane;
            high[lane] = (lane & step) != 0 ? lane + kSide : lane + step;
        }
        HRT_UNROLL
        for (int i = 0; i < kSide; ++i) {
            if ((i & step) != 0) continue;
            const Vec a = m[i], b = m[i + step];
            m[i] = __builtin_shuffle(a, b, low);
            m[i + step] = __builtin_shuffle(a, b, high);
        }
    }
}

// Weights of 16 outputs and 16 cells before their transform: to[tap][channel of a cell][output][cell].
template <int taps>
void gather(const Convolution &conv, const OperandsOf<Number> &with, const Number *gate, int output, int first,
            float (*to)[kChannels][kSide][kSide]) {
    for (int tap = 0; tap < taps; ++tap)
        for (int channel = 0; channel < kChannels; ++channel) {
            Vec rows[kSide];
            HRT_UNROLL
            for (int cell = 0; cell < kSide; ++cell) {
                const int input = (first + cell) * kChannels + channel;
                rows[cell] = Vec{};
                if (input >= conv.inputs) continue; // what fills up the last register
                const std::size_t from =
                    ((static_cast<std::size_t>(output / kOutputBlock) * conv.inputs + input) * taps + tap) *
                    kOutputBlock;
                rows[cell] = load(with.plain + from);
                if (gate != nullptr) rows[cell] += load(with.gated + from) * widened(gate[input]);
            }
            transpose(rows);
            HRT_UNROLL
            for (int o = 0; o < kSide; ++o) store(to[tap][channel][o], rows[o]);
        }
}

// Weights of one block: to[outputs / 16][depth / 16][n * n][16 outputs][16 cells], written in one go.
template <int kernel>
void transform_weights(const Convolution &conv, const OperandsOf<Number> &with, const Number *gate, int first_output,
                       int outputs, int first, int depth, float *to) {
    using T = Transform<kernel>;
    constexpr int taps = kernel * kernel;
    alignas(64) float gathered[taps][kChannels][kSide][kSide];
    for (int o = 0; o < outputs; o += kSide)
        for (int c = 0; c < depth; c += kSide, to += kSide * weight_step(T::n)) {
            gather<taps>(conv, with, gate, first_output + o, first + c, gathered);
            for (int output = 0; output < kSide; ++output) {
                Vec half[kChannels][kernel][T::n];
                HRT_UNROLL
                for (int channel = 0; channel < kChannels; ++channel) HRT_UNROLL
                for (int x = 0; x < kernel; ++x) {
                    Vec g[kernel];
                    HRT_UNROLL
                    for (int y = 0; y < kernel; ++y) g[y] = load(gathered[y * kernel + x][channel][output]);
                    T::weight(g, half[channel][x]);
                }
                HRT_UNROLL
                for (int i = 0; i < T::n; ++i) {
                    Vec u[T::n][kChannels];
                    HRT_UNROLL
                    for (int channel = 0; channel < kChannels; ++channel) {
                        Vec row[kernel], of_channel[T::n];
                        HRT_UNROLL
                        for (int x = 0; x < kernel; ++x) row[x] = half[channel][x][i];
                        T::weight(row, of_channel);
                        HRT_UNROLL
                        for (int j = 0; j < T::n; ++j) u[j][channel] = of_channel[j];
                    }
                    HRT_UNROLL
                    for (int j = 0; j < T::n; ++j) store(to + ((i * T::n + j) * kSide + output) * kSide, cells(u[j]));
                }
            }
        }
}

// The product at one position of a tile, of n * n: m[outputs][tiles] (+)= weights times v[depth][tiles]. Meanwhile
// `next`, the tiles of the next product, come into the cache.
void product(const float *weights, int n, int position, const float *v, int outputs, int depth, int tiles, float *m,
             bool add, const float *next) {
    const auto bytes = [](const float *at) { return reinterpret_cast<const char *>(at); };
    Product p;
    p.weights = bytes(weights) + position * kRegister;
    p.next_weights = weight_step(n) * kSide * sizeof(float);
    p.next_outputs = p.next_weights * (depth / kSide);
    p.tiles = bytes(v);
    p.tile_row = tiles * sizeof(float);
    p.sums = reinterpret_cast<char *>(m);
    p.ahead = bytes(next);
    p.depth = depth / kSide;
    p.add = add;
    multiply_all(p, outputs, tiles);
}

} // namespace
} // namespace hrt::native::HRT_KERNEL
