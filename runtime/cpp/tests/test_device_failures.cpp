// Pictures in a GPU's memory: what is refused, and what is left when something fails on the way.
#include "gpu.hpp"

using namespace face;

TEST_CASE("an answer that is not finite is said, and the composite is kept") {
    const Pair pair(60, 50);
    const ModelHandle model = open_on_gpu("recordable");
    setenv("HRT_STAND_IN_PART", "output", 1);
    for (const int wait : {1, 0}) {
        const SessionHandle session = open_session(model);
        Given given(pair);
        hrt_device_options options = hrt_device_options_default();
        options.wait = wait;
        void *stream = options.stream = Gpu::get().stream();
        for (int turn = 0; turn < 3; ++turn) { // plainly, recorded, launched
            setenv("HRT_STAND_IN", "nan", 1);
            CHECK(given.run(session.get(), &options) == (wait == 1 ? HRT_ENGINE_FAILED : HRT_OK));
            if (wait == 1) CHECK(last_error_has("not finite, and the composite was returned unchanged"));
            Gpu::get().synchronize(stream);
            CHECK(given.output.get() == pair.rgb);
            unsetenv("HRT_STAND_IN");
            if (wait == 0) CHECK(given.run(session.get(), &options) == HRT_ENGINE_FAILED); // told now
            CHECK(given.run(session.get(), &options) == HRT_OK);
            Gpu::get().synchronize(stream);
            CHECK(worst(given.output.get(), on_host(pair)) <= 1);
        }
    }
    unsetenv("HRT_STAND_IN_PART");
}

TEST_CASE("what goes wrong on the way leaves nothing behind, and the next call works") {
    const Pair pair(60, 50);
    const ModelHandle model = open_on_gpu("recordable");
    const SessionHandle session = open_session(model);
    const Given given(pair);
    REQUIRE(given.run(session.get()) == HRT_OK);
    const int blocks = Gpu::get().count("blocks");
    std::vector<std::unique_ptr<Given>>
        kept; // each has other addresses: nothing is recorded, and all kernels are launched
    for (int kernel = 1; kernel <= 16; ++kernel) {
        const Given &next = *kept.emplace_back(std::make_unique<Given>(pair));
        Gpu::get().set("fail_kernels", kernel);
        CHECK(next.run(session.get()) == HRT_ENGINE_FAILED);
        CHECK(last_error_has("CUDA's cuLaunchKernel failed: unspecified launch failure"));
        CHECK(next.run(session.get()) == HRT_OK);
        CHECK(worst(next.output.get(), on_host(pair)) <= 1);
    }
    kept.clear();
    setenv("HRT_STAND_IN", "run", 1);
    const Given another(pair);
    CHECK(another.run(session.get()) == HRT_ENGINE_FAILED);
    CHECK(last_error_has("asked to fail when it runs"));
    unsetenv("HRT_STAND_IN");
    CHECK(Gpu::get().count("contexts") == 0);
    CHECK(Gpu::get().count("blocks") == blocks + 3);
}

TEST_CASE("an engine that refuses to be recorded runs plainly, and that is said once") {
    static std::vector<std::string> lines;
    lines.clear();
    hrt_set_log(
        [](hrt_log_level level, const char *line, void *) {
            if (level == HRT_LOG_WARNING) lines.emplace_back(line);
        },
        nullptr);
    const Pair pair(60, 50);
    const ModelHandle model = open_on_gpu("recordable");
    const SessionHandle session = open_session(model);
    const Given given(pair);
    Gpu::get().set("refuse_recording", 1);
    for (int turn = 0; turn < 4; ++turn) {
        REQUIRE(given.run(session.get()) == HRT_OK);
        CHECK(worst(given.output.get(), on_host(pair)) <= 1);
    }
    Gpu::get().set("refuse_recording", 0);
    hrt_set_log(nullptr, nullptr);
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find("cannot be recorded as one CUDA graph and runs without") != std::string::npos);
}

