// Quantized convolutions, compiled once for each instruction set: HRT_LANES values per vector, HRT_KERNEL its name.
//
// A block of tiles is transformed twice: once to find the largest value of each position of each tile, once to
// quantize with it, four channels together as the products read them. Then each block of output channels multiplies,
// scales, and transforms the sums back while they are in the cache.
#include <cmath>

#include "quantized.h"
#if HRT_AMX
#include "quantized_registers.h"
#else
#include "quantized_vectors.h"
#endif
#include "tiles.h"

namespace hrt::native::HRT_KERNEL {
namespace {

constexpr int kOutputs = HRT_OUTPUTS; // output channels per block
constexpr int kMostTiles = HRT_TILES; // tiles per block
constexpr float kSteps = 127.0F;
constexpr float kNothing = 1e-30F; // smaller values are zeros: their reciprocal would not be finite

HRT_INLINE Vec magnitude(Vec value) { return value < 0.0F ? -value : value; }
HRT_INLINE Vec larger(Vec a, Vec b) { return a > b ? a : b; }

// The nearest integer, in the lowest bits of each lane: adding 1.5 * 2^23 leaves no digits behind the point.
HRT_INLINE Index rounded(Vec value) {
    const Vec sum = value + 12582912.0F;
    return (Index)sum;
}

static_assert(kOutputs % kOutputBlock == 0, "the layout of weights");

constexpr int quads_of(const Convolution &conv, bool gated) {
    return (gated ? 2 : 1) * ((conv.inputs + kQuad - 1) / kQuad);
}
// With those of zero weights that fill up the last step of the product.
constexpr int product_quads(const Convolution &conv, bool gated) { return round_up(quads_of(conv, gated), kQuads); }

// One input channel of 16 outputs, transformed: u[n * n][16].
template <int kernel>
HRT_INLINE void transform_weights(const std::int8_t *from, float *u) {
    using T = Transform<kernel>;
    float taps[kernel * kernel * kOutputBlock];
    for (int i = 0; i < kernel * kernel * kOutputBlock; ++i) taps[i] = from[i];
    for (int lane = 0; lane < kOutputBlock; lane += kLanes) {
        Vec half[kernel][T::n];
        HRT_UNROLL
        for (int x = 0; x < kernel; ++x) {
            Vec g[kernel];
            HRT_UNROLL
            for (int y = 0; y < kernel; ++y) g[y] = load(taps + (y * kernel + x) * kOutputBlock + lane);
            T::weight(g, half[x]);
        }
        HRT_UNROLL
        for (int i = 0; i < T::n; ++i) {
            Vec row[kernel], out[T::n];
            HRT_UNROLL
            for (int x = 0; x < kernel; ++x) row[x] = half[x][i];
            T::weight(row, out);
            HRT_UNROLL
            for (int j = 0; j < T::n; ++j) store(u + (i * T::n + j) * kOutputBlock + lane, out[j]);
        }
    }
}

template <int kernel>
void prepare_block(const Convolution &conv, bool gated, const std::int8_t *weights, const float *scales, int block,
                   char *to) {
    constexpr int products = Transform<kernel>::n * Transform<kernel>::n;
    const int inputs = (gated ? 2 : 1) * conv.inputs, quads = product_quads(conv, gated);
    const std::int8_t *from = weights + static_cast<std::size_t>(block) * inputs * kernel * kernel * kOutputBlock;
    alignas(64) float u[products * kOutputBlock], most[products * kOutputBlock] = {};
    for (int c = 0; c < inputs; ++c) {
        transform_weights<kernel>(from + static_cast<std::size_t>(c) * kernel * kernel * kOutputBlock, u);
        for (int i = 0; i < products * kOutputBlock; i += kLanes)
            store(most + i, larger(load(most + i), magnitude(load(u + i))));
    }
    const std::size_t step = weight_bytes(quads);
    std::memset(to, 0, step * products);
    for (int c = 0; c < inputs; ++c) {
        transform_weights<kernel>(from + static_cast<std::size_t>(c) * kernel * kernel * kOutputBlock, u);
        for (int p = 0; p < products; ++p) {
            Tail *tail = reinterpret_cast<Tail *>(to + p * step + step - sizeof(Tail));
            auto *bytes = reinterpret_cast<std::int8_t *>(to + p * step);
            for (int o = 0; o < kOutputBlock; ++o) {
                const float largest = most[p * kOutputBlock + o];
                if (largest < kNothing) continue;
                const int value = static_cast<int>(__builtin_rintf(u[p * kOutputBlock + o] * (kSteps / largest)));
                bytes[byte_at(quads, o, c)] = static_cast<std::int8_t>(value);
                tail->start[o] -= 128 * value;
            }
        }
    }
    for (int p = 0; p < products; ++p)
        for (int o = 0; o < kOutputBlock; ++o) {
            const int output = block * kOutputBlock + o;
            reinterpret_cast<Tail *>(to + p * step + step - sizeof(Tail))->scale[o] =
                output < conv.outputs ? most[p * kOutputBlock + o] / kSteps * scales[output] : 0.0F;
        }
}

// Parts of the workspace, in floats.
struct Sizes {
    std::size_t stride, tiles, scales, line, rows, sums;
    template <int kernel>
    static Sizes of(const Convolution &conv, const TileBlocks &b, bool gated) {
        constexpr int products = Transform<kernel>::n * Transform<kernel>::n;
        Sizes s;
        // Bytes from one position to the next; odd in lines: strides of a power of two meet in the same cache sets.
        s.stride = static_cast<std::size_t>(product_quads(conv, gated)) * kQuad * b.block_tiles + 64;
        s.tiles = round_up64((products * s.stride + 4095) / sizeof(float));
        s.scales = round_up64(products * b.block_tiles);
        s.line = TransformedRows<kernel>::line_size(b);
        s.rows = TransformedRows<kernel>::size(b);
        s.sums = round_up64(products * (static_cast<std::size_t>(kOutputs) * b.block_tiles + 16) + kSlack);
        return s;
    }
    std::size_t per_thread() const { return 2 * scales + std::max(line + kQuad * rows, sums); }
};

template <int kernel>
class Run {
public:
    Run(const Convolution &conv, const QuantizedOperands &with, float *workspace, int threads)
        : conv_(conv),
          with_(with),
          threads_(threads),
          gated_(with.gate != nullptr),
          quads_(quads_of(conv, false)),
          blocks_(conv, kMostTiles),
          sizes_(Sizes::of<kernel>(conv, blocks_, gated_)),
          tiles_(reinterpret_cast<std::uint8_t *>(workspace)),
          own_(workspace + sizes_.tiles) {}

