// How much of an engine's weights stays on the GPU. The twin of runtime/backends/tensorrt/weight_streaming.py. Pure.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace hrt::tensorrt {

struct Budget {
    std::int64_t bytes = 0; // to be set, before an execution context exists
    std::string note;       // what the user should know; "" for nothing
};

// All weights where they take less than three quarters of the GPU's free memory; else what TensorRT chooses.
//
// `streamable`: bytes of weights that may be streamed, more than 0. `automatic`: asks TensorRT for its choice.
Budget choose_budget(std::int64_t streamable, std::uint64_t free, const std::string &name,
                     const std::function<std::int64_t()> &automatic);

} // namespace hrt::tensorrt
