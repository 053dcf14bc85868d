// The C++ face over the C one.
#include "harmonyrt.hpp"

#include "face.hpp"

#include <array>
#include <type_traits>

TEST_CASE("handles move and do not copy") {
    static_assert(!std::is_copy_constructible_v<harmonyrt::Model> &&
                  std::is_nothrow_move_constructible_v<harmonyrt::Model>);
    static_assert(!std::is_copy_constructible_v<harmonyrt::Session> &&
                  std::is_nothrow_move_assignable_v<harmonyrt::Session>);
    harmonyrt::ModelOptions options;
    options.module_folder = HRT_STAND_IN;
    harmonyrt::Model model(face::kBundle, options);
    harmonyrt::Session session(model);
    harmonyrt::Session moved = std::move(session);
    CHECK(moved);
    const face::Pair pair(45, 31);
    const auto output = moved.harmonize({pair.rgb.data(), 45, 31}, {pair.mask.data(), 45, 31});
    const face::ModelHandle c = face::open_model();
    CHECK(output == face::harmonized(face::open_session(c).get(), pair));
    CHECK(moved.report().foreground_ratio > 0);
    CHECK(std::string(model.info().precision) == "fp32");
    CHECK(model.notes().find("opened") != std::string::npos);
}

TEST_CASE("options say seed and steps, and a function follows the run") {
    harmonyrt::ModelOptions model_options;
    model_options.module_folder = HRT_STAND_IN;
    model_options.target = "onnx";
    model_options.pin_threads = false;
    const harmonyrt::Model model(face::kDiffusion, model_options);
    harmonyrt::Session session(model);
    const face::Pair pair(45, 31);
    const harmonyrt::PictureView picture = {pair.rgb.data(), 45, 31};
    const harmonyrt::MaskView mask = {pair.mask.data(), 45, 31};
    const auto plain = session.harmonize(picture, mask);
    harmonyrt::HarmonizeOptions options;
    options.seed = 4;
    options.steps = 3;
    int told = 0;
    options.progress = [&](int, int parts) {
        ++told;
        return parts == 6;
    };
    const auto other = session.harmonize(picture, mask, options);
    CHECK(other != plain);
    CHECK(told == 7);
    const std::array pictures = {picture, picture};
    const std::array masks = {mask, mask};
    const auto both = session.harmonize_batch(pictures, masks, options);
    CHECK(both == std::vector<std::vector<std::uint8_t>>{other, other});
    CHECK_THROWS_AS(session.harmonize_batch(pictures, harmonyrt::Span(masks.data(), 1)), harmonyrt::Error);

    options.progress = [](int done, int) { return done < 2; };
    std::vector<std::uint8_t> output(plain.size());
    CHECK(session.try_harmonize(picture, mask, output.data(), 0, options) == HRT_CANCELLED);
    try {
        (void)session.harmonize(picture, mask, options);
        FAIL("was not cancelled");
    } catch (const harmonyrt::Error &error) {
        CHECK(error.status() == HRT_CANCELLED);
    }
    options.progress = [](int, int) -> bool { throw std::out_of_range("mine"); };
    CHECK_THROWS_AS(session.harmonize(picture, mask, options), std::out_of_range);
    CHECK(session.harmonize(picture, mask) == plain);
}

TEST_CASE("options say how much of the change, which part, and what to match") {
    harmonyrt::ModelOptions model_options;
    model_options.module_folder = HRT_STAND_IN;
    const harmonyrt::Model model(face::kBundle, model_options);
    harmonyrt::Session session(model);
    const face::Pair pair(45, 31, 4);
    const harmonyrt::PictureView picture = {pair.rgb.data(), 45, 31, harmonyrt::Format::rgba};
    const harmonyrt::MaskView mask = {pair.mask.data(), 45, 31};
    const auto plain = session.harmonize(picture, mask);
    harmonyrt::HarmonizeOptions options;
    CHECK(session.harmonize(picture, mask, options) == plain);
    options.strength = 0;
    CHECK(session.harmonize(picture, mask, options) == pair.rgb);
    options.strength = 0.5;
    CHECK(session.harmonize(picture, mask, options) != plain);
    options.strength = 1;
    options.keep = harmonyrt::Keep::hue;
    CHECK(session.harmonize(picture, mask, options) != plain);
    options.keep = harmonyrt::Keep::nothing;
    std::vector<std::uint8_t> part(pair.mask.size(), 0);
    part[0] = part[1] = 255;
    options.match = harmonyrt::MaskView{part.data(), 45, 31};
    CHECK(session.harmonize(picture, mask, options) != plain);
    const std::array pictures = {picture, picture};
    const std::array masks = {mask, mask};
    const auto alone = session.harmonize(picture, mask, options);
    CHECK(session.harmonize_batch(pictures, masks, options) == std::vector<std::vector<std::uint8_t>>{alone, alone});
}

TEST_CASE("failures throw the sentence, or return the status") {
    try {
        const harmonyrt::Model model("no/such/bundle");
        FAIL("opened");
    } catch (const harmonyrt::Error &error) {
        CHECK(error.status() == HRT_NOT_FOUND);
        CHECK(std::string(error.what()).find("no/such/bundle") == 0);
    }
    harmonyrt::Model model;
    CHECK(model.try_open("no/such/bundle") == HRT_NOT_FOUND);
    CHECK(!model);
    harmonyrt::Session session;
    CHECK(session.try_open(model) == HRT_INVALID_ARGUMENT);
    CHECK(session.try_harmonize({}, {}, nullptr) == HRT_INVALID_ARGUMENT);
}

TEST_CASE("tensors are checked against their spans") {
    harmonyrt::ModelOptions options;
    options.module_folder = HRT_STAND_IN;
    const harmonyrt::Model model(face::kBundle, options);
    harmonyrt::Session session(model);
    std::vector<float> image(3 * 64 * 64, 0.25F), output(image.size());
    std::array<float, 64 * 64> mask{};
    session.run(image, mask, output, 1, 64, 64);
    CHECK(output[0] != 0.F);
    image.pop_back();
    CHECK_THROWS_AS(session.run(image, mask, output, 1, 64, 64), harmonyrt::Error);
}
