#include "noise.hpp"

#include <cmath>

namespace hrt {
namespace {

// Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011): multipliers, and the golden
// ratio and the square root of 3 less 1, which the key grows by.
constexpr std::uint64_t kMultiplier[2] = {0xD2E7470EE14C6C93U, 0xCA5A826395121157U};
constexpr std::uint64_t kWeyl[2] = {0x9E3779B97F4A7C15U, 0xBB67AE8584CAA73BU};
constexpr int kRounds = 10;

struct Product {
    std::uint64_t high, low;
};

Product multiply(std::uint64_t a, std::uint64_t b) noexcept {
    constexpr std::uint64_t half = 0xFFFFFFFFU;
    const std::uint64_t low = (a & half) * (b & half);
    const std::uint64_t middle = (a >> 32U) * (b & half) + (low >> 32U);
    const std::uint64_t other = (a & half) * (b >> 32U) + (middle & half);
    return {(a >> 32U) * (b >> 32U) + (middle >> 32U) + (other >> 32U), a * b};
}

} // namespace

std::uint64_t Philox::next() noexcept {
    if (used_ == words_.size()) {
        // NumPy counts first and draws then: its first words are those of the counter 1.
        for (std::uint64_t &part : counter_) {
            if (++part != 0) break;
        }
        words_ = counter_;
        std::uint64_t key[2] = {seed_, sample_};
        for (int round = 0; round < kRounds; ++round) {
            const Product first = multiply(kMultiplier[0], words_[0]), second = multiply(kMultiplier[1], words_[2]);
            words_ = {second.high ^ words_[1] ^ key[0], second.low, first.high ^ words_[3] ^ key[1], first.low};
            key[0] += kWeyl[0];
            key[1] += kWeyl[1];
        }
        used_ = 0;
    }
    return words_[used_++];
}

void NoiseStream::normal(std::vector<float> &out) {
    constexpr double unit = 1.0 / 9007199254740992.0; // 2^-53
    constexpr double turn = 2 * 3.141592653589793;
    const std::size_t pairs = (out.size() + 1) / 2;
    words_.resize(2 * pairs);
    for (std::uint64_t &word : words_) word = raw_.next() >> 11U;
    for (std::size_t i = 0; i < pairs; ++i) {
        const double radius = std::sqrt(-2 * std::log(static_cast<double>(words_[i] + 1) * unit));
        const double angle = turn * (static_cast<double>(words_[pairs + i]) * unit);
        out[i] = static_cast<float>(radius * std::cos(angle));
        if (pairs + i < out.size()) out[pairs + i] = static_cast<float>(radius * std::sin(angle));
    }
}

} // namespace hrt
