// What the kernel multiplies, for the source file of one instruction set: FP32, or BF16 in pairs of input channels.
//
// Tiles and weights are stored in cells of 32 bits: one FP32 number, or two BF16 numbers of neighbouring input
// channels.
#pragma once

#include <cstdint>
#include <cstring>
#if HRT_BF16
#include <immintrin.h>
#endif

#include "transforms.h"
#include "winograd.h"

namespace hrt::native::HRT_KERNEL {
namespace {

#if HRT_BF16

using Number = Bfloat16;
constexpr int kChannels = 2; // per cell

static_assert(kLanes == 16, "AVX512-BF16 has vectors of 16 pairs");

typedef std::uint16_t Words __attribute__((vector_size(32)));
typedef std::uint16_t LooseWords __attribute__((vector_size(32), aligned(2), may_alias));
typedef std::uint32_t Doubles __attribute__((vector_size(64)));
typedef std::uint16_t Pairs __attribute__((vector_size(64)));

HRT_INLINE Doubles load_words(const Bfloat16 *from) {
    const Words words = *reinterpret_cast<const LooseWords *>(from);
    return __builtin_convertvector(words, Doubles);
}
HRT_INLINE Vec load(const Bfloat16 *from) { return (Vec)(load_words(from) << 16); }
HRT_INLINE void store(Bfloat16 *to, Vec value) {
    *reinterpret_cast<LooseWords *>(to) = (Words)_mm512_cvtneps_pbh((__m512)value);
}
HRT_INLINE float widened(Bfloat16 number) {
    const std::uint32_t bits = static_cast<std::uint32_t>(number.bits) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

// Vectors of two input channels -> cells.
HRT_INLINE Vec cells(const Vec channels[2]) {
    Pairs order{};
    for (int i = 0; i < 32; ++i) order[i] = static_cast<std::uint16_t>(i / 2 + i % 2 * 16);
    return (Vec)__builtin_shuffle((Pairs)_mm512_cvtne2ps_pbh((__m512)channels[1], (__m512)channels[0]), order);
}
#if !HRT_AMX
HRT_INLINE Vec multiply_add(Vec sum, float cell, Vec cells) {
    return (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_ps(cell), (__m512bh)cells);
}
#endif

#else

using Number = float;
constexpr int kChannels = 1;

HRT_INLINE float widened(float number) { return number; }
HRT_INLINE Vec cells(const Vec channels[1]) { return channels[0]; }
HRT_INLINE Vec multiply_add(Vec sum, float cell, Vec cells) { return fused(sum, cell, cells); }

#endif

} // namespace
} // namespace hrt::native::HRT_KERNEL
