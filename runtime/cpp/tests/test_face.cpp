// The C face: what it gives, and the status and sentence for everything that it refuses.
#include "face.hpp"

#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <utility>

using namespace face;

TEST_CASE("a model says what it is and how it was chosen") {
    const ModelHandle model = open_model();
    hrt_model_info info = hrt_model_info_default();
    REQUIRE(hrt_model_get_info(model.get(), &info) == HRT_OK);
    CHECK(std::string(info.name) == "hand-made-64");
    CHECK(std::string(info.backend) == "onnxruntime");
    CHECK(std::string(info.target) == "onnx");
    CHECK(std::string(info.device) == "cpu");
    CHECK(info.width == 64);
    CHECK(info.batch == 1);
    const std::string notes = hrt_model_notes(model.get());
    CHECK(notes.find("skipped openvino") !=
          std::string::npos); // auto tried it first: the stand-in folder has no module
    CHECK(notes.find("opened onnxruntime (onnx fp32, cpu): the documented order") != std::string::npos);
}

TEST_CASE("a bundle that is not there, broken or altered is refused with a sentence") {
    namespace fs = std::filesystem;
    hrt_model *model = nullptr;
    const hrt_model_options options = stand_in();
    CHECK(hrt_model_open("no/such/bundle", &options, &model) == HRT_NOT_FOUND);
    CHECK(last_error_has("no/such/bundle does not exist; build it with"));
    CHECK(hrt_model_open("/", &options, &model) == HRT_NOT_FOUND);
    CHECK(last_error_has("has no manifest.json"));

    const fs::path copy = fs::temp_directory_path() / ("hrt-altered-" + std::to_string(std::rand()));
    fs::copy(kBundle, copy, fs::copy_options::recursive);
    std::fstream(copy / "model.onnx", std::ios::in | std::ios::out | std::ios::binary).put('X');
    CHECK(hrt_model_open(copy.c_str(), &options, &model) == HRT_BAD_BUNDLE);
    CHECK(last_error_has("was altered: found sha256"));
    std::ofstream(copy / "model.onnx") << "short";
    CHECK(hrt_model_open(copy.c_str(), &options, &model) == HRT_BAD_BUNDLE);
    CHECK(last_error_has("has 5 bytes, its manifest says"));
    fs::remove(copy / "model.onnx");
    CHECK(hrt_model_open(copy.c_str(), &options, &model) == HRT_NOT_FOUND);
    CHECK(last_error_has("is missing from the bundle"));
    std::ofstream(copy / "manifest.json") << "{}";
    CHECK(hrt_model_open(copy.c_str(), &options, &model) == HRT_BAD_BUNDLE);
    CHECK(model == nullptr);
    fs::remove_all(copy);
}

TEST_CASE("an engine that another file completes is not opened without it") {
    namespace fs = std::filesystem;
    const hrt_model_options options = stand_in();
    const fs::path copy = fs::temp_directory_path() / ("hrt-apart-" + std::to_string(std::rand()));
    for (const auto &[need, option] : {std::pair{"weights", "--strip-weights"}, {"lean_runtime", "--lean-runtime"}}) {
        fs::copy(kBundle, copy, fs::copy_options::recursive);
        std::ifstream file(copy / "manifest.json");
        std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
        const std::string none = "\"needs\": {}", some = std::string("\"needs\": {\"") + need + "\": \"apart\"}";
        for (std::size_t at = text.find(none); at != std::string::npos; at = text.find(none, at)) {
            text.replace(at, none.size(), some);
        }
        std::ofstream(copy / "manifest.json") << text;
        hrt_model *model = nullptr;
        CHECK(hrt_model_open(copy.c_str(), &options, &model) == HRT_NO_BACKEND);
        CHECK(last_error_has("its plan needs another file"));
        CHECK(last_error_has(option));
        fs::remove_all(copy);
    }
}

