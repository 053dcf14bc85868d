// Noise that a seed decides. The twin of runtime/diffusion/noise.py, which has the words.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace hrt {

// NumPy's Philox4x64-10: key = [seed, sample], counter from 0.
class Philox {
public:
    Philox(std::uint64_t seed, std::uint64_t sample) noexcept : seed_(seed), sample_(sample) {}
    std::uint64_t next() noexcept;

private:
    std::uint64_t seed_, sample_; // the key
    std::array<std::uint64_t, 4> counter_{};
    std::array<std::uint64_t, 4> words_{};
    std::size_t used_ = 4;
};

// Normal numbers of one seed and sample, tensor after tensor.
class NoiseStream {
public:
    NoiseStream(std::uint64_t seed, std::uint64_t sample) noexcept : raw_(seed, sample) {}
    // Fills the next tensor.
    void normal(std::vector<float> &out);

private:
    Philox raw_;
    std::vector<std::uint64_t> words_;
};

} // namespace hrt
