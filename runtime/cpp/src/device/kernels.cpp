#include "kernels.hpp"

#include "nvrtc.hpp"
#include "status.hpp"

#include <ostream>
#include <vector>

namespace hrt::device {

CacheKey kernels_key(std::pair<int, int> capability, std::pair<int, int> nvrtc_version) {
    return {
        {"kind", "kernels"},
        {"files", kernel_sources_sha256()},
        {"options", kNvrtcOptions},
        {"architecture", "sm_" + std::to_string(capability.first) + std::to_string(capability.second)},
        {"library", "nvrtc " + std::to_string(nvrtc_version.first) + "." + std::to_string(nvrtc_version.second)},
    };
}

Kernels::Kernels(const Device &device, CompiledCache cache) : device_(device) {
    const Nvrtc &compiler = Nvrtc::fitting(device.capability(), device.driver_major());
    const CacheKey key = kernels_key(device.capability(), compiler.version());
    std::vector<char> code;
    const bool kept = cache.read(key, [&](std::size_t bytes) {
        code.resize(bytes);
        return code.data();
    });
    if (kept) {
        try {
            module_ = device.load_module(code.data());
        } catch (const Error &) { // compiled again
            cache.remove(key);
        }
    }
    if (module_ == nullptr) {
        code = compiler.compile(device.capability());
        module_ = device.load_module(code.data());
        cache.write(key, [&](std::ostream &out) { out.write(code.data(), static_cast<std::streamsize>(code.size())); });
    }
    if (!cache.notes().empty()) log(HRT_LOG_WARNING, cache.notes());
    constexpr const char *names[] = {
#define HRT_NAME(name) #name,
        HRT_KERNELS(HRT_NAME)
#undef HRT_NAME
    };
    try {
        for (std::size_t i = 0; i < functions_.size(); ++i) functions_[i] = device.function(module_, names[i]);
    } catch (...) {
        device.unload(module_);
        throw;
    }
}

Kernels::~Kernels() { device_.unload(module_); }

} // namespace hrt::device
