#include "machine.hpp"

#include <fstream>
#include <sstream>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#endif

namespace hrt {
namespace {

std::string cpu_model() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        if (line.rfind("model name", 0) != 0) continue;
        std::istringstream words(line.substr(line.find(':') + 1));
        std::string name;
        for (std::string word; words >> word;) name += (name.empty() ? "" : " ") + word;
        return name;
    }
    return "unknown CPU";
}

} // namespace

int cores() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    const unsigned count = std::thread::hardware_concurrency();
    return count == 0 ? 1 : static_cast<int>(count);
}

std::string machine_name() { return cpu_model() + ", " + std::to_string(cores()) + " cores"; }

} // namespace hrt
