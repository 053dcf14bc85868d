#include "budget.hpp"

namespace hrt::tensorrt {
namespace {

constexpr double kKeptFree = 0.25; // share of the free memory that is left for activations and for others

std::string megabytes(double bytes) { return std::to_string(static_cast<std::int64_t>(bytes / 1e6)) + " MB"; }

} // namespace

Budget choose_budget(std::int64_t streamable, std::uint64_t free, const std::string &name,
                     const std::function<std::int64_t()> &automatic) {
    const auto room = static_cast<double>(free);
    if (static_cast<double>(streamable) <= room * (1 - kKeptFree)) return {streamable, ""};
    const std::int64_t budget = automatic();
    return {budget, name + ": its weights, " + megabytes(static_cast<double>(streamable)) +
                        ", do not fit into the GPU's free " + megabytes(room) + ": " +
                        megabytes(static_cast<double>(budget)) +
                        " stay there, the rest is streamed, which is slower; free the GPU's memory for full speed"};
}

} // namespace hrt::tensorrt
