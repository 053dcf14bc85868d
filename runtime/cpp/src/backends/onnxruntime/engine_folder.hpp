// The TensorRT provider's engines of one ONNX file, in one entry of the cache of compiled engines. The twin of
// EngineCache in runtime/backends/onnxruntime_providers.py.
//
// The provider reads and writes a folder, and trusts what it finds there. So it gets a private, temporary one that is
// filled from the entry, whose key and hash are checked, and goes into the entry when there is more in it.
#pragma once

#include "../../compiled_cache.hpp"

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

namespace hrt::onnxruntime {

class EngineFolder {
public:
    // Throws std::runtime_error: no temporary folder can be made.
    EngineFolder(CompiledCache cache, CacheKey key);
    ~EngineFolder();
    EngineFolder(const EngineFolder &) = delete;
    EngineFolder &operator=(const EngineFolder &) = delete;

    const std::string &path() const { return path_; }

    // Keeps what the provider has written, if there is anything new. A failure stops nothing. Any thread may.
    void save();

    // What went wrong with the cache, as sentences; "" where nothing did.
    const std::string &notes() const { return cache_.notes(); }

private:
    std::map<std::string, std::uintmax_t> found() const;
    void fill();

    CompiledCache cache_;
    CacheKey key_;
    std::string path_;
    std::map<std::string, std::uintmax_t> saved_; // sizes by name
    std::mutex mutex_;
};

} // namespace hrt::onnxruntime
