// TensorRT 8.6 to 11, and TensorRT for RTX: plans on an NVIDIA GPU. The twin of runtime/backends/tensorrt/__init__.py.

#include "session.hpp"

HRT_BACKEND_MODULE("tensorrt", hrt::tensorrt::Engine, hrt::tensorrt::Session)
