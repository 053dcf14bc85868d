// Fitting: the triangle filter's two passes, and what the network gets of them. Twin of runtime/resample.py and fit.py.
#include "common.cuh"

// Rows first: each thread makes one value of a line that still has the source's width.
extern "C" __global__ void resize_rows(Plane source, float *shrunk, int height) {
    const long long values = static_cast<long long>(source.width) * source.channels;
    const long long index = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int row = static_cast<int>(blockIdx.y);
    if (index >= values || row >= height) return;
    if (height == source.height) {
        shrunk[row * values + index] = static_cast<float>(value_at(source, row, index));
        return;
    }
    const Taps taps(source.height, height, row);
    float sum = 0.0f, total = 0.0f;
    for (int input = taps.first; input < taps.last; ++input) {
        const float weight = taps.weight(input);
        sum += weight * static_cast<float>(value_at(source, input, index));
        total += weight;
    }
    shrunk[row * values + index] = sum / total;
}

// Then columns: `shrunk` is height x source width x channels, `result` height x width x channels.
extern "C" __global__ void resize_columns(const float *shrunk, float *result, int source_width, int width, int height,
                                          int channels) {
    const long long index = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    const int row = static_cast<int>(blockIdx.y);
    if (index >= static_cast<long long>(width) * channels || row >= height) return;
    const int column = static_cast<int>(index / channels), channel = static_cast<int>(index % channels);
    const float *line = shrunk + static_cast<long long>(row) * source_width * channels;
    float value;
    if (width == source_width) {
        value = line[index];
    } else {
        const Taps taps(source_width, width, column);
        float sum = 0.0f, total = 0.0f;
        for (int input = taps.first; input < taps.last; ++input) {
            const float weight = taps.weight(input);
            sum += weight * line[static_cast<long long>(input) * channels + channel];
            total += weight;
        }
        value = sum / total;
    }
    result[static_cast<long long>(row) * width * channels + index] = value;
}

extern "C" __global__ void begin(State *state) {
    state->peak = 0;
    state->anchored = 0;
    state->failed = 0;
}

extern "C" __global__ void finish(State *state) { state->failures += state->failed; }

// Interleaved colours to 3 x height x width in [0, 1]. `red` is 0, or 2 where blue comes first.
extern "C" __global__ void image_of_colours(const float *colours, int channels, int red, float highest, float *image,
                                            int pixels) {
    const int pixel = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (pixel >= pixels) return;
    for (int c = 0; c < 3; ++c) {
        const long long from = static_cast<long long>(pixel) * channels + RED_TO_BLUE(c, red);
        image[static_cast<long long>(c) * pixels + pixel] = colours[from] / highest;
    }
}

// Luma and interleaved chroma, both at the engine's size already, to the same.
extern "C" __global__ void image_of_planes(const float *luma, const float *chroma, Space space, float *image,
                                           int pixels) {
    const int pixel = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (pixel >= pixels) return;
    const long long at = pixel;
    const float y = luma[at] - space.offset[0];
    const float u = chroma[2 * at] - space.offset[1], v = chroma[2 * at + 1] - space.offset[2];
    for (int c = 0; c < 3; ++c) {
        const float value = y * space.to_rgb[c] + u * space.to_rgb[3 + c] + v * space.to_rgb[6 + c];
        image[static_cast<long long>(c) * pixels + at] = clamped(value / 255.0f, 0.0f, 1.0f);
    }
}

// The mask's levels to coverage in [0, 1], in place, and the largest of them.
extern "C" __global__ void coverage_of_levels(float *mask, int pixels, State *state) {
    __shared__ int peak;
    if (threadIdx.x == 0) peak = 0;
    __syncthreads();
    const int pixel = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (pixel < pixels) {
        const float coverage = clamped(mask[pixel] / 255.0f, 0.0f, 1.0f);
        mask[pixel] = coverage;
        atomicMax(&peak, __float_as_int(coverage)); // floats that are not negative sort as their bits do
    }
    __syncthreads();
    if (threadIdx.x == 0) atomicMax(&state->peak, peak);
}

// The network's mask: cut at one half, or at half of the peak where nothing reaches that; `binary` 0 leaves it soft.
extern "C" __global__ void threshold_mask(const float *coverage, float *mask, int width, int height, int binary,
                                          State *state) {
    const int x = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x), y = static_cast<int>(blockIdx.y);
    if (x >= width || y >= height) return;
    const long long at = static_cast<long long>(y) * width + x;
    if (!binary) {
        mask[at] = coverage[at];
        return;
    }
    const float peak = __int_as_float(state->peak);
    const bool inside = peak > 0.0f && coverage[at] >= (peak >= 0.5f ? 0.5f : peak / 2.0f);
    mask[at] = inside ? 1.0f : 0.0f;
    if (inside && x % 4 == 0 && y % 4 == 0) atomicOr(&state->anchored, 1);
}

// The networks' mask pyramid keeps every fourth row and column: a foreground without a pixel there fills the 4x4 cells
// that it touches. One thread works on one cell.
extern "C" __global__ void anchor_mask(float *mask, int width, int height, const State *state) {
    const int left = 4 * static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    const int top = 4 * static_cast<int>(blockIdx.y);
    if (state->anchored || left >= width || top >= height) return;
    const int right = left + 4 < width ? left + 4 : width, bottom = top + 4 < height ? top + 4 : height;
    bool any = false;
    for (int y = top; y < bottom; ++y) {
        for (int x = left; x < right; ++x) any = any || mask[static_cast<long long>(y) * width + x] > 0.0f;
    }
    for (int y = top; any && y < bottom; ++y) {
        for (int x = left; x < right; ++x) mask[static_cast<long long>(y) * width + x] = 1.0f;
    }
}