    void operator()(Parallel parallel) {
        for (picture_ = 0; picture_ < conv_.batch; ++picture_)
            for (int block = 0; block < blocks_.blocks; ++block) {
                first_ = block * blocks_.block_tiles;
                count_ = std::min(blocks_.block_tiles, blocks_.tiles - first_);
                padded_ = round_up(count_, kLanes);
                parallel(threads_, Parts([this](int thread) { measure(thread); }));
                parallel(threads_, Parts([this](int thread) { quantize(thread); }));
                parallel(threads_, Parts([this](int thread) { multiply_and_transform_back(thread); }));
            }
    }

private:
    using T = Transform<kernel>;
    static constexpr int kProducts = T::n * T::n;

    const Convolution &conv_;
    const QuantizedOperands &with_;
    const int threads_;
    const bool gated_;
    const int quads_; // of the source
    const TileBlocks blocks_;
    const Sizes sizes_;
    std::uint8_t *const tiles_;
    float *const own_;
    int picture_ = 0, first_ = 0, count_ = 0, padded_ = 0;

    float *own(int thread) const { return own_ + thread * sizes_.per_thread(); }
    float *largest(int thread) const { return own(thread); }
    float *factors(int thread) const { return own(thread) + sizes_.scales; }
    float *rest(int thread) const { return own(thread) + 2 * sizes_.scales; }
    int from(int thread, int all) const { return static_cast<int>(static_cast<long>(all) * thread / threads_); }
    const float *gates() const {
        return gated_ ? with_.gate + static_cast<std::size_t>(picture_) * conv_.inputs : nullptr;
    }
    const float *channel(int c) const {
        const std::size_t plane = static_cast<std::size_t>(conv_.source_height) * conv_.source_width;
        return with_.source + (static_cast<std::size_t>(picture_) * conv_.inputs + c) * plane;
    }

