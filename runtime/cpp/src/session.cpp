#include "session.hpp"

#include "hidden_colours.hpp"
#include "mask_levels.hpp"
#include "options.hpp"
#include "status.hpp"
#include "transfer.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>

namespace hrt {
namespace {

constexpr int kMostThreads = 8; // on the picture's way to and from the engine: memory has no more to give

// As runtime/images/masks.py warns.
constexpr double kInvertedShare = 0.6;
constexpr int kInvertedCorners = 3;
constexpr std::uint8_t kHalf = 127; // levels above it count as foreground, as in runtime/images/foreground.py

using Clock = std::chrono::steady_clock;

double milliseconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
}

Counts counted(const hrt_mask &mask) {
    Counts counts{}, others{}; // two, since equal neighbours would wait for each other
    for (int y = 0; y < mask.height; ++y) {
        const std::uint8_t *p = mask.data + static_cast<std::size_t>(y) * mask.stride;
        int x = 0;
        for (; x + 1 < mask.width; x += 2, p += 2 * mask.step) {
            ++counts[p[0]];
            ++others[p[mask.step]];
        }
        if (x < mask.width) ++counts[*p];
    }
    for (std::size_t value = 0; value < counts.size(); ++value) counts[value] += others[value];
    return counts;
}

// The caller's mask where its values are levels already, pixels side by side; else a copy whose values are.
Mask as_levels(const hrt_mask &given, std::vector<std::uint8_t> &storage, std::uint32_t &notes) {
    const Counts counts = counted(given);
    const Levels levels =
        given.label != 0 ? levels_of_label(counts, static_cast<int>(given.label)) : levels_for(counts, given.full);
    notes = levels.notes;
    bool same = given.step == 1;
    for (std::size_t value = 0; value < counts.size(); ++value)
        same = same && (counts[value] == 0 || levels.table[value] == value);
    if (same) return {given.data, given.width, given.height, given.stride};
    storage.resize(static_cast<std::size_t>(given.width) * static_cast<std::size_t>(given.height));
    std::uint8_t *out = storage.data();
    for (int y = 0; y < given.height; ++y) {
        const std::uint8_t *p = given.data + static_cast<std::size_t>(y) * given.stride;
        for (int x = 0; x < given.width; ++x, p += given.step) *out++ = levels.table[*p];
    }
    return {storage.data(), given.width, given.height, static_cast<std::size_t>(given.width)};
}

hrt_report look_at(const Mask &mask) {
    hrt_report report = defaults<hrt_report>();
    std::size_t covered = 0;
    std::uint8_t most = 0;
    for (int y = 0; y < mask.height; ++y) {
        const std::uint8_t *p = mask.row(y);
        for (int x = 0; x < mask.width; ++x) {
            covered += p[x] > kHalf ? 1U : 0U;
            most = std::max(most, p[x]);
        }
    }
    const double pixels = static_cast<double>(mask.width) * mask.height;
    report.foreground_ratio = static_cast<double>(covered) / pixels;
    if (most == 0) {
        report.notes = HRT_NOTE_EMPTY_MASK;
    } else if (report.foreground_ratio == 1) {
        report.notes = HRT_NOTE_FULL_MASK;
    } else if (report.foreground_ratio > kInvertedShare && pixels > 1) {
        const int right = mask.width - 1, bottom = mask.height - 1;
        const int corners = (mask.at(0, 0) > kHalf ? 1 : 0) + (mask.at(right, 0) > kHalf ? 1 : 0) +
                            (mask.at(0, bottom) > kHalf ? 1 : 0) + (mask.at(right, bottom) > kHalf ? 1 : 0);
        if (corners >= kInvertedCorners) report.notes = HRT_NOTE_INVERTED_MASK;
    }
    return report;
}

// Throws Error (HRT_INVALID_ARGUMENT): a match mask without any visible background under it.
void check_match(const Mask &match, const Mask &mask, const Picture &picture) {
    bool any = false;
    for (int y = 0; y < match.height; ++y) {
        const std::uint8_t *chosen = match.row(y), *m = mask.row(y), *p = picture.row(y);
        for (int x = 0; x < match.width; ++x, p += picture.step) {
            if (chosen[x] <= kHalf) continue;
            any = true;
            if (m[x] <= kHalf && (picture.step != 4 || p[3] > 0)) return;
        }
    }
    throw Error(HRT_INVALID_ARGUMENT,
                any ? "the match mask covers no visible background; paint a part of it white that is neither "
                      "foreground nor transparent"
                    : "the match mask is empty; paint the part of the background to match white");
}

bool is_all(const Mask &mask) {
    for (int y = 0; y < mask.height; ++y) {
        const std::uint8_t *row = mask.row(y);
        if (std::any_of(row, row + mask.width, [](std::uint8_t level) { return level != 255; })) return false;
    }
    return true;
}

void copy_picture(const Picture &picture, std::uint8_t *output, std::size_t stride) {
    if (output == picture.data) return;
    const std::size_t row = static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.step);
    for (int y = 0; y < picture.height; ++y) {
        std::memcpy(output + static_cast<std::size_t>(y) * stride, picture.row(y), row);
    }
}

} // namespace

