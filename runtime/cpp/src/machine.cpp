#include "machine.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace hrt {
namespace {

// The words of the first line of /proc/cpuinfo that has one of these names.
std::vector<std::string> words_of(const std::vector<std::string> &names) {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        const std::string name = line.substr(0, line.find_first_of("\t:"));
        if (std::find(names.begin(), names.end(), name) == names.end()) continue;
        std::istringstream words(line.substr(line.find(':') + 1));
        return {std::istream_iterator<std::string>(words), {}};
    }
    return {};
}

std::string joined(const std::vector<std::string> &words) {
    std::string text;
    for (const std::string &word : words) text += (text.empty() ? "" : " ") + word;
    return text;
}

} // namespace

std::string cpu_model() {
    const std::string name = joined(words_of({"model name"}));
    return name.empty() ? "unknown CPU" : name;
}

std::string cpu_flags() {
    std::vector<std::string> flags = words_of({"flags", "Features"});
    std::sort(flags.begin(), flags.end());
    flags.erase(std::unique(flags.begin(), flags.end()), flags.end());
    return joined(flags);
}

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
