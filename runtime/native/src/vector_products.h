// Weights and products of a block of Winograd's tiles in vectors, for winograd_kernel.cpp.
#pragma once

#include <cstring>

#include "tiles.h"

namespace hrt::native::HRT_KERNEL {
namespace {

constexpr int kRows = HRT_ROWS;       // output channels and
constexpr int kVectors = HRT_VECTORS; // vectors of tiles that the product keeps in registers
constexpr int kCells = 1;             // along the input channels that one step of the product takes

struct Registers { // nothing to set up
    Registers() {}
};

// Cells from the transformed weights of one input channel to the next: n * n blocks of outputs, made odd.
constexpr std::size_t weight_step(int n) { return static_cast<std::size_t>(n * n | 1) * kOutputBlock; }

// Weights of one block: to[outputs / 16][depth][n * n][16], written in one go.
template <int kernel>
void transform_weights(const Convolution &conv, const OperandsOf<Number> &with, const Number *gate, int first_output,
                       int outputs, int first, int depth, float *to) {
    using T = Transform<kernel>;
    constexpr int taps = kernel * kernel;
    for (int o = 0; o < outputs; o += kOutputBlock) {
        for (int c = 0; c < depth; ++c) {
            float *const at = to + (static_cast<std::size_t>(o / kOutputBlock) * depth + c) * weight_step(T::n);
            for (int lane = 0; lane < kOutputBlock; lane += kLanes) {
                Vec half[kChannels][kernel][T::n];
                for (int channel = 0; channel < kChannels; ++channel) {
                    const int input = (first + c) * kChannels + channel;
                    if (input >= conv.inputs) { // what fills up the last cell
                        std::memset(half[channel], 0, sizeof(half[channel]));
                        continue;
                    }
                    const std::size_t from =
                        (static_cast<std::size_t>((first_output + o) / kOutputBlock) * conv.inputs + input) * taps *
                            kOutputBlock +
                        lane;
                    Vec g[kernel][kernel];
                    HRT_UNROLL
                    for (int t = 0; t < taps; ++t) {
                        Vec w = load(with.plain + from + t * kOutputBlock);
                        if (gate != nullptr)
                            w = fused(w, widened(gate[input]), load(with.gated + from + t * kOutputBlock));
                        g[t % kernel][t / kernel] = w;
                    }
                    HRT_UNROLL
                    for (int x = 0; x < kernel; ++x) T::weight(g[x], half[channel][x]);
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
                    for (int j = 0; j < T::n; ++j) store(at + (i * T::n + j) * kOutputBlock + lane, cells(u[j]));
                }
            }
        }
    }
}

template <int vectors>
HRT_INLINE void multiply(const float *u, std::size_t step, const float *v, int depth, int tiles, float *m, bool add,
                         const float *ahead) {
    Vec sum[kRows][vectors];
    HRT_UNROLL
    for (int r = 0; r < kRows; ++r) HRT_UNROLL
    for (int x = 0; x < vectors; ++x) sum[r][x] = add ? load(m + r * tiles + x * kLanes) : Vec{};
    for (int c = 0; c < depth; ++c) {
        Vec b[vectors];
        HRT_UNROLL
        for (int x = 0; x < vectors; ++x) b[x] = load(v + x * kLanes);
        HRT_UNROLL
        for (int r = 0; r < kRows; ++r) HRT_UNROLL
        for (int x = 0; x < vectors; ++x) sum[r][x] = multiply_add(sum[r][x], u[r], b[x]);
        __builtin_prefetch(ahead);
        ahead += 8;
        u += step;
        v += tiles;
    }
    HRT_UNROLL
    for (int r = 0; r < kRows; ++r) HRT_UNROLL
    for (int x = 0; x < vectors; ++x) store(m + r * tiles + x * kLanes, sum[r][x]);
}

// The product at one position of a tile, of n * n: m[outputs][tiles] (+)= u[depth][outputs]^T v[depth][tiles].
// Meanwhile `next`, the tiles of the next product, come into the cache: this alone is worth a tenth of the time where
// the tiles of all channels exceed the second level.
void product(const float *weights, int n, int position, const float *v, int outputs, int depth, int tiles, float *m,
             bool add, const float *next) {
    const std::size_t step = weight_step(n);
    const float *const u = weights + position * kOutputBlock;
    const int groups = outputs / kRows;
    for (int t = 0; t < tiles;) {
        const int left = (tiles - t) / kLanes;
        const int now = left >= kVectors ? kVectors : left >= 2 ? 2 : 1;
        for (int o = 0; o < outputs; o += kRows) {
            float *to = m + static_cast<std::size_t>(o) * tiles + t;
            const float *from = u + static_cast<std::size_t>(o / kOutputBlock) * depth * step + o % kOutputBlock;
            const float *ahead = next + static_cast<std::size_t>(o / kRows) * depth * tiles / groups;
            if (now == kVectors)
                multiply<kVectors>(from, step, v + t, depth, tiles, to, add, ahead);
            else if (now == 2)
                multiply<2>(from, step, v + t, depth, tiles, to, add, ahead);
            else
                multiply<1>(from, step, v + t, depth, tiles, to, add, ahead);
        }
        t += now * kLanes;
    }
}

} // namespace
} // namespace hrt::native::HRT_KERNEL
