#include "providers.hpp"

#include <algorithm>
#include <cstdlib>

namespace hrt::onnxruntime {
namespace {

constexpr const char *kCuda = "CUDAExecutionProvider", *kTensorrt = "TensorrtExecutionProvider";

// Options that cannot be given, and what to do instead.
constexpr std::pair<const char *, const char *> kOurs[] = {
    {"device_id", "give device instead"},
    {"user_compute_stream", "calls are ordered by hrt_device_options.stream"},
    {"has_user_compute_stream", "calls are ordered by hrt_device_options.stream"},
    {"enable_cuda_graph", "only Python's runtime records ONNX Runtime's graphs"},
    {"trt_cuda_graph_enable", "only Python's runtime records ONNX Runtime's graphs"},
    {"trt_engine_cache_enable", "give cache_folder instead"},
    {"trt_engine_cache_path", "give cache_folder instead"},
    {"trt_fp16_enable", "the bundle's precision decides"},
    {"trt_int8_enable", "the bundle's precision decides"},
};

bool older_than(const std::string &release, int major, int minor) {
    char *end = nullptr;
    const long first = std::strtol(release.c_str(), &end, 10);
    const long second = *end == '.' ? std::strtol(end + 1, nullptr, 10) : 0;
    return first < major || (first == major && second < minor);
}

Options joined(Options options, const Options &asked) {
    for (const auto &[name, value] : asked) {
        const auto known =
            std::find_if(options.begin(), options.end(), [&](const auto &one) { return one.first == name; });
        if (known == options.end()) {
            options.emplace_back(name, value);
        } else {
            known->second = value;
        }
    }
    return options;
}

} // namespace

Asked::Asked(const hrt_module_request &request)
    : device(request.device == nullptr ? "cpu" : request.device),
      provider(request.provider == nullptr ? "" : request.provider),
      precision(request.precision == nullptr ? "" : request.precision) {
    for (int32_t i = 0; i < request.provider_option_count; ++i)
        options.emplace_back(request.provider_options[2 * i], request.provider_options[2 * i + 1]);
}

bool Asked::on_gpu() const {
    return device == "cuda" || (device.rfind("cuda:", 0) == 0 && device.size() > 5 && device.size() < 9 &&
                                device.find_first_not_of("0123456789", 5) == std::string::npos);
}

std::string Asked::index() const { return device.size() > 5 ? device.substr(5) : "0"; }

std::string provider_name(const Asked &asked) { return asked.tensorrt() ? kTensorrt : kCuda; }

std::string refusal(const Asked &asked, const std::vector<std::string> &available) {
    if (!asked.on_gpu()) {
        if (!asked.provider.empty() || !asked.options.empty())
            return "provider " + (asked.provider.empty() ? "cuda" : asked.provider) +
                   " runs on NVIDIA GPUs, and device " + asked.device + " was asked for: give device cuda";
        if (asked.device != "cpu") return "it knows no device '" + asked.device + "': give cpu, cuda or cuda:N";
        if (asked.precision == "bf16")
            return "ONNX Runtime has no BF16 kernels for the CPU: use an openvino engine, or device cuda";
        return "";
    }
    if (!asked.provider.empty() && asked.provider != "cuda" && asked.provider != "tensorrt")
        return "it knows no provider '" + asked.provider + "': give cuda or tensorrt";
    for (const std::string &needed : {provider_name(asked), std::string(kCuda)}) {
        if (std::find(available.begin(), available.end(), needed) != available.end()) continue;
        std::string found;
        for (const std::string &one : available) found += (found.empty() ? "" : ", ") + one;
        return "device " + asked.device + " needs " + needed + ", found " + (found.empty() ? "none" : found) +
               ": set HARMONYRT_ONNXRUNTIME to a libonnxruntime.so of ONNX Runtime's GPU package";
    }
    if (asked.tensorrt() && asked.precision == "int8")
        return "TensorRT takes no INT8 graph of ONNX Runtime's style: build the target tensorrt, or give provider cuda";
    if (asked.tensorrt() && asked.precision == "bf16")
        return "the TensorRT provider is not used for BF16: build the target tensorrt, or give provider cuda";
    for (const auto &[name, value] : asked.options) {
        for (const auto &[ours, instead] : kOurs) {
            if (name == ours) return "the provider option " + name + " cannot be given: " + instead;
        }
    }
    return "";
}

Options cuda_options(const Asked &asked, const std::string &release) {
    Options options = {{"device_id", asked.index()}};
    if (!older_than(release, 1, 18)) options.emplace_back("use_tf32", "0");
    return asked.tensorrt() ? options : joined(std::move(options), asked.options);
}

Options tensorrt_options(const Asked &asked, const std::string &folder) {
    Options options = {{"device_id", asked.index()}, {"trt_fp16_enable", asked.precision == "fp16" ? "1" : "0"}};
    if (!folder.empty()) {
        options.insert(options.end(), {{"trt_engine_cache_enable", "1"},
                                       {"trt_engine_cache_path", folder},
                                       {"trt_timing_cache_enable", "1"},
                                       {"trt_timing_cache_path", folder}});
    }
    return joined(std::move(options), asked.options);
}

std::string tf32_note(const Asked &asked) {
    const char *set = std::getenv("NVIDIA_TF32_OVERRIDE");
    if (!asked.tensorrt() || (set != nullptr && std::string(set) == "0")) return "";
    return "ONNX Runtime's TensorRT provider may compute " + asked.precision +
           " graphs' FP32 products in TF32, with ten bits: set NVIDIA_TF32_OVERRIDE=0 in the environment, or use a "
           "tensorrt engine";
}

std::string did_not_load(const Asked &asked, const std::string &release, const std::string &missing) {
    return provider_name(asked) + " did not load" + (missing.empty() ? "" : " (" + missing + ")") +
           ": check nvidia-smi, install the " + (asked.tensorrt() ? "TensorRT, CUDA and cuDNN" : "CUDA and cuDNN") +
           " that ONNX Runtime " + release + " needs, or give " + (asked.tensorrt() ? "provider cuda" : "device cpu");
}

} // namespace hrt::onnxruntime
