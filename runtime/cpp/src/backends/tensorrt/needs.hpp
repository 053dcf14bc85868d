// Whether a machine has what a plan needs, as its manifest says. The twin of runtime/backends/tensorrt/versions.py and
// plan.py. Pure: nothing of TensorRT or CUDA.
#pragma once

#include <string>
#include <utility>

namespace hrt::tensorrt {

// Of "cuda" or "cuda:N", null being the first. Throws std::runtime_error: no such device.
int index_of(const char *device);

// Plans are tied to the release that built them; `compatible` ones open in later releases too. Compared as far as both
// numbers go.
bool version_fits(const std::string &need, const std::string &found, bool compatible);

// Whether a manifest's "8.9", "8.6, 8.9" or "8.0+" takes a GPU.
bool capability_fits(const std::string &need, std::pair<int, int> capability);

} // namespace hrt::tensorrt
