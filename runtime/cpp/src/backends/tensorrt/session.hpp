// Runs of one thread: execution contexts, a stream, and device memory that grows to the largest call. The twin of
// runtime/backends/tensorrt/session.py.
#pragma once

#include "engine.hpp"

#include <map>
#include <memory>
#include <vector>

namespace hrt::tensorrt {

class Session {
public:
    explicit Session(Engine &engine);
    ~Session();
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;

    // On the host's memory; waits for the results.
    void run(const hrt_module_tensor *tensors);

    // On the GPU's, put on a stream. A stream that is being recorded takes what has run before with the same shapes.
    void run_on_device(const hrt_module_tensor *tensors, void *stream);

private:
    struct Memory {
        void *data = nullptr;
        std::size_t bytes = 0;
    };
    struct Context {
        std::unique_ptr<nvinfer1::IExecutionContext> context;
        std::vector<nvinfer1::Dims> shapes; // of the inputs, as it was told last
    };

    void use(const hrt_module_tensor *tensors);
    std::unique_ptr<nvinfer1::IExecutionContext> new_context();
    void check_type(std::size_t i, const hrt_module_tensor &tensor) const;
    std::size_t bytes_of_output(std::size_t i) const;
    void feed(std::size_t i, const hrt_module_tensor &tensor);
    void reserve(std::size_t i, std::size_t bytes);
    void set_address(std::size_t i, void *address);

    Engine &engine_;
    std::map<int, Context> contexts_;                // by optimisation profile: changing between them costs nothing
    nvinfer1::IExecutionContext *context_ = nullptr; // of the shapes at hand
    cudaStream_t stream_ = nullptr;
    std::vector<Memory> memory_; // by tensor
    std::vector<int32_t> narrow_;
};

} // namespace hrt::tensorrt
