// The kernel, compiled once for each instruction set: HRT_LANES floats per vector, HRT_KERNEL its name.
//
// Tiles are counted row by row. A block of tiles is transformed for all input channels; then each block of output
// channels transforms a block of weights, multiplies, and transforms the sums back while they are in the cache.
#include <algorithm>
#include <cstring>

#include "numbers.h"
#include "transforms.h"
#include "winograd.h"

namespace hrt::native::HRT_KERNEL {
namespace {

constexpr int kRows = HRT_ROWS;       // output channels and
constexpr int kVectors = HRT_VECTORS; // vectors of tiles that the product keeps in registers
constexpr int kOutputs = HRT_OUTPUTS; // output channels per block
constexpr int kDepth = HRT_DEPTH;     // cells of input channels per block
constexpr int kTiles = HRT_TILES;     // tiles per block
constexpr int kTile = 4;

// Between the matrices of two products: without it, strides of a power of two meet in the same sets of the caches.
constexpr int kPad = 16;
// Cells from the transformed weights of one input channel to the next: n * n blocks of outputs, made odd.
constexpr std::size_t weight_step(int n) { return static_cast<std::size_t>(n * n | 1) * kOutputBlock; }

constexpr int round_up(int value, int step) { return (value + step - 1) / step * step; }
constexpr int depth_of(const Convolution &c) { return (c.inputs + kChannels - 1) / kChannels; } // in cells

struct Geometry {
    int rows, columns, tiles, blocks;
    int block_tiles; // of every block but the last; a multiple of kLanes
    int row_groups;  // rows of the source in groups of 4, with the border
    explicit Geometry(const Convolution &c)
        : rows((c.height + kTile - 1) / kTile),
          columns((c.width + kTile - 1) / kTile),
          tiles(rows * columns),
          blocks((tiles + kTiles - 1) / kTiles),
          block_tiles(round_up((tiles + blocks - 1) / blocks, kLanes)),
          row_groups(rows + 1) {
        blocks = (tiles + block_tiles - 1) / block_tiles;
    }
};

// One channel of the source, transformed along its rows: to[j][row % 4][row / 4][column], for the rows of `first_row`
// to `last_row` of tiles and their border. `line` holds one padded row of the source.
template <int kernel>
void transform_rows(const Convolution &conv, const Geometry &g, const Number *channel, int first_row, int last_row,
                    float *line, float *to) {
    using T = Transform<kernel>;
    const int groups = last_row - first_row + 2;
    const std::size_t plane = static_cast<std::size_t>(groups) * g.columns + kLanes;
    const int width = std::min(conv.source_width, 4 * (g.columns + 1) - conv.left);
    const int all = 4 * (groups - 1) + kernel - 1;
    for (int i = 0; i < all; ++i) {
        const int y = 4 * first_row + i - conv.top;
        float *out = to + static_cast<std::size_t>(i % 4) * plane + static_cast<std::size_t>(i / 4) * g.columns;
        if (y < 0 || y >= conv.source_height) {
            for (int j = 0; j < T::n; ++j) std::memset(out + 4 * plane * j, 0, sizeof(float) * g.columns);
            continue;
        }
        const Number *const row = channel + static_cast<std::size_t>(y) * conv.source_width;
        for (int x = 0; x < width; ++x) line[conv.left + x] = widened(row[x]);
        for (int x = 0; x < g.columns; x += kLanes) {
            Vec d[8], h[T::n];
            deinterleave(line + 4 * x, d);
            Vec next[4];
            deinterleave(line + 4 * x + 4, next);
            d[4] = next[0];
            d[5] = next[1];
            T::input(d, h);
            HRT_UNROLL
            for (int j = 0; j < T::n; ++j)
                store(out + 4 * plane * j + x, h[j]); // what is too much is overwritten later
        }
    }
}

// Columns of the channels of one cell, whose rows lie `next` apart: to[i][j] at `stride`, for `count` tiles.
template <int kernel>
void transform_columns(const float *rows, std::size_t next, std::size_t plane, int columns, int count, float *to,
                       std::size_t stride) {
    using T = Transform<kernel>;
    for (int t = 0; t < count; t += kLanes) {
        for (int j = 0; j < T::n; ++j) {
            Vec v[T::n][kChannels];
            HRT_UNROLL
            for (int channel = 0; channel < kChannels; ++channel) {
                const float *from = rows + channel * next + 4 * plane * j + t;
                Vec d[T::n], of_channel[T::n];
                HRT_UNROLL
                for (int i = 0; i < T::n; ++i) d[i] = load(from + (i % 4) * plane + (i / 4) * columns);
                T::input(d, of_channel);
                HRT_UNROLL
                for (int i = 0; i < T::n; ++i) v[i][channel] = of_channel[i];
            }
            HRT_UNROLL
            for (int i = 0; i < T::n; ++i) store(to + (i * T::n + j) * stride + t, cells(v[i]));
        }
    }
}

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
                        if (gate != nullptr) w += load(with.gated + from + t * kOutputBlock) * widened(gate[input]);
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

// m[outputs][tiles] (+)= u[depth][outputs]^T v[depth][tiles]. Meanwhile `next`, the tiles of the next product, come
// into the cache: this alone is worth a tenth of the time where the tiles of all channels exceed the second level.
void product(const float *u, std::size_t step, const float *v, int outputs, int depth, int tiles, float *m, bool add,
             const float *next) {
    const int groups = outputs / kRows;
    for (int t = 0; t < tiles;) {
        const int left = (tiles - t) / kLanes;
        const int now = left >= kVectors ? kVectors : left >= 2 ? 2 : 1;
        for (int o = 0; o < outputs; o += kRows) {
            float *to = m + static_cast<std::size_t>(o) * tiles + t;
            const float *weights = u + static_cast<std::size_t>(o / kOutputBlock) * depth * step + o % kOutputBlock;
            const float *ahead = next + static_cast<std::size_t>(o / kRows) * depth * tiles / groups;
            if (now == kVectors)
                multiply<kVectors>(weights, step, v + t, depth, tiles, to, add, ahead);
            else if (now == 2)
                multiply<2>(weights, step, v + t, depth, tiles, to, add, ahead);
            else
                multiply<1>(weights, step, v + t, depth, tiles, to, add, ahead);
        }
        t += now * kLanes;
    }
}

// Sums m[n * n][kOutputs][tiles] of one output channel back to pixels.
template <int kernel>
void transform_back(const Convolution &conv, const Geometry &g, const float *m, std::size_t stride, int first_tile,
                    int count, float bias, Number *to) {
    using T = Transform<kernel>;
    const Vec offset = splat(bias);
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
                Vec value = out[x] + offset;
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
            const int tile = first_tile + t + lane, row = tile / g.columns, column = tile % g.columns;
            const int run = std::min(lanes - lane, g.columns - column);
            const int width = std::min(4 * run, conv.width - 4 * column), height = std::min(4, conv.height - 4 * row);
            Number *at = to + static_cast<std::size_t>(4 * row) * conv.width + 4 * column;
            for (int y = 0; y < height; ++y, at += conv.width)
                std::memcpy(at, pixels[y] + 4 * lane, sizeof(Number) * width);
            lane += run;
        }
    }
}

