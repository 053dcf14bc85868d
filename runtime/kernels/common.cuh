// What the kernels share: their structures, values in memory, and the triangle filter's weights. Structures are filled
// by runtime/kernels/structures.py, which has to match.
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

#define RED_TO_BLUE(c, red) ((red) == 0 ? (c) : 2 - (c))

static __device__ float clamped(float value, float low, float high) { return fminf(fmaxf(value, low), high); }

static __device__ int value_at(const Plane &plane, int row, long long index) {
    const unsigned char *line = plane.data + row * plane.pitch;
    if (plane.bytes == 1) return line[index];
    return reinterpret_cast<const unsigned short *>(line)[index] >> plane.shift;
}

static __device__ void set_value(const Plane &plane, int row, long long index, float value) {
    const int rounded = static_cast<int>(clamped(value + 0.5f, 0.0f, static_cast<float>(plane.highest)));
    unsigned char *line = plane.data + row * plane.pitch;
    if (plane.bytes == 1) {
        line[index] = static_cast<unsigned char>(rounded);
    } else {
        reinterpret_cast<unsigned short *>(line)[index] = static_cast<unsigned short>(rounded << plane.shift);
    }
}

static __device__ void copy_value(const Plane &from, const Plane &to, int row, long long index) {
    if (from.data == to.data) return;
    const unsigned char *source = from.data + row * from.pitch;
    unsigned char *target = to.data + row * to.pitch;
    if (from.bytes == 1) {
        target[index] = source[index];
    } else {
        reinterpret_cast<unsigned short *>(target)[index] = reinterpret_cast<const unsigned short *>(source)[index];
    }
}

// --- the triangle filter

// Inputs [first, last) of one output sample. Weights are whole numbers, so that nothing depends on how a centre is
// rounded: position and centre are multiplied by twice the number of output samples. They fit into 31 bits while one
// side is at most 65535 and the other at most 8191.
struct Taps {
    int first, last;
    int reach, centre, step;

    __device__ Taps(int source, int target, int output) {
        step = target;
        reach = 2 * (source > target ? source : target);
        centre = (2 * output + 1) * source;
        first = centre <= reach ? 0 : (centre - reach) / (2 * step);
        const int end = (centre + reach + 2 * step - 1) / (2 * step);
        last = end < source ? end : source;
    }

    __device__ float weight(int input) const {
        const int distance = (2 * input + 1) * step - centre;
        const int left = reach - (distance < 0 ? -distance : distance);
        return left > 0 ? static_cast<float>(left) : 0.0f;
    }
};
