// Hot loops are compiled for several instruction sets, and the CPU's best is chosen when the library is loaded.
#pragma once

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__linux__) && \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define HRT_HOT __attribute__((target_clones("avx512f", "avx2,fma", "default")))
#else
#define HRT_HOT
#endif
