// The C face: what becomes of pictures, masks and batches of them.
#include "face.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

using namespace face;

TEST_CASE("outside the mask every byte stays, inside it changes") {
    const ModelHandle model = open_model();
    const SessionHandle session = open_session(model);
    for (const auto &[width, height] : {std::pair(64, 64), {1, 1}, {1, 50}, {77, 3}, {201, 133}, {300, 301}}) {
        const Pair pair(width, height);
        const auto output = harmonized(session.get(), pair);
        bool changed = false;
        for (std::size_t i = 0; i < pair.mask.size(); ++i) {
            const bool same = std::memcmp(&output[i * 3], &pair.rgb[i * 3], 3) == 0;
            if (pair.mask[i] == 0) CHECK(same);
            changed = changed || !same;
        }
        if (width > 3 && height > 3) CHECK(changed);
    }
}

TEST_CASE("every pixel format gives the same colours, and alpha is kept") {
    const ModelHandle model = open_model();
    const SessionHandle session = open_session(model);
    const Pair pair(91, 70);
    const auto expected = harmonized(session.get(), pair);
    for (const hrt_format format : {HRT_BGR8, HRT_RGBA8, HRT_BGRA8}) {
        const std::size_t step = format == HRT_BGR8 ? 3 : 4;
        const bool swapped = format != HRT_RGBA8;
        std::vector<std::uint8_t> data(pair.mask.size() * step);
        for (std::size_t i = 0; i < pair.mask.size(); ++i) {
            for (std::size_t c = 0; c < 3; ++c) data[i * step + c] = pair.rgb[i * 3 + (swapped ? 2 - c : c)];
            if (step == 4) data[i * 4 + 3] = 255;
        }
        const auto output = harmonized(session.get(), pair, data, format);
        bool equal = true;
        for (std::size_t i = 0; i < pair.mask.size(); ++i) {
            for (std::size_t c = 0; c < 3; ++c)
                equal = equal && output[i * step + c] == expected[i * 3 + (swapped ? 2 - c : c)];
            if (step == 4) equal = equal && output[i * 4 + 3] == 255;
        }
        CHECK(equal);
    }
}

TEST_CASE("colours that nobody sees change nothing that is seen, and keep their bytes") {
    const ModelHandle model = open_model();
    const SessionHandle session = open_session(model);
    for (const auto &[width, height] : {std::pair(91, 70), {64, 64}, {40, 30}}) {
        const Pair pair(width, height);
        std::vector<std::uint8_t> data(pair.mask.size() * 4), first;
        for (const std::uint8_t hidden : std::initializer_list<std::uint8_t>{0, 255, 90}) {
            for (std::size_t i = 0; i < pair.mask.size(); ++i) {
                const bool clear = i % static_cast<std::size_t>(width) < static_cast<std::size_t>(width / 3);
                for (std::size_t c = 0; c < 3; ++c) data[i * 4 + c] = clear ? hidden : pair.rgb[i * 3 + c];
                data[i * 4 + 3] = clear ? 0 : static_cast<std::uint8_t>(255 - i % 2);
            }
            const auto output = harmonized(session.get(), pair, data, HRT_RGBA8);
            bool kept = true, same = true, changed = false;
            if (first.empty()) first = output;
            for (std::size_t i = 0; i < data.size(); ++i) {
                const bool clear = data[i / 4 * 4 + 3] == 0;
                kept = kept && ((!clear && i % 4 != 3) || output[i] == data[i]);
                same = same && (clear || output[i] == first[i]);
                changed = changed || output[i] != data[i];
            }
            CHECK(kept);
            CHECK(same);
            CHECK(changed);
        }
        hrt_report report = hrt_report_default();
        const auto notes_with = [&](bool foreground_shown, bool background_shown) {
            for (std::size_t i = 0; i < pair.mask.size(); ++i)
                data[i * 4 + 3] = (pair.mask[i] > 0 ? foreground_shown : background_shown) ? 255 : 0;
            const auto output = harmonized(session.get(), pair, data, HRT_RGBA8);
            REQUIRE(hrt_session_get_report(session.get(), &report) == HRT_OK);
            if (!foreground_shown) CHECK(output == data);
            return report.notes;
        };
        CHECK(notes_with(true, false) == HRT_NOTE_NO_BACKGROUND);
        CHECK(notes_with(false, true) == HRT_NOTE_HIDDEN_FOREGROUND);
    }
}

