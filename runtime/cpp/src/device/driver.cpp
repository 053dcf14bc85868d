#include "driver.hpp"

#include "library.hpp"
#include "status.hpp"

#include <map>
#include <memory>
#include <mutex>

namespace hrt::device {
namespace {

// Numbers of cuda.h.
constexpr int kOutOfMemory = 2, kMajor = 75, kMinor = 76, kMemoryType = 2, kIsManaged = 8, kOrdinal = 9, kHost = 1;
constexpr int kThreadLocal = 1;                          // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
constexpr unsigned kNonBlocking = 1, kDisableTiming = 2; // of streams, of events

#define HRT_LOAD(name) load(calls.name, #name)

const DriverCalls &driver_calls() {
    static const DriverCalls *loaded = [] {
        const Library library("HARMONYRT_CUDA", {"libcuda.so.1", "libcuda.so"}, "NVIDIA's driver");
        static DriverCalls calls;
        const auto load = [&](auto &function, const char *name) { library.find(function, name); };
        HRT_LOAD(cuInit);
        HRT_LOAD(cuDriverGetVersion);
        HRT_LOAD(cuDeviceGetCount);
        HRT_LOAD(cuDeviceGet);
        HRT_LOAD(cuDeviceGetAttribute);
        HRT_LOAD(cuDevicePrimaryCtxRetain);
        HRT_LOAD(cuCtxPushCurrent_v2);
        HRT_LOAD(cuCtxPopCurrent_v2);
        HRT_LOAD(cuMemAlloc_v2);
        HRT_LOAD(cuMemFree_v2);
        HRT_LOAD(cuMemAllocHost_v2);
        HRT_LOAD(cuMemFreeHost);
        HRT_LOAD(cuMemcpyAsync);
        HRT_LOAD(cuPointerGetAttribute);
        HRT_LOAD(cuStreamCreate);
        HRT_LOAD(cuStreamDestroy_v2);
        HRT_LOAD(cuStreamSynchronize);
        HRT_LOAD(cuStreamWaitEvent);
        HRT_LOAD(cuEventCreate);
        HRT_LOAD(cuEventDestroy_v2);
        HRT_LOAD(cuEventRecord);
        HRT_LOAD(cuStreamBeginCapture_v2);
        HRT_LOAD(cuStreamEndCapture);
        HRT_LOAD(cuStreamIsCapturing);
        HRT_LOAD(cuGraphInstantiateWithFlags);
        HRT_LOAD(cuGraphLaunch);
        HRT_LOAD(cuGraphExecDestroy);
        HRT_LOAD(cuGraphDestroy);
        HRT_LOAD(cuModuleLoadData);
        HRT_LOAD(cuModuleUnload);
        HRT_LOAD(cuModuleGetFunction);
        HRT_LOAD(cuLaunchKernel);
        HRT_LOAD(cuGetErrorString);
        if (const int error = calls.cuInit(0); error != 0) {
            const char *text = nullptr;
            (void)calls.cuGetErrorString(error, &text);
            throw Error(HRT_NO_BACKEND, std::string("NVIDIA's driver does not start (") +
                                            (text != nullptr ? text : "it does not say why") +
                                            "): check nvidia-smi, or use hrt_harmonize_u8 with host memory");
        }
        return &calls;
    }();
    return *loaded;
}

void check(const DriverCalls &calls, int error, const char *name) {
    if (error == 0) return;
    const char *text = nullptr;
    (void)calls.cuGetErrorString(error, &text);
    throw Error(error == kOutOfMemory ? HRT_OUT_OF_MEMORY : HRT_ENGINE_FAILED,
                std::string("CUDA's ") + name +
                    " failed: " + (text != nullptr ? std::string(text) : "error " + std::to_string(error)) +
                    "; free the GPU or its memory and try again");
}

Address number(const void *address) { return static_cast<Address>(reinterpret_cast<std::uintptr_t>(address)); }

} // namespace

#define HRT_CALL(name, ...) check(calls_, calls_.name(__VA_ARGS__), #name)

const Device &Device::get(int index) {
    static std::mutex mutex;
    static auto *open = new std::map<int, std::unique_ptr<Device>>(); // CUDA's own globals may go first at exit
    const std::lock_guard<std::mutex> lock(mutex);
    std::unique_ptr<Device> &slot = (*open)[index];
    if (!slot) slot.reset(new Device(index));
    return *slot;
}

Device::Device(int index) : calls_(driver_calls()), index_(index) {
    int count = 0, device = 0, version = 0;
    HRT_CALL(cuDeviceGetCount, &count);
    if (index < 0 || index >= count) {
        throw Error(HRT_NO_BACKEND, "device cuda:" + std::to_string(index) + " was asked for, found " +
                                        std::to_string(count) + " GPUs: give another, or check nvidia-smi");
    }
    HRT_CALL(cuDriverGetVersion, &version);
    driver_ = version / 1000;
    HRT_CALL(cuDeviceGet, &device, index);
    HRT_CALL(cuDeviceGetAttribute, &capability_.first, kMajor, device);
    HRT_CALL(cuDeviceGetAttribute, &capability_.second, kMinor, device);
    HRT_CALL(cuDevicePrimaryCtxRetain, &context_, device); // kept to the end of the process, as the device is
}

void *Device::allocate(std::size_t bytes) const {
    Address address = 0;
    HRT_CALL(cuMemAlloc_v2, &address, bytes > 0 ? bytes : 1);
    return reinterpret_cast<void *>(static_cast<std::uintptr_t>(address));
}

void Device::free(void *address) const noexcept {
    if (address != nullptr) (void)calls_.cuMemFree_v2(number(address));
}

void *Device::allocate_pinned(std::size_t bytes) const {
    void *address = nullptr;
    HRT_CALL(cuMemAllocHost_v2, &address, bytes > 0 ? bytes : 1);
    return address;
}

void Device::free_pinned(void *address) const noexcept {
    if (address != nullptr) (void)calls_.cuMemFreeHost(address);
}

void Device::copy(void *target, const void *source, std::size_t bytes, Stream stream) const {
    HRT_CALL(cuMemcpyAsync, number(target), number(source), bytes, stream);
}

int Device::device_of(const void *address) const noexcept {
    unsigned type = 0, managed = 0;
    int ordinal = -1;
    if (calls_.cuPointerGetAttribute(&type, kMemoryType, number(address)) != 0) return -1; // CUDA does not know it
    if (type == kHost) {
        const bool known = calls_.cuPointerGetAttribute(&managed, kIsManaged, number(address)) == 0;
        return known && (managed & 1U) != 0 ? index_ : -1;
    }
    return calls_.cuPointerGetAttribute(&ordinal, kOrdinal, number(address)) == 0 ? ordinal : -1;
}

Stream Device::create_stream() const {
    Stream stream = nullptr;
    HRT_CALL(cuStreamCreate, &stream, kNonBlocking);
    return stream;
}

void Device::destroy(Stream stream) const noexcept {
    if (stream != nullptr) (void)calls_.cuStreamDestroy_v2(stream);
}

void Device::synchronize(Stream stream) const { HRT_CALL(cuStreamSynchronize, stream); }

Event Device::create_event() const {
    Event event = nullptr;
    HRT_CALL(cuEventCreate, &event, kDisableTiming);
    return event;
}

void Device::destroy(Event event) const noexcept {
    if (event != nullptr) (void)calls_.cuEventDestroy_v2(event);
}

void Device::record(Event event, Stream stream) const { HRT_CALL(cuEventRecord, event, stream); }

void Device::wait(Stream stream, Event event) const { HRT_CALL(cuStreamWaitEvent, stream, event, 0); }

bool Device::is_capturing(Stream stream) const {
    if (stream == nullptr) return false; // the default one cannot be, and may not be asked while others are
    int status = 0;
    HRT_CALL(cuStreamIsCapturing, stream, &status);
    return status != 0;
}

void Device::begin_capture(Stream stream) const { HRT_CALL(cuStreamBeginCapture_v2, stream, kThreadLocal); }

GraphExec Device::end_capture(Stream stream) const {
    Graph graph = nullptr;
    GraphExec made = nullptr;
    HRT_CALL(cuStreamEndCapture, stream, &graph);
    const int error = calls_.cuGraphInstantiateWithFlags(&made, graph, 0);
    (void)calls_.cuGraphDestroy(graph);
    check(calls_, error, "cuGraphInstantiateWithFlags");
    return made;
}

void Device::abandon_capture(Stream stream) const noexcept {
    Graph graph = nullptr;
    if (calls_.cuStreamEndCapture(stream, &graph) == 0 && graph != nullptr) (void)calls_.cuGraphDestroy(graph);
}

void Device::launch(GraphExec graph, Stream stream) const { HRT_CALL(cuGraphLaunch, graph, stream); }

void Device::destroy(GraphExec graph) const noexcept { (void)calls_.cuGraphExecDestroy(graph); }

CudaModule Device::load_module(const void *code) const {
    CudaModule module = nullptr;
    HRT_CALL(cuModuleLoadData, &module, code);
    return module;
}

void Device::unload(CudaModule module) const noexcept {
    if (module != nullptr) (void)calls_.cuModuleUnload(module);
}

Function Device::function(CudaModule module, const char *name) const {
    Function function = nullptr;
    HRT_CALL(cuModuleGetFunction, &function, module, name);
    return function;
}

void Device::launch(Function function, Size grid, Size block, void **arguments, Stream stream) const {
    HRT_CALL(cuLaunchKernel, function, grid.x, grid.y, grid.z, block.x, block.y, block.z, 0, stream, arguments,
             nullptr);
}

Current::Current(const Device &device) : device_(device) {
    check(device.calls_, device.calls_.cuCtxPushCurrent_v2(device.context_), "cuCtxPushCurrent");
}

Current::~Current() {
    Context popped = nullptr;
    (void)device_.calls_.cuCtxPopCurrent_v2(&popped);
}

} // namespace hrt::device
