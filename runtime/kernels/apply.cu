// Application at full size: maps interpolated between cells, blended by the mask. Bytes whose mask is 0 are copied, or
// not touched where the result is the composite itself. Twin of runtime/transfer.py and video/change.py.
#include "common.cuh"

// Scale and shift at sample (x, y) of width x height, interpolated between cells.
static __device__ void maps_at(const float *cells, const Sizes &size, int x, int y, int width, int height,
                               float out[6]) {
    const Taps across(size.grid_width, width, x), down(size.grid_height, height, y);
    float total = 0.0f;
    for (int k = 0; k < 6; ++k) out[k] = 0.0f;
#pragma unroll 1
    for (int i = down.first; i < down.last; ++i) {
        const float vertical = down.weight(i);
        if (vertical <= 0.0f) continue;
#pragma unroll 1
        for (int j = across.first; j < across.last; ++j) {
            const float weight = vertical * across.weight(j);
            const float *cell = cells + (static_cast<long long>(i) * size.grid_width + j) * 6;
            for (int k = 0; k < 6; ++k) out[k] += weight * cell[k];
            total += weight;
        }
    }
    for (int k = 0; k < 6; ++k) out[k] /= total;
}

// One pixel of interleaved colours towards what it is to become; other channels (alpha) stay.
static __device__ void blend(const Plane &composite, const Plane &result, int x, int y, int level,
                             const float target[3], int red, float strength) {
    const long long at = static_cast<long long>(x) * composite.channels;
    for (int c = 0; c < 3; ++c) {
        const long long index = at + RED_TO_BLUE(c, red);
        const float before = static_cast<float>(value_at(composite, y, index));
        const float after = strength == 1.0f ? target[c] : before + (target[c] - before) * strength;
        set_value(result, y, index,
                  level == 255 ? after : before + (after - before) * (static_cast<float>(level) / 255.0f));
    }
    if (composite.channels == 4) copy_value(composite, result, y, at + 3);
}

static __device__ bool untouched(const Plane &composite, const Plane &result, int x, int y, int level,
                                 const State *state) {
    if (level != 0 && !state->failed) return false;
    const long long at = static_cast<long long>(x) * composite.channels;
    for (int c = 0; c < composite.channels; ++c) copy_value(composite, result, y, at + c);
    return true;
}

extern "C" __global__ void apply_maps(Plane composite, Plane mask, Plane result, int red, float strength, Sizes size,
                                      const Maps *maps, const float *cells, const State *state) {
    const int x = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    const int y = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
    if (x >= composite.width || y >= composite.height) return;
    const int level = value_at(mask, y, x);
    if (untouched(composite, result, x, y, level, state)) return;
    float colour[3], target[3], here[6];
    for (int c = 0; c < 3; ++c) {
        const long long index = static_cast<long long>(x) * composite.channels + RED_TO_BLUE(c, red);
        colour[c] = static_cast<float>(value_at(composite, y, index));
    }
    maps_at(cells, size, x, y, composite.width, composite.height, here);
    const float steps = static_cast<float>(composite.highest) / 255.0f;
    for (int c = 0; c < 3; ++c) {
        const float turned =
            colour[0] * maps->matrix[c] + colour[1] * maps->matrix[3 + c] + colour[2] * maps->matrix[6 + c];
        target[c] = turned * here[c] + here[3 + c] * steps;
    }
    blend(composite, result, x, y, level, target, red, strength);
}

// A composite of exactly the engine's size gets the network's picture itself.
extern "C" __global__ void blend_answer(Plane composite, Plane mask, Plane result, int red, float strength,
                                        const float *output, State *state) {
    const int x = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    const int y = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
    if (x >= composite.width || y >= composite.height) return;
    const int level = value_at(mask, y, x);
    if (untouched(composite, result, x, y, level, state)) return;
    const long long pixels = static_cast<long long>(composite.width) * composite.height;
    float target[3];
    for (int c = 0; c < 3; ++c) {
        const float answer = output[c * pixels + static_cast<long long>(y) * composite.width + x];
        target[c] = clamped(answer, 0.0f, 1.0f) * static_cast<float>(composite.highest);
    }
    blend(composite, result, x, y, level, target, red, strength);
}

