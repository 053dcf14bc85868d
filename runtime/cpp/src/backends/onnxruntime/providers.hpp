// Which of ONNX Runtime's execution providers runs an engine on an NVIDIA GPU, and with which options. The twin of
// runtime/backends/onnxruntime_providers.py. Pure: nothing of ONNX Runtime.
#pragma once

#include "../../backend_module.h"

#include <string>
#include <utility>
#include <vector>

namespace hrt::onnxruntime {

using Options = std::vector<std::pair<std::string, std::string>>; // names and values

// What was asked for.
struct Asked {
    explicit Asked(const hrt_module_request &request);

    bool on_gpu() const; // device cuda or cuda:N
    std::string index() const;
    bool tensorrt() const { return provider == "tensorrt"; }

    std::string device;    // "cpu" where none was
    std::string provider;  // "" where none was: cuda
    std::string precision; // of the engine
    Options options;       // of the provider, by ONNX Runtime's names
};

// ONNX Runtime's name of the provider that was asked for.
std::string provider_name(const Asked &asked);

// Why what was asked for cannot run here; "" when it can, as far as is known. `available`: ONNX Runtime's providers.
std::string refusal(const Asked &asked, const std::vector<std::string> &available);

// For the CUDA provider. TF32 is off from ONNX Runtime 1.18 on, whose option that is: it would put products of ten bits
// into FP32 graphs and into the FP32 islands of others.
Options cuda_options(const Asked &asked, const std::string &release);

// For the TensorRT provider; `folder` is where it keeps its engines, "" for nowhere.
Options tensorrt_options(const Asked &asked, const std::string &folder);

// What to tell about digits that the TensorRT provider drops; "" where it drops none.
std::string tf32_note(const Asked &asked);

// The sentence for a provider that is installed and does not load. `missing`: the loader's words, or "".
std::string did_not_load(const Asked &asked, const std::string &release, const std::string &missing);

} // namespace hrt::onnxruntime
