#include "machine.hpp"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
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

namespace fs = std::filesystem;

std::string text_of(const fs::path &file) {
    std::ifstream stream(file);
    return {std::istreambuf_iterator<char>(stream), {}};
}

constexpr double kNoQuota = std::numeric_limits<double>::infinity();

// The quota of one control group, in cores; "max" and -1 mean that there is none.
double quota_of(const fs::path &group) {
    for (const std::string &text : {text_of(group / "cpu.max"),
                                    text_of(group / "cpu.cfs_quota_us") + " " + text_of(group / "cpu.cfs_period_us")}) {
        std::istringstream words(text);
        double quota = 0, period = 0;
        if (words >> quota >> period && quota > 0 && period > 0) return std::round(quota / period * 100) / 100;
    }
    return kNoQuota;
}

int cores_by_affinity() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    const unsigned count = std::thread::hardware_concurrency();
    return count == 0 ? 1 : static_cast<int>(count);
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

std::optional<double> cores_by_quota(const std::string &root) {
    double least = kNoQuota;
    std::istringstream lines(text_of(fs::path(root) / "proc/self/cgroup"));
    for (std::string line; std::getline(lines, line);) {
        const auto first = line.find(':'), second = line.find(':', first + 1);
        if (first == std::string::npos || second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        std::vector<std::string> mounts;
        if (line.substr(0, first) == "0" && controllers.empty()) {
            mounts = {"sys/fs/cgroup", "sys/fs/cgroup/unified"};
        } else if (("," + controllers + ",").find(",cpu,") != std::string::npos) {
            mounts = {"sys/fs/cgroup/" + controllers, "sys/fs/cgroup/cpu"};
        }
        // A container sees its own group as the mount's root, and may see the host's path to it.
        for (const std::string &mount : mounts) {
            fs::path group = fs::path(line.substr(second + 1)).relative_path();
            for (; !group.empty(); group = group.parent_path()) {
                least = std::min(least, quota_of(fs::path(root) / mount / group));
            }
            least = std::min(least, quota_of(fs::path(root) / mount));
        }
    }
    if (least == kNoQuota) return std::nullopt;
    return least;
}

int cores() {
    const double granted = std::min<double>(cores_by_affinity(), cores_by_quota().value_or(kNoQuota));
    return std::max(1, static_cast<int>(std::ceil(granted)));
}

bool may_have_gpu() {
#if defined(__linux__)
    std::error_code error;
    if (fs::exists("/dev/dxg", error)) return true;
    for (fs::directory_iterator entry("/dev", error), end; !error && entry != end; entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        const std::string prefix = "nvidia";
        if (name.compare(0, prefix.size(), prefix) == 0 && name.size() > prefix.size() && name[prefix.size()] >= '0' &&
            name[prefix.size()] <= '9') {
            return true;
        }
    }
    return false;
#else
    return true;
#endif
}

std::string machine_name() { return cpu_model() + ", " + std::to_string(cores()) + " cores"; }

} // namespace hrt
