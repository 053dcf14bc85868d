#include <cstring>

#include "quantized.h"
#include "winograd.h"

namespace hrt::native {
namespace avx512 {
extern const Kernel kernel;
}
namespace avx512_bf16 {
extern const KernelOf<Bfloat16> kernel;
}
namespace avx2 {
extern const Kernel kernel;
extern const QuantizedKernel quantized_kernel;
} // namespace avx2
namespace avx512vnni {
extern const QuantizedKernel quantized_kernel;
}

namespace {

bool has_avx512() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
}

bool has_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

} // namespace

const Kernel *kernel_named(const char *name) {
    if (std::strcmp(name, "avx512") == 0 && has_avx512()) return &avx512::kernel;
    if (std::strcmp(name, "avx2") == 0 && has_avx2()) return &avx2::kernel;
    return nullptr;
}

const Kernel *best_kernel() {
    const Kernel *best = kernel_named("avx512");
    return best != nullptr ? best : kernel_named("avx2");
}

const QuantizedKernel *quantized_kernel_named(const char *name) {
    if (std::strcmp(name, "avx512vnni") == 0 && has_avx512() && __builtin_cpu_supports("avx512vnni"))
        return &avx512vnni::quantized_kernel;
    if (std::strcmp(name, "avx2") == 0 && has_avx2()) return &avx2::quantized_kernel;
    return nullptr;
}

const QuantizedKernel *best_quantized_kernel() {
    const QuantizedKernel *best = quantized_kernel_named("avx512vnni");
    return best != nullptr ? best : quantized_kernel_named("avx2");
}

const KernelOf<Bfloat16> *bf16_kernel() {
    return has_avx512() && __builtin_cpu_supports("avx512bf16") ? &avx512_bf16::kernel : nullptr;
}

} // namespace hrt::native
