// What both products of quantized_kernel.cpp know of bytes and weights.
#pragma once

#include <cstring>

#include "tiles.h"

namespace hrt::native::HRT_KERNEL {
namespace {

constexpr int kQuad = 4; // channels that one product adds up

HRT_INLINE Index load_int(const void *from) {
    typedef int Loose __attribute__((vector_size(kLanes * 4), aligned(1), may_alias));
    return *static_cast<const Loose *>(from);
}
HRT_INLINE void store_int(void *to, Index value) {
    typedef int Loose __attribute__((vector_size(kLanes * 4), aligned(1), may_alias));
    *static_cast<Loose *>(to) = value;
}

// Prepared weights: [outputs / 16][n * n] of these, each the bytes of 16 outputs, then what goes with them.
struct Tail {
    float scale[kOutputBlock];
    std::int32_t start[kOutputBlock]; // takes back that sources are 128 too large
};

std::size_t weight_bytes(int quads) { return static_cast<std::size_t>(quads) * kQuad * kOutputBlock + sizeof(Tail); }

} // namespace
} // namespace hrt::native::HRT_KERNEL