constexpr std::size_t kSlack = 8 * kLanes;

struct Sizes {
    std::size_t tiles, line, rows, weights, sums;
    template <int kernel>
    static Sizes of(const Convolution &conv, const Geometry &g) {
        constexpr std::size_t products = Transform<kernel>::n * Transform<kernel>::n;
        Sizes s;
        const int depth = depth_of(conv);
        s.tiles = products * (static_cast<std::size_t>(depth) * g.block_tiles + kPad) + kSlack;
        s.line = 4 * static_cast<std::size_t>(round_up(g.columns, kLanes) + 1) + kSlack;
        const std::size_t groups = static_cast<std::size_t>(g.block_tiles + g.columns - 1) / g.columns + 2;
        s.rows = Transform<kernel>::n * 4 * (groups * g.columns + kLanes) + kSlack;
        s.weights = weight_step(Transform<kernel>::n) * std::min(depth, kDepth) * (kOutputs / kOutputBlock) + kSlack;
        s.sums = products * (kOutputs * g.block_tiles + kPad) + kSlack;
        for (std::size_t *size : {&s.tiles, &s.line, &s.rows, &s.weights, &s.sums}) *size = (*size + 15) / 16 * 16;
        return s;
    }
    std::size_t per_thread() const { return std::max(line + kChannels * rows, weights + sums); }
};

