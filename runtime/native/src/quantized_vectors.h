// INT8 weights and products of a block of Winograd's tiles in vectors, for quantized_kernel.cpp.
#pragma once

#include <immintrin.h>

#include "quantized_weights.h"

namespace hrt::native::HRT_KERNEL {
namespace {

constexpr int kRows = HRT_ROWS;       // output channels and
constexpr int kVectors = HRT_VECTORS; // vectors of tiles that the product keeps in registers
constexpr int kQuads = 1;             // that one step of the product takes
static_assert(kOutputBlock % kRows == 0, "the layout of weights");

struct Registers { // nothing to set up
    Registers() {}
};

// sum + the products of four unsigned and four signed bytes in each lane; one factor is the same in every lane.
#ifdef HRT_VNNI
struct Factor {
    __m512i value;
    HRT_INLINE void read(const std::int8_t *from) {
        int four;
        std::memcpy(&four, from, sizeof four);
        value = _mm512_set1_epi32(four);
    }
};
struct Bytes {
    __m512i value;
    HRT_INLINE void read(const std::uint8_t *from) { value = _mm512_loadu_si512(from); }
};
HRT_INLINE Index dot(Index sum, const Bytes &a, const Factor &b) {
    return (Index)_mm512_dpbusd_epi32((__m512i)sum, a.value, b.value);
}
#else // in 16 bits, which hold the bytes' products exactly
struct Factor {
    __m256i even, odd;
    HRT_INLINE void read(const std::int8_t *from) {
        int four;
        std::memcpy(&four, from, sizeof four);
        const __m256i value = _mm256_set1_epi32(four);
        even = _mm256_srai_epi16(_mm256_slli_epi16(value, 8), 8);
        odd = _mm256_srai_epi16(value, 8);
    }
};
struct Bytes {
    __m256i even, odd;
    HRT_INLINE void read(const std::uint8_t *from) {
        const __m256i value = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(from));
        even = _mm256_and_si256(value, _mm256_set1_epi16(255));
        odd = _mm256_srli_epi16(value, 8);
    }
};
HRT_INLINE Index dot(Index sum, const Bytes &a, const Factor &b) {
    const __m256i both = _mm256_add_epi32(_mm256_madd_epi16(a.even, b.even), _mm256_madd_epi16(a.odd, b.odd));
    return sum + (Index)both;
}
#endif

// Where the weight of an output and an input channel lies: [16 / rows][quads][rows][4].
constexpr std::size_t byte_at(int quads, int output, int channel) {
    const std::size_t row = static_cast<std::size_t>(output / kRows) * quads + channel / kQuad;
    return (row * kRows + output % kRows) * kQuad + channel % kQuad;
}

// m[kRows][tiles] = the products of weights [quads][kRows][4] and tiles [quads][tiles][4], scaled on both sides.
template <int vectors>
HRT_INLINE void multiply(const std::int8_t *u, const Tail &tail, int first, const std::uint8_t *v, const float *scale,
                         int quads, int tiles, float *m, const std::uint8_t *ahead) {
    Index sum[kRows][vectors];
    HRT_UNROLL
    for (int r = 0; r < kRows; ++r) HRT_UNROLL
    for (int x = 0; x < vectors; ++x) sum[r][x] = Index{} + tail.start[first + r];
    const std::size_t step = static_cast<std::size_t>(tiles) * kQuad;
    for (int q = 0; q < quads; ++q) {
        Bytes b[vectors];
        HRT_UNROLL
        for (int x = 0; x < vectors; ++x) b[x].read(v + x * kLanes * kQuad);
        HRT_UNROLL
        for (int r = 0; r < kRows; ++r) {
            Factor w;
            w.read(u + r * kQuad);
            HRT_UNROLL
            for (int x = 0; x < vectors; ++x) sum[r][x] = dot(sum[r][x], b[x], w);
        }
        __builtin_prefetch(ahead);
        ahead += 32;
        u += kRows * kQuad;
        v += step;
    }
    HRT_UNROLL
    for (int x = 0; x < vectors; ++x) {
        const Vec by = load(scale + x * kLanes);
        HRT_UNROLL
        for (int r = 0; r < kRows; ++r)
            store(m + r * tiles + x * kLanes, __builtin_convertvector(sum[r][x], Vec) * (by * tail.scale[first + r]));
    }
}

void product_of_block(const char *weights, const std::uint8_t *v, const float *scale, int quads, int tiles, float *m,
                      const std::uint8_t *next) {
    const std::size_t bytes = weight_bytes(quads);
    const Tail &tail = *reinterpret_cast<const Tail *>(weights + bytes - sizeof(Tail));
    const auto *u = reinterpret_cast<const std::int8_t *>(weights);
    for (int t = 0; t < tiles;) {
        const int left = (tiles - t) / kLanes;
        const int now = left >= kVectors ? kVectors : left >= 2 && kVectors > 2 ? 2 : 1;
        for (int o = 0; o < kOutputBlock; o += kRows) {
            const std::int8_t *rows = u + static_cast<std::size_t>(o) * quads * kQuad;
            float *to = m + static_cast<std::size_t>(o) * tiles + t;
            const std::uint8_t *from = v + t * kQuad, *ahead = next + static_cast<std::size_t>(o) / kRows * quads * 32;
            if (now == kVectors)
                multiply<kVectors>(rows, tail, o, from, scale + t, quads, tiles, to, ahead);
            else if (now == 2)
                multiply<2>(rows, tail, o, from, scale + t, quads, tiles, to, ahead);
            else
                multiply<1>(rows, tail, o, from, scale + t, quads, tiles, to, ahead);
        }
        t += now * kLanes;
    }
}

// One position of `blocks` blocks of 16 outputs. Meanwhile a part of the next position's tiles comes into the cache.
void product(const char *weights, std::size_t next_block, int blocks, const std::uint8_t *v, const float *scale,
             int quads, int tiles, float *m, const std::uint8_t *next) {
    for (int b = 0; b < blocks; ++b)
        product_of_block(weights + b * next_block, v, scale, quads, tiles,
                         m + static_cast<std::size_t>(b) * kOutputBlock * tiles, next);
}

} // namespace
} // namespace hrt::native::HRT_KERNEL
