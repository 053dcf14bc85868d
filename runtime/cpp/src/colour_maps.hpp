// What the network did to the foreground, described as colour maps at low resolution.
//
// One 3x3 matrix for the whole foreground, and for each cell of a coarse grid a scale and a shift per channel, fitted
// over a window around the cell, weighted by the mask (after the fast guided filter, He and Sun 2015, arXiv
// 1505.00996).
#pragma once

#include "fit.hpp"

#include <vector>

namespace hrt {

// Maps from composite to harmonized colours, both in [0, 255].
struct ColourMaps {
    float matrix[3][3]; // colours are rows, multiplied from the left
    Size grid;
    std::vector<float> scale; // grid height x grid width x 3
    std::vector<float> shift; // likewise
};

// `output` is planar, 3 x height x width at the fitted size, before blending; values outside [0, 1] are clipped.
ColourMaps fit_maps(const Fitted &fitted, const float *output);

} // namespace hrt
