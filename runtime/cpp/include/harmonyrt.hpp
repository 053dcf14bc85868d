// harmonyrt.hpp - the C++17 face of harmonyrt.h: owning, move-only handles and views. Header only.
//
//     harmonyrt::Model model("engines/phnet-256-fp32");
//     harmonyrt::Session session(model);                       // one per thread; the model is shared
//     std::vector<std::uint8_t> out = session.harmonize({rgb, width, height}, {mask, width, height});
//
//     harmonyrt::HarmonizeOptions options;                      // for DiffHarmony
//     options.seed = 7;
//     options.progress = [&](int done, int parts) { show(done, parts); return !stop_pressed; };
//     out = session.harmonize({rgb, width, height}, {mask, width, height}, options);
//
// Failures throw harmonyrt::Error, whose what() is the sentence of hrt_last_error(). Where exceptions are off
// (-fno-exceptions, or HRT_NO_EXCEPTIONS defined) only the try_... functions exist; they return an hrt_status.
#ifndef HARMONYRT_HPP
#define HARMONYRT_HPP

#include "harmonyrt_device.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#if !defined(HRT_NO_EXCEPTIONS) && (defined(__cpp_exceptions) || defined(_CPPUNWIND))
#define HRT_HAS_EXCEPTIONS 1
#include <exception>
#include <stdexcept>
#else
#define HRT_HAS_EXCEPTIONS 0
#endif

namespace harmonyrt {

// A run of values that somebody else owns (std::span comes with C++20).
template <class T>
class Span {
public:
    constexpr Span() noexcept = default;
    constexpr Span(T *data, std::size_t size) noexcept : data_(data), size_(size) {}
    // From anything with data() and size(): std::vector, std::array, std::string, std::span.
    template <class Container,
              class = std::enable_if_t<std::is_convertible_v<decltype(std::declval<Container &>().data()), T *>>>
    constexpr Span(Container &container) noexcept : data_(container.data()), size_(container.size()) {}

    constexpr T *data() const noexcept { return data_; }
    constexpr std::size_t size() const noexcept { return size_; }
    constexpr T *begin() const noexcept { return data_; }
    constexpr T *end() const noexcept { return data_ + size_; }
    constexpr T &operator[](std::size_t i) const noexcept { return data_[i]; }

private:
    T *data_ = nullptr;
    std::size_t size_ = 0;
};

enum class Format : int { rgb = HRT_RGB8, bgr = HRT_BGR8, rgba = HRT_RGBA8, bgra = HRT_BGRA8 };

// Bytes of one pixel.
constexpr std::size_t channels(Format format) noexcept {
    return format == Format::rgb || format == Format::bgr ? 3 : 4;
}

// A composite that somebody else owns; see hrt_picture.
struct PictureView {
    const std::uint8_t *data = nullptr;
    std::int32_t width = 0;
    std::int32_t height = 0;
    Format format = Format::rgb;
    std::size_t stride = 0;

    hrt_picture c() const noexcept {
        hrt_picture picture = hrt_picture_default();
        picture.data = data;
        picture.width = width;
        picture.height = height;
        picture.stride = stride;
        picture.format = static_cast<std::int32_t>(format);
        return picture;
    }
    // Bytes of a packed picture of this size and format.
    std::size_t packed_size() const noexcept {
        return width < 0 || height < 0
                   ? 0
                   : static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * channels(format);
    }
};

// A mask that somebody else owns; see hrt_mask.
struct MaskView {
    const std::uint8_t *data = nullptr;
    std::int32_t width = 0;
    std::int32_t height = 0;
    std::int32_t full = 255;
    std::size_t stride = 0;
    std::size_t step = 1;
    std::int32_t label = 0;

    hrt_mask c() const noexcept {
        hrt_mask mask = hrt_mask_default();
        mask.data = data;
        mask.width = width;
        mask.height = height;
        mask.stride = stride;
        mask.step = step;
        mask.full = full;
        mask.label = label;
        return mask;
    }
};

struct ModelOptions {
    std::string backend = "auto";
    std::string device;        // empty: the backend's choice
    std::string cache_folder;  // empty: harmonyrt/ in the user's cache folder
    bool cache = true;         // false: compiled engines are kept nowhere
    std::string module_folder; // empty: $HARMONYRT_MODULES, else next to the library
    int threads = 0;
    int streams = 0;
    std::uint64_t max_pixels = 0;
    std::string target;                         // empty: any
    std::optional<bool> pin_threads;            // none: no
    std::string precision;                      // empty: any but INT8; see hrt_model_options
    std::string provider;                       // of backend onnxruntime on a GPU: cuda (empty too) or tensorrt
    std::vector<const char *> provider_options; // ONNX Runtime's names and values in turn; they outlive the opening

