// Weights and products of a block of Winograd's tiles in AMX's registers, for winograd_kernel.cpp in BF16.
#pragma once

#include <algorithm>
#include <cstring>

#include "amx.h"
#include "tiles.h"

namespace hrt::native::HRT_KERNEL {
namespace {

constexpr int kCells = kSide; // along the input channels that one step of the product takes: a register's row
static_assert(kOutputBlock == kSide, "a register of weights is a block of outputs");

// Floats from the weights of one output to the next: a row of a register for each position, their number made odd.
constexpr std::size_t weight_step(int n) { return static_cast<std::size_t>(n * n | 1) * kSide; }

// Of each four neighbours in a and b, the pairs that `second` says, interleaved in steps of `width` values.
template <int width, bool second>
HRT_INLINE Vec interleaved(Vec a, Vec b) {
    Index order{};
    for (int lane = 0; lane < kSide; ++lane) {
        const int four = lane / 4 * 4, within = lane % 4;
        const int place = width == 1 ? within / 2 + 2 * second : within % 2 + 2 * second;
        order[lane] = four + place + (width == 1 ? within % 2 : within / 2) * kSide;
    }
    return __builtin_shuffle(a, b, order);
}
// Every second four of a, then of b.
template <bool odd>
HRT_INLINE Vec every_second(Vec a, Vec b) {
    Index order{};
    for (int lane = 0; lane < kSide; ++lane)
        order[lane] = lane % 8 / 4 * 8 + odd * 4 + lane % 4 + (lane < 8 ? 0 : kSide);
    return __builtin_shuffle(a, b, order);
}

// 16 x 16 values, in steps that each are one instruction without a table.
HRT_INLINE void transpose(Vec m[kSide]) {
    HRT_UNROLL
    for (int i = 0; i < kSide; i += 4) { // four rows: of each four columns, one after the other
        const Vec a = interleaved<1, false>(m[i], m[i + 1]), b = interleaved<1, true>(m[i], m[i + 1]);
        const Vec c = interleaved<1, false>(m[i + 2], m[i + 3]), d = interleaved<1, true>(m[i + 2], m[i + 3]);
        m[i] = interleaved<2, false>(a, c), m[i + 1] = interleaved<2, true>(a, c);
        m[i + 2] = interleaved<2, false>(b, d), m[i + 3] = interleaved<2, true>(b, d);
    }
    HRT_UNROLL
    for (int k = 0; k < 4; ++k) { // columns k, 4 + k, 8 + k and 12 + k
        const Vec even = every_second<false>(m[k], m[4 + k]), odd = every_second<true>(m[k], m[4 + k]);
        const Vec even2 = every_second<false>(m[8 + k], m[12 + k]), odd2 = every_second<true>(m[8 + k], m[12 + k]);
        m[k] = every_second<false>(even, even2), m[8 + k] = every_second<true>(even, even2);
        m[4 + k] = every_second<false>(odd, odd2), m[12 + k] = every_second<true>(odd, odd2);
    }
}

// Weights of 16 outputs and 16 cells before their transform, from those of the first input on: to[tap][output][cell].
template <int taps, bool full>
void gather(const Number *from, int inputs, float (*to)[kSide][kSide]) {
    for (int tap = 0; tap < taps; ++tap, from += kOutputBlock) {
        Vec rows[kSide];
        HRT_UNROLL
        for (int cell = 0; cell < kSide; ++cell) {
            const Number *const at = from + static_cast<std::size_t>(2 * cell) * taps * kOutputBlock;
            Doubles pair{}; // zeros fill up the last register
            if (full || 2 * cell < inputs) pair = load_words(at);
            if (full || 2 * cell + 1 < inputs) pair |= load_words(at + taps * kOutputBlock) << 16;
            rows[cell] = (Vec)pair;
        }
        transpose(rows);
        HRT_UNROLL
        for (int output = 0; output < kSide; ++output) store(to[tap][output], rows[output]);
    }
}
template <int taps>
void gather(const Number *from, int inputs, float (*to)[kSide][kSide]) {
    if (inputs >= kChannels * kSide)
        gather<taps, true>(from, inputs, to);
    else if (inputs > 0)
        gather<taps, false>(from, inputs, to);
    else
        std::memset(to, 0, sizeof(float) * taps * kSide * kSide);
}
// A sixteenth of what the next call of it reads comes into the cache.
template <int taps>
HRT_INLINE void fetch_sixteenth(const Number *next, int which) {
    const auto *at = reinterpret_cast<const char *>(next) + which * taps * kRow;
    HRT_UNROLL
    for (int i = 0; i < taps; ++i) __builtin_prefetch(at + i * kRow);
}

// One channel of 16 cells.
HRT_INLINE Vec of_channel(const float *cells, int channel) {
    const Doubles pairs = (Doubles)load(cells);
    return (Vec)(channel == 0 ? pairs << 16 : pairs & 0xffff0000U);
}

// Weights of one block: to[outputs / 16][depth / 16][16 outputs][n * n][16 cells], written in one go.
template <int kernel>
void transform_weights(const Convolution &conv, const OperandsOf<Number> &with, const Number *gate, int first_output,
                       int outputs, int first, int depth, float *to) {
    using T = Transform<kernel>;
    constexpr int taps = kernel * kernel;
    alignas(64) float plain[taps][kSide][kSide], gated[taps][kSide][kSide];
    for (int o = 0; o < outputs; o += kSide)
        for (int c = first; c < first + depth; c += kSide, to += kSide * weight_step(T::n)) {
            const int input = c * kChannels, left = conv.inputs - input;
            const std::size_t block = static_cast<std::size_t>(first_output + o) / kOutputBlock;
            const std::size_t from = (block * conv.inputs + input) * taps * kOutputBlock;
            const std::size_t next = from + std::size_t{kSide} * kChannels * taps * kOutputBlock;
            gather<taps>(with.plain + from, left, plain);
            Vec gates[kChannels]{};
            if (gate != nullptr) {
                gather<taps>(with.gated + from, left, gated);
                for (int i = 0; i < std::min(kSide * kChannels, left); ++i)
                    gates[i % kChannels][i / kChannels] = widened(gate[input + i]);
            }
            for (int output = 0; output < kSide; ++output) {
                float *const at = to + output * weight_step(T::n);
                fetch_sixteenth<taps>(with.plain + next, output);
                if (gate != nullptr) fetch_sixteenth<taps>(with.gated + next, output);
                Vec half[kChannels][kernel][T::n];
                HRT_UNROLL
                for (int channel = 0; channel < kChannels; ++channel) HRT_UNROLL
                for (int x = 0; x < kernel; ++x) {
                    Vec g[kernel];
                    HRT_UNROLL
                    for (int y = 0; y < kernel; ++y) {
                        g[y] = of_channel(plain[y * kernel + x][output], channel);
                        if (gate != nullptr)
                            g[y] = fused(g[y], gates[channel], of_channel(gated[y * kernel + x][output], channel));
                    }
                    T::weight(g, half[channel][x]);
                }
                HRT_UNROLL
                for (int i = 0; i < T::n; ++i) {
                    Vec u[T::n][kChannels];
                    HRT_UNROLL
                    for (int channel = 0; channel < kChannels; ++channel) {
                        Vec row[kernel], transformed[T::n];
                        HRT_UNROLL
                        for (int x = 0; x < kernel; ++x) row[x] = half[channel][x][i];
                        T::weight(row, transformed);
                        HRT_UNROLL
                        for (int j = 0; j < T::n; ++j) u[j][channel] = transformed[j];
                    }
                    HRT_UNROLL
                    for (int j = 0; j < T::n; ++j) store(at + (i * T::n + j) * kSide, cells(u[j]));
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
    p.weights = bytes(weights) + position * kRow;
    p.weight_row = weight_step(n) * sizeof(float);
    p.next_weights = kSide * p.weight_row;
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
