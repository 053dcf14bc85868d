// The rule of the header: open models after a fork. What a child inherits is refused and never destroyed.
#include "face.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

using namespace face;

namespace {

// The number of the first check that did not hold in the child; 0 when all did.
int in_child(const ModelHandle &model, const SessionHandle &session, const Pair &pair,
             const std::vector<std::uint8_t> &expected) {
    alarm(60);
    const hrt_picture picture = pair.picture();
    const hrt_mask mask = pair.foreground();
    std::vector<std::uint8_t> output(pair.rgb.size(), 7);
    if (hrt_harmonize_u8(session.get(), &picture, &mask, output.data(), 0, nullptr) != HRT_UNSUPPORTED) return 1;
    if (!last_error_has("open the model after the fork")) return 2;
    if (output != std::vector<std::uint8_t>(pair.rgb.size(), 7)) return 3;
    const std::vector<float> image(3 * 64 * 64), grey(64 * 64);
    std::vector<float> out(3 * 64 * 64);
    if (hrt_run_f32(session.get(), image.data(), grey.data(), out.data(), 1, 64, 64) != HRT_UNSUPPORTED) return 4;
    hrt_session *another = nullptr;
    if (hrt_session_open(model.get(), &another) != HRT_UNSUPPORTED) return 5;
    const hrt_model_options options = stand_in();
    hrt_model *own = nullptr;
    if (hrt_model_open(kBundle, &options, &own) != HRT_OK) return 6;
    if (hrt_session_open(own, &another) != HRT_OK) return 7;
    if (hrt_harmonize_u8(another, &picture, &mask, output.data(), 0, nullptr) != HRT_OK) return 8;
    if (output != expected) return 9;
    hrt_session_free(another);
    hrt_model_free(own);
    return 0;
}

} // namespace

TEST_CASE("a forked child refuses what it inherits and may open its own") {
    ModelHandle model = open_model();
    SessionHandle session = open_session(model);
    const Pair pair(60, 50);
    const std::vector<std::uint8_t> expected = harmonized(session.get(), pair);
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        const int wrong = in_child(model, session, pair, expected);
        session.reset();
        model.reset();
        _exit(wrong);
    }
    int status = -1;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    CHECK(harmonized(session.get(), pair) == expected); // the parent goes on
}

// Engines are not instrumented, and threads of a sanitizer do not survive a fork.
TEST_CASE("a forked child opens with OpenVINO what its parent closed, and while another thread opens" *
          doctest::skip(sizeof HRT_SANITIZED > 1)) {
    if (!std::filesystem::exists(HRT_MODULE_FOLDER "/libharmonyrt_openvino.so")) {
        MESSAGE("skipped: openvino was not built");
        return;
    }
    hrt_model_options options = hrt_model_options_default();
    options.module_folder = HRT_MODULE_FOLDER;
    options.backend = "openvino";
    options.cache_folder = "";
    options.threads = 2;
    const auto opened_and_closed = [&options](unsigned deeper, const auto &self) -> bool {
        hrt_model *model = nullptr;
        hrt_session *session = nullptr;
        if (hrt_model_open(kBundle, &options, &model) != HRT_OK) return false;
        if (hrt_session_open(model, &session) != HRT_OK) return false;
        const Pair pair(60, 50);
        const bool ran = harmonized(session, pair).size() == pair.rgb.size();
        hrt_session_free(session);
        hrt_model_free(model);
        if (deeper == 0) return ran;
        const pid_t child = fork();
        if (child == 0) {
            alarm(30);
            _exit(self(deeper - 1, self) ? 0 : 1);
        }
        int status = -1;
        return ran && waitpid(child, &status, 0) == child && status == 0;
    };
    CHECK(opened_and_closed(2, opened_and_closed));
    std::atomic<bool> stop{false};
    std::thread other([&] {
        while (!stop) opened_and_closed(0, opened_and_closed);
    });
    for (int i = 0; i < 3; ++i) CHECK(opened_and_closed(1, opened_and_closed));
    stop = true;
    other.join();
}