template <int kernel>
void run_with(const Convolution &conv, const OperandsOf<Number> &with, float *workspace, int threads,
              Parallel parallel) {
    using T = Transform<kernel>;
    const Geometry g(conv);
    const Sizes size = Sizes::of<kernel>(conv, g);
    const std::size_t source_plane = static_cast<std::size_t>(conv.source_height) * conv.source_width;
    const std::size_t result_plane = static_cast<std::size_t>(conv.height) * conv.width;
    const int depth_all = depth_of(conv);
    const int output_blocks = (conv.outputs + kOutputs - 1) / kOutputs;
    float *const tiles = workspace;
    const auto own = [&](int thread) { return workspace + size.tiles + thread * size.per_thread(); };
    for (int picture = 0; picture < conv.batch; ++picture) {
        const Number *gate =
            with.gate == nullptr ? nullptr : with.gate + static_cast<std::size_t>(picture) * conv.inputs;
        for (int block = 0; block < g.blocks; ++block) {
            const int first_tile = block * g.block_tiles, count = std::min(g.block_tiles, g.tiles - first_tile);
            const int padded = round_up(count, kLanes);
            const std::size_t stride = static_cast<std::size_t>(depth_all) * padded + kPad;
            const auto transform_tiles = [&](int thread) {
                const int from = depth_all * thread / threads, to = depth_all * (thread + 1) / threads;
                float *line = own(thread);
                float *rows = line + size.line;
                std::memset(line, 0, sizeof(float) * size.line);
                const int first_row = first_tile / g.columns, last_row = (first_tile + count - 1) / g.columns;
                const std::size_t plane = static_cast<std::size_t>(last_row - first_row + 2) * g.columns + kLanes;
                for (int c = from; c < to; ++c) {
                    for (int channel = 0; channel < kChannels; ++channel) {
                        const int input = c * kChannels + channel;
                        if (input < conv.inputs)
                            transform_rows<kernel>(
                                conv, g,
                                with.source + (static_cast<std::size_t>(picture) * conv.inputs + input) * source_plane,
                                first_row, last_row, line, rows + channel * size.rows);
                        else // what fills up the last cell
                            std::memset(rows + channel * size.rows, 0, sizeof(float) * size.rows);
                    }
                    transform_columns<kernel>(rows + (first_tile - first_row * g.columns), size.rows, plane, g.columns,
                                              padded, tiles + static_cast<std::size_t>(c) * padded, stride);
                }
            };
            parallel(threads, Parts(transform_tiles));
            const auto multiply_weights = [&](int thread) {
                float *weights = own(thread);
                float *sums = weights + size.weights;
                for (int part = output_blocks * thread / threads; part < output_blocks * (thread + 1) / threads;
                     ++part) {
                    const int first_output = part * kOutputs, outputs = std::min(kOutputs, conv.outputs - first_output);
                    const int padded_outputs = round_up(outputs, kOutputBlock);
                    for (int c = 0; c < depth_all; c += kDepth) {
                        const int depth = std::min(kDepth, depth_all - c);
                        transform_weights<kernel>(conv, with, gate, first_output, padded_outputs, c, depth, weights);
                        for (int p = 0; p < T::n * T::n; ++p)
                            product(weights + p * kOutputBlock, weight_step(T::n),
                                    tiles + p * stride + static_cast<std::size_t>(c) * padded, padded_outputs, depth,
                                    padded, sums + p * (static_cast<std::size_t>(kOutputs) * padded + kPad), c != 0,
                                    tiles + (p + 1 == T::n * T::n ? 0 : p + 1) * stride +
                                        static_cast<std::size_t>(p + 1 == T::n * T::n ? c + kDepth : c) * padded);
                    }
                    for (int o = 0; o < outputs; ++o)
                        transform_back<kernel>(
                            conv, g, sums + static_cast<std::size_t>(o) * padded,
                            static_cast<std::size_t>(kOutputs) * padded + kPad, first_tile, count,
                            with.bias == nullptr ? 0.0F : widened(with.bias[first_output + o]),
                            with.result +
                                (static_cast<std::size_t>(picture) * conv.outputs + first_output + o) * result_plane);
                }
            };
            parallel(threads, Parts(multiply_weights));
        }
    }
}

std::size_t workspace(const Convolution &conv, int threads) {
    const Geometry g(conv);
    const Sizes s = conv.kernel == 3 ? Sizes::of<3>(conv, g) : Sizes::of<2>(conv, g);
    return s.tiles + s.per_thread() * threads;
}

void run(const Convolution &conv, const OperandsOf<Number> &with, float *space, int threads, Parallel parallel) {
    if (conv.kernel == 3)
        run_with<3>(conv, with, space, threads, parallel);
    else
        run_with<2>(conv, with, space, threads, parallel);
}

} // namespace

extern const KernelOf<Number> kernel;
#define HRT_TEXT_OF(x) #x
#define HRT_TEXT(x) HRT_TEXT_OF(x)
const KernelOf<Number> kernel{HRT_TEXT(HRT_KERNEL), workspace, run};

} // namespace hrt::native::HRT_KERNEL
