// Whatever text stands in manifest.json, the parser reads it or throws its own error.
#include "manifest.hpp"
#include "status.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    try {
        (void)hrt::parse_manifest(std::string(reinterpret_cast<const char *>(data), size), "manifest.json");
    } catch (const hrt::Error &) {
    }
    return 0;
}