    hrt_model_options c() const noexcept {
        const auto text = [](const std::string &s) { return s.empty() ? nullptr : s.c_str(); };
        hrt_model_options options = hrt_model_options_default();
        options.backend = text(backend);
        options.device = text(device);
        options.cache_folder = cache ? text(cache_folder) : "";
        options.module_folder = text(module_folder);
        options.threads = threads;
        options.streams = streams;
        options.max_pixels = max_pixels;
        options.target = text(target);
        options.precision = text(precision);
        options.pin_threads = !pin_threads ? 0 : *pin_threads ? 1 : -1;
        options.provider = text(provider);
        options.provider_options = provider_options.data();
        options.provider_option_count = provider_options.size() / 2;
        return options;
    }
};

enum class Keep : int { nothing = HRT_KEEP_NOTHING, luminance = HRT_KEEP_LUMINANCE, hue = HRT_KEEP_HUE };

// How one call harmonizes; see hrt_harmonize_options.
struct HarmonizeOptions {
    std::uint64_t seed = 0;
    std::uint64_t sample = 0;
    int steps = 0;
    // Told how many of a run's parts are done; answering false cancels it. What it throws comes out of the call.
    std::function<bool(int done, int parts)> progress;
    double strength = 1;           // 0 to 1.5
    Keep keep = Keep::nothing;     // of the foreground
    std::optional<MaskView> match; // the part of the background to match; none: all of it
};

namespace detail {

// Hands a progress function to the C face, through which nothing may be thrown.
class Progress {
public:
    explicit Progress(const HarmonizeOptions &options) noexcept : call_(options.progress) {
        c_.seed = options.seed;
        c_.sample = options.sample;
        c_.steps = options.steps;
        c_.strength = options.strength;
        c_.keep = static_cast<std::int32_t>(options.keep);
        if (options.match) {
            match_ = options.match->c();
            c_.match = &match_;
        }
        if (!call_) return;
        c_.progress = &Progress::told;
        c_.progress_user = this;
    }
    Progress(const Progress &) = delete;
    Progress &operator=(const Progress &) = delete;
    const hrt_harmonize_options *c() const noexcept { return &c_; }
#if HRT_HAS_EXCEPTIONS
    void rethrow() const {
        if (thrown_) std::rethrow_exception(thrown_);
    }
#endif

private:
    static int told(std::int32_t done, std::int32_t parts, void *user) {
        auto &self = *static_cast<Progress *>(user);
#if HRT_HAS_EXCEPTIONS
        try {
            return self.call_(done, parts) ? 0 : 1;
        } catch (...) {
            self.thrown_ = std::current_exception();
            return 1;
        }
#else
        return self.call_(done, parts) ? 0 : 1;
#endif
    }

    const std::function<bool(int, int)> &call_;
    hrt_harmonize_options c_ = hrt_harmonize_options_default();
    hrt_mask match_ = hrt_mask_default();
#if HRT_HAS_EXCEPTIONS
    std::exception_ptr thrown_;
#endif
};

} // namespace detail

#if HRT_HAS_EXCEPTIONS
// What every throwing function throws. When the library runs out of memory, status() is HRT_OUT_OF_MEMORY.
class Error : public std::runtime_error {
public:
    explicit Error(hrt_status status) : std::runtime_error(hrt_last_error()), status_(status) {}
    hrt_status status() const noexcept { return status_; }

private:
    hrt_status status_;
};

inline void check(hrt_status status) {
    if (status != HRT_OK) throw Error(status);
}
#endif

// An open bundle. Immutable: share it between threads by reference.
class Model {
public:
    Model() noexcept = default;
#if HRT_HAS_EXCEPTIONS
    explicit Model(const std::string &bundle, const ModelOptions &options = {}) { check(try_open(bundle, options)); }
    hrt_model_info info() const {
        hrt_model_info info = hrt_model_info_default();
        check(hrt_model_get_info(get(), &info));
        return info;
    }
#endif
    hrt_status try_open(const std::string &bundle, const ModelOptions &options = {}) noexcept {
        const hrt_model_options c = options.c();
        hrt_model *model = nullptr;
        const hrt_status status = hrt_model_open(bundle.c_str(), &c, &model);
        handle_.reset(model);
        return status;
    }
    std::string notes() const { return hrt_model_notes(get()); }
    const hrt_model *get() const noexcept { return handle_.get(); }
    explicit operator bool() const noexcept { return handle_ != nullptr; }

private:
    struct Free {
        void operator()(hrt_model *model) const noexcept { hrt_model_free(model); }
    };
    std::unique_ptr<hrt_model, Free> handle_;
};

// Buffers to run a model with. One per thread. May outlive its Model.
class Session {
public:
    Session() noexcept = default;
#if HRT_HAS_EXCEPTIONS
    explicit Session(const Model &model) { check(try_open(model)); }

