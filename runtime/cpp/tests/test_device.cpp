// Pictures in a GPU's memory: the whole way of libharmonyrt, with the driver and NVRTC simulated and every kernel
// really computed, by the host's build of the sources that NVRTC compiles on a GPU.
#include "gpu.hpp"
#include "harmonyrt.hpp"
#include "png.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <fstream>

using namespace face;

namespace {

constexpr const char *kEveryWay[] = {"waits", "in-order", "recordable"};

} // namespace

// First: what is loaded stays loaded.
TEST_CASE("what is missing on the machine is one sentence with what to do") {
    const ModelHandle model = open_on_gpu("recordable");
    const SessionHandle session = open_session(model);
    const Given given(Pair(40, 30));
    setenv("HARMONYRT_CUDA", "/nowhere/libcuda.so", 1);
    CHECK(given.run(session.get()) == HRT_NO_BACKEND);
    CHECK(last_error_has("NVIDIA's driver does not load (/nowhere/libcuda.so"));
    CHECK(last_error_has("set HARMONYRT_CUDA"));
    setenv("HARMONYRT_CUDA", HRT_FAKES "/libfake_cuda.so", 1);
    setenv("FAKE_CUDA_BROKEN", "1", 1);
    CHECK(given.run(session.get()) == HRT_NO_BACKEND);
    CHECK(last_error_has("no CUDA-capable device is detected"));
    unsetenv("FAKE_CUDA_BROKEN");
    setenv("HARMONYRT_NVRTC", "/nowhere/libnvrtc.so", 1);
    CHECK(given.run(session.get()) == HRT_NO_BACKEND);
    CHECK(last_error_has("NVRTC does not load (/nowhere/libnvrtc.so"));
    setenv("HARMONYRT_NVRTC", HRT_FAKES "/libfake_nvrtc.so", 1);
    setenv("FAKE_NVRTC", "fail", 1);
    CHECK(given.run(session.get()) == HRT_ENGINE_FAILED);
    CHECK(last_error_has(
        "NVRTC 13.5 cannot compile the kernels for compute capability 8.9: harmonize.cu(1): error: it was "
        "asked to fail;"));
    unsetenv("FAKE_NVRTC");
    CHECK(given.output.get() == std::vector<std::uint8_t>(given.composite.get().size(), 0xA5));
    setenv("FAKE_CUDA_VERSION", "12000", 1);
    const ModelHandle old = open_on_gpu("recordable", kBundle, "cuda:1");
    const SessionHandle on_old = open_session(old);
    CHECK(given.run(on_old.get()) == HRT_NO_BACKEND);
    CHECK(last_error_has("a driver for CUDA 12, found 13.5: install libnvrtc.so.12"));
    unsetenv("FAKE_CUDA_VERSION");
    CHECK(Gpu::get().count("modules") == 0);
    CHECK(Gpu::get().count("contexts") == 0);
}

TEST_CASE("a picture goes in and comes out, and is one launch later") {
    const Pair pair(140, 100);
    const std::vector<std::uint8_t> expected = on_host(pair);
    for (const char *how : kEveryWay) {
        const bool recordable = std::string(how) == "recordable";
        const ModelHandle model = open_on_gpu(how);
        const SessionHandle session = open_session(model);
        Given given(pair);
        for (int turn = 0; turn < 4; ++turn) {
            given.output.put(std::vector<std::uint8_t>(pair.rgb.size(), 0xA5));
            const int kernels = Gpu::get().count("kernel"), launches = Gpu::get().count("launch");
            REQUIRE_MESSAGE(given.run(session.get()) == HRT_OK, hrt_last_error());
            const std::vector<std::uint8_t> found = given.output.get();
            CHECK(worst(found, expected) <= 1);
            for (std::size_t i = 0; i < found.size(); ++i) {
                if (pair.mask[i / 3] == 0) REQUIRE(found[i] == pair.rgb[i]);
            }
            CHECK(given.composite.get() == pair.rgb);
            CHECK((Gpu::get().count("launch") - launches) == (recordable && turn > 0 ? 1 : 0));
            if (recordable && turn > 1) CHECK(Gpu::get().count("kernel") == kernels);
        }
    }
}

