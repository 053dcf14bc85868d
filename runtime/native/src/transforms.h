// Vectors of HRT_LANES floats and Winograd's transforms of them, for the source file of one instruction set.
//
// The compiler fuses no products and sums by itself (CMakeLists.txt): it would do so otherwise for each instruction
// set, and values that lie between two of 8 bits would be rounded up by one kernel and down by another.
#pragma once

#include <immintrin.h>

#define HRT_INLINE inline __attribute__((always_inline))
#define HRT_UNROLL _Pragma("GCC unroll 16")

namespace hrt::native::HRT_KERNEL {
namespace {

constexpr int kLanes = HRT_LANES;
typedef float Vec __attribute__((vector_size(kLanes * 4)));
typedef float LooseVec __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));

HRT_INLINE Vec load(const float *from) { return *reinterpret_cast<const LooseVec *>(from); }
HRT_INLINE void store(float *to, Vec value) { *reinterpret_cast<LooseVec *>(to) = value; }
HRT_INLINE Vec splat(float value) { return Vec{} + value; }
// sum + a * b, rounded once by every kernel that is delivered.
HRT_INLINE Vec fused(Vec sum, Vec a, Vec b) {
#if HRT_LANES == 16 && defined(__AVX512F__)
    return (Vec)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)sum);
#elif HRT_LANES == 8 && defined(__FMA__)
    return (Vec)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)sum);
#else // tests of AMX's kernels on any CPU
    return sum + a * b;
#endif
}
HRT_INLINE Vec fused(Vec sum, float a, Vec b) { return fused(sum, splat(a), b); }
typedef int Index __attribute__((vector_size(kLanes * 4)));

// The one-dimensional transforms of Toom and Cook. Their points decide how much of what the products round away comes
// back in the sums: 0, +-1 and +-2, as Lavin and Gray have them, cost up to 7 dB more in two dimensions than these
// (docs/cpu_performance.md), whose powers FP32 holds exactly.
template <int kernel>
struct Transform;

// F(4, 3): points 0, a, -a, b, -b and infinity.
template <>
struct Transform<3> {
    static constexpr int n = 6;
    static constexpr float a = 1.5F, b = 0.625F, a2 = a * a, b2 = b * b;
    static HRT_INLINE void input(const Vec d[6], Vec out[6]) {
        const Vec even_a = fused(d[4], -b2, d[2]), odd_a = fused(d[3], -b2, d[1]);
        const Vec even_b = fused(d[4], -a2, d[2]), odd_b = fused(d[3], -a2, d[1]);
        out[0] = fused(fused(d[4], a2 * b2, d[0]), -a2 - b2, d[2]);
        out[1] = fused(even_a, a, odd_a);
        out[2] = fused(even_a, -a, odd_a);
        out[3] = fused(even_b, b, odd_b);
        out[4] = fused(even_b, -b, odd_b);
        out[5] = fused(fused(d[5], a2 * b2, d[1]), -a2 - b2, d[3]);
    }
    static HRT_INLINE void weight(const Vec g[3], Vec out[6]) {
        constexpr float of_a = 0.5F / (a2 * (a2 - b2)), of_b = 0.5F / (b2 * (b2 - a2));
        const Vec even_a = fused(g[0] * of_a, a2 * of_a, g[2]), even_b = fused(g[0] * of_b, b2 * of_b, g[2]);
        out[0] = g[0] * (1.0F / (a2 * b2));
        out[1] = fused(even_a, a * of_a, g[1]);
        out[2] = fused(even_a, -a * of_a, g[1]);
        out[3] = fused(even_b, b * of_b, g[1]);
        out[4] = fused(even_b, -b * of_b, g[1]);
        out[5] = g[2];
    }
    static HRT_INLINE void output(const Vec m[6], Vec out[4]) {
        const Vec p = m[1] + m[2], q = m[1] - m[2], r = m[3] + m[4], s = m[3] - m[4];
        out[0] = m[0] + p + r;
        out[1] = fused(a * q, b, s);
        out[2] = fused(a2 * p, b2, r);
        out[3] = fused(fused(m[5], a2 * a, q), b2 * b, s);
    }
};

