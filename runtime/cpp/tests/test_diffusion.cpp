// DiffHarmony through the C face, over the stand-in backend.
#include "face.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

using namespace face;

namespace {

hrt_harmonize_options run_of(std::uint64_t seed, std::int32_t steps = 0, std::uint64_t sample = 0) {
    hrt_harmonize_options options = hrt_harmonize_options_default();
    options.seed = seed;
    options.steps = steps;
    options.sample = sample;
    return options;
}

// Calls a picture's harmonization with options and an output that begins as sevens.
struct Call {
    Pair pair = Pair(70, 50);
    std::vector<std::uint8_t> output = std::vector<std::uint8_t>(pair.rgb.size());

    hrt_status run(const SessionHandle &session, const hrt_harmonize_options *options) {
        const hrt_picture picture = pair.picture();
        const hrt_mask mask = pair.foreground();
        std::fill(output.begin(), output.end(), std::uint8_t{7});
        return hrt_harmonize_u8(session.get(), &picture, &mask, output.data(), 0, options);
    }
    bool untouched() const {
        return std::all_of(output.begin(), output.end(), [](std::uint8_t value) { return value == 7; });
    }
};

// A copy of a bundle whose manifest was changed; removed in the end.
class Changed {
public:
    Changed(const char *bundle, const std::function<void(nlohmann::json &)> &change)
        : path_(std::filesystem::temp_directory_path() / ("hrt-changed-" + std::to_string(std::rand()))) {
        std::filesystem::copy(bundle, path_, std::filesystem::copy_options::recursive);
        std::ifstream file(path_ / "manifest.json");
        nlohmann::json manifest = nlohmann::json::parse(file);
        change(manifest);
        std::ofstream(path_ / "manifest.json") << manifest;
    }
    ~Changed() { std::filesystem::remove_all(path_); }
    Changed(const Changed &) = delete;
    Changed &operator=(const Changed &) = delete;
    const char *path() const { return path_.c_str(); }

private:
    std::filesystem::path path_;
};

hrt_status opens(const char *bundle) {
    const hrt_model_options options = stand_in();
    hrt_model *model = nullptr;
    const hrt_status status = hrt_model_open(bundle, &options, &model);
    hrt_model_free(model);
    return status;
}

} // namespace

TEST_CASE("a DiffHarmony model says what it is, and how each component was chosen") {
    const ModelHandle model = open_model(kDiffusion);
    hrt_model_info info = hrt_model_info_default();
    REQUIRE(hrt_model_get_info(model.get(), &info) == HRT_OK);
    CHECK(std::string(info.family) == "diffharmony");
    CHECK(info.width == 64);
    CHECK(info.random_weights == 1);
    REQUIRE(info.step_counts == 3);
    CHECK(std::vector<std::int32_t>(info.steps, info.steps + 3) == std::vector<std::int32_t>{2, 1, 3});
    const std::string notes = hrt_model_notes(model.get());
    for (const char *part : {"vae-encoder", "unet", "vae-decoder", "refiner"}) {
        CHECK(notes.find(std::string(part) + ": opened onnxruntime (onnx fp32, cpu)") != std::string::npos);
    }
    const ModelHandle other = open_model();
    REQUIRE(hrt_model_get_info(other.get(), &info) == HRT_OK);
    CHECK(info.steps == nullptr);
    CHECK(info.step_counts == 0);
}

TEST_CASE("seed, sample and steps decide the picture, and nothing else does") {
    for (const char *bundle : {kDiffusion, kHarmonyVae}) {
        const ModelHandle model = open_model(bundle);
        const SessionHandle session = open_session(model);
        const Pair pair(97, 75);
        const auto with = [&](const hrt_harmonize_options &options) {
            return harmonized(session.get(), pair, &options);
        };
        const auto first = harmonized(session.get(), pair);
        CHECK(first == with(run_of(0)));
        CHECK(first == with(run_of(0, 2))); // the bundle's own number
        CHECK(first != with(run_of(1)));
        CHECK(first != with(run_of(0, 0, 1)));
        CHECK(first != with(run_of(0, 1)));
        CHECK(first != with(run_of(0, 3)));
        CHECK(first == harmonized(open_session(model).get(), pair));
        for (std::size_t i = 0; i < pair.mask.size(); ++i) {
            if (pair.mask[i] == 0) CHECK(std::equal(&first[i * 3], &first[i * 3] + 3, &pair.rgb[i * 3]));
        }
    }
}

TEST_CASE("steps that the bundle does not have are refused before anything runs") {
    const ModelHandle model = open_model(kDiffusion);
    const SessionHandle session = open_session(model);
    Call call;
    hrt_harmonize_options options = run_of(0, 4);
    CHECK(call.run(session, &options) == HRT_UNSUPPORTED);
    CHECK(last_error_has("steps 4 are not in this bundle, which has 1, 2, 3; build it with --steps 4"));
    CHECK(call.untouched());
    options.steps = -1;
    CHECK(call.run(session, &options) == HRT_INVALID_ARGUMENT);
}

