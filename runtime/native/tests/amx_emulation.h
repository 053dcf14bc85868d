// AMX's registers in plain C++, for kernels that are compiled with HRT_AMX_EMULATED: what src/amx.h does with them can
// be proved on any CPU, also under sanitizers, which see every row that is loaded and stored.
//
// Written after the operations in Intel's manual (Intel 64 and IA-32 Architectures Software Developer's Manual, volume
// 2: LDTILECFG, TILELOADD, TILESTORED, TDPBF16PS, TDPBSUD). Where the CPU would raise an exception, this aborts.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>

namespace hrt::native::emulated {

struct Tiles {
    bool configured = false;
    int rows[8] = {}, row_bytes[8] = {};
    std::uint8_t data[8][16][64] = {};
};
inline thread_local Tiles tiles;

inline void require(bool holds, const char *what) {
    if (holds) return;
    std::fprintf(stderr, "AMX: %s\n", what);
    std::abort();
}

inline void load_config(const void *from) {
    std::uint8_t c[64];
    std::memcpy(c, from, sizeof c);
    require(c[0] == 1, "the palette must be 1");
    require(c[1] == 0, "the first row must be 0");
    for (int i = 2; i < 16; ++i) require(c[i] == 0, "a reserved byte is set");
    for (int i = 32; i < 48; ++i) require(c[i] == 0, "a register beyond the eighth has columns");
    for (int i = 56; i < 64; ++i) require(c[i] == 0, "a register beyond the eighth has rows");
    tiles = Tiles();
    tiles.configured = true;
    for (int t = 0; t < 8; ++t) {
        tiles.row_bytes[t] = c[16 + 2 * t] | c[17 + 2 * t] << 8;
        tiles.rows[t] = c[48 + t];
        require(tiles.row_bytes[t] <= 64 && tiles.rows[t] <= 16, "a register is too large");
        require((tiles.row_bytes[t] == 0) == (tiles.rows[t] == 0), "a register has only rows, or only columns");
    }
}

inline void check(int tile) { require(tiles.configured && tiles.rows[tile] > 0, "a register is not configured"); }

inline void load(int tile, const void *from, std::ptrdiff_t stride) {
    check(tile);
    std::memset(tiles.data[tile], 0, sizeof tiles.data[tile]);
    for (int row = 0; row < tiles.rows[tile]; ++row)
        std::memcpy(tiles.data[tile][row], static_cast<const char *>(from) + row * stride, tiles.row_bytes[tile]);
}

inline void store(int tile, void *to, std::ptrdiff_t stride) {
    check(tile);
    for (int row = 0; row < tiles.rows[tile]; ++row)
        std::memcpy(static_cast<char *>(to) + row * stride, tiles.data[tile][row], tiles.row_bytes[tile]);
}

inline void zero(int tile) {
    check(tile);
    std::memset(tiles.data[tile], 0, sizeof tiles.data[tile]);
}

inline void check_product(int sum, int a, int b) {
    for (int tile : {sum, a, b}) check(tile);
    require(sum != a && sum != b && a != b, "the registers of a product must differ");
    require(tiles.rows[sum] == tiles.rows[a] && tiles.row_bytes[sum] == tiles.row_bytes[b] &&
                tiles.row_bytes[a] == 4 * tiles.rows[b] && tiles.row_bytes[sum] % 4 == 0,
            "the registers of a product do not fit");
}

// Numbers smaller than the normal ones are zeros, on the way in and out.
inline float flushed(float value) {
    return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0F, value) : value;
}

inline float element(int tile, int row, int index) { // a BF16 number
    std::uint16_t half;
    std::memcpy(&half, tiles.data[tile][row] + 2 * index, sizeof half);
    const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return flushed(value);
}

inline void dot_bf16(int sum, int a, int b) {
    check_product(sum, a, b);
    const int columns = tiles.row_bytes[sum] / 4, depth = tiles.row_bytes[a] / 4;
    for (int m = 0; m < tiles.rows[sum]; ++m)
        for (int n = 0; n < columns; ++n) {
            float even = 0, odd = 0; // summed apart, and added to the sum last
            for (int k = 0; k < depth; ++k) {
                even = flushed(std::fma(element(a, m, 2 * k), element(b, k, 2 * n), even));
                odd = flushed(std::fma(element(a, m, 2 * k + 1), element(b, k, 2 * n + 1), odd));
            }
            float value;
            std::memcpy(&value, tiles.data[sum][m] + 4 * n, sizeof value);
            value = flushed(flushed(value) + flushed(even + odd));
            std::memcpy(tiles.data[sum][m] + 4 * n, &value, sizeof value);
        }
}

inline void dot_signed_unsigned(int sum, int a, int b) {
    check_product(sum, a, b);
    const int columns = tiles.row_bytes[sum] / 4, depth = tiles.row_bytes[a] / 4;
    for (int m = 0; m < tiles.rows[sum]; ++m)
        for (int n = 0; n < columns; ++n) {
            std::uint32_t value; // wraps around, as the instruction does
            std::memcpy(&value, tiles.data[sum][m] + 4 * n, sizeof value);
            for (int k = 0; k < depth; ++k)
                for (int i = 0; i < 4; ++i)
                    value += static_cast<std::uint32_t>(static_cast<std::int8_t>(tiles.data[a][m][4 * k + i]) *
                                                        tiles.data[b][k][4 * n + i]);
            std::memcpy(tiles.data[sum][m] + 4 * n, &value, sizeof value);
        }
}

#ifndef __AVX512BF16__ // the conversions that the kernel in BF16 has besides; rounded to even, tiny numbers to zero
typedef std::uint16_t Words __attribute__((vector_size(32)));
typedef std::uint16_t Pairs __attribute__((vector_size(64)));

inline std::uint16_t to_bf16(float number) {
    std::uint32_t bits;
    std::memcpy(&bits, &number, sizeof bits);
    if (std::isnan(number)) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
    if (std::fpclassify(number) == FP_SUBNORMAL) return static_cast<std::uint16_t>(bits >> 16 & 0x8000);
    return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
template <typename Vector>
inline __attribute__((always_inline)) Words words(Vector values) {
    Words to{};
    for (int i = 0; i < 16; ++i) to[i] = to_bf16(values[i]);
    return to;
}
template <typename Vector>
inline __attribute__((always_inline)) Pairs both_words(Vector upper, Vector lower) {
    Pairs to{};
    for (int i = 0; i < 16; ++i) to[i] = to_bf16(lower[i]), to[16 + i] = to_bf16(upper[i]);
    return to;
}
#define _mm512_cvtneps_pbh(values) hrt::native::emulated::words(values)
#define _mm512_cvtne2ps_pbh(upper, lower) hrt::native::emulated::both_words(upper, lower)
#endif

} // namespace hrt::native::emulated

#undef _tile_loadd
#undef _tile_stored
#undef _tile_zero
#undef _tile_dpbf16ps
#undef _tile_dpbsud
#define _tile_loadconfig(from) hrt::native::emulated::load_config(from)
#define _tile_release() (hrt::native::emulated::tiles = hrt::native::emulated::Tiles())
#define _tile_loadd(tile, from, stride) hrt::native::emulated::load(tile, from, stride)
#define _tile_stored(tile, to, stride) hrt::native::emulated::store(tile, to, stride)
#define _tile_zero(tile) hrt::native::emulated::zero(tile)
#define _tile_dpbf16ps(sum, a, b) hrt::native::emulated::dot_bf16(sum, a, b)
#define _tile_dpbsud(sum, a, b) hrt::native::emulated::dot_signed_unsigned(sum, a, b)
