// What the kernels are handed: also included by runtime/cpp/src/device/structures.hpp, so nothing of CUDA's is here.
// Filled by that, and by runtime/kernels/structures.py, which has to match.
#pragma once

struct Plane {           // samples in memory, for example a picture of interleaved colours, or NV12's luma
    unsigned char *data; // first row
    long long pitch;     // bytes from one row to the next
    int width, height;   // in samples
    int channels;        // values of a sample, interleaved
    int bytes;           // of a value: 1, or 2 (little-endian)
    int shift;           // bits below a value: 6 in P010
    int highest;         // largest value
};

struct Space { // values of video planes as RGB from 0 to 255: (value - offset) @ to_rgb, and back
    float offset[3];
    float to_rgb[9]; // row by row, as the next
    float from_rgb[9];
};

struct Maps {        // what the network did to the foreground
    float matrix[9]; // colours as rows: colour @ matrix
    float unused;
    double mean_in[3], mean_out[3];
};

struct Sizes { // of the engine's picture and of the grid of cells over it
    int width, height;
    int grid_width, grid_height;
};

struct State {    // one picture's, cleared by `begin`, but for the last
    int peak;     // the mask's largest coverage, the bits of a float
    int anchored; // whether the mask pyramid keeps any pixel of the network's mask
    int failed;   // whether the network gave values that are not finite
    int failures; // pictures so far of which it did
};