Session::Session(std::shared_ptr<const Model> model)
    : model_(std::move(model)),
      network_(open_network(*model_)),
      threads_(std::min(model_->threads, kMostThreads)),
      report_(defaults<hrt_report>()) {}

// How many jobs from `first` on go through the network in one run.
std::size_t Session::group_size(const std::vector<Job> &jobs, std::size_t first) const {
    const Size size = network_->size_of(jobs[first].picture);
    std::size_t count = 1;
    while (first + count < jobs.size() && count < network_->most() &&
           network_->size_of(jobs[first + count].picture) == size) {
        ++count;
    }
    return count;
}

void Session::harmonize(const std::vector<Job> &jobs, const RunOptions &options, std::size_t &done) {
    model_->check_not_forked();
    network_->check(options);
    for (done = 0; done < jobs.size();) {
        const std::size_t count = group_size(jobs, done);
        harmonize_group(jobs.data() + done, count, options);
        done += count;
    }
}

void Session::harmonize_group(const Job *jobs, std::size_t count, const RunOptions &options) {
    struct Cover {
        std::vector<std::uint8_t> storage;
        Mask mask;
        hrt_report report;
        std::optional<Seen> seen; // where something is transparent, or a part of the background was chosen
        bool still;               // nothing is to change
        bool empty() const { return still || (report.notes & (HRT_NOTE_EMPTY_MASK | HRT_NOTE_HIDDEN_FOREGROUND)) != 0; }
    };
    const Clock::time_point start = Clock::now();
    std::vector<Cover> covers(count);
    std::vector<Prepared> prepared;
    prepared.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
        std::uint32_t notes = 0;
        covers[i].mask = as_levels(jobs[i].mask, covers[i].storage, notes);
        covers[i].report = look_at(covers[i].mask);
        covers[i].report.notes |= notes;
        covers[i].still = options.controls.strength == 0.F;
        std::vector<std::uint8_t> chosen_storage;
        std::optional<Mask> chosen;
        if (jobs[i].match) {
            chosen = as_levels(*jobs[i].match, chosen_storage, notes);
            check_match(*chosen, covers[i].mask, jobs[i].picture);
            if (is_all(*chosen)) chosen.reset();
        }
        if (covers[i].empty()) continue;
        if (!chosen && is_opaque(jobs[i].picture)) {
            prepared.push_back(network_->prepare(jobs[i].picture, covers[i].mask, threads_));
            continue;
        }
        const Seen &seen =
            covers[i].seen.emplace(hrt::seen(jobs[i].picture, covers[i].mask, chosen ? &*chosen : nullptr));
        if (!seen.has_foreground) {
            covers[i].report.notes |= HRT_NOTE_HIDDEN_FOREGROUND;
            continue;
        }
        if (!seen.has_background) covers[i].report.notes |= HRT_NOTE_NO_BACKGROUND;
        prepared.push_back(network_->prepare(seen.picture, seen.mask, threads_));
    }
    const Clock::time_point fit_end = Clock::now();
    const float *output = prepared.empty() ? nullptr : network_->run(prepared, options);
    const Clock::time_point ran = Clock::now();
    std::size_t place = 0;
    for (std::size_t i = 0; i < count; ++i) {
        if (covers[i].empty()) {
            copy_picture(jobs[i].picture, jobs[i].output, jobs[i].output_stride);
            continue;
        }
        const Fitted &fitted = prepared[place].fitted;
        const std::optional<Seen> &seen = covers[i].seen;
        upsample_edit(jobs[i].picture, seen ? seen->mask : covers[i].mask, fitted, output + place * fitted.image.size(),
                      jobs[i].output, jobs[i].output_stride, threads_, !seen, options.controls);
        ++place;
    }
    report_ = covers[count - 1].report;
    const Clock::time_point end = Clock::now();
    report_.fit_ms = milliseconds(start, fit_end);
    report_.engine_ms = milliseconds(fit_end, ran);
    report_.carry_ms = milliseconds(ran, end);
    report_.total_ms = milliseconds(start, end);
}

void Session::run(const float *image, const float *mask, float *output, int batch, int height, int width) {
    model_->check_not_forked();
    network_->run(image, mask, output, batch, height, width);
}

void Session::harmonize_on_device(const device::Picture &picture, void *stream, bool wait) {
    model_->check_not_forked();
    network_->harmonize_on_device(picture, stream, wait);
}

} // namespace hrt
