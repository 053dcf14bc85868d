// Winograd convolutions of stride 1 in FP32: F(4x4, 3x3) and F(4x4, 2x2) of Lavin and Gray, arXiv 1509.09308.
#pragma once

#include <cstddef>
#include <functional>

namespace hrt::native {

enum class Activation { none, relu, leaky_relu };

// One convolution. Pictures are NCHW without gaps; rows and columns outside the source are zeros.
struct Convolution {
  int batch = 1;
  int inputs = 0;
  int outputs = 0;
  int kernel = 3;  // 3 or 2
  int source_height = 0;
  int source_width = 0;
  int top = 0;   // padding
  int left = 0;
  int height = 0;  // of the result
  int width = 0;
  Activation activation = Activation::none;
  float slope = 0.01F;  // of leaky_relu
};

// Output channels that packed weights keep side by side; outputs are padded with zeros to a multiple of it.
constexpr int kOutputBlock = 16;

// What a convolution computes with. Weights are packed as [outputs / 16][inputs][kernel * kernel][16].
// With a gate (one factor per input channel, per picture) they are gated * gate + plain.
struct Operands {
  const float* source = nullptr;
  const float* plain = nullptr;
  const float* gated = nullptr;  // or null
  const float* gate = nullptr;   // [batch][inputs], or null
  const float* bias = nullptr;   // [outputs], or null
  float* result = nullptr;
};

// Calls part(i) for i = 0 .. parts - 1, in any order and on any threads; returns when all are done.
using Parallel = std::function<void(int parts, const std::function<void(int)>& part)>;

struct Kernel {
  const char* name;
  std::size_t (*workspace)(const Convolution&, int threads);  // in floats
  void (*run)(const Convolution&, const Operands&, float* workspace, int threads, const Parallel&);
};

// The best kernel for this CPU; null if it has neither AVX-512 nor AVX2.
const Kernel* best_kernel();
// By name ("avx512", "avx2"); null if there is none or the CPU lacks it.
const Kernel* kernel_named(const char* name);

}  // namespace hrt::native
