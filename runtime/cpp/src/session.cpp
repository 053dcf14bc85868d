#include "session.hpp"

#include "machine.hpp"
#include "options.hpp"
#include "status.hpp"
#include "transfer.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

namespace hrt {
namespace {

constexpr std::size_t kLargestGroup = 8; // pictures in one run of an engine that takes any number

constexpr int kMostThreads = 8; // on the picture's way to and from the engine: memory has no more to give

// As runtime/masks.py warns.
constexpr double kInvertedShare = 0.6;
constexpr int kInvertedCorners = 3;

using Clock = std::chrono::steady_clock;

double milliseconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
}

// The caller's mask where it is 0 to 255 already, pixels side by side; else a copy that is.
Mask scaled(const hrt_mask &given, std::vector<std::uint8_t> &storage) {
    if (given.full == 255 && given.step == 1) return {given.data, given.width, given.height, given.stride};
    const int full = given.full;
    storage.resize(static_cast<std::size_t>(given.width) * static_cast<std::size_t>(given.height));
    std::uint8_t *out = storage.data();
    for (int y = 0; y < given.height; ++y) {
        const std::uint8_t *p = given.data + static_cast<std::size_t>(y) * given.stride;
        for (int x = 0; x < given.width; ++x, p += given.step) {
            *out++ = static_cast<std::uint8_t>((std::min<int>(*p, full) * 255 + full / 2) / full);
        }
    }
    return {storage.data(), given.width, given.height, static_cast<std::size_t>(given.width)};
}

hrt_report look_at(const Mask &mask) {
    hrt_report report = defaults<hrt_report>();
    std::size_t covered = 0;
    std::uint8_t least = 255;
    for (int y = 0; y < mask.height; ++y) {
        const std::uint8_t *p = mask.row(y);
        for (int x = 0; x < mask.width; ++x) {
            covered += p[x] != 0 ? 1U : 0U;
            least = std::min(least, p[x]);
        }
    }
    const double pixels = static_cast<double>(mask.width) * mask.height;
    report.foreground_ratio = static_cast<double>(covered) / pixels;
    if (covered == 0) {
        report.notes = HRT_NOTE_EMPTY_MASK;
    } else if (report.foreground_ratio == 1 && least >= 128) {
        report.notes = HRT_NOTE_FULL_MASK;
    } else if (report.foreground_ratio > kInvertedShare && pixels > 1) {
        const int right = mask.width - 1, bottom = mask.height - 1;
        const int corners = (mask.at(0, 0) >= 128 ? 1 : 0) + (mask.at(right, 0) >= 128 ? 1 : 0) +
                            (mask.at(0, bottom) >= 128 ? 1 : 0) + (mask.at(right, bottom) >= 128 ? 1 : 0);
        if (corners >= kInvertedCorners) report.notes = HRT_NOTE_INVERTED_MASK;
    }
    return report;
}

void copy_picture(const Picture &picture, std::uint8_t *output, std::size_t stride) {
    if (output == picture.data) return;
    const std::size_t row = static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.step);
    for (int y = 0; y < picture.height; ++y) {
        std::memcpy(output + static_cast<std::size_t>(y) * stride, picture.row(y), row);
    }
}

void ask(const Progress &stop, int done) {
    if (stop && stop(done, 1)) throw Error(HRT_CANCELLED, "the progress callback asked to stop");
}

} // namespace

// This library's families. Others are right in themselves, so that the sentence names what runs them.
static Bundle supported(Bundle bundle) {
    if (bundle.manifest.model.family == "phnet") return bundle;
    throw Error(HRT_UNSUPPORTED, bundle.path + " holds the model " + quoted(bundle.manifest.model.family) +
                                     ", this library runs phnet; use the Python runtime for it");
}

Model::Model(const std::string &path, const EngineOptions &options, std::uint64_t most_pixels)
    : bundle(supported(open_bundle(path))),
      selected(open_best(bundle, options)),
      device(selected.engine->device()),
      engine_version(selected.engine->version()),
      threads(options.threads > 0 ? options.threads : cores()),
      max_pixels(most_pixels) {}

Session::Session(std::shared_ptr<const Model> model)
    : model_(std::move(model)),
      engine_(model_->selected.engine),
      threads_(std::min(model_->threads, kMostThreads)),
      report_(defaults<hrt_report>()) {}

// How many jobs from `first` on go through the engine in one run.
std::size_t Session::group_size(const std::vector<Job> &jobs, std::size_t first) const {
    const Manifest &manifest = model_->bundle.manifest;
    const std::size_t most = manifest.batch ? static_cast<std::size_t>(*manifest.batch) : kLargestGroup;
    const auto size_of = [&](const Job &job) { return network_size(manifest, job.picture.width, job.picture.height); };
    const Size size = size_of(jobs[first]);
    std::size_t count = 1;
    while (first + count < jobs.size() && count < most && size_of(jobs[first + count]) == size) ++count;
    return count;
}

