// The kernels' structures, and frames in device memory that are made of them. The twin of
// runtime/kernels/structures.py.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <vector>

namespace hrt::device {

#include "structures.cuh"

constexpr int kSums = 22;           // of a cell, as maps.cu has them
constexpr int kLongestSide = 65535; // with the next, what the triangle filter's whole numbers hold
constexpr int kLongestEngineSide = 8191;

// Of an engine's picture; the grid is that of colour_maps.hpp.
Sizes sizes_of(int height, int width);

// A picture of interleaved colours, or luma and chroma as NV12 and P010 have them.
struct Frame {
    std::array<Plane, 2> parts{};
    std::size_t count = 1; // 2: luma and chroma
    int red = 0;           // of interleaved colours: channel of red, 0 or 2
    Space space{};         // of luma and chroma

    bool packed() const noexcept { return count == 1; }
    int width() const noexcept { return parts[0].width; }
    int height() const noexcept { return parts[0].height; }
};

// What is done to one picture.
struct Picture {
    Frame composite;
    Plane mask;
    Frame result; // may be the composite
    int height;   // at which it goes through the network
    int width;
    float strength;

    // All that a recording holds.
    std::string key() const;
};

// Device memory that a picture's kernels work in, for one size of engine and one of frame.
struct Scratch {
    Sizes sizes;
    float *image;                 // 3 x height x width: the network's input
    float *mask;                  // height x width: likewise
    float *output;                // 3 x height x width: what the network answers
    float *coverage;              // height x width
    float *shrunk;                // rows of one plane at the engine's height
    std::array<float *, 2> small; // planes of the frame at the engine's size, interleaved
    float *partial;               // sums x height x grid width
    double *sums, *windows;       // sums x cells
    Maps *maps;
    float *cells; // cells x 6
    State *state;

    // `allocate` takes bytes and gives an address; `state` is cleared memory that outlives this.
    static Scratch make(const std::function<void *(std::size_t)> &allocate, Sizes sizes, const Frame &frame,
                        State *state);
};

inline int pixels_of(const Sizes &sizes) noexcept { return sizes.width * sizes.height; }

} // namespace hrt::device
