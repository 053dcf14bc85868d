// What both kernels' tests compute in their plain way.
#pragma once

#include <algorithm>
#include <thread>
#include <vector>

#include "winograd.h"

namespace hrt::native {

inline double activated(const Convolution &c, double sum) {
    if (c.activation == Activation::relu) return std::max(sum, 0.0);
    if (c.activation == Activation::leaky_relu) return sum > 0 ? sum : sum * c.slope;
    return sum;
}

inline void on_threads(int parts, const Parts &part) {
    std::vector<std::thread> threads;
    for (int i = 0; i < parts; ++i) threads.emplace_back([&part, i] { part(i); });
    for (std::thread &thread : threads) thread.join();
}

} // namespace hrt::native
