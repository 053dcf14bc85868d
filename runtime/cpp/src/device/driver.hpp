// CUDA's driver, loaded when it is first needed: memory, order, graphs and kernels. The twin of
// runtime/backends/cuda.py, over the driver's own interface: libharmonyrt neither needs CUDA to be built nor links it.
//
// Handles are the driver's, which the CUDA runtime shares: a cudaStream_t is a stream of these. Source: cuda.h; where a
// build finds that header, tests/cuda_prototypes.cpp compares.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

struct CUctx_st;
struct CUstream_st;
struct CUevent_st;
struct CUgraph_st;
struct CUgraphExec_st;
struct CUmod_st;
struct CUfunc_st;

namespace hrt::device {

using Context = CUctx_st *;
using Stream = CUstream_st *; // null: the default one
using Event = CUevent_st *;
using Graph = CUgraph_st *;
using GraphExec = CUgraphExec_st *;
using CudaModule = CUmod_st *;
using Function = CUfunc_st *;
using Address = unsigned long long;

// The driver's functions that are used, by their exported names.
struct DriverCalls {
    int (*cuInit)(unsigned);
    int (*cuDriverGetVersion)(int *);
    int (*cuDeviceGetCount)(int *);
    int (*cuDeviceGet)(int *, int);
    int (*cuDeviceGetAttribute)(int *, int, int);
    int (*cuDevicePrimaryCtxRetain)(Context *, int);
    int (*cuCtxPushCurrent_v2)(Context);
    int (*cuCtxPopCurrent_v2)(Context *);
    int (*cuMemAlloc_v2)(Address *, std::size_t);
    int (*cuMemFree_v2)(Address);
    int (*cuMemAllocHost_v2)(void **, std::size_t);
    int (*cuMemFreeHost)(void *);
    int (*cuMemcpyAsync)(Address, Address, std::size_t, Stream);
    int (*cuPointerGetAttribute)(void *, int, Address);
    int (*cuStreamCreate)(Stream *, unsigned);
    int (*cuStreamDestroy_v2)(Stream);
    int (*cuStreamSynchronize)(Stream);
    int (*cuStreamWaitEvent)(Stream, Event, unsigned);
    int (*cuEventCreate)(Event *, unsigned);
    int (*cuEventDestroy_v2)(Event);
    int (*cuEventRecord)(Event, Stream);
    int (*cuStreamBeginCapture_v2)(Stream, int);
    int (*cuStreamEndCapture)(Stream, Graph *);
    int (*cuStreamIsCapturing)(Stream, int *);
    int (*cuGraphInstantiateWithFlags)(GraphExec *, Graph, unsigned long long);
    int (*cuGraphLaunch)(GraphExec, Stream);
    int (*cuGraphExecDestroy)(GraphExec);
    int (*cuGraphDestroy)(Graph);
    int (*cuModuleLoadData)(CudaModule *, const void *);
    int (*cuModuleUnload)(CudaModule);
    int (*cuModuleGetFunction)(Function *, CudaModule, const char *);
    int (*cuLaunchKernel)(Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Stream,
                          void **, void **);
    int (*cuGetErrorString)(int, const char **);
};

// One GPU, by its primary context: the one that the CUDA runtime, and with it TensorRT and ONNX Runtime, works in.
// Every call but the constructor's must be made while a Current of this device lives.
class Device {
public:
    // Throws Error (HRT_NO_BACKEND): no driver, or no such GPU.
    static const Device &get(int index);

    int index() const noexcept { return index_; }
    std::pair<int, int> capability() const noexcept { return capability_; }
    int driver_major() const noexcept { return driver_; } // newest CUDA major version that the driver knows

    // Each throws Error (HRT_ENGINE_FAILED, HRT_OUT_OF_MEMORY) with CUDA's words.
    void *allocate(std::size_t bytes) const;
    void free(void *address) const noexcept;
    void *allocate_pinned(std::size_t bytes) const;
    void free_pinned(void *address) const noexcept;
    void copy(void *target, const void *source, std::size_t bytes, Stream stream) const;
    // The GPU that memory lies on; -1 for memory of the host.
    int device_of(const void *address) const noexcept;

    Stream create_stream() const; // which does not wait for the default one
    void destroy(Stream stream) const noexcept;
    void synchronize(Stream stream) const;
    Event create_event() const;
    void destroy(Event event) const noexcept;
    void record(Event event, Stream stream) const;
    void wait(Stream stream, Event event) const;

    bool is_capturing(Stream stream) const;
    void begin_capture(Stream stream) const;
    GraphExec end_capture(Stream stream) const;
    void abandon_capture(Stream stream) const noexcept; // whatever CUDA thinks of it
    void launch(GraphExec graph, Stream stream) const;
    void destroy(GraphExec graph) const noexcept;

    CudaModule load_module(const void *code) const;
    void unload(CudaModule module) const noexcept;
    Function function(CudaModule module, const char *name) const;
    struct Size {
        unsigned x, y, z;
    };
    void launch(Function function, Size grid, Size block, void **arguments, Stream stream) const;

private:
    friend class Current;
    explicit Device(int index);

    const DriverCalls &calls_;
    int index_;
    int driver_ = 0;
    std::pair<int, int> capability_;
    Context context_ = nullptr;
};

// Makes a device the calling thread's current one, and gives the thread back what it had.
class Current {
public:
    explicit Current(const Device &device);
    ~Current();
    Current(const Current &) = delete;
    Current &operator=(const Current &) = delete;

private:
    const Device &device_;
};

} // namespace hrt::device
