// Intel's AMX for the source file of one kernel: eight registers of 16 rows of 64 bytes ("tiles" in Intel's papers; in
// this folder a tile is Winograd's), and the product of two of them added to a third.
//
// A register of weights has an output channel in each row, one of source tiles four channels (INT8) or a pair of them
// (BF16) in each row and a tile in each column; a register of sums has an output in each row and a tile in each column.
// HRT_AMX_EMULATED takes the registers from tests/amx_emulation.h, so that this code runs on CPUs without them.
#pragma once

#include <cstddef>
#include <cstdint>

#if HRT_AMX_EMULATED
#include "amx_emulation.h"
#else
#include <immintrin.h>
#endif

#include "transforms.h"

namespace hrt::native::HRT_KERNEL {
namespace {

constexpr int kSide = 16;                       // rows of a register, and 32-bit values in each
constexpr std::size_t kRow = 4 * kSide;         // bytes
constexpr std::size_t kRegister = kSide * kRow; // bytes
static_assert(kLanes == kSide && HRT_ROWS == 2 * kSide && HRT_VECTORS == 2, "what multiply_all keeps in registers");

// What LDTILECFG reads: palette 1, all registers in full size.
struct alignas(64) Configuration {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {kRow, kRow, kRow, kRow, kRow, kRow, kRow, kRow};
    std::uint8_t rows[16] = {kSide, kSide, kSide, kSide, kSide, kSide, kSide, kSide};
};
static_assert(sizeof(Configuration) == 64, "as the instruction reads it");
const Configuration kFull;

// Registers can be used by the thread that made this, as long as it lives. Released, they cost no context switch.
struct Registers {
    Registers() { _tile_loadconfig(&kFull); }
    ~Registers() { _tile_release(); }
    Registers(const Registers &) = delete;
    Registers &operator=(const Registers &) = delete;
};

#if HRT_BF16
#define HRT_DOT(sum, weights, tiles) _tile_dpbf16ps(sum, weights, tiles)
#else
#define HRT_DOT(sum, weights, tiles) _tile_dpbsud(sum, weights, tiles) // signed by unsigned bytes
#endif

// Where a product finds its factors and leaves its sums; distances in bytes.
struct Product {
    const char *weights;
    std::size_t weight_row;   // from one row of a register to the next,
    std::size_t next_weights; // from one register to the next along the channels,
    std::size_t next_outputs; // and along the output channels
    const char *tiles;
    std::size_t tile_row; // from one row to the next, of the sums too
    char *sums;
    const char *ahead; // as many rows of tiles, for the next product
    int depth;         // registers along the channels
    bool add;          // to the sums that lie there
};

// Sums of 16 * rows outputs by 16 * columns tiles: four registers of sums, two of weights and two of tiles, so that
// each one that is loaded is used twice.
template <int rows, int columns>
__attribute__((noinline)) void multiply(const Product &p) {
    const std::size_t below = kSide * p.tile_row;
    // The compiler may not know that registers are loaded from memory, and keep in mind what it should have written.
    __asm__ volatile("" ::: "memory");
    if (p.add) {
        _tile_loadd(0, p.sums, p.tile_row);
        if constexpr (columns > 1) _tile_loadd(1, p.sums + kRow, p.tile_row);
        if constexpr (rows > 1) _tile_loadd(2, p.sums + below, p.tile_row);
        if constexpr (rows > 1 && columns > 1) _tile_loadd(3, p.sums + below + kRow, p.tile_row);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    const char *weights = p.weights, *tiles = p.tiles, *ahead = p.ahead;
    for (int step = 0; step < p.depth; ++step) {
        _tile_loadd(4, weights, p.weight_row);
        _tile_loadd(6, tiles, p.tile_row);
        HRT_DOT(0, 4, 6);
        if constexpr (columns > 1) {
            _tile_loadd(7, tiles + kRow, p.tile_row);
            HRT_DOT(1, 4, 7);
        }
        if constexpr (rows > 1) {
            _tile_loadd(5, weights + p.next_outputs, p.weight_row);
            HRT_DOT(2, 5, 6);
            if constexpr (columns > 1) HRT_DOT(3, 5, 7);
        }
        _Pragma("GCC unroll 1") // unrolled, it takes more registers than there are
            for (int row = 0; row < kSide; ++row, ahead += p.tile_row) {
            __builtin_prefetch(ahead, 0, 2); // to the second level
            if constexpr (columns > 1) __builtin_prefetch(ahead + kRow, 0, 2);
        }
        weights += p.next_weights;
        tiles += below;
    }
    _tile_stored(0, p.sums, p.tile_row);
    if constexpr (columns > 1) _tile_stored(1, p.sums + kRow, p.tile_row);
    if constexpr (rows > 1) _tile_stored(2, p.sums + below, p.tile_row);
    if constexpr (rows > 1 && columns > 1) _tile_stored(3, p.sums + below + kRow, p.tile_row);
}
#undef HRT_DOT

// The same for any number of outputs and tiles, both multiples of 16.
void multiply_all(Product p, int outputs, int tiles) {
    const Product first = p;
    for (int o = 0; o < outputs;) {
        const bool two_rows = outputs - o > kSide;
        for (int t = 0; t < tiles;) {
            const bool two_columns = tiles - t > kSide;
            const std::size_t across = static_cast<std::size_t>(t) * 4;
            p.weights = first.weights + o / kSide * first.next_outputs;
            p.tiles = first.tiles + across;
            p.ahead = first.ahead + across;
            p.sums = first.sums + o * first.tile_row + across;
            if (two_rows && two_columns)
                multiply<2, 2>(p);
            else if (two_rows)
                multiply<2, 1>(p);
            else if (two_columns)
                multiply<1, 2>(p);
            else
                multiply<1, 1>(p);
            t += two_columns ? 2 * kSide : kSide;
        }
        o += two_rows ? 2 * kSide : kSide;
    }
}

} // namespace
} // namespace hrt::native::HRT_KERNEL
