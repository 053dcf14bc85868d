// Separable resampling with a triangle filter. The twin of runtime/resample.py; docs/full_resolution.md has the words.
//
// Shrinking widens the triangle (antialias), growing leaves it at one sample each side (bilinear). Samples sit at pixel
// centres; weights that reach past the border are dropped and the rest scaled to sum 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace hrt {

// The weights of one output sample over input samples [first, first + count).
struct Taps {
    int first;
    int count;
    const float *weights;
};

// The weights of a whole line of `target` samples over `source` ones.
class Line {
public:
    Line(int source, int target);
    Taps operator[](int i) const noexcept {
        const Run &run = runs_[static_cast<std::size_t>(i)];
        return {run.first, run.count, weights_.data() + run.weights};
    }
    int size() const noexcept { return static_cast<int>(runs_.size()); }

private:
    struct Run {
        int first;
        int count;
        std::size_t weights;
    };
    std::vector<Run> runs_;
    std::vector<float> weights_;
};

struct Samples {
    const std::uint8_t *data;
    int width;
    int height;
    std::size_t stride; // bytes from row to row
    int step;           // bytes from pixel to pixel
};

// Resizes the first `channels` bytes of each pixel. Packed, height x width x channels, in the range of the input.
std::vector<float> resample(const Samples &source, int channels, int width, int height, int threads);

} // namespace hrt
