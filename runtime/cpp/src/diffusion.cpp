#include "diffusion.hpp"

#include "status.hpp"

namespace hrt {
namespace {

std::size_t pixels_of(Size size) {
    return static_cast<std::size_t>(size.width) * static_cast<std::size_t>(size.height);
}

} // namespace

// docs/diffharmony.md has the components with their tensors.
std::vector<Part> diffusion_parts(const SamplingSchedule &schedule) {
    std::vector<Part> parts = {
        {"vae-encoder", {"image", "mask", "noise"}, {"condition"}},
        {"unet", {"latents", "condition", "noise", "step"}, {"next_latents"}},
        {"vae-decoder", {"latents"}, {"picture"}},
    };
    if (schedule.conditional) parts.back().inputs = {"latents", "image", "mask", "noise"};
    if (schedule.refiner_channels == 0) return parts;
    Part refiner = {"refiner", {"image"}, {"output"}};
    if (schedule.refiner_channels >= 4) refiner.inputs.emplace_back("mask");
    if (schedule.refiner_channels >= 7) refiner.inputs.emplace_back("composite");
    parts.push_back(std::move(refiner));
    return parts;
}

Diffusion::Diffusion(const Model &model)
    : schedule_(*model.schedule),
      encoder_(model.parts[0].engine),
      unet_(model.parts[1].engine),
      decoder_(model.parts[2].engine) {
    if (schedule_.refiner_channels != 0) refiner_.emplace(model.parts[3].engine);
    const std::size_t plane = pixels_of(schedule_.latent_size);
    const auto channels = static_cast<std::size_t>(schedule_.latent_channels);
    for (auto *values : {&latents_, &next_latents_, &noise_}) values->resize(channels * plane);
    condition_.resize((channels + 1) * plane);
    picture_.resize(3 * pixels_of(schedule_.inference_size));
    if (refiner_) output_.resize(3 * pixels_of(schedule_.output_size));
}

Prepared Diffusion::prepare(const Picture &picture, const Mask &mask, int threads) const {
    Prepared prepared{fit(picture, mask, schedule_.output_size, true, threads), std::nullopt};
    if (!(schedule_.output_size == schedule_.inference_size)) {
        prepared.inside = fit(picture, mask, schedule_.inference_size, true, threads);
    }
    return prepared;
}

const float *Diffusion::run(const std::vector<Prepared> &pictures, const RunOptions &options) {
    const Prepared &prepared = pictures.front();
    const Fitted &inside = prepared.inside ? *prepared.inside : prepared.fitted;
    const Program &program = schedule_.program(options.steps);
    const int parts = static_cast<int>(program.steps) + (refiner_ ? 3 : 2);
    int done = 0;
    ask(options, done, parts);
    NoiseStream noise(options.seed, options.sample);
    noise.normal(latents_);
    for (float &value : latents_) value *= program.initial_scale;
    noise.normal(noise_);
    encode(inside);
    ask(options, ++done, parts);
    for (const std::int64_t row : program.rows) {
        noise.normal(noise_);
        step(row);
        ask(options, ++done, parts);
    }
    if (schedule_.conditional) noise.normal(noise_);
    decode(inside);
    ask(options, ++done, parts);
    if (!refiner_) return picture_.data();
    refine(prepared.fitted);
    ask(options, ++done, parts);
    return output_.data();
}

void Diffusion::run(const float *, const float *, float *, int, int, int) {
    throw Error(HRT_UNSUPPORTED,
                "hrt_run_f32 is for bundles of one network, and DiffHarmony is several; use hrt_harmonize_u8");
}

void Diffusion::harmonize_on_device(device::Picture, void *, bool) {
    throw Error(HRT_UNSUPPORTED,
                "hrt_harmonize_on_device is for bundles of one network, not for diffharmony: use "
                "hrt_harmonize_u8");
}

void Diffusion::encode(const Fitted &inside) {
    encoder_.run({picture_tensor(inside.image, inside.size), picture_tensor(inside.network_mask, inside.size, 1),
                  latent_tensor(noise_), latent_tensor(condition_, 1)});
    check_finite(condition_.data(), condition_.size(), "vae-encoder");
}

void Diffusion::step(std::int64_t row) {
    const Tensor row_tensor = {&row, HRT_MODULE_I64, 1, {1, 0, 0, 0}};
    unet_.run({latent_tensor(latents_), latent_tensor(condition_, 1), latent_tensor(noise_), row_tensor,
               latent_tensor(next_latents_)});
    check_finite(next_latents_.data(), next_latents_.size(), "unet");
    latents_.swap(next_latents_);
}

void Diffusion::decode(const Fitted &inside) {
    std::vector<Tensor> tensors = {latent_tensor(latents_)};
    if (schedule_.conditional) {
        tensors.push_back(picture_tensor(inside.image, inside.size));
        tensors.push_back(picture_tensor(inside.network_mask, inside.size, 1));
        tensors.push_back(latent_tensor(noise_));
    }
    tensors.push_back(picture_tensor(picture_, schedule_.inference_size));
    decoder_.run(tensors);
    check_finite(picture_.data(), picture_.size(), "vae-decoder");
}

void Diffusion::refine(const Fitted &fitted) {
    std::vector<Tensor> tensors = {picture_tensor(picture_, schedule_.inference_size)};
    if (schedule_.refiner_channels >= 4) tensors.push_back(picture_tensor(fitted.network_mask, fitted.size, 1));
    if (schedule_.refiner_channels >= 7) tensors.push_back(picture_tensor(fitted.image, fitted.size));
    tensors.push_back(picture_tensor(output_, schedule_.output_size));
    refiner_->run(tensors);
    check_finite(output_.data(), output_.size(), "refiner");
}

Tensor Diffusion::latent_tensor(const std::vector<float> &values, int more_channels) const {
    const Size size = schedule_.latent_size;
    return planes(values.data(), 1, schedule_.latent_channels + more_channels, size.height, size.width);
}

Tensor Diffusion::picture_tensor(const std::vector<float> &values, Size size, int channels) {
    return planes(values.data(), 1, channels, size.height, size.width);
}

} // namespace hrt
