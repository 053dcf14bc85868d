// A model that is open, and the session that takes pictures through it: fit, run, carry back to full size, blend.
#pragma once

#include "bundle.hpp"
#include "fit.hpp"
#include "module.hpp"
#include "picture.hpp"
#include "select.hpp"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace hrt {

// What a model's sessions share. Immutable once it is open.
struct Model {
    Model(const std::string &path, const EngineOptions &options, std::uint64_t max_pixels);

    Bundle bundle;
    Selected selected;
    std::string device;
    std::string engine_version;
    int threads;
    std::uint64_t max_pixels;
};

// One picture of a call.
struct Job {
    Picture picture;
    hrt_mask mask;
    std::uint8_t *output;
    std::size_t output_stride;
};

// Says how far a call has come; true asks it to stop.
using Progress = std::function<bool(int done, int steps)>;

class Session {
public:
    explicit Session(std::shared_ptr<const Model> model);

    // Harmonizes the jobs, in order. `done` counts the finished ones, also when an Error is thrown.
    void harmonize(const std::vector<Job> &jobs, const Progress &stop, std::size_t &done);

    // The network alone.
    void run(const float *image, const float *mask, float *output, int batch, int height, int width);

    const Model &model() const noexcept { return *model_; }
    const hrt_report &report() const noexcept { return report_; }

private:
    std::size_t group_size(const std::vector<Job> &jobs, std::size_t first) const;
    void harmonize_group(const Job *jobs, std::size_t count, const Progress &stop);

    std::shared_ptr<const Model> model_;
    EngineSession engine_;
    int threads_;
    std::vector<float> image_, mask_, output_; // the engine's tensors, kept between calls
    hrt_report report_;
};

} // namespace hrt