TEST_CASE("progress tells every part, and any of them can be the last") {
    const ModelHandle model = open_model(kDiffusion);
    const SessionHandle session = open_session(model);
    struct Seen {
        std::vector<int> done;
        int parts, stop_at;
    } seen = {{}, 0, -1};
    Call call;
    const std::vector<std::uint8_t> expected = harmonized(session.get(), call.pair);
    hrt_harmonize_options options = run_of(0);
    options.progress_user = &seen;
    options.progress = [](std::int32_t done, std::int32_t parts, void *user) {
        auto *s = static_cast<Seen *>(user);
        s->done.push_back(done);
        s->parts = parts;
        return done == s->stop_at ? 1 : 0;
    };
    REQUIRE(call.run(session, &options) == HRT_OK);
    CHECK(seen.done == std::vector<int>{0, 1, 2, 3, 4, 5}); // encode, two steps, decode, refine
    CHECK(seen.parts == 5);
    for (int stop_at = 0; stop_at <= 5; ++stop_at) {
        seen = {{}, 0, stop_at};
        CHECK(call.run(session, &options) == HRT_CANCELLED);
        CHECK(last_error_has("cancelled after " + std::to_string(stop_at) + " of 5 parts"));
        CHECK(seen.done.back() == stop_at);
        CHECK(call.untouched());
    }
    CHECK(harmonized(session.get(), call.pair) == expected); // a cancelled session is as good as new
}

TEST_CASE("another thread cancels by a flag that the callback reads") {
    const ModelHandle model = open_model(kHarmonyVae);
    const SessionHandle session = open_session(model);
    struct Shared {
        std::atomic<bool> begun{false}, stop{false};
    } shared;
    hrt_harmonize_options options = run_of(0, 3);
    options.progress_user = &shared;
    options.progress = [](std::int32_t done, std::int32_t, void *user) {
        auto *s = static_cast<Shared *>(user);
        s->begun = true;
        while (done == 2 && !s->stop) std::this_thread::yield(); // until the other thread has come to it
        return s->stop ? 1 : 0;
    };
    std::thread other([&] {
        while (!shared.begun) std::this_thread::yield();
        shared.stop = true;
    });
    Call call;
    CHECK(call.run(session, &options) == HRT_CANCELLED);
    other.join();
    CHECK(call.untouched());
    CHECK(call.run(session, nullptr) == HRT_OK);
}

TEST_CASE("a batch gives what single calls give: pictures do not share noise") {
    for (const char *bundle : {kDiffusion, kHarmonyVae}) {
        const ModelHandle model = open_model(bundle);
        const SessionHandle session = open_session(model);
        std::vector<Pair> pairs = {Pair(64, 64), Pair(64, 64), Pair(41, 77), Pair(120, 33)};
        std::fill(pairs[1].mask.begin(), pairs[1].mask.end(), std::uint8_t{0});
        Batch batch(pairs);
        const hrt_harmonize_options options = run_of(9);
        std::size_t done = 0;
        REQUIRE(batch.run(session.get(), &options, &done) == HRT_OK);
        CHECK(done == pairs.size());
        for (std::size_t i = 0; i < pairs.size(); ++i) {
            CHECK(batch.outputs[i] == harmonized(session.get(), pairs[i], &options));
        }
    }
}

TEST_CASE("a batch that is cancelled keeps the pictures that are finished") {
    const ModelHandle model = open_model(kDiffusion);
    const SessionHandle session = open_session(model);
    const Pair pair(50, 40);
    const std::vector<hrt_picture> pictures(3, pair.picture());
    const std::vector<hrt_mask> masks(3, pair.foreground());
    std::vector<std::vector<std::uint8_t>> outputs(3, std::vector<std::uint8_t>(pair.rgb.size(), 7));
    std::vector<std::uint8_t *> pointers;
    for (auto &output : outputs) pointers.push_back(output.data());
    int runs = 0;
    hrt_harmonize_options options = run_of(0);
    options.progress_user = &runs;
    options.progress = [](std::int32_t done, std::int32_t, void *user) {
        if (done == 0) ++*static_cast<int *>(user);
        return *static_cast<int *>(user) == 2 && done == 3 ? 1 : 0;
    };
    std::size_t done = 9;
    CHECK(hrt_harmonize_batch_u8(session.get(), 3, pictures.data(), masks.data(), pointers.data(), &options, &done) ==
          HRT_CANCELLED);
    CHECK(done == 1);
    CHECK(outputs[0] == harmonized(session.get(), pair));
    CHECK(outputs[1] == std::vector<std::uint8_t>(pair.rgb.size(), 7));
}

TEST_CASE("values that are not finite name their component") {
    const ModelHandle model = open_model(kDiffusion);
    const SessionHandle session = open_session(model);
    Call call;
    const std::pair<const char *, const char *> parts[] = {
        {"condition", "vae-encoder"}, {"next_latents", "unet"}, {"picture", "vae-decoder"}, {"output", "refiner"}};
    setenv("HRT_STAND_IN", "nan", 1);
    for (const auto &[output, component] : parts) {
        setenv("HRT_STAND_IN_PART", output, 1);
        CHECK(call.run(session, nullptr) == HRT_ENGINE_FAILED);
        CHECK(last_error_has("the " + std::string(component) + " gave 1 values that are not finite"));
        CHECK(call.untouched());
    }
    unsetenv("HRT_STAND_IN");
    unsetenv("HRT_STAND_IN_PART");
    CHECK(call.run(session, nullptr) == HRT_OK);
}

