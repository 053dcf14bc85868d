// The shared vectors: what Python made of a picture, every backend that was built makes too, within a level of 255.
#include "face.hpp"
#include "png.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

using namespace face;

namespace {

// Largest difference to Python inside the mask; outside it every byte must be the composite's.
int difference(hrt_session *session, const nlohmann::json &one) {
    const auto file = [&](const char *what) { return std::string(HRT_VECTORS "/") + one[what].get<std::string>(); };
    const int channels = one.value("alpha", false) ? 4 : 3;
    const Png composite = read_png(file("composite"), channels), mask = read_png(file("mask"), 1),
              expected = read_png(file("harmonized"), channels);
    hrt_picture picture = hrt_picture_default();
    picture.data = composite.data.data();
    picture.format = channels == 4 ? HRT_RGBA8 : HRT_RGB8;
    picture.width = composite.width;
    picture.height = composite.height;
    hrt_mask m = hrt_mask_default();
    m.data = mask.data.data();
    m.width = mask.width;
    m.height = mask.height;
    hrt_harmonize_options options = hrt_harmonize_options_default();
    if (one.contains("seed")) { // text: JSON readers may take numbers above 2^53 for floats
        options.seed = std::strtoull(one["seed"].get<std::string>().c_str(), nullptr, 10);
        options.sample = std::strtoull(one["sample"].get<std::string>().c_str(), nullptr, 10);
        options.steps = one["steps"];
    }
    options.strength = one.value("strength", 1.0);
    const std::string keep = one.value("keep", "");
    options.keep = keep.empty() ? HRT_KEEP_NOTHING : keep == "hue" ? HRT_KEEP_HUE : HRT_KEEP_LUMINANCE;
    Png chosen;
    hrt_mask match = hrt_mask_default();
    if (one.contains("match")) {
        chosen = read_png(file("match"), 1);
        match.data = chosen.data.data();
        match.width = chosen.width;
        match.height = chosen.height;
        options.match = &match;
    }
    std::vector<std::uint8_t> output(composite.data.size());
    const hrt_status status = hrt_harmonize_u8(session, &picture, &m, output.data(), 0, &options);
    REQUIRE_MESSAGE(status == HRT_OK, hrt_last_error());
    hrt_report report = hrt_report_default();
    REQUIRE(hrt_session_get_report(session, &report) == HRT_OK);
    CHECK(report.foreground_ratio == doctest::Approx(one["foreground_ratio"].get<double>()).epsilon(1e-5));
    int worst = 0;
    for (std::size_t i = 0; i < output.size(); ++i) {
        if (mask.data[i / static_cast<std::size_t>(channels)] == 0 && output[i] != composite.data[i]) return 256;
        worst = std::max(worst, std::abs(static_cast<int>(output[i]) - expected.data[i]));
    }
    return worst;
}

void check_backend(const std::string &backend, const char *modules, const std::string &document, int least) {
    if (!std::filesystem::exists(std::string(modules) + "/libharmonyrt_" + backend + ".so")) {
        MESSAGE("skipped: ", backend, " was not built");
        return;
    }
    std::ifstream file(HRT_VECTORS "/" + document);
    const nlohmann::json vectors = nlohmann::json::parse(file);
    std::string name;
    ModelHandle model;
    SessionHandle session;
    int worst = 0, cases = 0;
    for (const auto &one : vectors["cases"]) {
        if (one["bundle"] != name) {
            name = one["bundle"];
            hrt_model_options options = hrt_model_options_default();
            options.backend = backend.c_str();
            options.module_folder = modules;
            options.threads = 1;
            options.cache_folder = "";
            hrt_model *raw = nullptr;
            const hrt_status status = hrt_model_open((std::string(HRT_VECTORS "/") + name).c_str(), &options, &raw);
            if (status == HRT_NO_BACKEND && last_error_has("libonnxruntime.so.1 was not found")) {
                MESSAGE("skipped: ", hrt_last_error());
                return;
            }
            REQUIRE_MESSAGE(status == HRT_OK, hrt_last_error());
            model.reset(raw);
            session = open_session(model);
        }
        const int found = difference(session.get(), one);
        CHECK_MESSAGE(found <= vectors["tolerance"].get<int>(), one["name"].get<std::string>(), ": ", found,
                      " levels from Python");
        worst = std::max(worst, found);
        ++cases;
    }
    CHECK(cases >= least);
    MESSAGE(backend, ": ", cases, " cases, at most ", worst, " levels from Python");
}

} // namespace

TEST_CASE("vectors over the stand-in backend") {
    check_backend("onnxruntime", HRT_STAND_IN, "vectors.json", 40);
    check_backend("onnxruntime", HRT_STAND_IN, "diffusion.json", 10);
}

// Inference engines are not instrumented: sanitizers would report what is not there.
TEST_CASE("vectors over OpenVINO" * doctest::skip(sizeof HRT_SANITIZED > 1)) {
    check_backend("openvino", HRT_MODULE_FOLDER, "vectors.json", 40);
    check_backend("openvino", HRT_MODULE_FOLDER, "diffusion.json", 10);
}

TEST_CASE("vectors over ONNX Runtime" * doctest::skip(sizeof HRT_SANITIZED > 1)) {
    check_backend("onnxruntime", HRT_MODULE_FOLDER, "vectors.json", 40);
    check_backend("onnxruntime", HRT_MODULE_FOLDER, "diffusion.json", 10);
}
