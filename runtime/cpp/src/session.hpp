// The session that takes pictures through an open model: fit, run, upsample the edit, blend.
#pragma once

#include "model.hpp"
#include "network.hpp"
#include "picture.hpp"

#include <memory>
#include <optional>
#include <vector>

namespace hrt {

// One picture of a call.
struct Job {
    Picture picture;
    hrt_mask mask;
    std::optional<hrt_mask> match; // the part of the background that the network sees
    std::uint8_t *output;
    std::size_t output_stride;
};

class Session {
public:
    explicit Session(std::shared_ptr<const Model> model);

    // Harmonizes the jobs, in order. `done` counts the finished ones, also when an Error is thrown.
    void harmonize(const std::vector<Job> &jobs, const RunOptions &options, std::size_t &done);

    // The network alone.
    void run(const float *image, const float *mask, float *output, int batch, int height, int width);

    // One picture in a GPU's memory.
    void harmonize_on_device(const device::Picture &picture, void *stream, bool wait);

    const Model &model() const noexcept { return *model_; }
    const hrt_report &report() const noexcept { return report_; }

private:
    std::size_t group_size(const std::vector<Job> &jobs, std::size_t first) const;
    void harmonize_group(const Job *jobs, std::size_t count, const RunOptions &options);

    std::shared_ptr<const Model> model_;
    std::unique_ptr<Network> network_; // refers to the model
    int threads_;
    hrt_report report_;
};

} // namespace hrt
