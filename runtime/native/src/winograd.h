// Winograd convolutions of stride 1 in FP32: F(4x4, 3x3) and F(4x4, 2x2) of Lavin and Gray, arXiv 1509.09308.
#pragma once

#include <cstddef>

namespace hrt::native {

enum class Activation { none, relu, leaky_relu };

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
struct Operands {
    const float *source = nullptr;
    const float *plain = nullptr;
    const float *gated = nullptr; // or null
    const float *gate = nullptr;  // [batch][inputs], or null
    const float *bias = nullptr;  // [outputs], or null
    float *result = nullptr;
};

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
struct Kernel {
    const char *name;
    std::size_t (*workspace)(const Convolution &, int threads); // in floats
    void (*run)(const Convolution &, const Operands &, float *workspace, int threads, Parallel);
};

// The best kernel for this CPU; null if it has neither AVX-512 nor AVX2.
const Kernel *best_kernel();
// By name ("avx512", "avx2"); null if there is none or the CPU lacks it.
const Kernel *kernel_named(const char *name);

} // namespace hrt::native