TEST_CASE("refiners of 3 and 4 channels are given what they take") {
    std::vector<std::vector<std::uint8_t>> seen;
    const Pair pair(70, 50);
    for (const int channels : {3, 4, 7}) {
        const Changed bundle(kDiffusion, [=](nlohmann::json &manifest) {
            manifest["model"]["config"]["loop"]["refiner_channels"] = channels;
        });
        seen.push_back(harmonized(open_session(open_model(bundle.path())).get(), pair));
    }
    CHECK(seen[0] != seen[1]);
    CHECK(seen[1] != seen[2]);
    CHECK(seen[2] == harmonized(open_session(open_model(kDiffusion)).get(), pair));
}

TEST_CASE("a bundle without a component, with a broken schedule or of another family is refused") {
    const Changed missing(kDiffusion, [](nlohmann::json &manifest) {
        auto &engines = manifest["engines"];
        for (std::size_t i = engines.size(); i-- > 0;) {
            if (engines[i]["component"] == "vae-decoder") engines.erase(i);
        }
    });
    CHECK(opens(missing.path()) == HRT_BAD_BUNDLE);
    CHECK(last_error_has("has no engine of its component vae-decoder; build the bundle again"));
    const Changed broken(kDiffusion, [](nlohmann::json &manifest) { manifest["model"]["config"].erase("loop"); });
    CHECK(opens(broken.path()) == HRT_BAD_BUNDLE);
    CHECK(last_error_has("model.config has no field 'loop'"));
    const Changed other(kDiffusion, [](nlohmann::json &manifest) { manifest["model"]["family"] = "cnet"; });
    CHECK(opens(other.path()) == HRT_UNSUPPORTED);
    CHECK(last_error_has("holds the model 'cnet', this library knows phnet and diffharmony"));
}

TEST_CASE("one network's tensors are not for several networks") {
    const ModelHandle model = open_model(kDiffusion);
    const SessionHandle session = open_session(model);
    std::vector<float> image(3 * 64 * 64, 0.5F), mask(64 * 64, 1.F), output(image.size());
    CHECK(hrt_run_f32(session.get(), image.data(), mask.data(), output.data(), 1, 64, 64) == HRT_UNSUPPORTED);
    CHECK(last_error_has("use hrt_harmonize_u8"));
}

TEST_CASE("a target that was asked for is the one that runs") {
    hrt_model_options options = stand_in();
    hrt_model *model = nullptr;
    options.target = "onnx";
    CHECK(hrt_model_open(kDiffusion, &options, &model) == HRT_OK);
    CHECK(std::string(hrt_model_notes(model)).find("skipped openvino (onnx fp32") != std::string::npos);
    hrt_model_free(model);
    options.target = "tensorrt";
    CHECK(hrt_model_open(kDiffusion, &options, &model) == HRT_NO_BACKEND);
    CHECK(last_error_has("has no engine for backend auto, target tensorrt: found onnx fp32, openvino fp32"));
    options.target = "coreml";
    CHECK(hrt_model_open(kDiffusion, &options, &model) == HRT_INVALID_ARGUMENT);
    CHECK(last_error_has("target 'coreml' is not known"));
    options.target = nullptr;
    for (const int pin : {-1, 0, 1}) {
        options.pin_threads = pin;
        CHECK(hrt_model_open(kDiffusion, &options, &model) == HRT_OK);
        hrt_model_free(model);
    }
    options.pin_threads = 2;
    CHECK(hrt_model_open(kDiffusion, &options, &model) == HRT_INVALID_ARGUMENT);
    CHECK(last_error_has("pin_threads is 2"));
}

TEST_CASE("callers whose headers end before the newer fields are understood") {
    struct Older { // as in the first release
        std::size_t size;
        hrt_progress_callback progress;
        void *user;
        std::uint64_t seed;
        std::int32_t steps;
    } older;
    std::memset(&older, 0xff, sizeof older); // what a compiler leaves in the padding is anything
    older.size = sizeof(Older);
    older.progress = nullptr;
    older.seed = 3;
    older.steps = 1;
    const ModelHandle model = open_model(kDiffusion);
    const SessionHandle session = open_session(model);
    Call call;
    REQUIRE(call.run(session, reinterpret_cast<const hrt_harmonize_options *>(&older)) == HRT_OK);
    const hrt_harmonize_options newer = run_of(3, 1);
    CHECK(call.output == harmonized(session.get(), call.pair, &newer));

    hrt_model_options options = stand_in();
    options.size = offsetof(hrt_model_options, target);
    options.target = "not read";
    hrt_model *raw = nullptr;
    CHECK(hrt_model_open(kDiffusion, &options, &raw) == HRT_OK);
    hrt_model_free(raw);
}
