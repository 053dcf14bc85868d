#include "needs.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <stdexcept>
#include <vector>

namespace hrt::tensorrt {
namespace {

std::vector<int> numbers_of(const std::string &version) {
    std::vector<int> numbers;
    std::istringstream parts(version);
    for (std::string part; std::getline(parts, part, '.');) numbers.push_back(std::atoi(part.c_str()));
    return numbers;
}

} // namespace

int index_of(const char *device) {
    const std::string name = device == nullptr ? "cuda" : device;
    if (name == "cuda") return 0;
    if (name.rfind("cuda:", 0) == 0 && name.size() > 5 && name.size() < 9 &&
        name.find_first_not_of("0123456789", 5) == std::string::npos) {
        return std::stoi(name.substr(5));
    }
    throw std::runtime_error("it knows no device '" + name + "': give cuda or cuda:N");
}

bool version_fits(const std::string &need, const std::string &found, bool compatible) {
    std::vector<int> needed = numbers_of(need), having = numbers_of(found);
    const std::size_t length = std::min(needed.size(), having.size());
    needed.resize(length);
    having.resize(length);
    return compatible ? having >= needed : having == needed;
}

bool capability_fits(const std::string &need, std::pair<int, int> capability) {
    std::istringstream parts(need);
    for (std::string part; std::getline(parts, part, ',');) {
        std::pair<int, int> wanted(0, 0);
        if (std::sscanf(part.c_str(), " %d.%d", &wanted.first, &wanted.second) != 2) continue;
        if (capability == wanted || (part.find('+') != std::string::npos && capability >= wanted)) return true;
    }
    return false;
}

} // namespace hrt::tensorrt
