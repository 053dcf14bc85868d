// INT8 weights and products of a block of Winograd's tiles in AMX's registers, for quantized_kernel.cpp.
#pragma once

#include "amx.h"
#include "quantized_weights.h"

namespace hrt::native::HRT_KERNEL {
namespace {

constexpr int kQuads = kSide; // that one step of the product takes: a register's row
static_assert(kOutputBlock == kSide, "a register of weights is a block of outputs");

// Where the weight of an output and an input channel lies: [quads / 16][16 outputs][16 quads][4].
constexpr std::size_t byte_at(int, int output, int channel) {
    constexpr int row = kQuads * kQuad;
    return (static_cast<std::size_t>(channel / row) * kOutputBlock + output) * row + channel % row;
}

// One position of `blocks` blocks of 16 outputs: m[outputs][tiles] = the products of weights and tiles, scaled on both
// sides. Meanwhile the next position's tiles come into the cache.
void product(const char *weights, std::size_t next_block, int blocks, const std::uint8_t *v, const float *scale,
             int quads, int tiles, float *m, const std::uint8_t *next) {
    Product p;
    p.weights = weights;
    p.weight_row = kRow;
    p.next_weights = kRegister;
    p.next_outputs = next_block;
    p.tiles = reinterpret_cast<const char *>(v);
    p.tile_row = static_cast<std::size_t>(tiles) * kQuad;
    p.sums = reinterpret_cast<char *>(m);
    p.ahead = reinterpret_cast<const char *>(next);
    p.depth = quads / kQuads;
    p.add = false;
    multiply_all(p, blocks * kOutputBlock, tiles);
    for (int o = 0; o < blocks * kOutputBlock; ++o, m += tiles) {
        const char *const end = weights + o / kOutputBlock * next_block + weight_bytes(quads);
        const Tail &tail = *reinterpret_cast<const Tail *>(end - sizeof(Tail));
        for (int t = 0; t < tiles; t += kLanes) {
            const Index sum = load_int(m + t) + tail.start[o % kOutputBlock];
            store(m + t, __builtin_convertvector(sum, Vec) * (load(scale + t) * tail.scale[o % kOutputBlock]));
        }
    }
}

} // namespace
} // namespace hrt::native::HRT_KERNEL