TEST_CASE("the shared vectors of Python") {
    std::ifstream file(HRT_VECTORS "/vectors.json");
    const nlohmann::json vectors = nlohmann::json::parse(file);
    int cases = 0, most = 0;
    for (const auto &one : vectors["cases"]) {
        if (one.contains("alpha") || one.contains("match") || one.contains("keep")) continue; // the host's alone
        const auto read = [&](const char *what, int channels) {
            return read_png(std::string(HRT_VECTORS "/") + one[what].get<std::string>(), channels);
        };
        const Png composite = read("composite", 3), mask = read("mask", 1), expected = read("harmonized", 3);
        const ModelHandle model =
            open_on_gpu("in-order", std::string(HRT_VECTORS "/") + one["bundle"].get<std::string>());
        const SessionHandle session = open_session(model);
        const Given given(composite.width, composite.height, composite.data, mask.data);
        hrt_device_options options = hrt_device_options_default();
        options.strength = one.value("strength", 1.0);
        REQUIRE_MESSAGE(given.run(session.get(), &options) == HRT_OK, hrt_last_error());
        const int found = worst(given.output.get(), expected.data);
        CHECK_MESSAGE(found <= 1, one["name"].get<std::string>(), ": ", found, " levels from Python");
        most = std::max(most, found);
        ++cases;
    }
    CHECK(cases >= 20);
    MESSAGE(cases, " cases, at most ", most, " levels from Python");
}

TEST_CASE("it runs in the order of the caller's stream") {
    const Pair pair(90, 70);
    const std::vector<std::uint8_t> expected = on_host(pair);
    for (const char *how : kEveryWay) {
        const ModelHandle model = open_on_gpu(how);
        const SessionHandle session = open_session(model);
        const OnGpu source(pair.rgb);
        OnGpu later(std::vector<std::uint8_t>(pair.rgb.size(), 0));
        Given given(pair);
        void *stream = Gpu::get().stream();
        hrt_device_options options = hrt_device_options_default();
        options.stream = stream;
        options.wait = 0;
        const auto copy = [&](const void *target, const void *from) {
            const auto number = [](const void *one) {
                return static_cast<unsigned long long>(reinterpret_cast<std::uintptr_t>(one));
            };
            REQUIRE(Gpu::get().call<int>("cuMemcpyAsync", number(target), number(from), pair.rgb.size(), stream) == 0);
        };
        for (int turn = 0; turn < 3; ++turn) {
            given.composite.put(std::vector<std::uint8_t>(pair.rgb.size(), 0)); // what is copied there is late
            copy(given.composite.address(), source.address());
            REQUIRE_MESSAGE(given.run(session.get(), &options) == HRT_OK, hrt_last_error());
            copy(later.address(), given.output.address());
            Gpu::get().synchronize(stream);
            CHECK(worst(later.get(), expected) <= 1);
        }
    }
}

TEST_CASE("the host's way waits for what a call without waiting left behind") {
    const Pair pair(90, 70);
    const ModelHandle model = open_on_gpu("in-order");
    const SessionHandle session = open_session(model);
    const Given given(pair);
    hrt_device_options options = hrt_device_options_default();
    options.wait = 0;
    REQUIRE(given.run(session.get(), &options) == HRT_OK);
    CHECK(harmonized(session.get(), pair) == on_host(pair)); // the stand-in would refuse to run twice at once
    CHECK(worst(given.output.get(), on_host(pair)) <= 1);
}

