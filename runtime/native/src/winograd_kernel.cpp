// The kernel, compiled once for each instruction set: HRT_LANES floats per vector, HRT_KERNEL its name.
//
// Tiles are counted row by row. A block of tiles is transformed for all input channels; then each block of output
// channels transforms a block of weights, multiplies, and transforms the sums back while they are in the cache.
#include <algorithm>
#include <cstring>

#if HRT_AMX
#include "register_products.h"
#else
#include "vector_products.h"
#endif
#include "tiles.h"

namespace hrt::native::HRT_KERNEL {
namespace {

constexpr int kOutputs = HRT_OUTPUTS; // output channels per block
constexpr int kDepth = HRT_DEPTH;     // cells of input channels per block
constexpr int kTiles = HRT_TILES;     // tiles per block

// Between the matrices of two products: without it, strides of a power of two meet in the same sets of the caches.
constexpr int kPad = 16;

// In cells, zeros at the end where the product takes several at once.
constexpr int depth_of(const Convolution &c) { return round_up((c.inputs + kChannels - 1) / kChannels, kCells); }
static_assert(kDepth % kCells == 0 && kOutputs % kOutputBlock == 0, "blocks that the product divides");

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
                const Registers registers;
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
                            product(weights, T::n, p, tiles + p * stride + static_cast<std::size_t>(c) * padded,
                                    padded_outputs, depth, padded,
                                    sums + p * (static_cast<std::size_t>(kOutputs) * padded + kPad), c != 0,
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
