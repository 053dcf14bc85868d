// The kernels on a GPU: compiled at first use, kept in the cache of compiled models, loaded, launched. The twin of
// runtime/kernels/loaded.py, with the same entries in the same cache.
#pragma once

#include "../compiled_cache.hpp"
#include "driver.hpp"

#include <array>
#include <cstddef>

namespace hrt::device {

#define HRT_KERNELS(each)                                                                              \
    each(begin) each(resize_rows) each(resize_columns) each(image_of_colours) each(image_of_planes)    \
        each(coverage_of_levels) each(threshold_mask) each(anchor_mask) each(sum_rows) each(sum_cells) \
            each(sum_windows) each(fit_matrix) each(fit_cells) each(apply_maps) each(blend_answer)     \
                each(apply_to_planes) each(finish)

#define HRT_NAMED(name) name,
enum class Kernel { HRT_KERNELS(HRT_NAMED) count };
#undef HRT_NAMED

// What the compiled kernels depend on.
CacheKey kernels_key(std::pair<int, int> capability, std::pair<int, int> nvrtc_version);

// Of one GPU, which is the calling thread's current one.
class Kernels {
public:
    // Throws Error: no NVRTC that fits this GPU and its driver, or the driver does not take the code.
    Kernels(const Device &device, CompiledCache cache);
    ~Kernels();
    Kernels(const Kernels &) = delete;
    Kernels &operator=(const Kernels &) = delete;

    // Puts one kernel on a stream. The arguments, of exactly its parameters' types, are copied.
    template <class... Arguments>
    void launch(Kernel kernel, Device::Size grid, Device::Size block, Stream stream, Arguments... arguments) const {
        void *places[] = {static_cast<void *>(&arguments)...};
        device_.launch(functions_[static_cast<std::size_t>(kernel)], grid, block, places, stream);
    }

private:
    const Device &device_;
    CudaModule module_ = nullptr;
    std::array<Function, static_cast<std::size_t>(Kernel::count)> functions_{};
};

} // namespace hrt::device
