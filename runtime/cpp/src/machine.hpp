// Which machine this is, as measurements in a bundle name it. The twin of runtime/machine.py.
#pragma once

#include <string>

namespace hrt {

// CPU cores that this process may use.
int cores();

// The processor's name, and its features as Linux names them, sorted, with a space between; "" elsewhere.
std::string cpu_model();
std::string cpu_flags();

// For example "AMD EPYC 9R14, 2 cores": equal names mean comparable timings.
std::string machine_name();

} // namespace hrt
