// The C face: bundles, what opens them and with which options, and what callers of other versions give.
#include "face.hpp"

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
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