    void harmonize(const PictureView &picture, const MaskView &mask, std::uint8_t *output,
                   std::size_t output_stride = 0, const HarmonizeOptions &options = {}) {
        const detail::Progress progress(options);
        const hrt_status status = call(picture, mask, output, output_stride, progress);
        progress.rethrow();
        check(status);
    }
    // Packed, in the composite's format.
    std::vector<std::uint8_t> harmonize(const PictureView &picture, const MaskView &mask,
                                        const HarmonizeOptions &options = {}) {
        std::vector<std::uint8_t> output(picture.packed_size());
        harmonize(picture, mask, output.data(), 0, options);
        return output;
    }
    // One mask for each picture, whose sizes may differ; the options are the same for all.
    std::vector<std::vector<std::uint8_t>> harmonize_batch(Span<const PictureView> pictures, Span<const MaskView> masks,
                                                           const HarmonizeOptions &options = {}) {
        const std::size_t count = pictures.size();
        std::vector<std::vector<std::uint8_t>> outputs;
        std::vector<hrt_picture> c_pictures;
        std::vector<hrt_mask> c_masks;
        std::vector<std::uint8_t *> pointers;
        for (const PictureView &picture : pictures) {
            c_pictures.push_back(picture.c());
            pointers.push_back(outputs.emplace_back(picture.packed_size()).data());
        }
        for (const MaskView &mask : masks) c_masks.push_back(mask.c());
        const detail::Progress progress(options);
        const hrt_status status =
            hrt_harmonize_batch_u8(get(), count, c_pictures.data(), masks.size() == count ? c_masks.data() : nullptr,
                                   pointers.data(), progress.c(), nullptr);
        progress.rethrow();
        check(status);
        return outputs;
    }
    void run(Span<const float> image, Span<const float> mask, Span<float> output, int batch, int height, int width) {
        check(try_run(image, mask, output, batch, height, width));
    }
    // A picture in a GPU's memory; harmonyrt_device.h says how.
    void harmonize_on_device(const hrt_device_picture &picture, const hrt_device_mask &mask,
                             const hrt_device_picture &output,
                             const hrt_device_options &options = hrt_device_options_default()) {
        check(hrt_harmonize_on_device(get(), &picture, &mask, &output, &options));
    }
    hrt_report report() const {
        hrt_report report = hrt_report_default();
        check(hrt_session_get_report(get(), &report));
        return report;
    }
#endif
    hrt_status try_open(const Model &model) noexcept {
        hrt_session *session = nullptr;
        const hrt_status status = hrt_session_open(model.get(), &session);
        handle_.reset(session);
        return status;
    }
    hrt_status try_harmonize(const PictureView &picture, const MaskView &mask, std::uint8_t *output,
                             std::size_t output_stride = 0, const HarmonizeOptions &options = {}) noexcept {
        return call(picture, mask, output, output_stride, detail::Progress(options));
    }
    // Sizes are checked against the spans before anything runs.
    hrt_status try_run(Span<const float> image, Span<const float> mask, Span<float> output, int batch, int height,
                       int width) noexcept {
        const std::size_t pixels =
            batch > 0 && height > 0 && width > 0
                ? static_cast<std::size_t>(batch) * static_cast<std::size_t>(height) * static_cast<std::size_t>(width)
                : 0;
        const bool fits = image.size() == 3 * pixels && mask.size() == pixels && output.size() == 3 * pixels;
        return hrt_run_f32(get(), fits ? image.data() : nullptr, mask.data(), output.data(), batch, height, width);
    }
    hrt_session *get() const noexcept { return handle_.get(); }
    explicit operator bool() const noexcept { return handle_ != nullptr; }

private:
    hrt_status call(const PictureView &picture, const MaskView &mask, std::uint8_t *output, std::size_t output_stride,
                    const detail::Progress &progress) noexcept {
        const hrt_picture p = picture.c();
        const hrt_mask m = mask.c();
        return hrt_harmonize_u8(get(), &p, &m, output, output_stride, progress.c());
    }

    struct Free {
        void operator()(hrt_session *session) const noexcept { hrt_session_free(session); }
    };
    std::unique_ptr<hrt_session, Free> handle_;
};

} // namespace harmonyrt

#endif // HARMONYRT_HPP
