// A plan that is open on a GPU: weights, shared by sessions. The twin of runtime/backends/tensorrt/engine.py.
#pragma once

#include "../module.hpp"
#include "libraries.hpp"

#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace hrt::tensorrt {

class Engine {
public:
    static void why_not(const hrt_module_request &request);
    explicit Engine(const hrt_module_request &request);

    const char *device() const { return device_.c_str(); }
    const char *version() const { return runtime().version.c_str(); }
    std::string note() const { return note_; }
    int device_runs() const noexcept;

    int index() const { return index_; }
    const std::vector<std::string> &names() const { return names_; } // inputs, outputs, then those that nobody reads
    std::size_t inputs() const { return inputs_; }
    std::size_t read() const { return read_; }
    bool is_static() const { return static_; } // every input has one shape
    nvinfer1::DataType type(const std::string &name) const { return engine_->getTensorDataType(name.c_str()); }

    // Null where TensorRT has none to give.
    std::unique_ptr<nvinfer1::IExecutionContext> context();

    // The first profile that takes inputs of these shapes, by name() order.
    // Throws std::runtime_error: none does, with what they take.
    int profile_for(const std::vector<nvinfer1::Dims> &shapes) const;

private:
    void check_validity(const std::vector<char> &plan, const char *file);
    void check_names(const char *file);
    void choose_weights(const char *file);

    int index_;
    std::string device_, note_;
    std::vector<std::string> names_;
    std::size_t inputs_, read_;
    bool static_ = true;
    std::mutex mutex_;
    std::unique_ptr<nvinfer1::ICudaEngine> engine_;
};

} // namespace hrt::tensorrt
