// Pictures to tiles of Winograd's transforms and back, for the source file of one instruction set.
#pragma once

#include <algorithm>
#include <cstring>

#include "numbers.h"
#include "transforms.h"
#include "winograd.h"

namespace hrt::native::HRT_KERNEL {
namespace {

constexpr int kTile = 4;
constexpr std::size_t kSlack = 8 * kLanes; // floats behind a buffer that whole vectors may touch

constexpr int round_up(int value, int step) { return (value + step - 1) / step * step; }
constexpr std::size_t round_up64(std::size_t value) { return (value + 63) / 64 * 64; }

// Tiles are counted row by row, and worked on in blocks of about the same size.
struct TileBlocks {
    int rows, columns, tiles, blocks;
    int block_tiles; // of every block but the last; a multiple of kLanes
    TileBlocks(const Convolution &c, int most)
        : rows((c.height + kTile - 1) / kTile),
          columns((c.width + kTile - 1) / kTile),
          tiles(rows * columns),
          blocks((tiles + most - 1) / most),
          block_tiles(round_up((tiles + blocks - 1) / blocks, kLanes)) {
        blocks = (tiles + block_tiles - 1) / block_tiles;
    }
};

// The rows of one channel that a block of tiles needs, transformed along themselves: [j][row % 4][row / 4][column].
template <int kernel>
struct TransformedRows {
    using T = Transform<kernel>;
    const Convolution &conv;
    const TileBlocks &blocks;
    int first_tile, first_row, groups;
    std::size_t plane;

    TransformedRows(const Convolution &c, const TileBlocks &b, int first, int count)
        : conv(c),
          blocks(b),
          first_tile(first),
          first_row(first / b.columns),
          groups((first + count - 1) / b.columns - first_row + 2),
          plane(static_cast<std::size_t>(groups) * b.columns + kLanes) {}

    // Floats, for any block.
    static std::size_t line_size(const TileBlocks &b) {
        return round_up64(4 * static_cast<std::size_t>(round_up(b.columns, kLanes) + 1) + kSlack);
    }
    static std::size_t size(const TileBlocks &b) {
        const std::size_t most = static_cast<std::size_t>(b.block_tiles + b.columns - 1) / b.columns + 2;
        return round_up64(T::n * 4 * (most * b.columns + kLanes) + kSlack);
    }

    // `line` holds one padded row of the source; what surrounds it is zero and stays so.
    void read(const Number *channel, float *line, float *to) const {
        const int width = std::min(conv.source_width, 4 * (blocks.columns + 1) - conv.left);
        const int all = 4 * (groups - 1) + kernel - 1;
        for (int i = 0; i < all; ++i) {
            const int y = 4 * first_row + i - conv.top;
            float *out =
                to + static_cast<std::size_t>(i % 4) * plane + static_cast<std::size_t>(i / 4) * blocks.columns;
            if (y < 0 || y >= conv.source_height) {
                for (int j = 0; j < T::n; ++j) std::memset(out + 4 * plane * j, 0, sizeof(float) * blocks.columns);
                continue;
            }
            const Number *const row = channel + static_cast<std::size_t>(y) * conv.source_width;
            for (int x = 0; x < width; ++x) line[conv.left + x] = widened(row[x]);
            for (int x = 0; x < blocks.columns; x += kLanes) {
                Vec d[8], h[T::n];
                deinterleave(line + 4 * x, d);
                deinterleave(line + 4 * x + 4, d + 4);
                T::input(d, h);
                HRT_UNROLL
                for (int j = 0; j < T::n; ++j) store(out + 4 * plane * j + x, h[j]); // too much is overwritten later
            }
        }
    }

    // Column j of kLanes tiles from the t-th of the block on, transformed.
    HRT_INLINE void columns(const float *rows, int t, int j, Vec out[T::n]) const {
        const float *from = rows + 4 * plane * j + (first_tile - first_row * blocks.columns) + t;
        Vec d[T::n];
        HRT_UNROLL
        for (int i = 0; i < T::n; ++i) d[i] = load(from + (i % 4) * plane + (i / 4) * blocks.columns);
        T::input(d, out);
    }
};

// Sums m[n * n][..][tiles] of one output channel, n * n of them `stride` apart, back to pixels.
template <int kernel>
void transform_back(const Convolution &conv, const TileBlocks &blocks, const float *m, std::size_t stride,
                    int first_tile, int count, float bias, Number *to) {
    using T = Transform<kernel>;
    alignas(64) Number pixels[4][4 * kLanes];
    for (int t = 0; t < count; t += kLanes) {
        Vec half[T::n][4];
        HRT_UNROLL
        for (int j = 0; j < T::n; ++j) {
            Vec column[T::n];
            HRT_UNROLL
            for (int i = 0; i < T::n; ++i) column[i] = load(m + (i * T::n + j) * stride + t);
            T::output(column, half[j]);
        }
        HRT_UNROLL
        for (int y = 0; y < 4; ++y) {
            Vec row[T::n], out[4];
            HRT_UNROLL
            for (int j = 0; j < T::n; ++j) row[j] = half[j][y];
            T::output(row, out);
            HRT_UNROLL
            for (int x = 0; x < 4; ++x) {
                Vec value = out[x] + bias;
                if (conv.activation == Activation::relu) value = value > 0.0F ? value : Vec{};
                if (conv.activation == Activation::leaky_relu) value = value > 0.0F ? value : value * conv.slope;
                out[x] = value;
            }
            Vec neighbours[4];
            interleave(out, neighbours);
            HRT_UNROLL
            for (int i = 0; i < 4; ++i) store(pixels[y] + i * kLanes, neighbours[i]);
        }
        const int lanes = std::min(kLanes, count - t);
        for (int lane = 0; lane < lanes;) { // the tiles of one row at a time
            const int tile = first_tile + t + lane, row = tile / blocks.columns, column = tile % blocks.columns;
            const int run = std::min(lanes - lane, blocks.columns - column);
            const int width = std::min(4 * run, conv.width - 4 * column), height = std::min(4, conv.height - 4 * row);
            Number *at = to + static_cast<std::size_t>(4 * row) * conv.width + 4 * column;
            for (int y = 0; y < height; ++y, at += conv.width)
                std::memcpy(at, pixels[y] + 4 * lane, sizeof(Number) * width);
            lane += run;
        }
    }
}

} // namespace
} // namespace hrt::native::HRT_KERNEL
