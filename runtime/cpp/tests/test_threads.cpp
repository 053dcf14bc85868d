// The rule of the header: one model, any number of threads, one session each.
#include "face.hpp"

#include <signal.h>

#include <atomic>
#include <filesystem>
#include <thread>

using namespace face;

// How many calls of `count` threads with a session each, `calls` calls a thread, went otherwise than one thread's.
static int wrong_calls(const ModelHandle &model, std::size_t count, std::size_t calls) {
    std::vector<Pair> pairs;
    std::vector<std::vector<std::uint8_t>> expected;
    for (int i = 0; i < 4; ++i) {
        pairs.emplace_back(60 + 17 * i, 90 - 11 * i);
        expected.push_back(harmonized(open_session(model).get(), pairs.back()));
    }
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < count; ++t) {
        threads.emplace_back([&, t] {
            hrt_session *raw = nullptr;
            if (hrt_session_open(model.get(), &raw) != HRT_OK) {
                ++wrong;
                return;
            }
            const SessionHandle session(raw);
            for (std::size_t i = 0; i < calls; ++i) {
                const Pair &pair = pairs[(i + t) % pairs.size()];
                const hrt_picture picture = pair.picture();
                const hrt_mask mask = pair.foreground();
                std::vector<std::uint8_t> output(pair.rgb.size());
                const hrt_status status = hrt_harmonize_u8(raw, &picture, &mask, output.data(), 0, nullptr);
                if (status != HRT_OK || output != expected[(i + t) % pairs.size()]) ++wrong;
                if (hrt_harmonize_u8(raw, nullptr, &mask, output.data(), 0, nullptr) == HRT_OK) ++wrong;
            }
        });
    }
    for (std::thread &thread : threads) thread.join();
    return wrong;
}

TEST_CASE("eight threads that share a model give the bytes that one gives") {
    const char *bundle = nullptr;
    SUBCASE("PHNet") { bundle = kBundle; }
    SUBCASE("DiffHarmony") { bundle = kDiffusion; }
    SUBCASE("DiffHarmony with the harmony VAE") { bundle = kHarmonyVae; }
    CHECK(wrong_calls(open_model(bundle), 8, 12) == 0);
}

// Inference engines are not instrumented: sanitizers would report races inside them.
TEST_CASE("sessions of one model run at once on OpenVINO, each with its own picture" *
          doctest::skip(sizeof HRT_SANITIZED > 1)) {
    if (!std::filesystem::exists(HRT_MODULE_FOLDER "/libharmonyrt_openvino.so")) {
        MESSAGE("skipped: openvino was not built");
        return;
    }
    for (const int streams : {1, 2}) {
        hrt_model_options options = hrt_model_options_default();
        options.module_folder = HRT_MODULE_FOLDER;
        options.backend = "openvino";
        options.cache_folder = "";
        options.threads = 2;
        options.streams = streams;
        stack_t before{};
        CHECK(sigaltstack(nullptr, &before) == 0);
        hrt_model *raw = nullptr;
        REQUIRE_MESSAGE(hrt_model_open(kBundle, &options, &raw) == HRT_OK, hrt_last_error());
        const ModelHandle model(raw);
        stack_t after{};
        CHECK(sigaltstack(nullptr, &after) == 0);
        CHECK(after.ss_sp == before.ss_sp); // OpenVINO's plugin gives one to the thread that loads it
        CHECK(wrong_calls(model, 4, 25) == 0);
    }
}

TEST_CASE("threads may open and free the same bundle at once, with a log callback that counts") {
    std::atomic<int> lines{0};
    hrt_set_log([](hrt_log_level, const char *, void *user) { ++*static_cast<std::atomic<int> *>(user); }, &lines);
    std::vector<std::thread> threads;
    std::atomic<int> failed{0};
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&] {
            for (int i = 0; i < 5; ++i) {
                const hrt_model_options options = stand_in();
                hrt_model *model = nullptr;
                if (hrt_model_open(kBundle, &options, &model) != HRT_OK) ++failed;
                hrt_model_free(model);
            }
        });
    }
    for (std::thread &thread : threads) thread.join();
    hrt_set_log(nullptr, nullptr);
    CHECK(failed == 0);
    CHECK(lines == 60);
}
