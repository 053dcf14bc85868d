// The kernel, compiled once for each instruction set: HRT_LANES floats per vector, HRT_KERNEL its name.
//
// Tiles are counted row by row. A block of tiles is transformed for all input channels; then each block of output
// channels transforms a block of weights, multiplies, and transforms the sums back while they are in the cache.
#include <algorithm>
#include <cstring>

#include "tiles.h"

namespace hrt::native::HRT_KERNEL {
namespace {

constexpr int kRows = HRT_ROWS;       // output channels and
constexpr int kVectors = HRT_VECTORS; // vectors of tiles that the product keeps in registers
constexpr int kOutputs = HRT_OUTPUTS; // output channels per block
constexpr int kDepth = HRT_DEPTH;     // cells of input channels per block
constexpr int kTiles = HRT_TILES;     // tiles per block

// Between the matrices of two products: without it, strides of a power of two meet in the same sets of the caches.
constexpr int kPad = 16;
// Cells from the transformed weights of one input channel to the next: n * n blocks of outputs, made odd.
constexpr std::size_t weight_step(int n) { return static_cast<std::size_t>(n * n | 1) * kOutputBlock; }

constexpr int depth_of(const Convolution &c) { return (c.inputs + kChannels - 1) / kChannels; } // in cells

// Columns of the channels of one cell, whose rows lie `next` apart: to[i][j] at `stride`, for `count` tiles.
template <int kernel>
void transform_columns(const TransformedRows<kernel> &transformed, const float *rows, std::size_t next, int count,
                       float *to, std::size_t stride) {
    using T = Transform<kernel>;
    for (int t = 0; t < count; t += kLanes) {
        for (int j = 0; j < T::n; ++j) {
            Vec v[T::n][kChannels];
            HRT_UNROLL
            for (int channel = 0; channel < kChannels; ++channel) {
                Vec of_channel[T::n];
                transformed.columns(rows + channel * next, t, j, of_channel);
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

struct Sizes {
    std::size_t tiles, line, rows, weights, sums;
    template <int kernel>
    static Sizes of(const Convolution &conv, const TileBlocks &b) {
        constexpr std::size_t products = Transform<kernel>::n * Transform<kernel>::n;
        Sizes s;
        const int depth = depth_of(conv);
        s.tiles = products * (static_cast<std::size_t>(depth) * b.block_tiles + kPad) + kSlack;
        s.line = TransformedRows<kernel>::line_size(b);
        s.rows = TransformedRows<kernel>::size(b);
        s.weights = weight_step(Transform<kernel>::n) * std::min(depth, kDepth) * (kOutputs / kOutputBlock) + kSlack;
        s.sums = products * (kOutputs * b.block_tiles + kPad) + kSlack;
        for (std::size_t *size : {&s.tiles, &s.weights, &s.sums}) *size = round_up64(*size);
        return s;
    }
    std::size_t per_thread() const { return std::max(line + kChannels * rows, weights + sums); }
};

template <int kernel>
void run_with(const Convolution &conv, const OperandsOf<Number> &with, float *workspace, int threads,
              Parallel parallel) {
    using T = Transform<kernel>;
    const TileBlocks blocks(conv, kTiles);
    const Sizes size = Sizes::of<kernel>(conv, blocks);
    const std::size_t source_plane = static_cast<std::size_t>(conv.source_height) * conv.source_width;
    const std::size_t result_plane = static_cast<std::size_t>(conv.height) * conv.width;
    const int depth_all = depth_of(conv);
    const int output_blocks = (conv.outputs + kOutputs - 1) / kOutputs;
    float *const tiles = workspace;
    const auto own = [&](int thread) { return workspace + size.tiles + thread * size.per_thread(); };
    for (int picture = 0; picture < conv.batch; ++picture) {
        const Number *gate =
            with.gate == nullptr ? nullptr : with.gate + static_cast<std::size_t>(picture) * conv.inputs;
        for (int block = 0; block < blocks.blocks; ++block) {
            const int first_tile = block * blocks.block_tiles;
            const int count = std::min(blocks.block_tiles, blocks.tiles - first_tile);
            const int padded = round_up(count, kLanes);
            const std::size_t stride = static_cast<std::size_t>(depth_all) * padded + kPad;
            const auto transform_tiles = [&](int thread) {
                const int from = depth_all * thread / threads, to = depth_all * (thread + 1) / threads;
                float *line = own(thread);
                float *rows = line + size.line;
                std::memset(line, 0, sizeof(float) * size.line);
                const TransformedRows<kernel> transformed(conv, blocks, first_tile, count);
                for (int c = from; c < to; ++c) {
                    for (int channel = 0; channel < kChannels; ++channel) {
                        const int input = c * kChannels + channel;
                        if (input < conv.inputs)
                            transformed.read(
                                with.source + (static_cast<std::size_t>(picture) * conv.inputs + input) * source_plane,
                                line, rows + channel * size.rows);
                        else // what fills up the last cell
                            std::memset(rows + channel * size.rows, 0, sizeof(float) * size.rows);
                    }
                    transform_columns<kernel>(transformed, rows, size.rows, padded,
                                              tiles + static_cast<std::size_t>(c) * padded, stride);
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
                            conv, blocks, sums + static_cast<std::size_t>(o) * padded,
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
    const TileBlocks blocks(conv, kTiles);
    const Sizes s = conv.kernel == 3 ? Sizes::of<3>(conv, blocks) : Sizes::of<2>(conv, blocks);
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
