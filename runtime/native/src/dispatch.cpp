#include <cstring>

#include "winograd.h"

namespace hrt::native {
namespace avx512 {
extern const Kernel kernel;
}
namespace avx2 {
extern const Kernel kernel;
}

const Kernel *kernel_named(const char *name) {
    if (std::strcmp(name, "avx512") == 0 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        return &avx512::kernel;
    if (std::strcmp(name, "avx2") == 0 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return &avx2::kernel;
    return nullptr;
}

const Kernel *best_kernel() {
    const Kernel *best = kernel_named("avx512");
    return best != nullptr ? best : kernel_named("avx2");
}

} // namespace hrt::native
