// Winograd convolutions of stride 1 whose products are INT8: the transforms, their scales and the result are FP32.
//
// A tile of the source is quantized after its transform, over all channels of one position of one tile at once; weights
// likewise, over all inputs of one position of one output. Both scales come out of the sum, so that nothing has to be
// calibrated. Sums are exact.
#pragma once

#include <cstddef>
#include <cstdint>

#include "winograd.h"

namespace hrt::native {

// What a quantized convolution computes with.
struct QuantizedOperands {
    const float *source = nullptr;
    const void *weights = nullptr; // what QuantizedKernel::prepare wrote
    const float *gate = nullptr;   // [batch][inputs], or null
    const float *bias = nullptr;   // [outputs], or null
    float *result = nullptr;
};

// With a gate, the source counts twice: its channels times their gates, then its channels. Weights are those of
// 2 * inputs channels then, and inputs is a multiple of 4.
struct QuantizedKernel {
    const char *name;
    // Of the transformed weights, in bytes. Each kernel has a layout of its own.
    std::size_t (*prepared)(const Convolution &, bool gated);
    // Weights [outputs / 16][inputs][kernel * kernel][16] with one scale per output; `to` is aligned to 64 bytes.
    void (*prepare)(const Convolution &, bool gated, const std::int8_t *weights, const float *scales, void *to,
                    int threads, Parallel);
    std::size_t (*workspace)(const Convolution &, bool gated, int threads); // in floats
    void (*run)(const Convolution &, const QuantizedOperands &, float *workspace, int threads, Parallel);
};

// The best kernel for this CPU; null if it has neither AVX-512 with VNNI nor AVX2.
const QuantizedKernel *best_quantized_kernel();
// By name ("amx_int8", "avx512vnni", "avx2"); null if there is none or the CPU lacks it.
const QuantizedKernel *quantized_kernel_named(const char *name);

} // namespace hrt::native