TEST_CASE("a backend that was asked for opens or fails: nothing falls back") {
    hrt_model *model = nullptr;
    hrt_model_options options = stand_in();
    options.backend = "tensorrt";
    CHECK(hrt_model_open(kBundle, &options, &model) == HRT_NO_BACKEND);
    CHECK(last_error_has("has no engine for backend tensorrt: found onnx fp32, openvino fp32"));
    options.backend = "openvino";
    CHECK(hrt_model_open(kBundle, &options, &model) == HRT_NO_BACKEND);
    CHECK(last_error_has("has no libharmonyrt_openvino.so"));
    options.backend = "coreml";
    CHECK(hrt_model_open(kBundle, &options, &model) == HRT_INVALID_ARGUMENT);
    CHECK(last_error_has("backend 'coreml' is not known"));
    options.backend = "auto";
    options.precision = "half";
    CHECK(hrt_model_open(kBundle, &options, &model) == HRT_INVALID_ARGUMENT);
    CHECK(last_error_has("precision 'half' is not known; give one of fp32, fp16, bf16, int8, or fastest"));
    options.precision = "int8";
    CHECK(hrt_model_open(kBundle, &options, &model) == HRT_NO_BACKEND);
    CHECK(last_error_has("precision int8: found onnx fp32, openvino fp32"));
    options.precision = nullptr;
    options.backend = nullptr;
    for (const char *device : {"npu", "CPU", "cuda:", "cuda:x", "cudax"}) {
        options.device = device;
        CHECK(hrt_model_open(kBundle, &options, &model) == HRT_INVALID_ARGUMENT);
        CHECK(last_error_has("give cpu, cuda or cuda:N"));
    }
    options.device = "cuda";
    CHECK(hrt_model_open(kBundle, &options, &model) == HRT_NO_BACKEND);
    CHECK(last_error_has("the stand-in runs on device cpu"));
    options.device = nullptr;
    options.threads = -1;
    CHECK(hrt_model_open(kBundle, &options, &model) == HRT_INVALID_ARGUMENT);
}

TEST_CASE("an engine that fails is a status, and nothing is written") {
    const ModelHandle model = open_model();
    const SessionHandle session = open_session(model);
    const Pair pair(50, 40);
    const hrt_picture picture = pair.picture();
    const hrt_mask mask = pair.foreground();
    std::vector<std::uint8_t> output(pair.rgb.size(), 7);
    setenv("HRT_STAND_IN", "run", 1);
    CHECK(hrt_harmonize_u8(session.get(), &picture, &mask, output.data(), 0, nullptr) == HRT_ENGINE_FAILED);
    CHECK(last_error_has("asked to fail when it runs"));
    CHECK(output == std::vector<std::uint8_t>(pair.rgb.size(), 7));
    hrt_model *other = nullptr;
    const hrt_model_options options = stand_in();
    setenv("HRT_STAND_IN", "open", 1);
    CHECK(hrt_model_open(kBundle, &options, &other) == HRT_NO_BACKEND);
    CHECK(last_error_has("asked to fail when it opens"));
    setenv("HRT_STAND_IN", "allocate", 1);
    CHECK(hrt_model_open(kBundle, &options, &other) == HRT_OUT_OF_MEMORY);
    CHECK(last_error_has("memory ran out"));
    setenv("HRT_STAND_IN", "allocate-by-words", 1);
    CHECK(hrt_model_open(kBundle, &options, &other) == HRT_OUT_OF_MEMORY);
    setenv("HRT_STAND_IN", "run-out-of-memory", 1);
    CHECK(hrt_harmonize_u8(session.get(), &picture, &mask, output.data(), 0, nullptr) == HRT_OUT_OF_MEMORY);
    CHECK(last_error_has("memory ran out"));
    unsetenv("HRT_STAND_IN");
    CHECK(hrt_harmonize_u8(session.get(), &picture, &mask, output.data(), 0, nullptr) == HRT_OK);
}

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
        hrt_picture picture = pair.picture();
        picture.data = data.data();
        picture.format = format;
        const hrt_mask mask = pair.foreground();
        std::vector<std::uint8_t> output(data.size());
        REQUIRE(hrt_harmonize_u8(session.get(), &picture, &mask, output.data(), 0, nullptr) == HRT_OK);
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
            hrt_picture picture = pair.picture();
            picture.data = data.data();
            picture.format = HRT_RGBA8;
            const hrt_mask mask = pair.foreground();
            std::vector<std::uint8_t> output(data.size());
            REQUIRE(hrt_harmonize_u8(session.get(), &picture, &mask, output.data(), 0, nullptr) == HRT_OK);
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
            hrt_picture picture = pair.picture();
            picture.data = data.data();
            picture.format = HRT_RGBA8;
            const hrt_mask mask = pair.foreground();
            std::vector<std::uint8_t> output(data.size());
            REQUIRE(hrt_harmonize_u8(session.get(), &picture, &mask, output.data(), 0, nullptr) == HRT_OK);
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

