// What OpenVINO makes of this CPU: the measurement of runtime/cpu_probe.py, in the cache entry of
// runtime/cpu_speed.py.
#pragma once

#include <openvino/openvino.hpp>

#include <functional>
#include <string>

namespace hrt::backends {

// The entry's content, JSON; "" where there is none. With `measure` it is measured and kept where it is missing and can
// be kept; which takes a few seconds. `add_native` loads the native kernels into the core, or throws.
std::string cpu_speed(ov::Core &core, const char *cache, bool measure, const std::function<void()> &add_native);

} // namespace hrt::backends
