// CUDA's words for the host's compiler: enough of them to run runtime/kernels on a CPU, block by block.
//
// A block's threads run one after the other, in an order that the caller chooses. Where a kernel uses __syncthreads()
// each thread is a fiber (ucontext) that is left at the barrier and taken up again when all have come there. A result
// that depends on the order is a race.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#define __global__
#define __device__
#define __shared__ static

struct Index {
    unsigned x, y, z;
};
extern Index threadIdx, blockIdx, blockDim, gridDim;

void __syncthreads();

inline int atomicMax(int *place, int value) {
    const int old = *place;
    *place = std::max(old, value);
    return old;
}

inline int atomicOr(int *place, int value) {
    const int old = *place;
    *place = old | value;
    return old;
}

template <class T>
inline T atomicAdd(T *place, T value) {
    const T old = *place;
    *place = old + value;
    return old;
}

inline int __float_as_int(float value) {
    int bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

inline float __int_as_float(int bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}