TEST_CASE("strides, steps, mask scales and writing in place do not change the picture") {
    const ModelHandle model = open_model();
    const SessionHandle session = open_session(model);
    Pair pair(83, 59);
    for (std::uint8_t &value : pair.mask) value = value > 127 ? 255 : 0;
    const auto expected = harmonized(session.get(), pair);
    const std::size_t stride = 83 * 3 + 11;
    std::vector<std::uint8_t> wide(stride * 59, 5), mask(59 * 400, 9);
    for (std::size_t y = 0; y < 59; ++y) {
        std::memcpy(&wide[y * stride], &pair.rgb[y * 83 * 3], 83 * 3);
        for (std::size_t x = 0; x < 83; ++x) mask[y * 400 + x * 4 + 3] = pair.mask[y * 83 + x] == 255 ? 1 : 0;
    }
    hrt_picture picture = pair.picture();
    picture.data = wide.data();
    picture.stride = stride;
    hrt_mask m = pair.foreground();
    m.data = mask.data() + 3; // the alpha channel of RGBA
    m.stride = 400;
    m.step = 4;
    m.full = 1;
    REQUIRE(hrt_harmonize_u8(session.get(), &picture, &m, wide.data(), stride, nullptr) == HRT_OK);
    for (std::size_t y = 0; y < 59; ++y) {
        CHECK(std::memcmp(&wide[y * stride], &expected[y * 83 * 3], 83 * 3) == 0);
        CHECK(wide[y * stride + 83 * 3] == 5); // row gaps are the caller's
    }
}

TEST_CASE("an empty mask gives the composite back, and notes say what looks wrong") {
    const ModelHandle model = open_model();
    const SessionHandle session = open_session(model);
    Pair pair(40, 30);
    hrt_report report = hrt_report_default();
    const auto notes = [&] {
        (void)harmonized(session.get(), pair);
        REQUIRE(hrt_session_get_report(session.get(), &report) == HRT_OK);
        return report.notes;
    };
    CHECK(notes() == 0);
    CHECK(report.foreground_ratio > 0.3);
    CHECK(report.total_ms >= report.engine_ms);
    std::fill(pair.mask.begin(), pair.mask.end(), std::uint8_t{0});
    CHECK(notes() == HRT_NOTE_EMPTY_MASK);
    CHECK(harmonized(session.get(), pair) == pair.rgb);
    std::fill(pair.mask.begin(), pair.mask.end(), std::uint8_t{255});
    CHECK(notes() == HRT_NOTE_FULL_MASK);
    std::fill(pair.mask.begin() + 400, pair.mask.begin() + 500, std::uint8_t{0});
    CHECK(notes() == HRT_NOTE_INVERTED_MASK);
}

TEST_CASE("progress is told and can cancel") {
    const ModelHandle model = open_model();
    const SessionHandle session = open_session(model);
    const Pair pair(50, 40);
    const hrt_picture picture = pair.picture();
    const hrt_mask mask = pair.foreground();
    std::vector<std::uint8_t> output(pair.rgb.size(), 7);
    struct Seen {
        std::vector<int> done;
        int stop_at;
    } seen = {{}, -1};
    hrt_harmonize_options options = hrt_harmonize_options_default();
    options.progress_user = &seen;
    options.progress = [](std::int32_t done, std::int32_t, void *user) {
        auto *s = static_cast<Seen *>(user);
        s->done.push_back(done);
        return done == s->stop_at ? 1 : 0;
    };
    CHECK(hrt_harmonize_u8(session.get(), &picture, &mask, output.data(), 0, &options) == HRT_OK);
    CHECK(seen.done == std::vector<int>{0, 1});
    for (const int stop_at : {0, 1}) {
        seen = {{}, stop_at};
        std::fill(output.begin(), output.end(), std::uint8_t{7});
        CHECK(hrt_harmonize_u8(session.get(), &picture, &mask, output.data(), 0, &options) == HRT_CANCELLED);
        CHECK(output == std::vector<std::uint8_t>(output.size(), 7));
    }
    options.progress = [](std::int32_t, std::int32_t, void *) -> int { throw 5; };
    CHECK(hrt_harmonize_u8(session.get(), &picture, &mask, output.data(), 0, &options) == HRT_INTERNAL);
}

