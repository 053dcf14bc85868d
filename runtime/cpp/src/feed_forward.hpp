// One engine that takes a composite and its mask and answers with a picture (PHNet).
#pragma once

#include "device/on_device.hpp"
#include "module.hpp"
#include "network.hpp"

#include <memory>
#include <vector>

namespace hrt {

class FeedForward final : public Network {
public:
    explicit FeedForward(const Model &model);

    std::size_t most() const override;
    Size size_of(const Picture &picture) const override;
    void check(const RunOptions &) const override {} // it draws no noise and has no steps
    Prepared prepare(const Picture &picture, const Mask &mask, int threads) const override;
    const float *run(const std::vector<Prepared> &pictures, const RunOptions &options) override;
    void run(const float *image, const float *mask, float *output, int batch, int height, int width) override;
    void harmonize_on_device(device::Picture picture, void *stream, bool wait) override;

private:
    device::OnDevice &on_device(device::Stream stream);

    const Model &model_;
    const Manifest &manifest_;
    EngineSession engine_;
    std::vector<float> image_, mask_, output_;    // the engine's tensors, kept between calls
    std::unique_ptr<device::OnDevice> on_device_; // made when it is first asked for; works with engine_
};

} // namespace hrt
