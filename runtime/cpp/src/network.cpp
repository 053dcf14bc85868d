#include "network.hpp"

#include "diffusion.hpp"
#include "feed_forward.hpp"
#include "status.hpp"

#include <algorithm>
#include <cmath>

namespace hrt {

void ask(const RunOptions &options, int done, int parts) {
    if (options.progress && options.progress(done, parts)) {
        throw Error(HRT_CANCELLED, "the run was cancelled after " + std::to_string(done) + " of " +
                                       std::to_string(parts) + " parts; start it again when wanted");
    }
}

void check_finite(const float *values, std::size_t count, const std::string &engine) {
    const auto wrong = std::count_if(values, values + count, [](float value) { return !std::isfinite(value); });
    if (wrong == 0) return;
    throw Error(HRT_ENGINE_FAILED, "the " + engine + " gave " + std::to_string(wrong) +
                                       " values that are not finite; use a bundle of another precision, or check this "
                                       "one with `harmonyrt verify`");
}

std::unique_ptr<Network> open_network(const Model &model) {
    model.check_not_forked();
    if (model.schedule) return std::make_unique<Diffusion>(model);
    return std::make_unique<FeedForward>(model);
}

} // namespace hrt