TEST_CASE("arguments that do not fit are refused in one sentence, before anything runs") {
    const Pair pair(40, 30);
    const ModelHandle model = open_on_gpu("recordable");
    const SessionHandle session = open_session(model);
    const int kernels = Gpu::get().count("kernel");
    const auto refused = [&](const char *words, auto &&change) {
        Given given(pair);
        hrt_device_options options = hrt_device_options_default();
        change(given, options);
        CHECK(given.run(session.get(), &options) == HRT_INVALID_ARGUMENT);
        CHECK_MESSAGE(last_error_has(words), hrt_last_error());
    };
    std::vector<std::uint8_t> on_the_host(pair.rgb);
    refused("the composite is not in a GPU's memory", [&](Given &g, auto &) { g.picture.data = on_the_host.data(); });
    refused("the output is not in a GPU's memory", [&](Given &g, auto &) { g.result.data = on_the_host.data(); });
    refused("the mask is not in a GPU's memory", [&](Given &g, auto &) { g.levels.data = pair.mask.data(); });
    refused("memory is NULL", [](Given &g, auto &) { g.picture.data = nullptr; });
    refused("the mask is 39 x 30 and the composite 40 x 30", [](Given &g, auto &) { g.levels.width = 39; });
    refused("the output is 40 x 30 of format 1 and", [](Given &g, auto &) { g.result.format = HRT_DEVICE_BGR8; });
    refused("give sides of 1 to 65535", [](Given &g, auto &) { g.picture.width = g.result.width = 70000; });
    refused("give sides of 1 to 65535", [](Given &g, auto &) { g.picture.height = 0; });
    refused("rows 100 bytes apart, and one takes 120", [](Given &g, auto &) { g.picture.pitch = 100; });
    refused("format is 77", [](Given &g, auto &) { g.picture.format = 77; });
    refused("not aligned to its 2 bytes", [](Given &g, auto &) {
        g.picture.format = g.result.format = HRT_DEVICE_RGB16;
        g.picture.data = static_cast<std::uint8_t *>(g.picture.data) + 1;
    });
    refused("those are for NV12 and P010", [](Given &g, auto &) { g.picture.chroma = g.picture.data; });
    refused("the strength is", [](Given &, hrt_device_options &o) { o.strength = 1.6; });
    refused("opaque and wait are 2", [](Given &, hrt_device_options &o) { o.wait = 2; });
    const hrt_device_picture picture = hrt_device_picture_default();
    const hrt_device_mask mask = hrt_device_mask_default();
    CHECK(hrt_harmonize_on_device(nullptr, &picture, &mask, &picture, nullptr) == HRT_INVALID_ARGUMENT);
    CHECK(hrt_harmonize_on_device(session.get(), nullptr, &mask, &picture, nullptr) == HRT_INVALID_ARGUMENT);
    CHECK(hrt_harmonize_on_device(session.get(), &picture, nullptr, &picture, nullptr) == HRT_INVALID_ARGUMENT);
    CHECK(hrt_harmonize_on_device(session.get(), &picture, &mask, nullptr, nullptr) == HRT_INVALID_ARGUMENT);
    const ModelHandle elsewhere = open_on_gpu("recordable", kBundle, "cuda:2");
    const SessionHandle there = open_session(elsewhere);
    const Given given(pair);
    CHECK(given.run(there.get()) == HRT_INVALID_ARGUMENT);
    CHECK(last_error_has("the composite lies on cuda:0, the engine runs on cuda:2: move it"));
    CHECK(Gpu::get().count("kernel") == kernels);
}

TEST_CASE("engines that cannot are refused, and nothing falls back") {
    const Given given(Pair(40, 30));
    const ModelHandle on_cpu = open_on_cpu(), diffusion = open_on_cpu(kDiffusion);
    const SessionHandle session = open_session(on_cpu), other = open_session(diffusion);
    CHECK(given.run(session.get()) == HRT_UNSUPPORTED);
    CHECK(last_error_has("need an engine on a GPU, and this one runs on cpu with onnxruntime"));
    CHECK(given.run(other.get()) == HRT_UNSUPPORTED);
    CHECK(last_error_has("for bundles of one network"));
}