// F(4, 2): points 0, -1, a, b and infinity.
template <>
struct Transform<2> {
    static constexpr int n = 5;
    static constexpr float a = 0.625F, b = 1.5F, a2 = a * a, b2 = b * b;
    static HRT_INLINE void input(const Vec d[5], Vec out[5]) {
        constexpr float sum = a + b, both = a * b;
        out[0] = fused(fused(fused(d[3], both, d[0]), both - sum, d[1]), 1.0F - sum, d[2]);
        out[1] = fused(fused(d[3], both, d[1]), -sum, d[2]);
        out[2] = fused(fused(d[3], -b, d[1]), 1.0F - b, d[2]);
        out[3] = fused(fused(d[3], -a, d[1]), 1.0F - a, d[2]);
        out[4] = fused(fused(fused(d[4], both, d[1]), both - sum, d[2]), 1.0F - sum, d[3]);
    }
    static HRT_INLINE void weight(const Vec g[2], Vec out[5]) {
        constexpr float of_one = -1.0F / ((1.0F + a) * (1.0F + b));
        constexpr float of_a = 1.0F / (a * (a + 1.0F) * (a - b)), of_b = 1.0F / (b * (b + 1.0F) * (b - a));
        out[0] = g[0] * (1.0F / (a * b));
        out[1] = (g[0] - g[1]) * of_one;
        out[2] = fused(g[0] * of_a, a * of_a, g[1]);
        out[3] = fused(g[0] * of_b, b * of_b, g[1]);
        out[4] = g[1];
    }
    static HRT_INLINE void output(const Vec m[5], Vec out[4]) {
        out[0] = m[0] + m[1] + m[2] + m[3];
        out[1] = fused(fused(-m[1], a, m[2]), b, m[3]);
        out[2] = fused(fused(m[1], a2, m[2]), b2, m[3]);
        out[3] = fused(fused(m[4] - m[1], a2 * a, m[2]), b2 * b, m[3]);
    }
};

// Four vectors of neighbours -> every fourth element.
HRT_INLINE void deinterleave(const float *from, Vec out[4]) {
    Index first{}, second{};
    for (int i = 0; i < kLanes; ++i) {
        first[i] = 2 * i;
        second[i] = 2 * i + 1;
    }
    const Vec a = load(from), b = load(from + kLanes), c = load(from + 2 * kLanes), d = load(from + 3 * kLanes);
    const Vec ab0 = __builtin_shuffle(a, b, first), ab1 = __builtin_shuffle(a, b, second);
    const Vec cd0 = __builtin_shuffle(c, d, first), cd1 = __builtin_shuffle(c, d, second);
    out[0] = __builtin_shuffle(ab0, cd0, first);
    out[2] = __builtin_shuffle(ab0, cd0, second);
    out[1] = __builtin_shuffle(ab1, cd1, first);
    out[3] = __builtin_shuffle(ab1, cd1, second);
}

// Back: every fourth element -> four vectors of neighbours.
HRT_INLINE void interleave(const Vec in[4], Vec out[4]) {
    Index low{}, high{};
    for (int i = 0; i < kLanes; ++i) {
        low[i] = i / 2 + (i % 2) * kLanes;
        high[i] = low[i] + kLanes / 2;
    }
    const Vec a = __builtin_shuffle(in[0], in[2], low), b = __builtin_shuffle(in[1], in[3], low);
    const Vec c = __builtin_shuffle(in[0], in[2], high), d = __builtin_shuffle(in[1], in[3], high);
    out[0] = __builtin_shuffle(a, b, low);
    out[1] = __builtin_shuffle(a, b, high);
    out[2] = __builtin_shuffle(c, d, low);
    out[3] = __builtin_shuffle(c, d, high);
}

} // namespace
} // namespace hrt::native::HRT_KERNEL