// NV12 and P010: one thread for a sample of chroma and the four of luma over it. Chroma has the mean of its pixels'
// mask and luma, and changes where any of them is in the mask; no frame is ever converted to RGB.
extern "C" __global__ void apply_to_planes(Plane luma, Plane chroma, Plane mask, Plane new_luma, Plane new_chroma,
                                           float strength, Space space, Sizes size, const Maps *maps,
                                           const float *cells, const State *state) {
    const int column = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    const int row = static_cast<int>(blockIdx.y * blockDim.y + threadIdx.y);
    if (column >= chroma.width || row >= chroma.height) return;
    float mean = 0.0f, share = 0.0f;
#pragma unroll 1
    for (int k = 0; k < 4; ++k) { // a block at the border repeats what is there
        const int x = 2 * column + k % 2 < luma.width ? 2 * column + k % 2 : luma.width - 1;
        const int y = 2 * row + k / 2 < luma.height ? 2 * row + k / 2 : luma.height - 1;
        mean += static_cast<float>(value_at(luma, y, x)) / 4.0f;
        share += static_cast<float>(value_at(mask, y, x)) / (4.0f * 255.0f);
    }
    const bool changes = share > 0.0f && !state->failed;
    float turned[9], here[6]; // values to RGB that the matrix has turned: P x 3
    for (int p = 0; p < 3; ++p) {
        for (int c = 0; c < 3; ++c) {
            turned[3 * p + c] = space.to_rgb[3 * p] * maps->matrix[c] + space.to_rgb[3 * p + 1] * maps->matrix[3 + c] +
                                space.to_rgb[3 * p + 2] * maps->matrix[6 + c];
        }
    }
    const float values[3] = {mean - space.offset[0],
                             static_cast<float>(value_at(chroma, row, 2LL * column)) - space.offset[1],
                             static_cast<float>(value_at(chroma, row, 2LL * column + 1)) - space.offset[2]};
    float rest = 0.0f; // what luma gains whatever its own value
    if (changes) maps_at(cells, size, column, row, chroma.width, chroma.height, here);
    for (int q = 0; q < 3; ++q) {
        float delta = -values[q];
        float of_luma = q == 0 ? -1.0f : 0.0f;
        for (int c = 0; changes && c < 3; ++c) {
            float rgb = 0.0f;
            for (int p = 0; p < 3; ++p) rgb += values[p] * turned[3 * p + c];
            delta += (rgb * here[c] + here[3 + c]) * space.from_rgb[3 * c + q];
            of_luma += turned[c] * here[c] * space.from_rgb[3 * c + q];
        }
        if (q == 0) {
            rest = delta - of_luma * mean;
        } else if (changes) {
            const float before = values[q] + space.offset[q];
            set_value(new_chroma, row, 2LL * column + q - 1, before + delta * strength * share);
        } else {
            copy_value(chroma, new_chroma, row, 2LL * column + q - 1);
        }
    }
#pragma unroll 1
    for (int k = 0; k < 4; ++k) {
        const int x = 2 * column + k % 2, y = 2 * row + k / 2;
        if (x >= luma.width || y >= luma.height) continue;
        const int level = value_at(mask, y, x);
        if (level == 0 || !changes) {
            copy_value(luma, new_luma, y, x);
            continue;
        }
        float own = -1.0f;
        maps_at(cells, size, x, y, luma.width, luma.height, here);
        for (int c = 0; c < 3; ++c) own += turned[c] * here[c] * space.from_rgb[3 * c];
        const float before = static_cast<float>(value_at(luma, y, x));
        const float delta = own * before + rest;
        set_value(new_luma, y, x, before + delta * strength * (static_cast<float>(level) / 255.0f));
    }
}
