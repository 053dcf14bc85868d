// ONNX Runtime's CUDA and TensorRT providers in the options of a session.
#pragma once

#include "engine_folder.hpp"
#include "library.hpp"
#include "providers.hpp"

#include <memory>

namespace hrt::onnxruntime {

// Adds the provider that was asked for; what it does not take goes to CUDA's, and what that does not take to the CPU.
// The answer is where the TensorRT provider keeps its engines, for the life of the session; null for nowhere.
// Throws std::runtime_error: a provider does not load.
std::unique_ptr<EngineFolder> append_providers(OrtSessionOptions *session, const Asked &asked,
                                               const hrt_module_request &request);

} // namespace hrt::onnxruntime
