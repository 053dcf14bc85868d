// A picture around its network, on an NVIDIA GPU: fitted to the engine's size, the network's change described as colour
// maps, and applied at full size. docs/full_resolution.md has the arithmetic in words.
//
// NVRTC compiles this at run time, and g++ compiles it for tests (tests/fakes/kernel_shim.hpp), so nothing of CUDA's
// toolkit is included. Every sum is made in one order whatever the hardware does: equal input gives equal bytes.
#include "fit.cu"
#include "maps.cu"
#include "apply.cu"
