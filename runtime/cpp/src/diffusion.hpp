// DiffHarmony's engines and the loop over them. The twin of runtime/diffusion/model.py and its face in
// runtime/network.py.
#pragma once

#include "sampling_schedule.hpp"
#include "module.hpp"
#include "network.hpp"
#include "noise.hpp"

#include <optional>
#include <vector>

namespace hrt {

// Its networks in the order in which they run: vae-encoder, unet, vae-decoder, and the refiner where there is one.
std::vector<Part> diffusion_parts(const SamplingSchedule &schedule);

class Diffusion final : public Network {
public:
    explicit Diffusion(const Model &model);

    std::size_t most() const override { return 1; } // pictures do not share noise
    Size size_of(const Picture &) const override { return schedule_.inference_size; }
    void check(const RunOptions &options) const override { (void)schedule_.program(options.steps); }
    Prepared prepare(const Picture &picture, const Mask &mask, int threads) const override;
    const float *run(const std::vector<Prepared> &pictures, const RunOptions &options) override;
    // Refused: it is several networks.
    void run(const float *image, const float *mask, float *output, int batch, int height, int width) override;
    void harmonize_on_device(device::Picture picture, void *stream, bool wait) override;

private:
    void encode(const Fitted &inside);
    void step(std::int64_t row);
    void decode(const Fitted &inside);
    void refine(const Fitted &fitted);

    Tensor latent_tensor(const std::vector<float> &values, int more_channels = 0) const;
    static Tensor picture_tensor(const std::vector<float> &values, Size size, int channels = 3);

    const SamplingSchedule &schedule_;
    EngineSession encoder_, unet_, decoder_;
    std::optional<EngineSession> refiner_;
    std::vector<float> latents_, next_latents_, noise_, condition_, picture_, output_; // kept between calls
};

} // namespace hrt