    // The largest value of each position of each tile, over a thread's channels.
    void measure(int thread) const {
        float *const most = largest(thread), *const line = rest(thread), *const rows = line + sizes_.line;
        std::memset(most, 0, sizeof(float) * kProducts * padded_);
        std::memset(line, 0, sizeof(float) * sizes_.line);
        const TransformedRows<kernel> transformed(conv_, blocks_, first_, count_);
        for (int quad = from(thread, quads_); quad < from(thread + 1, quads_);
             ++quad) { // four: `most` is read less often
            read(transformed, quad, line, rows);
            float by[kQuad] = {1.0F, 1.0F, 1.0F, 1.0F};
            for (int c = 0; gated_ && c < kQuad; ++c) by[c] = std::max(1.0F, std::fabs(gates()[kQuad * quad + c]));
            for (int j = 0; j < T::n; ++j)
                for (int t = 0; t < padded_; t += kLanes) {
                    Vec found[T::n];
                    HRT_UNROLL
                    for (int i = 0; i < T::n; ++i) found[i] = load(most + (i * T::n + j) * padded_ + t);
                    HRT_UNROLL
                    for (int c = 0; c < kQuad; ++c) {
                        Vec v[T::n];
                        transformed.columns(rows + c * sizes_.rows, t, j, v);
                        HRT_UNROLL
                        for (int i = 0; i < T::n; ++i)
                            found[i] = larger(found[i], magnitude(gated_ ? v[i] * by[c] : v[i]));
                    }
                    HRT_UNROLL
                    for (int i = 0; i < T::n; ++i) store(most + (i * T::n + j) * padded_ + t, found[i]);
                }
        }
    }

    // Four channels, transformed along their rows; those behind the last one are zeros.
    void read(const TransformedRows<kernel> &transformed, int quad, float *line, float *rows) const {
        for (int c = 0; c < kQuad; ++c)
            if (kQuad * quad + c < conv_.inputs)
                transformed.read(channel(kQuad * quad + c), line, rows + c * sizes_.rows);
            else
                std::memset(rows + c * sizes_.rows, 0, sizeof(float) * sizes_.rows);
    }

    void quantize(int thread) const {
        float *const inverse = factors(thread), *const line = rest(thread), *const rows = line + sizes_.line;
        for (int i = 0; i < kProducts * padded_; i += kLanes) {
            Vec most{};
            for (int other = 0; other < threads_; ++other) most = larger(most, load(largest(other) + i));
            store(inverse + i, most > kNothing ? kSteps / most : Vec{});
        }
        std::memset(line, 0, sizeof(float) * sizes_.line);
        const TransformedRows<kernel> transformed(conv_, blocks_, first_, count_);
        for (int quad = from(thread, quads_); quad < from(thread + 1, quads_); ++quad) {
            read(transformed, quad, line, rows);
            const std::size_t at = static_cast<std::size_t>(quad) * padded_ * kQuad;
            if (!gated_) {
                pack(transformed, rows, inverse, nullptr, tiles_ + at);
                continue;
            }
            pack(transformed, rows, inverse, gates() + kQuad * quad, tiles_ + at);
            pack(transformed, rows, inverse, nullptr, tiles_ + at + static_cast<std::size_t>(quads_) * padded_ * kQuad);
        }
        const int filled = quads_of(conv_, gated_), all = product_quads(conv_, gated_);
        if (thread == threads_ - 1 && all > filled)
            for (int p = 0; p < kProducts; ++p)
                std::memset(tiles_ + p * sizes_.stride + static_cast<std::size_t>(filled) * padded_ * kQuad, 128,
                            static_cast<std::size_t>(all - filled) * padded_ * kQuad);
    }

    // Four channels to bytes, all positions of all tiles.
    void pack(const TransformedRows<kernel> &transformed, const float *rows, const float *inverse, const float *gate,
              std::uint8_t *to) const {
        const Index byte = Index{} + 255, half = Index{} + static_cast<int>(0x80808080U);
        for (int j = 0; j < T::n; ++j)
            for (int t = 0; t < padded_; t += kLanes) {
                Index packed[T::n];
                HRT_UNROLL
                for (int c = 0; c < kQuad; ++c) {
                    Vec v[T::n];
                    transformed.columns(rows + c * sizes_.rows, t, j, v);
                    HRT_UNROLL
                    for (int i = 0; i < T::n; ++i) {
                        Vec by = load(inverse + (i * T::n + j) * padded_ + t);
                        if (gate != nullptr) by = by * gate[c];
                        const Index bits = (rounded(v[i] * by) & byte) << (8 * c);
                        packed[i] = c == 0 ? bits : packed[i] | bits;
                    }
                }
                HRT_UNROLL
                for (int i = 0; i < T::n; ++i)
                    store_int(to + (i * T::n + j) * sizes_.stride + t * kQuad, packed[i] ^ half);
            }
    }

