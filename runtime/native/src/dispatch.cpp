#include <cstring>
#include <initializer_list>

#include "amx_permission.h"
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
namespace amx_bf16 {
extern const KernelOf<Bfloat16> kernel;
}
namespace amx_int8 {
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
    if (std::strcmp(name, "amx_int8") == 0 && has_avx512() && amx().int8) return &amx_int8::quantized_kernel;
    if (std::strcmp(name, "avx512vnni") == 0 && has_avx512() && __builtin_cpu_supports("avx512vnni"))
        return &avx512vnni::quantized_kernel;
    if (std::strcmp(name, "avx2") == 0 && has_avx2()) return &avx2::quantized_kernel;
    return nullptr;
}

const QuantizedKernel *best_quantized_kernel() {
    for (const char *name : {"amx_int8", "avx512vnni", "avx2"})
        if (const QuantizedKernel *const kernel = quantized_kernel_named(name)) return kernel;
    return nullptr;
}

const KernelOf<Bfloat16> *bf16_kernel_named(const char *name) {
    if (!has_avx512() || !__builtin_cpu_supports("avx512bf16")) return nullptr;
    if (std::strcmp(name, "amx_bf16") == 0 && amx().bf16) return &amx_bf16::kernel;
    if (std::strcmp(name, "avx512_bf16") == 0) return &avx512_bf16::kernel;
    return nullptr;
}

const KernelOf<Bfloat16> *best_bf16_kernel() {
    const KernelOf<Bfloat16> *best = bf16_kernel_named("amx_bf16");
    return best != nullptr ? best : bf16_kernel_named("avx512_bf16");
}

} // namespace hrt::native
