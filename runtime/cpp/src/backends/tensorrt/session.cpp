#include "session.hpp"

#include <algorithm>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace hrt::tensorrt {
namespace {

using DimsValue = std::remove_reference_t<decltype(nvinfer1::Dims{}.d[0])>; // 32 bits up to 8.6, then 64

bool is_integer(nvinfer1::DataType type) {
#if HRT_TENSORRT_HEADERS(10, 0)
    if (type == nvinfer1::DataType::kINT64) return true;
#endif
    return type == nvinfer1::DataType::kINT32;
}

std::size_t bytes_of(nvinfer1::DataType type) {
    if (type == nvinfer1::DataType::kFLOAT || type == nvinfer1::DataType::kINT32) return 4;
    return 8; // enough for any other
}

nvinfer1::Dims shape_of(const hrt_module_tensor &tensor) {
    nvinfer1::Dims shape{};
    shape.nbDims = tensor.rank;
    for (int32_t d = 0; d < tensor.rank; ++d) shape.d[d] = static_cast<DimsValue>(tensor.shape[d]);
    return shape;
}

bool same(const nvinfer1::Dims &one, const nvinfer1::Dims &other) {
    return one.nbDims == other.nbDims && std::equal(one.d, one.d + one.nbDims, other.d);
}

} // namespace

Session::Session(Engine &engine) : engine_(engine), memory_(engine.names().size()) {
    const Cuda &cuda = runtime().cuda;
    cuda.check(cuda.set_device(engine.index()), "use the GPU");
    contexts_[0].context = new_context();
    cuda.check(cuda.stream_create(&stream_, cudaStreamNonBlocking), "make a stream");
}

Session::~Session() {
    const Cuda &cuda = runtime().cuda;
    for (const Memory &memory : memory_) (void)cuda.free(memory.data);
    (void)cuda.stream_destroy(stream_);
}

std::unique_ptr<nvinfer1::IExecutionContext> Session::new_context() {
    std::unique_ptr<nvinfer1::IExecutionContext> made = engine_.context();
    if (!made)
        throw std::runtime_error(std::string(kName) + " has no execution context to give: " + runtime().logger.last() +
                                 "; free memory of the GPU, or build a smaller size");
    return made;
}

void Session::run(const hrt_module_tensor *tensors) {
    const Cuda &cuda = runtime().cuda;
    cuda.check(cuda.set_device(engine_.index()), "use the GPU"); // it belongs to the calling thread
    use(tensors);
    const std::size_t inputs = engine_.inputs();
    for (std::size_t i = 0; i < inputs; ++i) feed(i, tensors[i]);
    for (std::size_t i = inputs; i < memory_.size(); ++i) {
        const std::size_t bytes = bytes_of_output(i);
        if (i < inputs + engine_.read() && bytes != hrt::backends::bytes_of(tensors[i])) refused("answer in this size");
        reserve(i, bytes);
    }
    if (!context_->enqueueV3(stream_)) refused("run the engine");
    for (std::size_t i = inputs; i < inputs + engine_.read(); ++i) {
        cuda.check(cuda.copy(tensors[i].data, memory_[i].data, hrt::backends::bytes_of(tensors[i]),
                             cudaMemcpyDeviceToHost, stream_),
                   "copy from the GPU");
    }
    cuda.check(cuda.stream_wait(stream_), "finish the run");
}

void Session::run_on_device(const hrt_module_tensor *tensors, void *stream) {
    const Cuda &cuda = runtime().cuda;
    cuda.check(cuda.set_device(engine_.index()), "use the GPU");
    use(tensors);
    const std::size_t given = engine_.inputs() + engine_.read();
    for (std::size_t i = 0; i < memory_.size(); ++i) {
        if (i >= given) { // nobody reads it
            reserve(i, bytes_of_output(i));
            continue;
        }
        if (tensors[i].type == HRT_MODULE_I64 && bytes_of(engine_.type(engine_.names()[i])) != sizeof(int64_t))
            throw std::runtime_error("the plan has the tensor " + engine_.names()[i] +
                                     " in 32 bits, which are not made of 64 on the GPU: give it the host's memory");
        if (i >= engine_.inputs() && bytes_of_output(i) != hrt::backends::bytes_of(tensors[i]))
            refused("answer in this size");
        set_address(i, tensors[i].data);
    }
    if (!context_->enqueueV3(static_cast<cudaStream_t>(stream))) refused("run the engine");
}

