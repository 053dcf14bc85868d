#include "feed_forward.hpp"

#include "device/frames.hpp"
#include "status.hpp"

#include <algorithm>
#include <string>

namespace hrt {
namespace {

constexpr std::size_t kLargestGroup = 8; // pictures in one run of an engine that takes any number

std::size_t pixels_of(Size size) {
    return static_cast<std::size_t>(size.width) * static_cast<std::size_t>(size.height);
}

} // namespace

FeedForward::FeedForward(const Model &model)
    : model_(model), manifest_(model.bundle.manifest), engine_(model.main().engine) {}

std::size_t FeedForward::most() const {
    return manifest_.batch ? static_cast<std::size_t>(*manifest_.batch) : kLargestGroup;
}

Size FeedForward::size_of(const Picture &picture) const {
    return network_size(manifest_, picture.width, picture.height);
}

Prepared FeedForward::prepare(const Picture &picture, const Mask &mask, int threads) const {
    return {fit(picture, mask, size_of(picture), manifest_.binary_mask, threads), std::nullopt};
}

const float *FeedForward::run(const std::vector<Prepared> &pictures, const RunOptions &options) {
    const Size size = pictures.front().fitted.size;
    const std::size_t plane = pixels_of(size), busy = pictures.size();
    // An engine of a fixed batch is given all its places; what the spare ones hold does not matter, but must be finite.
    const std::size_t places = manifest_.batch ? static_cast<std::size_t>(*manifest_.batch) : busy;
    image_.resize(places * plane * 3);
    mask_.resize(places * plane);
    output_.resize(places * plane * 3);
    std::fill(image_.begin() + static_cast<std::ptrdiff_t>(busy * plane * 3), image_.end(), 0.F);
    std::fill(mask_.begin() + static_cast<std::ptrdiff_t>(busy * plane), mask_.end(), 0.F);
    for (std::size_t i = 0; i < busy; ++i) {
        const Fitted &fitted = pictures[i].fitted;
        std::copy(fitted.image.begin(), fitted.image.end(), image_.data() + i * plane * 3);
        std::copy(fitted.network_mask.begin(), fitted.network_mask.end(), mask_.data() + i * plane);
    }
    ask(options, 0, 1);
    run(image_.data(), mask_.data(), output_.data(), static_cast<int>(places), size.height, size.width);
    check_finite(output_.data(), busy * plane * 3, "engine");
    ask(options, 1, 1);
    return output_.data();
}

void FeedForward::run(const float *image, const float *mask, float *output, int batch, int height, int width) {
    constexpr int most = 1 << 14;
    const auto multiple = [&](int side) { return side >= 1 && side <= most && side % manifest_.size_multiple == 0; };
    const bool fits = manifest_.size ? height == manifest_.size->first && width == manifest_.size->second
                                     : multiple(height) && multiple(width);
    const bool batch_fits = manifest_.batch ? batch == *manifest_.batch : batch >= 1 && batch <= 1024;
    if (!fits || !batch_fits) {
        const std::string sides =
            manifest_.size ? std::to_string(manifest_.size->first) + " x " + std::to_string(manifest_.size->second)
                           : "multiples of " + std::to_string(manifest_.size_multiple);
        throw Error(HRT_INVALID_ARGUMENT,
                    "the tensors are " + std::to_string(batch) + " x 3 x " + std::to_string(height) + " x " +
                        std::to_string(width) + "; this engine takes " +
                        (manifest_.batch ? std::to_string(*manifest_.batch) : "any number") + " x 3 x " + sides);
    }
    if (on_device_) on_device_->finish(); // what a call without waiting left behind
    engine_.run({planes(image, batch, 3, height, width), planes(mask, batch, 1, height, width),
                 planes(output, batch, 3, height, width)});
}

void FeedForward::harmonize_on_device(device::Picture picture, void *stream, bool wait) {
    const auto order = static_cast<device::Stream>(stream);
    device::OnDevice &there = on_device(order);
    const device::Current current(there.device());
    device::check_places(picture, there.device());
    const Size size = network_size(manifest_, picture.composite.width(), picture.composite.height());
    picture.height = size.height;
    picture.width = size.width;
    there.run(picture, order, wait);
}

device::OnDevice &FeedForward::on_device(device::Stream order) {
    if (on_device_) return *on_device_;
    if (engine_.device_runs() == DeviceRuns::kNo) {
        throw Error(HRT_UNSUPPORTED, "pictures in device memory need an engine on a GPU, and this one runs on " +
                                         model_.device + " with " + model_.main().backend +
                                         ": open the bundle with device cuda, or give hrt_harmonize_u8 host memory");
    }
    if (manifest_.batch && *manifest_.batch != 1) {
        throw Error(HRT_UNSUPPORTED, "pictures in device memory need an engine of batch 1, this one has " +
                                         std::to_string(*manifest_.batch) +
                                         ": build one, or give hrt_harmonize_batch_u8 host memory");
    }
    const std::size_t colon = model_.device.find(':');
    const int index = colon == std::string::npos ? 0 : std::stoi(model_.device.substr(colon + 1));
    device::check_not_recorded(device::Device::get(index), order);
    on_device_ =
        std::make_unique<device::OnDevice>(engine_, index, manifest_.binary_mask, CompiledCache(model_.cache()));
    return *on_device_;
}

} // namespace hrt
