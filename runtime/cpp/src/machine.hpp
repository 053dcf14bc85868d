// Which machine this is, as measurements in a bundle name it. The twin of runtime/machine.py.
#pragma once

#include <optional>
#include <string>

namespace hrt {

// CPU cores that this process may use: its affinity, or its control groups' quota where that is less, a fraction
// counting as a whole one.
int cores();

// The least CPU quota of this process's control group and of those around it (versions 1 and 2), in cores; none without
// one. Tests pass another `root` than "/".
std::optional<double> cores_by_quota(const std::string &root = "/");

// The processor's name, and its features as Linux names them, sorted, with a space between; "" elsewhere.
std::string cpu_model();
std::string cpu_flags();

// Whether an NVIDIA GPU may be present.
bool may_have_gpu();

// For example "AMD EPYC 9R14, 2 cores": equal names mean comparable timings.
std::string machine_name();

} // namespace hrt