TEST_CASE("arguments that cannot be are refused with a sentence") {
    const ModelHandle model = open_model();
    const SessionHandle session = open_session(model);
    const Pair pair(20, 10);
    std::vector<std::uint8_t> output(pair.rgb.size());
    hrt_picture picture = pair.picture();
    hrt_mask mask = pair.foreground();
    std::uint8_t *out = output.data();
    std::size_t out_stride = 0;
    const auto refused = [&](const char *part) {
        const hrt_status status = hrt_harmonize_u8(session.get(), &picture, &mask, out, out_stride, nullptr);
        const bool as_said = status == HRT_INVALID_ARGUMENT && last_error_has(part);
        if (!as_said) MESSAGE(hrt_status_name(status), ": ", hrt_last_error());
        picture = pair.picture();
        mask = pair.foreground();
        out = output.data();
        out_stride = 0;
        return as_said;
    };
    CHECK(hrt_harmonize_u8(nullptr, &picture, &mask, out, 0, nullptr) == HRT_INVALID_ARGUMENT);
    CHECK(hrt_harmonize_u8(session.get(), nullptr, &mask, out, 0, nullptr) == HRT_INVALID_ARGUMENT);
    CHECK(hrt_harmonize_u8(session.get(), &picture, nullptr, out, 0, nullptr) == HRT_INVALID_ARGUMENT);
    picture.data = nullptr;
    CHECK(refused("the picture's data is NULL"));
    picture.width = 0;
    CHECK(refused("the picture is 0x10"));
    picture.height = -5;
    CHECK(refused("the picture is 20x-5"));
    picture.width = picture.height = std::numeric_limits<std::int32_t>::max();
    CHECK(refused("the limit is 200000000; raise max_pixels"));
    picture.stride = 59;
    CHECK(refused("the picture's stride is 59 bytes and a row has 60"));
    picture.stride = std::numeric_limits<std::size_t>::max();
    CHECK(refused("more than memory can hold"));
    picture.format = 17;
    CHECK(refused("the picture's format is 17"));
    picture.size = 0;
    CHECK(refused("start from hrt_picture_default()"));
    picture.size = 1 << 20;
    CHECK(refused("start from hrt_picture_default()"));
    mask.data = nullptr;
    CHECK(refused("the mask's data is NULL"));
    mask.width = 19;
    CHECK(refused("the mask is 19x10 and the picture 20x10"));
    mask.full = 0;
    CHECK(refused("full foreground is 0"));
    mask.full = 256;
    CHECK(refused("full foreground is 256"));
    mask.step = 0;
    CHECK(refused("step is 0"));
    mask.step = std::numeric_limits<std::size_t>::max();
    CHECK(refused("more than memory can hold"));
    mask.stride = 19;
    CHECK(refused("the mask's stride is 19"));
    out = nullptr;
    CHECK(refused("the output is NULL"));
    out_stride = 59;
    CHECK(refused("the output's stride is 59"));
    out = const_cast<std::uint8_t *>(pair.rgb.data()) + 3;
    CHECK(refused("the output overlaps the picture"));
}

TEST_CASE("the limit of pixels is the caller's") {
    hrt_model_options options = stand_in();
    options.max_pixels = 199;
    hrt_model *raw = nullptr;
    REQUIRE(hrt_model_open(kBundle, &options, &raw) == HRT_OK);
    const ModelHandle model(raw);
    const SessionHandle session = open_session(model);
    const Pair pair(20, 10);
    const hrt_picture picture = pair.picture();
    const hrt_mask mask = pair.foreground();
    std::vector<std::uint8_t> output(pair.rgb.size());
    CHECK(hrt_harmonize_u8(session.get(), &picture, &mask, output.data(), 0, nullptr) == HRT_INVALID_ARGUMENT);
    CHECK(last_error_has("200 pixels (20x10), the limit is 199"));
}