TEST_CASE("a caller records it into its own graph") {
    const Pair pair(90, 70);
    const ModelHandle model = open_on_gpu("recordable");
    const SessionHandle session = open_session(model);
    Given given(pair);
    void *stream = Gpu::get().stream(), *graph = nullptr, *made = nullptr;
    hrt_device_options options = hrt_device_options_default();
    options.stream = stream;
    REQUIRE(Gpu::get().call<int>("cuStreamBeginCapture_v2", stream, 1) == 0);
    CHECK(given.run(session.get(), &options) == HRT_INVALID_ARGUMENT);
    CHECK(last_error_has("run it once before"));
    REQUIRE(Gpu::get().call<int>("cuStreamEndCapture", stream, &graph) == 0);
    (void)Gpu::get().call<int>("cuGraphDestroy", graph);
    REQUIRE(given.run(session.get(), &options) == HRT_OK);
    REQUIRE(Gpu::get().call<int>("cuStreamBeginCapture_v2", stream, 1) == 0);
    REQUIRE_MESSAGE(given.run(session.get(), &options) == HRT_OK, hrt_last_error());
    REQUIRE(Gpu::get().call<int>("cuStreamEndCapture", stream, &graph) == 0);
    REQUIRE(Gpu::get().call<int>("cuGraphInstantiateWithFlags", &made, graph, 0ULL) == 0);
    (void)Gpu::get().call<int>("cuGraphDestroy", graph);
    Pair other(90, 70);
    std::reverse(other.rgb.begin(), other.rgb.end());
    for (const Pair &next : {other, pair}) {
        given.composite.put(next.rgb);
        REQUIRE(Gpu::get().call<int>("cuGraphLaunch", made, stream) == 0);
        Gpu::get().synchronize(stream);
        CHECK(worst(given.output.get(), on_host(next)) <= 1);
    }
    (void)Gpu::get().call<int>("cuGraphExecDestroy", made);
}

TEST_CASE("video frames are changed in their own planes, as Python changes them") {
    std::ifstream file(HRT_VECTORS "/device.json");
    const nlohmann::json vectors = nlohmann::json::parse(file);
    const auto bytes_of = [](const nlohmann::json &hexadecimal) {
        const auto text = hexadecimal.get<std::string>();
        std::vector<std::uint8_t> bytes;
        for (std::size_t i = 0; i < text.size(); i += 2)
            bytes.push_back(static_cast<std::uint8_t>(std::stoi(text.substr(i, 2), nullptr, 16)));
        return bytes;
    };
    const ModelHandle model = open_on_gpu("recordable");
    const SessionHandle session = open_session(model);
    for (const auto &one : vectors["cases"]) {
        const bool wide = one["format"] == "P010";
        const int width = one["width"], height = one["height"];
        const std::vector<std::uint8_t> frame = bytes_of(one["frame"]), expected = bytes_of(one["harmonized"]);
        Given given(width, height, frame, bytes_of(one["mask"]), wide ? HRT_DEVICE_P010 : HRT_DEVICE_NV12);
        const std::ptrdiff_t luma = static_cast<std::ptrdiff_t>(width) * height * (wide ? 2 : 1);
        given.picture.chroma = static_cast<std::uint8_t *>(given.picture.data) + luma;
        given.result.chroma = static_cast<std::uint8_t *>(given.result.data) + luma;
        hrt_colour_space space = hrt_colour_space_default();
        REQUIRE(hrt_colour_space_of(one["matrix"], one["range"], wide ? 10 : 8, &space) == HRT_OK);
        hrt_device_options options = hrt_device_options_default();
        CHECK(given.run(session.get(), &options) == HRT_INVALID_ARGUMENT);
        CHECK(last_error_has("has luma and chroma, and no colour space"));
        options.space = &space;
        options.strength = one["strength"];
        for (int turn = 0; turn < 3; ++turn) {
            REQUIRE_MESSAGE(given.run(session.get(), &options) == HRT_OK, hrt_last_error());
            const std::vector<std::uint8_t> found = given.output.get();
            int most = 0;
            for (std::size_t i = 0; i < found.size(); i += wide ? 2 : 1) {
                const auto value = [&](const std::vector<std::uint8_t> &of) {
                    return wide ? (of[i] + 256 * of[i + 1]) >> 6 : int{of[i]};
                };
                most = std::max(most, std::abs(value(found) - value(expected)));
            }
            CHECK_MESSAGE(most <= 1, one["name"].get<std::string>(), ": ", most, " levels from Python");
        }
        space.bits = wide ? 8 : 10;
        CHECK(given.run(session.get(), &options) == HRT_INVALID_ARGUMENT);
        CHECK(last_error_has("NV12 has 8, P010 has 10"));
    }
    for (const auto &one : vectors["spaces"]) {
        hrt_colour_space space = hrt_colour_space_default();
        REQUIRE(hrt_colour_space_of(one["matrix"], one["range"], one["bits"], &space) == HRT_OK);
        CHECK(space.bits == one["bits"].get<int>());
        for (std::size_t i = 0; i < 9; ++i) {
            if (i < 3) CHECK(space.offset[i] == one["offset"][i].get<double>());
            CHECK(std::abs(space.to_rgb[i] - one["to_rgb"][i].get<double>()) < 1e-9);
            CHECK(std::abs(space.from_rgb[i] - one["from_rgb"][i].get<double>()) < 1e-9);
        }
    }
    hrt_colour_space space = hrt_colour_space_default();
    CHECK(hrt_colour_space_of(3, HRT_RANGE_FULL, 8, &space) == HRT_INVALID_ARGUMENT);
    CHECK(hrt_colour_space_of(1, 0, 8, &space) == HRT_INVALID_ARGUMENT);
    CHECK(hrt_colour_space_of(1, HRT_RANGE_FULL, 12, &space) == HRT_INVALID_ARGUMENT);
    CHECK(hrt_colour_space_of(1, HRT_RANGE_FULL, 8, nullptr) == HRT_INVALID_ARGUMENT);
}

