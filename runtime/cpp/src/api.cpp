// The C face: arguments in, status codes out. Every function's work runs inside guarded().

#include "harmonyrt.h"

#include "handles.hpp"

#include <string>
#include <utility>
#include <vector>

namespace hrt {

template <>
hrt_model_options defaults() noexcept {
    return zeroed<hrt_model_options>();
}
template <>
hrt_model_info defaults() noexcept {
    return zeroed<hrt_model_info>();
}
template <>
hrt_picture defaults() noexcept {
    return zeroed<hrt_picture>();
}
template <>
hrt_mask defaults() noexcept {
    hrt_mask mask = zeroed<hrt_mask>();
    mask.step = 1;
    mask.full = 255;
    return mask;
}
template <>
hrt_harmonize_options defaults() noexcept {
    hrt_harmonize_options options = zeroed<hrt_harmonize_options>();
    options.strength = 1;
    return options;
}
template <>
hrt_report defaults() noexcept {
    return zeroed<hrt_report>();
}

namespace {

EngineOptions engine_options(const hrt_model_options &given) {
    const auto text = [](const char *s) { return s == nullptr ? std::string() : std::string(s); };
    constexpr int most = 4096;
    if (given.threads < 0 || given.threads > most || given.streams < 0 || given.streams > most) {
        throw Error(HRT_INVALID_ARGUMENT, "threads is " + std::to_string(given.threads) + " and streams " +
                                              std::to_string(given.streams) + "; give 0 to " + std::to_string(most));
    }
    if (given.pin_threads < -1 || given.pin_threads > 1) {
        throw Error(HRT_INVALID_ARGUMENT,
                    "pin_threads is " + std::to_string(given.pin_threads) + "; give 1 (yes), -1 (no) or 0");
    }
    EngineOptions options;
    if (given.backend != nullptr) options.backend = given.backend;
    options.device = text(given.device);
    options.target = text(given.target);
    options.precision = text(given.precision);
    options.pin_threads = given.pin_threads;
    options.cache = given.cache_folder;
    options.module_folder = text(given.module_folder);
    options.threads = given.threads;
    options.streams = given.streams > 0 ? given.streams : 1;
    options.provider = text(given.provider);
    constexpr std::size_t most_options = 256;
    if (given.provider_option_count > most_options)
        throw Error(HRT_INVALID_ARGUMENT, "provider_option_count is " + std::to_string(given.provider_option_count) +
                                              "; give pairs, at most " + std::to_string(most_options));
    for (std::size_t i = 0; i < 2 * given.provider_option_count; ++i) {
        require(given.provider_options, "provider_options");
        require(given.provider_options[i], "a name or value of provider_options");
        options.provider_options.emplace_back(given.provider_options[i]);
    }
    if ((!options.provider.empty() || !options.provider_options.empty()) && options.backend != "onnxruntime") {
        throw Error(HRT_INVALID_ARGUMENT, "provider is ONNX Runtime's, and backend is " + quoted(options.backend) +
                                              ": give backend onnxruntime");
    }
    return options;
}

Controls controls_of(const hrt_harmonize_options &options) {
    constexpr double most = 1.5;
    if (!(options.strength >= 0 && options.strength <= most)) { // which no NaN is
        throw Error(HRT_INVALID_ARGUMENT, "the strength is " + std::to_string(options.strength) +
                                              "; give 0 (no change) to 1.5; 1 is the answer itself");
    }
    if (options.keep < HRT_KEEP_NOTHING || options.keep > HRT_KEEP_HUE) {
        throw Error(HRT_INVALID_ARGUMENT, "keep is " + std::to_string(options.keep) + "; give one of hrt_keep");
    }
    return {static_cast<float>(options.strength), static_cast<Keep>(options.keep)};
}

RunOptions run_options(const hrt_harmonize_options &options) {
    if (options.steps < 0) throw Error(HRT_INVALID_ARGUMENT, "steps is negative; give 0 for the network's own number");
    RunOptions run = {options.seed, options.sample, options.steps, {}, controls_of(options)};
    if (options.progress != nullptr) {
        run.progress = [call = options.progress, user = options.progress_user](int done, int parts) {
            return call(done, parts, user) != 0;
        };
    }
    return run;
}

Job job_of(const Session &session, const hrt_picture *picture, const hrt_mask *mask, std::uint8_t *output,
           std::size_t output_stride, const hrt_mask *match) {
    Job job{};
    job.picture = checked_picture(picture, session.model().max_pixels);
    job.mask = checked_mask(mask, job.picture);
    if (match != nullptr) job.match = checked_mask(match, job.picture, "match mask");
    job.output = output;
    job.output_stride = checked_output_stride(output, output_stride, job.picture);
    return job;
}

} // namespace
} // namespace hrt

