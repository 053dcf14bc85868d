// What is put on a stream for one picture, in order: before the network, and after it. Nothing here waits. The twin of
// runtime/kernels/passes.py.
#pragma once

#include "kernels.hpp"
#include "structures.hpp"

namespace hrt::device {

// Fits a frame and its mask to the engine's size: fills `image`, `mask` and `coverage` of the scratch memory.
void fit(const Kernels &kernels, const Picture &picture, bool binary_mask, const Scratch &scratch, Stream stream);

// Brings the network's answer in `output` to the frame's size and blends it in. A composite of exactly the engine's
// size gets the network's picture itself; any other frame, and every video frame, gets its colour maps. Where the
// answer is not finite the result is the composite, and `State` says so.
void apply(const Kernels &kernels, const Picture &picture, const Scratch &scratch, Stream stream);

} // namespace hrt::device