TEST_CASE("rows may lie apart, blue may come first, and what is between stays") {
    Pair wide(128, 80, 4);
    const ModelHandle model = open_on_gpu("recordable");
    const SessionHandle session = open_session(model);
    Given given(128, 80, wide.rgb, wide.mask, HRT_DEVICE_BGRA8);
    given.picture.width = given.result.width = given.levels.width = 100;
    given.picture.pitch = given.result.pitch = 4 * 128;
    given.levels.pitch = 128;
    given.result.data = given.picture.data; // in place
    CHECK(given.run(session.get()) == HRT_INVALID_ARGUMENT);
    CHECK(last_error_has("say opaque = 1"));
    hrt_device_options options = hrt_device_options_default();
    options.opaque = 1;
    REQUIRE_MESSAGE(given.run(session.get(), &options) == HRT_OK, hrt_last_error());
    Pair narrow(100, 80);
    std::vector<std::uint8_t> mask;
    for (int y = 0; y < 80; ++y) {
        for (int x = 0; x < 100; ++x) {
            const auto from = static_cast<std::size_t>(y * 128 + x), to = static_cast<std::size_t>(y * 100 + x);
            for (std::size_t c = 0; c < 3; ++c) narrow.rgb[3 * to + c] = wide.rgb[4 * from + 2 - c];
            mask.push_back(wide.mask[from]);
        }
    }
    narrow.mask = mask;
    const std::vector<std::uint8_t> expected = on_host(narrow), found = given.composite.get();
    for (std::size_t i = 0; i < found.size(); ++i) {
        const std::size_t x = i / 4 % 128, y = i / 4 / 128;
        if (x >= 100 || i % 4 == 3) {
            REQUIRE(found[i] == wide.rgb[i]);
        } else {
            REQUIRE(std::abs(int{found[i]} - int{expected[3 * (y * 100 + x) + 2 - i % 4]}) <= 1);
        }
    }
}