void Session::harmonize(const std::vector<Job> &jobs, const Progress &stop, std::size_t &done) {
    for (done = 0; done < jobs.size();) {
        const std::size_t count = group_size(jobs, done);
        harmonize_group(jobs.data() + done, count, stop);
        done += count;
    }
}

void Session::harmonize_group(const Job *jobs, std::size_t count, const Progress &stop) {
    const Clock::time_point start = Clock::now();
    const Manifest &manifest = model_->bundle.manifest;
    ask(stop, 0);
    const Size size = network_size(manifest, jobs->picture.width, jobs->picture.height);
    const std::size_t plane = static_cast<std::size_t>(size.width) * static_cast<std::size_t>(size.height);
    struct Work {
        std::vector<std::uint8_t> storage;
        Mask mask;
        hrt_report report;
        Fitted fitted;
    };
    std::vector<Work> works(count);
    std::size_t busy = 0;
    for (std::size_t i = 0; i < count; ++i) {
        works[i].mask = scaled(jobs[i].mask, works[i].storage);
        works[i].report = look_at(works[i].mask);
        if (works[i].report.notes != HRT_NOTE_EMPTY_MASK) ++busy;
    }
    // An engine of a fixed batch is given all its places; what the spare ones hold does not matter, but must be finite.
    const std::size_t places = busy == 0 ? 0 : manifest.batch ? static_cast<std::size_t>(*manifest.batch) : busy;
    image_.resize(places * plane * 3);
    mask_.resize(places * plane);
    output_.resize(places * plane * 3);
    std::fill(image_.begin() + static_cast<std::ptrdiff_t>(busy * plane * 3), image_.end(), 0.F);
    std::fill(mask_.begin() + static_cast<std::ptrdiff_t>(busy * plane), mask_.end(), 0.F);
    std::size_t place = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (works[i].report.notes == HRT_NOTE_EMPTY_MASK) continue;
        works[i].fitted = fit(jobs[i].picture, works[i].mask, size, manifest.binary_mask, threads_);
        const Fitted &fitted = works[i].fitted;
        std::copy(fitted.image.begin(), fitted.image.end(), image_.data() + place * plane * 3);
        std::copy(fitted.network_mask.begin(), fitted.network_mask.end(), mask_.data() + place * plane);
        ++place;
    }
    const Clock::time_point fit_end = Clock::now();
    if (busy > 0) {
        engine_.run(image_.data(), mask_.data(), output_.data(), static_cast<int>(places), size.height, size.width);
    }
    const Clock::time_point ran = Clock::now();
    if (!std::all_of(output_.begin(), output_.begin() + static_cast<std::ptrdiff_t>(busy * plane * 3),
                     [](float value) { return std::isfinite(value); })) {
        throw Error(HRT_ENGINE_FAILED,
                    "the engine's output has values that are no numbers; check the bundle with `harmonyrt verify`");
    }
    ask(stop, 1);
    place = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (works[i].report.notes == HRT_NOTE_EMPTY_MASK) {
            copy_picture(jobs[i].picture, jobs[i].output, jobs[i].output_stride);
        } else {
            carry_back(jobs[i].picture, works[i].mask, works[i].fitted, output_.data() + place * plane * 3,
                       jobs[i].output, jobs[i].output_stride, threads_);
            ++place;
        }
    }
    report_ = works[count - 1].report;
    const Clock::time_point end = Clock::now();
    report_.fit_ms = milliseconds(start, fit_end);
    report_.engine_ms = milliseconds(fit_end, ran);
    report_.carry_ms = milliseconds(ran, end);
    report_.total_ms = milliseconds(start, end);
}

void Session::run(const float *image, const float *mask, float *output, int batch, int height, int width) {
    const Manifest &manifest = model_->bundle.manifest;
    constexpr int most = 1 << 14;
    const auto multiple = [&](int side) { return side >= 1 && side <= most && side % manifest.size_multiple == 0; };
    const bool fits = manifest.size ? height == manifest.size->first && width == manifest.size->second
                                    : multiple(height) && multiple(width);
    const bool batch_fits = manifest.batch ? batch == *manifest.batch : batch >= 1 && batch <= 1024;
    if (!fits || !batch_fits) {
        const std::string sides =
            manifest.size ? std::to_string(manifest.size->first) + " x " + std::to_string(manifest.size->second)
                          : "multiples of " + std::to_string(manifest.size_multiple);
        throw Error(HRT_INVALID_ARGUMENT,
                    "the tensors are " + std::to_string(batch) + " x 3 x " + std::to_string(height) + " x " +
                        std::to_string(width) + "; this engine takes " +
                        (manifest.batch ? std::to_string(*manifest.batch) : "any number") + " x 3 x " + sides);
    }
    engine_.run(image, mask, output, batch, height, width);
}

} // namespace hrt
