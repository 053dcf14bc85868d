// What the ONNX Runtime module decides by itself about GPUs: providers, options, refusals, and what is kept of the
// TensorRT provider's engines. The same questions as in tests/runtime/backends/test_onnxruntime_cuda.py.
#include "backends/onnxruntime/engine_folder.hpp"
#include "backends/onnxruntime/providers.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

using namespace hrt::onnxruntime;
namespace fs = std::filesystem;

namespace {

const std::vector<std::string> kEvery = {"TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"};

Asked asked(const char *device, const char *provider = nullptr, const char *precision = "fp32",
            const std::vector<const char *> &options = {}) {
    hrt_module_request request = {};
    request.device = device;
    request.provider = provider;
    request.precision = precision;
    request.provider_options = options.data();
    request.provider_option_count = static_cast<int32_t>(options.size() / 2);
    return Asked(request);
}

std::string value(const Options &options, const std::string &name) {
    const auto found = std::find_if(options.begin(), options.end(), [&](const auto &one) { return one.first == name; });
    return found == options.end() ? "none" : found->second;
}

bool has(const std::string &text, const char *part) { return text.find(part) != std::string::npos; }

struct Folder {
    Folder() {
        path = (fs::temp_directory_path() / "hrt-providers-XXXXXX").string();
        REQUIRE(mkdtemp(path.data()) != nullptr);
    }
    ~Folder() { fs::remove_all(path); }
    std::string path;
};

} // namespace

TEST_CASE("providers that cannot run what was asked for are refused, each in one sentence") {
    CHECK(refusal(asked("cuda"), kEvery).empty());
    CHECK(refusal(asked("cuda:1", "tensorrt", "fp16"), kEvery).empty());
    CHECK(refusal(asked(nullptr), {}).empty());
    CHECK(refusal(asked("cuda", "tensorrt"), {"CUDAExecutionProvider", "CPUExecutionProvider"}) ==
          "device cuda needs TensorrtExecutionProvider, found CUDAExecutionProvider, CPUExecutionProvider: set "
          "HARMONYRT_ONNXRUNTIME to a libonnxruntime.so of ONNX Runtime's GPU package");
    CHECK(has(refusal(asked("cuda"), {"CPUExecutionProvider"}), "needs CUDAExecutionProvider, found CPU"));
    CHECK(has(refusal(asked("cuda", "tensorrt"), {"TensorrtExecutionProvider"}), "needs CUDAExecutionProvider"));
    CHECK(has(refusal(asked("cuda", "rocm"), kEvery), "it knows no provider 'rocm': give cuda or tensorrt"));
    CHECK(has(refusal(asked("cpu", "cuda"), kEvery), "provider cuda runs on NVIDIA GPUs, and device cpu"));
    CHECK(has(refusal(asked(nullptr, "tensorrt"), kEvery), "give device cuda"));
    CHECK(has(refusal(asked("gpu"), kEvery), "it knows no device 'gpu'"));
    CHECK(has(refusal(asked("cpu", nullptr, "bf16"), kEvery), "no BF16 kernels for the CPU"));
    CHECK(refusal(asked("cuda", nullptr, "bf16"), kEvery).empty());
    CHECK(has(refusal(asked("cuda", "tensorrt", "int8"), kEvery), "no INT8 graph"));
    CHECK(has(refusal(asked("cuda", "tensorrt", "bf16"), kEvery), "not used for BF16"));
    for (const char *ours :
         {"device_id", "user_compute_stream", "enable_cuda_graph", "trt_engine_cache_path", "trt_fp16_enable"})
        CHECK(has(refusal(asked("cuda", "tensorrt", "fp32", {ours, "1"}), kEvery), "cannot be given"));
}

