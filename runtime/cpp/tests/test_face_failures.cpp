// The C face: engines that fail, and the status and sentence for arguments that it refuses.
#include "face.hpp"

#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <limits>

using namespace face;

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