TEST_CASE("older callers' shorter structs and newer callers' unknown fields are understood") {
    const ModelHandle model = open_model();
    hrt_model_info info = hrt_model_info_default();
    info.size = offsetof(hrt_model_info, target); // a caller whose header ended before `target`
    info.target = "untouched";
    REQUIRE(hrt_model_get_info(model.get(), &info) == HRT_OK);
    CHECK(std::string(info.target) == "untouched");
    CHECK(std::string(info.backend) == "onnxruntime");

    struct Newer {
        hrt_model_options options;
        std::uint64_t knob;
    } newer = {stand_in(), 0};
    newer.options.size = sizeof newer;
    hrt_model *raw = nullptr;
    CHECK(hrt_model_open(kBundle, &newer.options, &raw) == HRT_OK);
    hrt_model_free(raw);
    newer.knob = 1;
    CHECK(hrt_model_open(kBundle, &newer.options, &raw) == HRT_UNSUPPORTED);
    CHECK(last_error_has("install a newer harmonyrt"));
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

TEST_CASE("log lines reach the caller, and messages belong to their thread's last failure") {
    std::vector<std::string> lines;
    hrt_set_log([](hrt_log_level, const char *message,
                   void *user) { static_cast<std::vector<std::string> *>(user)->push_back(message); },
                &lines);
    (void)open_model();
    hrt_set_log(nullptr, nullptr);
    REQUIRE(lines.size() == 3);
    CHECK(lines[0].find("skipped onnxruntime (onnx fp32, cuda)") == 0);
    CHECK(lines[1].find("skipped openvino") == 0);
    CHECK(lines[2].find("opened ") == 0);
    const std::string long_name(5000, 'x');
    hrt_model *model = nullptr;
    CHECK(hrt_model_open(long_name.c_str(), nullptr, &model) != HRT_OK);
    CHECK(std::strlen(hrt_last_error()) <= 1023);
}

TEST_CASE("a session outlives its model, and null handles are harmless") {
    ModelHandle model = open_model();
    const SessionHandle session = open_session(model);
    model.reset();
    const Pair pair(30, 30);
    CHECK(harmonized(session.get(), pair) != pair.rgb);
    hrt_session *none = nullptr;
    CHECK(hrt_session_open(nullptr, &none) == HRT_INVALID_ARGUMENT);
    CHECK(hrt_session_open(model.get(), nullptr) == HRT_INVALID_ARGUMENT);
    CHECK(hrt_model_open(kBundle, nullptr, nullptr) == HRT_INVALID_ARGUMENT);
    CHECK(hrt_model_get_info(nullptr, nullptr) == HRT_INVALID_ARGUMENT);
    CHECK(std::string(hrt_model_notes(nullptr)).empty());
    CHECK(std::string(hrt_status_name(99)) == "unknown status");
    CHECK(std::string(hrt_build_info()).find("harmonyrt " + std::string(hrt_version())) == 0);
}

TEST_CASE("a strength, a thing to keep or a match mask that cannot be is one sentence") {
    const ModelHandle model = open_model();
    const SessionHandle session = open_session(model);
    const Pair pair(45, 31);
    const hrt_picture picture = pair.picture();
    const hrt_mask mask = pair.foreground();
    std::vector<std::uint8_t> output(pair.rgb.size(), 7);
    const std::vector<std::uint8_t> untouched = output;
    hrt_harmonize_options options = hrt_harmonize_options_default();
    CHECK(options.strength == 1);
    const auto refused = [&](const char *sentence) {
        CHECK(hrt_harmonize_u8(session.get(), &picture, &mask, output.data(), 0, &options) == HRT_INVALID_ARGUMENT);
        CHECK_MESSAGE(last_error_has(sentence), hrt_last_error());
        CHECK(output == untouched);
        options = hrt_harmonize_options_default();
    };
    for (const double strength : {-0.01, 1.51, std::nan(""), HUGE_VAL}) {
        options.strength = strength;
        refused("give 0 (no change) to 1.5");
    }
    for (const int keep : {-1, 3}) {
        options.keep = keep;
        refused("give one of hrt_keep");
    }
    std::vector<std::uint8_t> part(pair.mask.size(), 0);
    hrt_mask match = mask;
    match.data = part.data();
    options.match = &match;
    refused("the match mask is empty");
    options.match = &mask;
    refused("covers no visible background");
    match.width = 44;
    options.match = &match;
    refused("the match mask is 44x31");
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

TEST_CASE("a provider is ONNX Runtime's") {
    hrt_model_options options = stand_in();
    const char *pairs[] = {"arena_extend_strategy", "kSameAsRequested", nullptr};
    hrt_model *model = nullptr;
    options.provider = "tensorrt";
    CHECK(hrt_model_open(kBundle, &options, &model) == HRT_INVALID_ARGUMENT);
    CHECK(last_error_has("provider is ONNX Runtime's, and backend is 'auto': give backend onnxruntime"));
    options.provider = nullptr;
    options.provider_options = pairs;
    options.provider_option_count = 1;
    CHECK(hrt_model_open(kBundle, &options, &model) == HRT_INVALID_ARGUMENT);
    options.backend = "onnxruntime";
    options.provider_option_count = 2;
    CHECK(hrt_model_open(kBundle, &options, &model) == HRT_INVALID_ARGUMENT);
    CHECK(last_error_has("a name or value of provider_options is NULL"));
    options.provider_option_count = 1;
    options.provider = "cuda";
    REQUIRE_MESSAGE(hrt_model_open(kBundle, &options, &model) == HRT_OK, hrt_last_error()); // the stand-in takes any
    hrt_model_free(model);
    options.size = offsetof(hrt_model_options, provider); // a program that was compiled against an older header
    options.provider = "nonsense";
    REQUIRE(hrt_model_open(kBundle, &options, &model) == HRT_OK);
    hrt_model_free(model);
}
