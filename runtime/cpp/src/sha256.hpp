// SHA-256 (FIPS 180-4), with the CPU's instructions for it where it has them. Written here rather than linked: the
// library needs nothing but the C and C++ ones (tests/symbols.sh), so libcrypto is no option.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace hrt {

class Sha256 {
public:
    Sha256() noexcept;
    void update(const void *data, std::size_t size) noexcept;
    // Lower-case hex. Ends the digest.
    std::string hex();

private:
    std::uint32_t state_[8];
    std::uint8_t pending_[64];
    std::size_t pending_size_ = 0;
    std::uint64_t total_ = 0;
};

// Hex digest of a file, read in pieces. Throws Error when it cannot be read.
std::string sha256_of_file(const std::string &path);

} // namespace hrt
