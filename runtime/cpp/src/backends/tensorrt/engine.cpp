#include "engine.hpp"

#include "budget.hpp"
#include "needs.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace hrt::tensorrt {
namespace {

void check_device(const hrt_module_request &request) {
    const Cuda &cuda = runtime().cuda;
    const int index = index_of(request.device);
    int count = 0;
    if (cuda.get_device_count(&count) != cudaSuccess || count == 0) {
        throw std::runtime_error(
            "no NVIDIA GPU was found: use a backend for the CPU, or check the driver with nvidia-smi");
    }
    if (index >= count) {
        throw std::runtime_error("device cuda:" + std::to_string(index) + " was asked for, found " +
                                 std::to_string(count) + " GPUs: give cuda:0 to cuda:" + std::to_string(count - 1));
    }
    int major = 0, minor = 0;
    cuda.check(cuda.attribute(&major, cudaDevAttrComputeCapabilityMajor, index), "ask for the GPU's kind");
    cuda.check(cuda.attribute(&minor, cudaDevAttrComputeCapabilityMinor, index), "ask for the GPU's kind");
    const char *need = request.need_compute_capability;
    if (need != nullptr && !capability_fits(need, {major, minor})) {
        throw std::runtime_error("found a GPU of compute capability " + std::to_string(major) + "." +
                                 std::to_string(minor) + ", need " + need + ": build the bundle on this machine");
    }
}

std::vector<char> read_file(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    std::vector<char> data{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (!file) throw std::runtime_error(path + " cannot be read");
    return data;
}

std::string text_of(const nvinfer1::Dims &shape) {
    std::string text = "(";
    for (int32_t d = 0; d < shape.nbDims; ++d) text += (d == 0 ? "" : ", ") + std::to_string(shape.d[d]);
    return text + ")";
}

bool within(const nvinfer1::Dims &low, const nvinfer1::Dims &shape, const nvinfer1::Dims &high) {
    if (low.nbDims != shape.nbDims || high.nbDims != shape.nbDims) return false;
    for (int32_t d = 0; d < shape.nbDims; ++d) {
        if (shape.d[d] < low.d[d] || shape.d[d] > high.d[d]) return false;
    }
    return true;
}

} // namespace

void Engine::why_not(const hrt_module_request &request) {
    const std::string found = runtime().version;
    if (request.need_version != nullptr && !version_fits(request.need_version, found, request.need_compatible != 0)) {
        throw std::runtime_error(std::string("found ") + kName + " " + found + ", need " + request.need_version +
                                 ": build the bundle again, or install that version");
    }
    check_device(request);
}

Engine::Engine(const hrt_module_request &request)
    : index_(index_of(request.device)),
      device_("cuda:" + std::to_string(index_)),
      names_(hrt::backends::names_of(request)),
      inputs_(static_cast<std::size_t>(request.input_count)),
      read_(static_cast<std::size_t>(request.output_count)) {
    const Cuda &cuda = runtime().cuda;
    cuda.check(cuda.set_device(index_), "use the GPU");
    const std::vector<char> plan = read_file(request.file);
#if !defined(TRT_MAJOR_RTX)
    // Such plans bring a runtime along, as code. The library opens none whose hash the manifest does not have.
    if (request.need_compatible != 0) runtime().runtime->setEngineHostCodeAllowed(true);
#endif
    check_validity(plan, request.file);
    engine_.reset(runtime().runtime->deserializeCudaEngine(plan.data(), plan.size()));
    if (!engine_) {
        throw std::runtime_error(std::string(kName) + " " + runtime().version + " cannot open " + request.file + ": " +
                                 runtime().logger.last() + "; build the bundle again");
    }
    check_names(request.file);
    choose_weights(request.file);
    for (std::size_t i = 0; i < inputs_; ++i) {
        const nvinfer1::Dims shape = engine_->getTensorShape(names_[i].c_str());
        for (int32_t d = 0; d < shape.nbDims; ++d) static_ = static_ && shape.d[d] >= 0;
    }
}

int Engine::device_runs() const noexcept {
#if defined(TRT_MAJOR_RTX)
    return HRT_MODULE_IN_ORDER; // it decides for itself what it records
#else
    return static_ ? HRT_MODULE_RECORDABLE : HRT_MODULE_IN_ORDER;
#endif
}

// TensorRT for RTX can be asked what it thinks of a plan before it opens it. As in
// runtime/backends/tensorrt/validity.py.
void Engine::check_validity([[maybe_unused]] const std::vector<char> &plan, [[maybe_unused]] const char *file) {
#if defined(TRT_MAJOR_RTX) && !defined(HRT_WITHOUT_RTX_HEADERS)
    using Reason = nvinfer1::EngineInvalidityDiagnostics;
    constexpr std::pair<Reason, const char *> reasons[] = {
        {Reason::kVERSION_MISMATCH,
         "another version of TensorRT for RTX built it: build the bundle again with the installed one"},
        {Reason::kUNSUPPORTED_CC, "it was not built for this GPU: build with --compute-capabilities of this GPU"},
        {Reason::kOLD_CUDA_DRIVER, "the driver is too old for it: install a newer NVIDIA driver"},
        {Reason::kOLD_CUDA_RUNTIME,
         "the CUDA runtime is too old for it: install a newer one, or set HARMONYRT_CUDART to its path"},
        {Reason::kINSUFFICIENT_GPU_MEMORY, "the GPU has too little free memory: free some, or build a smaller size"},
        {Reason::kMALFORMED_ENGINE, "the file is not a whole engine: build the bundle again"},
        {Reason::kCUDA_ERROR, "CUDA does not work here: check nvidia-smi"},
    };
    if (plan.size() < static_cast<std::size_t>(std::max<int64_t>(0, runtime().runtime->getEngineHeaderSize())))
        throw std::runtime_error(std::string(file) + " is not a whole engine: build the bundle again");
    uint64_t found = 0;
    const nvinfer1::EngineValidity validity =
        runtime().runtime->getEngineValidity(plan.data(), static_cast<int64_t>(plan.size()), &found);
    std::string why;
    for (const auto &[reason, text] : reasons) {
        if ((found & static_cast<uint64_t>(reason)) != 0) why += (why.empty() ? "" : "; ") + std::string(text);
    }
    // Invalid for no stated reason: opening it tells more.
    if (validity == nvinfer1::EngineValidity::kINVALID && !why.empty()) {
        throw std::runtime_error(std::string(kName) + " " + runtime().version + " cannot open " + file + ": " + why);
    }
    if (validity == nvinfer1::EngineValidity::kSUBOPTIMAL) {
        note_ = std::string(file) + " runs, but not as well as it could: " +
                (why.empty() ? "it could run faster if it were built again for this GPU and version" : why);
    }
#endif
}

// The names that runs are given must be there. What else the engine answers with gets its own memory: every tensor of a
// plan needs an address.
void Engine::check_names(const char *file) {
    std::vector<std::string> found;
    for (int32_t i = 0; i < engine_->getNbIOTensors(); ++i) found.emplace_back(engine_->getIOTensorName(i));
    for (const std::string &name : names_) {
        if (std::find(found.begin(), found.end(), name) == found.end())
            throw std::runtime_error(std::string(file) + " has no tensor " + name + "; build the bundle again");
    }
    for (const std::string &name : found) {
        if (std::find(names_.begin(), names_.end(), name) != names_.end()) continue;
        if (engine_->getTensorIOMode(name.c_str()) != nvinfer1::TensorIOMode::kOUTPUT)
            throw std::runtime_error(std::string(file) + " needs an input " + name + "; build the bundle again");
        names_.push_back(name);
    }
}

void Engine::choose_weights([[maybe_unused]] const char *file) {
#if HRT_TENSORRT_HEADERS(10, 1)
    if (!runtime().at_least(10, 1)) return;
    const int64_t streamable = engine_->getStreamableWeightsSize();
    if (streamable <= 0) return;
    const Cuda &cuda = runtime().cuda;
    std::size_t free = 0, total = 0;
    cuda.check(cuda.memory(&free, &total), "ask for the GPU's free memory");
    const std::string path = file, name = path.substr(path.find_last_of('/') + 1);
    const Budget budget =
        choose_budget(streamable, free, name, [&] { return engine_->getWeightStreamingAutomaticBudget(); });
    if (!engine_->setWeightStreamingBudgetV2(budget.bytes)) refused("set how many weights stay on the GPU");
    if (!budget.note.empty()) note_ += (note_.empty() ? "" : "; ") + budget.note;
#endif
}

std::unique_ptr<nvinfer1::IExecutionContext> Engine::context() {
    const std::lock_guard<std::mutex> lock(mutex_); // contexts are made one at a time; they run at once
    using Context = std::unique_ptr<nvinfer1::IExecutionContext>;
#if HRT_TENSORRT_HEADERS(10, 0)
    using Strategy = nvinfer1::ExecutionContextAllocationStrategy;
    // Else each context would hold the memory of the largest profile.
    const Strategy strategy = static_ ? Strategy::kSTATIC : Strategy::kON_PROFILE_CHANGE;
#if defined(TRT_MAJOR_RTX) && !defined(HRT_WITHOUT_RTX_HEADERS)
    const std::unique_ptr<nvinfer1::IRuntimeConfig> config(engine_->createRuntimeConfig());
    if (config) {
        (void)config->setCudaGraphStrategy(nvinfer1::CudaGraphStrategy::kWHOLE_GRAPH_CAPTURE);
        config->setExecutionContextAllocationStrategy(strategy);
        return Context(engine_->createExecutionContext(config.get()));
    }
#endif
    return Context(engine_->createExecutionContext(strategy));
#else
    return Context(engine_->createExecutionContext());
#endif
}

int Engine::profile_for(const std::vector<nvinfer1::Dims> &shapes) const {
    using Select = nvinfer1::OptProfileSelector;
    std::string ranges;
    for (int32_t profile = 0; profile < engine_->getNbOptimizationProfiles(); ++profile) {
        bool fits = true;
        for (std::size_t i = 0; i < inputs_; ++i) {
            const char *name = names_[i].c_str();
            const nvinfer1::Dims low = engine_->getProfileShape(name, profile, Select::kMIN),
                                 high = engine_->getProfileShape(name, profile, Select::kMAX);
            fits = fits && within(low, shapes[i], high);
            if (i == 0) ranges += (profile == 0 ? "" : "; ") + text_of(low) + " to " + text_of(high);
        }
        if (fits) return profile;
    }
    throw std::runtime_error(names_[0] + " of shape " + text_of(shapes[0]) +
                             " is outside what the engine was built for (" + ranges +
                             "): give fewer or smaller pictures, or build that size");
}

} // namespace hrt::tensorrt
