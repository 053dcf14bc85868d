// Winograd convolutions of stride 1: F(4x4, 3x3) and F(4x4, 2x2) of Lavin and Gray, arXiv 1509.09308. In FP32; or in
// BF16, whose transforms and sums are FP32 too: tiles and weights are rounded to BF16 once, before their product.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hrt::native {

enum class Activation { none, relu, leaky_relu };

// The upper half of an FP32 number.
struct Bfloat16 {
    std::uint16_t bits;
};

// One convolution. Pictures are NCHW without gaps; rows and columns outside the source are zeros.
struct Convolution {
    int batch = 1;
    int inputs = 0;
    int outputs = 0;
    int kernel = 3; // 3 or 2
    int source_height = 0;
    int source_width = 0;
    int top = 0; // padding
    int left = 0;
    int height = 0; // of the result
    int width = 0;
    Activation activation = Activation::none;
    float slope = 0.01F; // of leaky_relu
};

// Output channels that packed weights keep side by side; outputs are padded with zeros to a multiple of it.
constexpr int kOutputBlock = 16;

// What a convolution computes with. Weights are packed as [outputs / 16][inputs][kernel * kernel][16].
// With a gate (one factor per input channel, per picture) they are gated * gate + plain.
template <typename Number>
struct OperandsOf {
    const Number *source = nullptr;
    const Number *plain = nullptr;
    const Number *gated = nullptr; // or null
    const Number *gate = nullptr;  // [batch][inputs], or null
    const Number *bias = nullptr;  // [outputs], or null
    Number *result = nullptr;
};
using Operands = OperandsOf<float>;

// A piece of work in numbered parts; refers to a callable that outlives it, so that no call allocates.
class Parts {
public:
    template <typename Callable>
    explicit Parts(const Callable &callable)
        : object_(&callable), call_([](const void *object, int i) { (*static_cast<const Callable *>(object))(i); }) {}
    void operator()(int i) const { call_(object_, i); }

private:
    const void *object_;
    void (*call_)(const void *, int);
};

// Calls part(i) for i = 0 .. parts - 1, in any order and on any threads; returns when all are done.
using Parallel = void (*)(int parts, const Parts &part);
inline void serially(int parts, const Parts &part) {
    for (int i = 0; i < parts; ++i) part(i);
}

// What a convolution computes does not depend on the number of threads, to the last bit.
template <typename Number>
struct KernelOf {
    const char *name;
    std::size_t (*workspace)(const Convolution &, int threads); // in floats
    void (*run)(const Convolution &, const OperandsOf<Number> &, float *workspace, int threads, Parallel);
};
using Kernel = KernelOf<float>;

// The best kernel for this CPU; null if it has neither AVX-512 nor AVX2.
const Kernel *best_kernel();
// By name ("avx512", "avx2"); null if there is none or the CPU lacks it.
const Kernel *kernel_named(const char *name);
// The same in BF16: "amx_bf16", "avx512_bf16"; null if this CPU has no AVX512-BF16, which both need.
const KernelOf<Bfloat16> *best_bf16_kernel();
const KernelOf<Bfloat16> *bf16_kernel_named(const char *name);

} // namespace hrt::native