TEST_CASE("options: no TF32, the bundle's precision, the caller's last") {
    const Options plain = cuda_options(asked("cuda:2"), "1.31.1");
    CHECK(value(plain, "device_id") == "2");
    CHECK(value(plain, "use_tf32") == "0");
    CHECK(value(cuda_options(asked("cuda"), "1.17.3"), "use_tf32") ==
          "none"); // releases before 1.18 have no such option
    const Options more = cuda_options(
        asked("cuda", "cuda", "fp32", {"arena_extend_strategy", "kSameAsRequested", "use_tf32", "1"}), "1.18.0");
    CHECK(value(more, "arena_extend_strategy") == "kSameAsRequested");
    CHECK(value(more, "use_tf32") == "1");
    CHECK(more.size() == 3);
    const Asked trt = asked("cuda", "tensorrt", "fp16", {"trt_max_workspace_size", "1000"});
    CHECK(value(cuda_options(trt, "1.31.1"), "trt_max_workspace_size") == "none"); // the second provider has its own
    const Options given = tensorrt_options(trt, "/kept");
    CHECK(value(given, "trt_fp16_enable") == "1");
    CHECK(value(given, "trt_max_workspace_size") == "1000");
    CHECK(value(given, "trt_engine_cache_path") == "/kept");
    CHECK(value(tensorrt_options(asked("cuda", "tensorrt"), ""), "trt_fp16_enable") == "0");
    CHECK(value(tensorrt_options(trt, ""), "trt_engine_cache_enable") == "none");
}

TEST_CASE("what is told") {
    unsetenv("NVIDIA_TF32_OVERRIDE");
    CHECK(has(tf32_note(asked("cuda", "tensorrt")), "set NVIDIA_TF32_OVERRIDE=0"));
    CHECK(tf32_note(asked("cuda")).empty());
    setenv("NVIDIA_TF32_OVERRIDE", "0", 1);
    CHECK(tf32_note(asked("cuda", "tensorrt")).empty());
    unsetenv("NVIDIA_TF32_OVERRIDE");
    CHECK(did_not_load(asked("cuda"), "1.31.1", "libcudnn.so.9: cannot open shared object file") ==
          "CUDAExecutionProvider did not load (libcudnn.so.9: cannot open shared object file): check nvidia-smi, "
          "install the "
          "CUDA and cuDNN that ONNX Runtime 1.31.1 needs, or give device cpu");
    CHECK(has(did_not_load(asked("cuda", "tensorrt"), "1.31.1", ""), "or give provider cuda"));
}

TEST_CASE("what the TensorRT provider writes is kept, and comes back into its own folder") {
    const Folder cache;
    const hrt::CacheKey key = {{"kind", "onnxruntime-tensorrt libharmonyrt"}, {"files", "abc"}, {"gpu", "Fake RTX"}};
    const auto put = [](const EngineFolder &folder, const std::string &name, const std::string &content) {
        std::ofstream(folder.path() + "/" + name, std::ios::binary) << content;
    };
    const auto get = [](const EngineFolder &folder, const std::string &name) {
        std::ifstream file(folder.path() + "/" + name, std::ios::binary);
        return std::string{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    };
    std::string first;
    {
        EngineFolder folder(hrt::CompiledCache(cache.path.c_str()), key);
        first = folder.path();
        CHECK(fs::is_empty(first));
        folder.save(); // nothing yet
        put(folder, "one.engine", std::string(100000, 'x') + std::string(1, '\0'));
        put(folder, "one.profile", "small");
        folder.save();
    }
    CHECK_FALSE(fs::exists(first));
    {
        EngineFolder folder(hrt::CompiledCache(cache.path.c_str()), key);
        CHECK(folder.path() != first);
        CHECK(get(folder, "one.engine") == std::string(100000, 'x') + std::string(1, '\0'));
        CHECK(get(folder, "one.profile") == "small");
        put(folder, "two.engine", "another size");
        folder.save();
        const EngineFolder other(hrt::CompiledCache(cache.path.c_str()), {{"files", "another bundle"}});
        CHECK(fs::is_empty(other.path()));
    }
    const EngineFolder folder(hrt::CompiledCache(cache.path.c_str()), key);
    CHECK(get(folder, "two.engine") == "another size");
    CHECK(get(folder, "one.profile") == "small");
    CHECK(folder.notes().empty());
}
