// Finding and loading backend modules, and the C++ face of what they open.
#pragma once

#include "backend_module.h"

#include <memory>
#include <string>
#include <vector>

namespace hrt {

// A loaded backend module. Modules stay loaded until the process ends: inference engines do not like to be unloaded.
class Module {
public:
    // Loads libharmonyrt_<name>.so from `folder` ("" for the default folders), once per file.
    // Returns null and sets `reason` where it is absent or does not load.
    static const Module *find(const std::string &name, const std::string &folder, std::string &reason);

    // Why this machine cannot run such an engine; "" when it can.
    std::string why_not(const hrt_module_request &request) const;

    // What is known of this CPU's speed, as JSON; "" where nothing is. See hrt_backend_module.
    std::string cpu_speed(const char *cache, bool measure) const;

    const hrt_backend_module &table() const noexcept { return *table_; }

private:
    explicit Module(const hrt_backend_module *table) : table_(table) {}
    const hrt_backend_module *table_;
};

using Tensor = hrt_module_tensor;

// Float32, batch x channels x height x width. An input is only read.
inline Tensor planes(const float *data, int batch, int channels, int height, int width) noexcept {
    return {const_cast<float *>(data), HRT_MODULE_F32, 4, {batch, channels, height, width}};
}

// How an engine runs on tensors in a GPU's memory.
enum class DeviceRuns {
    kNo = HRT_MODULE_NOT_ON_DEVICE,
    kWaits = HRT_MODULE_WAITS,
    kInOrder = HRT_MODULE_IN_ORDER,
    kRecordable = HRT_MODULE_RECORDABLE
};

// Weights, shared by threads.
class Engine {
public:
    // Throws Error (HRT_ENGINE_FAILED).
    Engine(const Module &module, const hrt_module_request &request);
    ~Engine();
    Engine(const Engine &) = delete;
    Engine &operator=(const Engine &) = delete;

    std::string device() const { return table_.device(handle_); }
    std::string version() const { return table_.version(handle_); }
    DeviceRuns device_runs() const { return static_cast<DeviceRuns>(table_.device_runs(handle_)); }
    const std::string &note() const { return note_; } // what the user should know; "" for nothing

private:
    friend class EngineSession;
    const hrt_backend_module &table_;
    long process_;        // that opened it
    std::size_t tensors_; // inputs and outputs of a run
    void *handle_ = nullptr;
    std::string note_;
};

// Buffers to run an engine with. One thread at a time.
class EngineSession {
public:
    explicit EngineSession(std::shared_ptr<Engine> engine);
    ~EngineSession();
    EngineSession(const EngineSession &) = delete;
    EngineSession &operator=(const EngineSession &) = delete;

    // One tensor for each of the inputs that the engine was opened with, then one for each output.
    // Throws Error (HRT_ENGINE_FAILED).
    void run(const std::vector<Tensor> &tensors);

    DeviceRuns device_runs() const { return engine_->device_runs(); }
    // The same on memory of the engine's GPU, put on a CUDA stream where device_runs() says so.
    void run_on_device(const std::vector<Tensor> &tensors, void *stream);

private:
    void check_count(const std::vector<Tensor> &tensors) const;

    std::shared_ptr<Engine> engine_;
    void *handle_ = nullptr;
};

// Where modules are looked for when the caller names no folder; for hrt_build_info().
std::string default_module_folders();

} // namespace hrt
