// NVIDIA's run-time compiler: the kernels as machine code of one kind of GPU. The twin of runtime/kernels/nvrtc.py.
#pragma once

#include <string>
#include <utility>
#include <vector>

struct _nvrtcProgram;

namespace hrt::device {

// The sources of runtime/kernels as this library was built with them; the first is what is compiled, the others are
// what it includes. In the order of runtime/kernels/nvrtc.py.
struct KernelSource {
    const char *name;
    const char *text;
    std::size_t bytes;
};
extern const KernelSource kKernelSources[];
extern const std::size_t kKernelSourceCount;

// Of all sources, as Python hashes them.
std::string kernel_sources_sha256();

constexpr const char *kNvrtcOptions = "--std=c++17";

// The functions that are used, by their exported names. Source: nvrtc.h.
struct NvrtcCalls {
    const char *(*nvrtcGetErrorString)(int);
    int (*nvrtcVersion)(int *, int *);
    int (*nvrtcGetNumSupportedArchs)(int *);
    int (*nvrtcGetSupportedArchs)(int *);
    int (*nvrtcCreateProgram)(_nvrtcProgram **, const char *, const char *, int, const char *const *,
                              const char *const *);
    int (*nvrtcDestroyProgram)(_nvrtcProgram **);
    int (*nvrtcCompileProgram)(_nvrtcProgram *, int, const char *const *);
    int (*nvrtcGetProgramLogSize)(_nvrtcProgram *, std::size_t *);
    int (*nvrtcGetProgramLog)(_nvrtcProgram *, char *);
    int (*nvrtcGetCUBINSize)(_nvrtcProgram *, std::size_t *);
    int (*nvrtcGetCUBIN)(_nvrtcProgram *, char *);
};

// One NVRTC library.
class Nvrtc {
public:
    using Capability = std::pair<int, int>;

    // The newest one whose code a GPU and its driver take: $HARMONYRT_NVRTC, else what the system's loader finds.
    // Throws Error (HRT_NO_BACKEND): none that fits.
    static const Nvrtc &fitting(Capability capability, int driver_major);

    std::pair<int, int> version() const noexcept { return version_; }
    bool knows(Capability capability) const noexcept;

    // Machine code of the kernels; takes about a second. Throws Error (HRT_ENGINE_FAILED).
    std::vector<char> compile(Capability capability) const;

private:
    friend std::vector<Nvrtc> load_all();
    Nvrtc() = default;

    NvrtcCalls calls_{};
    std::pair<int, int> version_;
    std::vector<int> architectures_;
};

} // namespace hrt::device
