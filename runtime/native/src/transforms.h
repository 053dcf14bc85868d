// Vectors of HRT_LANES floats and Winograd's transforms of them, for the source file of one instruction set.
#pragma once

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
typedef int Index __attribute__((vector_size(kLanes * 4)));

// The one-dimensional transforms of F(4, 3): points 0, 1, -1, 2, -2 and infinity.
template <int kernel>
struct Transform;

template <>
struct Transform<3> {
    static constexpr int n = 6;
    static HRT_INLINE void input(const Vec d[6], Vec out[6]) {
        const Vec a = d[4] - 4.0F * d[2], b = d[3] - 4.0F * d[1], c = d[4] - d[2], e = 2.0F * (d[3] - d[1]);
        out[0] = 4.0F * d[0] - 5.0F * d[2] + d[4];
        out[1] = a + b;
        out[2] = a - b;
        out[3] = c + e;
        out[4] = c - e;
        out[5] = 4.0F * d[1] - 5.0F * d[3] + d[5];
    }
    static HRT_INLINE void weight(const Vec g[3], Vec out[6]) {
        const Vec even = (g[0] + g[2]) * (-1.0F / 6), odd = g[1] * (1.0F / 6);
        const Vec even2 = g[0] * (1.0F / 24) + g[2] * (1.0F / 6), odd2 = g[1] * (1.0F / 12);
        out[0] = g[0] * 0.25F;
        out[1] = even - odd;
        out[2] = even + odd;
        out[3] = even2 + odd2;
        out[4] = even2 - odd2;
        out[5] = g[2];
    }
    static HRT_INLINE void output(const Vec m[6], Vec out[4]) {
        const Vec p = m[1] + m[2], q = m[1] - m[2], r = m[3] + m[4], s = m[3] - m[4];
        out[0] = m[0] + p + r;
        out[1] = q + 2.0F * s;
        out[2] = p + 4.0F * r;
        out[3] = q + 8.0F * s + m[5];
    }
};

// F(4, 2): points 0, 1, -1, 2 and infinity.
template <>
struct Transform<2> {
    static constexpr int n = 5;
    static HRT_INLINE void input(const Vec d[5], Vec out[5]) {
        out[0] = 2.0F * (d[0] - d[2]) + (d[3] - d[1]);
        out[1] = d[3] - d[2] - 2.0F * d[1];
        out[2] = d[3] - 3.0F * d[2] + 2.0F * d[1];
        out[3] = d[3] - d[1];
        out[4] = 2.0F * (d[1] - d[3]) + (d[4] - d[2]);
    }
    static HRT_INLINE void weight(const Vec g[2], Vec out[5]) {
        out[0] = g[0] * 0.5F;
        out[1] = (g[0] + g[1]) * -0.5F;
        out[2] = (g[1] - g[0]) * (1.0F / 6);
        out[3] = g[0] * (1.0F / 6) + g[1] * (1.0F / 3);
        out[4] = g[1];
    }
    static HRT_INLINE void output(const Vec m[5], Vec out[4]) {
        const Vec p = m[1] + m[2], q = m[1] - m[2];
        out[0] = m[0] + p + m[3];
        out[1] = q + 2.0F * m[3];
        out[2] = p + 4.0F * m[3];
        out[3] = q + 8.0F * m[3] + m[4];
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