    void multiply_and_transform_back(int thread) const {
        const Registers registers;
        float *const scale = largest(thread), *const sums = rest(thread);
        const float *const inverse = factors(thread);
        for (int i = 0; i < kProducts * padded_; i += kLanes) {
            const Vec by = load(inverse + i);
            store(scale + i, by > 0.0F ? 1.0F / by : Vec{});
        }
        const int all_blocks = (conv_.outputs + kOutputBlock - 1) / kOutputBlock;
        const int quads = product_quads(conv_, gated_);
        const std::size_t weight_step = weight_bytes(quads), sum_step = std::size_t{kOutputs} * padded_ + 16;
        const std::size_t plane = static_cast<std::size_t>(conv_.height) * conv_.width;
        const auto *weights = static_cast<const char *>(with_.weights);
        for (int block = from(thread, all_blocks); block < from(thread + 1, all_blocks);) {
            const int together = std::min(kOutputs / kOutputBlock, from(thread + 1, all_blocks) - block);
            for (int p = 0; p < kProducts; ++p)
                product(weights + (static_cast<std::size_t>(block) * kProducts + p) * weight_step,
                        kProducts * weight_step, together, tiles_ + p * sizes_.stride, scale + p * padded_, quads,
                        padded_, sums + p * sum_step, tiles_ + (p + 1 == kProducts ? 0 : p + 1) * sizes_.stride);
            const int first = block * kOutputBlock;
            for (int o = 0; o < std::min(together * kOutputBlock, conv_.outputs - first); ++o)
                transform_back<kernel>(
                    conv_, blocks_, sums + static_cast<std::size_t>(o) * padded_, sum_step, first_, count_,
                    with_.bias == nullptr ? 0.0F : with_.bias[first + o],
                    with_.result + (static_cast<std::size_t>(picture_) * conv_.outputs + first + o) * plane);
            block += together;
        }
    }
};

std::size_t prepared(const Convolution &conv, bool gated) {
    const int n = conv.kernel == 3 ? Transform<3>::n : Transform<2>::n;
    const std::size_t blocks = (conv.outputs + kOutputBlock - 1) / kOutputBlock;
    return blocks * n * n * weight_bytes(product_quads(conv, gated));
}

void prepare(const Convolution &conv, bool gated, const std::int8_t *weights, const float *scales, void *to,
             int threads, Parallel parallel) {
    const int blocks = (conv.outputs + kOutputBlock - 1) / kOutputBlock;
    const std::size_t step = prepared(conv, gated) / blocks;
    parallel(threads, Parts([&](int thread) {
                 for (int block = blocks * thread / threads; block < blocks * (thread + 1) / threads; ++block) {
                     char *at = static_cast<char *>(to) + block * step;
                     if (conv.kernel == 3)
                         prepare_block<3>(conv, gated, weights, scales, block, at);
                     else
                         prepare_block<2>(conv, gated, weights, scales, block, at);
                 }
             }));
}

std::size_t workspace(const Convolution &conv, bool gated, int threads) {
    const TileBlocks blocks(conv, kMostTiles);
    const Sizes s = conv.kernel == 3 ? Sizes::of<3>(conv, blocks, gated) : Sizes::of<2>(conv, blocks, gated);
    return s.tiles + s.per_thread() * threads;
}

void run(const Convolution &conv, const QuantizedOperands &with, float *space, int threads, Parallel parallel) {
    if (conv.kernel == 3)
        Run<3>(conv, with, space, threads)(parallel);
    else
        Run<2>(conv, with, space, threads)(parallel);
}

} // namespace

extern const QuantizedKernel quantized_kernel;
#define HRT_TEXT_OF(x) #x
#define HRT_TEXT(x) HRT_TEXT_OF(x)
const QuantizedKernel quantized_kernel{HRT_TEXT(HRT_KERNEL), prepared, prepare, workspace, run};

} // namespace hrt::native::HRT_KERNEL
