// Holds the declarations of src/device to those of NVIDIA's headers, where a build has them: the same number of
// parameters, each of the same kind and size. Compiled, never run.

#include "device/driver.hpp"

#include <cuda.h>

#include <type_traits>

namespace {

template <class Ours, class Theirs>
constexpr bool alike() {
    if constexpr (std::is_pointer_v<Ours>) return std::is_pointer_v<Theirs>;
    return (std::is_integral_v<Theirs> || std::is_enum_v<Theirs>)&&sizeof(Ours) == sizeof(Theirs);
}

template <class Ours, class Theirs>
struct Same : std::false_type {};
template <class Result, class... Ours, class TheirResult, class... Theirs>
struct Same<Result (*)(Ours...), TheirResult(Theirs...)>
    : std::bool_constant<sizeof...(Ours) == sizeof...(Theirs) && alike<Result, TheirResult>() &&
                         (alike<Ours, Theirs>() && ...)> {};

using Calls = hrt::device::DriverCalls;

} // namespace

#define CHECK(ours, theirs) static_assert(Same<decltype(Calls::ours), decltype(theirs)>::value, #ours)

CHECK(cuInit, cuInit);
CHECK(cuDriverGetVersion, cuDriverGetVersion);
CHECK(cuDeviceGetCount, cuDeviceGetCount);
CHECK(cuDeviceGet, cuDeviceGet);
CHECK(cuDeviceGetAttribute, cuDeviceGetAttribute);
CHECK(cuDevicePrimaryCtxRetain, cuDevicePrimaryCtxRetain);
CHECK(cuCtxPushCurrent_v2, cuCtxPushCurrent);
CHECK(cuCtxPopCurrent_v2, cuCtxPopCurrent);
CHECK(cuMemAlloc_v2, cuMemAlloc);
CHECK(cuMemFree_v2, cuMemFree);
CHECK(cuMemAllocHost_v2, cuMemAllocHost);
CHECK(cuMemFreeHost, cuMemFreeHost);
CHECK(cuMemcpyAsync, cuMemcpyAsync);
CHECK(cuPointerGetAttribute, cuPointerGetAttribute);
CHECK(cuStreamCreate, cuStreamCreate);
CHECK(cuStreamDestroy_v2, cuStreamDestroy);
CHECK(cuStreamSynchronize, cuStreamSynchronize);
CHECK(cuStreamWaitEvent, cuStreamWaitEvent);
CHECK(cuEventCreate, cuEventCreate);
CHECK(cuEventDestroy_v2, cuEventDestroy);
CHECK(cuEventRecord, cuEventRecord);
CHECK(cuStreamBeginCapture_v2, cuStreamBeginCapture);
CHECK(cuStreamEndCapture, cuStreamEndCapture);
CHECK(cuStreamIsCapturing, cuStreamIsCapturing);
CHECK(cuGraphInstantiateWithFlags, cuGraphInstantiate);
CHECK(cuGraphLaunch, cuGraphLaunch);
CHECK(cuGraphExecDestroy, cuGraphExecDestroy);
CHECK(cuGraphDestroy, cuGraphDestroy);
CHECK(cuModuleLoadData, cuModuleLoadData);
CHECK(cuModuleUnload, cuModuleUnload);
CHECK(cuModuleGetFunction, cuModuleGetFunction);
CHECK(cuLaunchKernel, cuLaunchKernel);
CHECK(cuGetErrorString, cuGetErrorString);

// Numbers that driver.cpp has.
static_assert(CUDA_ERROR_OUT_OF_MEMORY == 2 && CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR == 75 &&
              CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR == 76 && CU_POINTER_ATTRIBUTE_MEMORY_TYPE == 2 &&
              CU_POINTER_ATTRIBUTE_IS_MANAGED == 8 && CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL == 9 &&
              CU_MEMORYTYPE_HOST == 1 && CU_STREAM_CAPTURE_MODE_THREAD_LOCAL == 1 && CU_STREAM_NON_BLOCKING == 1 &&
              CU_EVENT_DISABLE_TIMING == 2);
