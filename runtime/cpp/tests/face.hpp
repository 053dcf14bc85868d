// What the tests of the C face share: the hand-made bundle over the stand-in backend, and pictures.
#pragma once

#include "harmonyrt.h"

#include <doctest/doctest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace face {

inline const char *const kBundle = HRT_VECTORS "/hand-made-64";
inline const char *const kDynamic = HRT_VECTORS "/hand-made-dynamic";
inline const char *const kDiffusion = HRT_VECTORS "/hand-made-kl";       // DiffHarmony: 64 to 32 px, with a refiner
inline const char *const kHarmonyVae = HRT_VECTORS "/hand-made-harmony"; // 96x64 px, harmony VAE, without

struct FreeModel {
    void operator()(hrt_model *model) const { hrt_model_free(model); }
};
struct FreeSession {
    void operator()(hrt_session *session) const { hrt_session_free(session); }
};
using ModelHandle = std::unique_ptr<hrt_model, FreeModel>;
using SessionHandle = std::unique_ptr<hrt_session, FreeSession>;

inline hrt_model_options stand_in() {
    hrt_model_options options = hrt_model_options_default();
    options.module_folder = HRT_STAND_IN;
    return options;
}

inline ModelHandle open_model(const char *bundle = kBundle) {
    const hrt_model_options options = stand_in();
    hrt_model *model = nullptr;
    const hrt_status status = hrt_model_open(bundle, &options, &model);
    REQUIRE_MESSAGE(status == HRT_OK, hrt_last_error());
    return ModelHandle(model);
}

inline SessionHandle open_session(const ModelHandle &model) {
    hrt_session *session = nullptr;
    REQUIRE(hrt_session_open(model.get(), &session) == HRT_OK);
    return SessionHandle(session);
}

// A smooth picture with edges, and a soft disc as its mask.
struct Pair {
    int width, height, channels;
    std::vector<std::uint8_t> rgb, mask;

    explicit Pair(int w, int h, int c = 3) : width(w), height(h), channels(c) {
        for (int y = 0; y < h; ++y) {
            for (int x = 0; x < w; ++x) {
                for (int k = 0; k < c; ++k)
                    rgb.push_back(static_cast<std::uint8_t>((x * 3 + y * (k + 1) * 2 + (x / 9 % 2) * 40) % 256));
                const int dx = 2 * x - w, dy = 2 * y - h;
                const int near = w * h - dx * dx - dy * dy;
                mask.push_back(static_cast<std::uint8_t>(near <= 0          ? 0
                                                         : near > w * h / 2 ? 255
                                                                            : near * 510 / (w * h)));
            }
        }
    }
    hrt_picture picture() const {
        hrt_picture p = hrt_picture_default();
        p.data = rgb.data();
        p.width = width;
        p.height = height;
        p.format = channels == 3 ? HRT_RGB8 : HRT_RGBA8;
        return p;
    }
    hrt_mask foreground() const {
        hrt_mask m = hrt_mask_default();
        m.data = mask.data();
        m.width = width;
        m.height = height;
        return m;
    }
};

// What hrt_harmonize_batch_u8 takes, of pairs that outlive it, and room for what it gives.
struct Batch {
    std::vector<hrt_picture> pictures;
    std::vector<hrt_mask> masks;
    std::vector<std::vector<std::uint8_t>> outputs;
    std::vector<std::uint8_t *> pointers;

    explicit Batch(const std::vector<Pair> &pairs) {
        for (const Pair &pair : pairs) {
            pictures.push_back(pair.picture());
            masks.push_back(pair.foreground());
            pointers.push_back(outputs.emplace_back(pair.rgb.size()).data());
        }
    }
    hrt_status run(hrt_session *session, const hrt_harmonize_options *options, std::size_t *done) {
        return hrt_harmonize_batch_u8(session, pictures.size(), pictures.data(), masks.data(), pointers.data(), options,
                                      done);
    }
};

// Of a pair whose picture is `data` in this format.
inline std::vector<std::uint8_t> harmonized(hrt_session *session, const Pair &pair,
                                            const std::vector<std::uint8_t> &data, std::int32_t format,
                                            const hrt_harmonize_options *options = nullptr) {
    hrt_picture picture = pair.picture();
    picture.data = data.data();
    picture.format = format;
    const hrt_mask mask = pair.foreground();
    std::vector<std::uint8_t> output(data.size());
    const hrt_status status = hrt_harmonize_u8(session, &picture, &mask, output.data(), 0, options);
    REQUIRE_MESSAGE(status == HRT_OK, hrt_last_error());
    return output;
}

inline std::vector<std::uint8_t> harmonized(hrt_session *session, const Pair &pair,
                                            const hrt_harmonize_options *options = nullptr) {
    return harmonized(session, pair, pair.rgb, pair.picture().format, options);
}

inline bool last_error_has(const std::string &part) {
    return std::string(hrt_last_error()).find(part) != std::string::npos;
}

} // namespace face