TEST_CASE("many sizes do not fill the memory, and everything is given back") {
    const int blocks = Gpu::get().count("blocks"), streams = Gpu::get().count("streams");
    {
        const ModelHandle model = open_on_gpu("recordable");
        const SessionHandle session = open_session(model);
        std::vector<int> found;
        for (int k = 0; k < 7; ++k) {
            const Pair pair(30 + k, 20 + k);
            const Given given(pair);
            for (int turn = 0; turn < 2; ++turn) REQUIRE(given.run(session.get()) == HRT_OK);
            CHECK(worst(given.output.get(), on_host(pair)) <= 1);
            found.push_back(Gpu::get().count("blocks"));
        }
        CHECK(*std::max_element(found.begin(), found.end()) <= found[3]);
    }
    CHECK(Gpu::get().count("blocks") == blocks);
    CHECK(Gpu::get().count("streams") == streams);
    CHECK(Gpu::get().count("graphs") == 0);
    CHECK(Gpu::get().count("modules") == 0);
    CHECK(Gpu::get().count("contexts") == 0);
}

TEST_CASE("kernels are compiled once and kept; code that the driver does not take is compiled again") {
    const Pair pair(40, 30);
    const auto run = [&] {
        const ModelHandle model = open_on_gpu("recordable");
        const SessionHandle session = open_session(model);
        const Given given(pair);
        REQUIRE_MESSAGE(given.run(session.get()) == HRT_OK, hrt_last_error());
    };
    run();
    const int compiled = Gpu::get().compilations();
    run();
    CHECK(Gpu::get().compilations() == compiled);
    Gpu::get().set("refuse_modules", 1);
    run();
    CHECK(Gpu::get().compilations() == compiled + 1);
    run();
    CHECK(Gpu::get().compilations() == compiled + 1);
}

TEST_CASE("the order of blocks and threads changes nothing") {
    const Pair pair(101, 75);
    std::vector<std::vector<std::uint8_t>> results;
    for (const int order : {0, 1, 7}) {
        Gpu::get().set("order", order);
        const ModelHandle model = open_on_gpu("in-order");
        const SessionHandle session = open_session(model);
        const Given given(pair);
        REQUIRE(given.run(session.get()) == HRT_OK);
        results.push_back(given.output.get());
    }
    Gpu::get().set("order", 0);
    CHECK(results[0] == results[1]);
    CHECK(results[0] == results[2]);
}

TEST_CASE("the C++ face") {
    const Pair pair(60, 50);
    (void)open_on_gpu("recordable");
    harmonyrt::ModelOptions options;
    options.backend = "onnxruntime";
    options.device = "cuda";
    options.cache_folder = cache_folder();
    options.module_folder = HRT_STAND_IN;
    harmonyrt::Model model(kBundle, options);
    harmonyrt::Session session(model);
    const Given given(pair);
    session.harmonize_on_device(given.picture, given.levels, given.result);
    CHECK(worst(given.output.get(), on_host(pair)) <= 1);
    hrt_device_options wrong = hrt_device_options_default();
    wrong.strength = -1;
    CHECK_THROWS_AS(session.harmonize_on_device(given.picture, given.levels, given.result, wrong), harmonyrt::Error);
}

// Run by kernels_against_python.py, in a separate process.
TEST_CASE("kernels of a real NVRTC, kept where Python finds them" *
          doctest::skip(std::getenv("HRT_REAL_NVRTC") == nullptr)) {
    const Given given(Pair(40, 30)); // the fake driver is there; now NVIDIA's compiler
    setenv("HARMONYRT_NVRTC", std::getenv("HRT_REAL_NVRTC"), 1);
    setenv("HRT_STAND_IN_GPU", "recordable", 1);
    hrt_model_options options = stand_in();
    options.device = "cuda";
    options.cache_folder = std::getenv("HRT_REAL_CACHE");
    hrt_model *raw = nullptr;
    REQUIRE(hrt_model_open(kBundle, &options, &raw) == HRT_OK);
    const ModelHandle model(raw);
    const SessionHandle session = open_session(model);
    REQUIRE_MESSAGE(given.run(session.get()) == HRT_OK, hrt_last_error());
}
