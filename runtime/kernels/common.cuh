// What the kernels share: values in memory, and the triangle filter's weights.
#pragma once

#include "structures.cuh"

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