// Takes the context of the tensors' shapes, and tells it those where they are others than before.
void Session::use(const hrt_module_tensor *tensors) {
    const std::size_t inputs = engine_.inputs();
    std::vector<nvinfer1::Dims> shapes;
    for (std::size_t i = 0; i < inputs + engine_.read(); ++i) {
        check_type(i, tensors[i]);
        if (i < inputs) shapes.push_back(shape_of(tensors[i]));
    }
    const int profile = engine_.is_static() ? 0 : engine_.profile_for(shapes);
    Context &chosen = contexts_[profile];
    if (!chosen.context) {
        std::unique_ptr<nvinfer1::IExecutionContext> made = new_context();
        if (!made->setOptimizationProfileAsync(profile, stream_)) refused("choose an optimization profile");
        runtime().cuda.check(runtime().cuda.stream_wait(stream_), "choose an optimization profile");
        chosen.context = std::move(made);
    }
    context_ = chosen.context.get();
    if (chosen.shapes.size() == shapes.size() && std::equal(shapes.begin(), shapes.end(), chosen.shapes.begin(), same))
        return;
    chosen.shapes.clear(); // until all are taken
    for (std::size_t i = 0; i < inputs; ++i) {
        if (!context_->setInputShape(engine_.names()[i].c_str(), shapes[i])) refused("take this size");
    }
    chosen.shapes = std::move(shapes);
}

void Session::check_type(std::size_t i, const hrt_module_tensor &tensor) const {
    const nvinfer1::DataType type = engine_.type(engine_.names()[i]);
    if (tensor.type == HRT_MODULE_I64 ? is_integer(type) : type == nvinfer1::DataType::kFLOAT) return;
    throw std::runtime_error("the plan has the tensor " + engine_.names()[i] +
                             " in another type than the manifest's; build the bundle again");
}

std::size_t Session::bytes_of_output(std::size_t i) const {
    const std::string &name = engine_.names()[i];
    const nvinfer1::Dims shape = context_->getTensorShape(name.c_str());
    std::size_t bytes = bytes_of(engine_.type(name));
    for (int32_t d = 0; d < shape.nbDims; ++d) bytes *= static_cast<std::size_t>(std::max<int64_t>(0, shape.d[d]));
    return bytes;
}

// Hands an input of the host to the context. TensorRT 8.6 takes 64-bit numbers as 32-bit ones.
void Session::feed(std::size_t i, const hrt_module_tensor &tensor) {
    const Cuda &cuda = runtime().cuda;
    const void *data = tensor.data;
    std::size_t bytes = hrt::backends::bytes_of(tensor);
    if (tensor.type == HRT_MODULE_I64 && engine_.type(engine_.names()[i]) == nvinfer1::DataType::kINT32) {
        const auto *wide = static_cast<const int64_t *>(tensor.data);
        narrow_.assign(wide, wide + bytes / sizeof(int64_t));
        data = narrow_.data();
        bytes /= 2;
    }
    reserve(i, bytes);
    cuda.check(cuda.copy(memory_[i].data, data, bytes, cudaMemcpyHostToDevice, stream_), "copy to the GPU");
}

void Session::reserve(std::size_t i, std::size_t bytes) {
    Memory &memory = memory_[i];
    if (bytes > memory.bytes) {
        const Cuda &cuda = runtime().cuda;
        (void)cuda.free(memory.data);
        memory = {};
        cuda.check(cuda.malloc(&memory.data, bytes), "give device memory");
        memory.bytes = bytes;
    }
    set_address(i, memory.data);
}

void Session::set_address(std::size_t i, void *address) {
    if (!context_->setTensorAddress(engine_.names()[i].c_str(), address)) refused("take its memory");
}

} // namespace hrt::tensorrt