using hrt::guarded;

extern "C" {

const char *hrt_status_name(int status) {
    switch (status) {
        case HRT_OK: return "HRT_OK";
        case HRT_INVALID_ARGUMENT: return "HRT_INVALID_ARGUMENT";
        case HRT_NOT_FOUND: return "HRT_NOT_FOUND";
        case HRT_BAD_BUNDLE: return "HRT_BAD_BUNDLE";
        case HRT_NO_BACKEND: return "HRT_NO_BACKEND";
        case HRT_ENGINE_FAILED: return "HRT_ENGINE_FAILED";
        case HRT_OUT_OF_MEMORY: return "HRT_OUT_OF_MEMORY";
        case HRT_CANCELLED: return "HRT_CANCELLED";
        case HRT_UNSUPPORTED: return "HRT_UNSUPPORTED";
        case HRT_INTERNAL: return "HRT_INTERNAL";
    }
    return "unknown status";
}

const char *hrt_last_error(void) { return hrt::last_error(); }

const char *hrt_version(void) { return HRT_VERSION_TEXT; }

int hrt_abi_version(void) { return HRT_ABI_VERSION; }

const char *hrt_build_info(void) {
    static const std::string *info = [] {
        try {
            return new std::string("harmonyrt " HRT_VERSION_TEXT ", " HRT_COMPILER_TEXT ", " HRT_BUILD_TYPE_TEXT
                                   ", modules in " +
                                   hrt::default_module_folders());
        } catch (...) {
            return static_cast<std::string *>(nullptr);
        }
    }();
    return info != nullptr ? info->c_str() : "harmonyrt " HRT_VERSION_TEXT;
}

void hrt_set_log(hrt_log_callback callback, void *user) { hrt::set_log(callback, user); }

hrt_status hrt_model_open(const char *bundle, const hrt_model_options *options, hrt_model **model) {
    if (model != nullptr) *model = nullptr;
    return guarded([&] {
        hrt::require(model, "model");
        hrt::require(bundle, "bundle");
        const hrt_model_options given = hrt::filled(options, "hrt_model_options");
        const hrt::EngineOptions engine = hrt::engine_options(given);
        *model = new hrt_model{std::make_shared<const hrt::Model>(bundle, engine, given.max_pixels)};
    });
}

void hrt_model_free(hrt_model *model) { delete model; }

hrt_status hrt_model_get_info(const hrt_model *model, hrt_model_info *info) {
    return guarded([&] {
        hrt::require(model, "model");
        const hrt::Model &m = *model->model;
        const hrt::Manifest &manifest = m.bundle.manifest;
        hrt_model_info full = hrt::defaults<hrt_model_info>();
        full.name = manifest.name.c_str();
        full.family = manifest.model.family.c_str();
        full.backend = m.main().backend.c_str();
        full.target = m.main().spec->target.c_str();
        full.precision = m.main().spec->precision.c_str();
        full.device = m.device.c_str();
        full.engine = m.engine_version.c_str();
        full.height = manifest.size ? static_cast<std::int32_t>(manifest.size->first) : 0;
        full.width = manifest.size ? static_cast<std::int32_t>(manifest.size->second) : 0;
        full.batch = static_cast<std::int32_t>(manifest.batch.value_or(0));
        full.working_size = static_cast<std::int32_t>(manifest.working_size);
        full.size_multiple = static_cast<std::int32_t>(manifest.size_multiple);
        full.binary_mask = manifest.binary_mask ? 1 : 0;
        full.parity_max_abs = m.main().spec->parity.max_abs_error;
        full.parity_psnr_db = m.main().spec->parity.psnr_db;
        full.steps = m.steps.empty() ? nullptr : m.steps.data();
        full.step_counts = static_cast<std::int32_t>(m.steps.size());
        full.random_weights = manifest.model.random_weights ? 1 : 0;
        hrt::answer(full, info, "hrt_model_info");
    });
}

const char *hrt_model_notes(const hrt_model *model) { return model == nullptr ? "" : model->model->notes.c_str(); }

hrt_status hrt_session_open(const hrt_model *model, hrt_session **session) {
    if (session != nullptr) *session = nullptr;
    return guarded([&] {
        hrt::require(session, "session");
        hrt::require(model, "model");
        *session = new hrt_session{hrt::Session(model->model)};
    });
}

void hrt_session_free(hrt_session *session) { delete session; }

hrt_status hrt_harmonize_u8(hrt_session *session, const hrt_picture *picture, const hrt_mask *mask, uint8_t *output,
                            size_t output_stride, const hrt_harmonize_options *options) {
    return guarded([&] {
        hrt::require(session, "session");
        const hrt_harmonize_options given = hrt::filled(options, "hrt_harmonize_options");
        const hrt::RunOptions run = hrt::run_options(given);
        const std::vector<hrt::Job> jobs = {
            hrt::job_of(session->session, picture, mask, output, output_stride, given.match)};
        std::size_t done = 0;
        session->session.harmonize(jobs, run, done);
    });
}

hrt_status hrt_harmonize_batch_u8(hrt_session *session, size_t count, const hrt_picture *pictures,
                                  const hrt_mask *masks, uint8_t *const *outputs, const hrt_harmonize_options *options,
                                  size_t *done) {
    if (done != nullptr) *done = 0;
    std::size_t finished = 0;
    const hrt_status status = guarded([&] {
        hrt::require(session, "session");
        const hrt_harmonize_options given = hrt::filled(options, "hrt_harmonize_options");
        const hrt::RunOptions run = hrt::run_options(given);
        if (count == 0) return;
        hrt::require(pictures, "pictures");
        hrt::require(masks, "masks");
        hrt::require(outputs, "outputs");
        // An older caller's structs are smaller than ours: step through the arrays by the size that they state.
        const std::size_t picture_size = pictures->size, mask_size = masks->size;
        (void)hrt::filled(pictures, "hrt_picture");
        (void)hrt::filled(masks, "hrt_mask");
        std::vector<hrt::Job> jobs;
        for (std::size_t i = 0; i < count; ++i) {
            const auto *picture = reinterpret_cast<const char *>(pictures) + i * picture_size;
            const auto *mask = reinterpret_cast<const char *>(masks) + i * mask_size;
            jobs.push_back(hrt::job_of(session->session, reinterpret_cast<const hrt_picture *>(picture),
                                       reinterpret_cast<const hrt_mask *>(mask), outputs[i], 0, given.match));
        }
        session->session.harmonize(jobs, run, finished);
    });
    if (done != nullptr) *done = finished;
    return status;
}

hrt_status hrt_run_f32(hrt_session *session, const float *image, const float *mask, float *output, int32_t batch,
                       int32_t height, int32_t width) {
    return guarded([&] {
        hrt::require(session, "session");
        hrt::require(image, "image");
        hrt::require(mask, "mask");
        hrt::require(output, "output");
        session->session.run(image, mask, output, batch, height, width);
    });
}

hrt_status hrt_session_get_report(const hrt_session *session, hrt_report *report) {
    return guarded([&] {
        hrt::require(session, "session");
        hrt::answer(session->session.report(), report, "hrt_report");
    });
}

void hrt_model_options_init(hrt_model_options *options, size_t size) { hrt::init(options, size); }
void hrt_model_info_init(hrt_model_info *info, size_t size) { hrt::init(info, size); }
void hrt_picture_init(hrt_picture *picture, size_t size) { hrt::init(picture, size); }
void hrt_mask_init(hrt_mask *mask, size_t size) { hrt::init(mask, size); }
void hrt_harmonize_options_init(hrt_harmonize_options *options, size_t size) { hrt::init(options, size); }
void hrt_report_init(hrt_report *report, size_t size) { hrt::init(report, size); }

} // extern "C"