TEST_CASE("a batch gives what single calls give, and says how far it came") {
    for (const char *bundle : {kBundle, kDynamic}) {
        const ModelHandle model = open_model(bundle);
        const SessionHandle session = open_session(model);
        std::vector<Pair> pairs;
        for (int i = 0; i < 11; ++i) pairs.emplace_back(i < 6 ? 64 : 40 + 9 * i, i < 6 ? 48 : 50 + i);
        std::fill(pairs[2].mask.begin(), pairs[2].mask.end(), std::uint8_t{0});
        Batch batch(pairs);
        std::size_t done = 99;
        REQUIRE(batch.run(session.get(), nullptr, &done) == HRT_OK);
        CHECK(done == pairs.size());
        for (std::size_t i = 0; i < pairs.size(); ++i) CHECK(batch.outputs[i] == harmonized(session.get(), pairs[i]));

        batch.masks[7].width = 1;
        CHECK(batch.run(session.get(), nullptr, &done) == HRT_INVALID_ARGUMENT);
        CHECK(done == 0); // arguments are checked before anything runs
        CHECK(hrt_harmonize_batch_u8(session.get(), 0, nullptr, nullptr, nullptr, nullptr, &done) == HRT_OK);
        CHECK(hrt_harmonize_batch_u8(session.get(), 1, nullptr, batch.masks.data(), batch.pointers.data(), nullptr,
                                     nullptr) == HRT_INVALID_ARGUMENT);
    }
}

TEST_CASE("the float face runs the network alone") {
    const ModelHandle model = open_model();
    const SessionHandle session = open_session(model);
    std::vector<float> image(3 * 64 * 64, 0.5F), mask(64 * 64, 1.F), output(image.size());
    REQUIRE(hrt_run_f32(session.get(), image.data(), mask.data(), output.data(), 1, 64, 64) == HRT_OK);
    CHECK(output[0] == doctest::Approx(0.05 + 0.08 + 0.5 * (0.80 + 0.10 - 0.05) + 0.25 * 0.20));
    CHECK(hrt_run_f32(session.get(), image.data(), mask.data(), output.data(), 1, 64, 63) == HRT_INVALID_ARGUMENT);
    CHECK(last_error_has("this engine takes 1 x 3 x 64 x 64"));
    CHECK(hrt_run_f32(session.get(), image.data(), mask.data(), output.data(), 2, 64, 64) == HRT_INVALID_ARGUMENT);
    CHECK(hrt_run_f32(session.get(), nullptr, mask.data(), output.data(), 1, 64, 64) == HRT_INVALID_ARGUMENT);
    const ModelHandle dynamic = open_model(kDynamic);
    const SessionHandle other = open_session(dynamic);
    CHECK(hrt_run_f32(other.get(), image.data(), mask.data(), output.data(), 2, 32, 64) == HRT_OK);
    CHECK(hrt_run_f32(other.get(), image.data(), mask.data(), output.data(), 1, 60, 64) == HRT_INVALID_ARGUMENT);
    CHECK(last_error_has("multiples of 8"));
}

TEST_CASE("a caller that knows no strength has the whole change") {
    const ModelHandle model = open_model();
    const SessionHandle session = open_session(model);
    const Pair pair(45, 31);
    const std::vector<std::uint8_t> whole = harmonized(session.get(), pair);
    hrt_harmonize_options options = hrt_harmonize_options_default();
    options.size = offsetof(hrt_harmonize_options, strength);
    options.strength = 0; // beyond what an older header has
    CHECK(harmonized(session.get(), pair, &options) == whole);
    CHECK(whole != pair.rgb);
}
