// Whatever sizes, strides, steps, formats and struct sizes a caller gives: either a status, or a picture whose bytes
// outside the mask are the composite's. Buffers are as long as the arguments say where that is a few megabytes at most;
// longer ones must be refused or are not tried, since no caller could keep such a promise here.
#include "harmonyrt.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

class Bytes {
public:
    Bytes(const std::uint8_t *data, std::size_t size) : data_(data), size_(size) {}
    template <class T>
    T take() {
        T value{};
        const std::size_t count = size_ < sizeof value ? size_ : sizeof value;
        std::memcpy(&value, data_, count);
        data_ += count;
        size_ -= count;
        return value;
    }
    std::uint8_t at(std::size_t i) const { return size_ == 0 ? static_cast<std::uint8_t>(i) : data_[i % size_]; }

private:
    const std::uint8_t *data_;
    std::size_t size_;
};

hrt_session *open_session(const char *bundle) {
    hrt_model_options options = hrt_model_options_default();
    options.module_folder = HRT_STAND_IN;
    options.max_pixels = 1U << 16U;
    options.threads = 1;
    hrt_model *model = nullptr;
    hrt_session *session = nullptr;
    if (hrt_model_open(bundle, &options, &model) != HRT_OK || hrt_session_open(model, &session) != HRT_OK) {
        std::abort();
    }
    hrt_model_free(model);
    return session;
}

// Mostly small and sound numbers, so that pictures get through; sometimes any number.
std::int32_t side(Bytes &bytes) {
    const auto kind = bytes.take<std::uint8_t>();
    return kind < 240 ? bytes.take<std::uint8_t>() % 100 : bytes.take<std::int32_t>();
}
std::size_t gap(Bytes &bytes, std::size_t least) {
    const auto kind = bytes.take<std::uint8_t>();
    return kind < 120 ? 0 : kind < 230 ? least + kind % 16 : bytes.take<std::size_t>();
}

hrt_harmonize_options options_from(Bytes &bytes) {
    hrt_harmonize_options options = hrt_harmonize_options_default();
    const auto kind = bytes.take<std::uint8_t>();
    options.seed = bytes.take<std::uint64_t>();
    options.sample = bytes.take<std::uint8_t>();
    options.steps = kind < 200 ? kind % 4 : bytes.take<std::int32_t>();
    const auto much = bytes.take<std::uint8_t>();
    if (much > 128) options.strength = much > 250 ? bytes.take<double>() : (much - 128) / 80.0;
    options.keep = much < 40 ? much % 4 - 1 : 0;
    if (kind > 250) options.size = bytes.take<std::uint16_t>() % (sizeof options + 1);
    static int stop_at;
    stop_at = kind % 16;
    options.progress = [](std::int32_t done, std::int32_t, void *) { return done == stop_at - 8 ? 1 : 0; };
    return options;
}

constexpr std::size_t kMost = 4U << 20U;

std::size_t needed(std::int32_t width, std::int32_t height, std::size_t stride, std::size_t step) {
    if (width < 1 || height < 1) return 1;
    const auto w = static_cast<std::size_t>(width), h = static_cast<std::size_t>(height);
    if (step > kMost || w > kMost || h > kMost || stride > kMost) return kMost + 1;
    const std::size_t rows = stride == 0 ? w * step : stride;
    return rows > kMost ? kMost + 1 : rows * h + w * step;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    static hrt_session *phnet = open_session(HRT_VECTORS "/hand-made-64");
    static hrt_session *diffusion = open_session(HRT_VECTORS "/hand-made-kl");
    Bytes bytes(data, size);
    hrt_picture picture = hrt_picture_default();
    picture.width = side(bytes);
    picture.height = side(bytes);
    const auto kind = bytes.take<std::uint8_t>();
    picture.format = kind < 250 ? kind % 4 : bytes.take<std::int32_t>();
    const std::size_t step = picture.format == HRT_RGBA8 || picture.format == HRT_BGRA8 ? 4 : 3;
    picture.stride = gap(bytes, picture.width > 0 ? static_cast<std::size_t>(picture.width) * step : 0);
    if (bytes.take<std::uint8_t>() > 250) picture.size = bytes.take<std::uint16_t>() % (sizeof picture + 1);
    hrt_mask mask = hrt_mask_default();
    mask.width = bytes.take<std::uint8_t>() > 250 ? side(bytes) : picture.width;
    mask.height = bytes.take<std::uint8_t>() > 250 ? side(bytes) : picture.height;
    const auto mask_step = bytes.take<std::uint8_t>();
    mask.step = mask_step < 200 ? 1 : mask_step < 250 ? mask_step - 198U : bytes.take<std::size_t>();
    mask.stride =
        gap(bytes, mask.width > 0 && mask.step < kMost ? static_cast<std::size_t>(mask.width) * mask.step : 0);
    mask.full = bytes.take<std::uint8_t>() < 200 ? 255 : bytes.take<std::int16_t>();
    const std::size_t output_stride =
        gap(bytes, picture.width > 0 ? static_cast<std::size_t>(picture.width) * step : 0);

    const std::size_t picture_bytes = needed(picture.width, picture.height, picture.stride, step);
    const std::size_t mask_bytes = needed(mask.width, mask.height, mask.stride, mask.step);
    const std::size_t output_bytes = needed(picture.width, picture.height, output_stride, step);
    if (picture_bytes > kMost || mask_bytes > kMost || output_bytes > kMost) return 0;
    std::vector<std::uint8_t> pixels(picture_bytes), cover(mask_bytes), output(output_bytes);
    for (std::size_t i = 0; i < picture_bytes; ++i) pixels[i] = bytes.at(i);
    for (std::size_t i = 0; i < mask_bytes; ++i) cover[i] = bytes.at(i * 7 + 3);
    picture.data = pixels.data();
    mask.data = cover.data();
    hrt_session *session = bytes.take<std::uint8_t>() % 4 == 0 ? diffusion : phnet;
    const hrt_harmonize_options options = options_from(bytes);
    if (hrt_harmonize_u8(session, &picture, &mask, output.data(), output_stride, &options) != HRT_OK) return 0;
    for (int y = 0; y < picture.height; ++y) {
        const std::size_t rows = picture.stride != 0 ? picture.stride : static_cast<std::size_t>(picture.width) * step;
        const std::size_t out_rows =
            output_stride != 0 ? output_stride : static_cast<std::size_t>(picture.width) * step;
        const std::size_t mask_rows = mask.stride != 0 ? mask.stride : static_cast<std::size_t>(mask.width) * mask.step;
        for (int x = 0; x < picture.width; ++x) {
            const auto at = static_cast<std::size_t>(x), line = static_cast<std::size_t>(y);
            if (cover[line * mask_rows + at * mask.step] != 0) continue;
            if (std::memcmp(&output[line * out_rows + at * step], &pixels[line * rows + at * step], 3) != 0)
                std::abort();
        }
    }
    return 0;
}
