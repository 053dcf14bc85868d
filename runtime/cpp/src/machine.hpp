// Which machine this is, as measurements in a bundle name it. The twin of runtime/machine.py.
#pragma once

#include <string>

namespace hrt {

// CPU cores that this process may use.
int cores();

// For example "AMD EPYC 9R14, 2 cores": equal names mean comparable timings.
std::string machine_name();

} // namespace hrt
