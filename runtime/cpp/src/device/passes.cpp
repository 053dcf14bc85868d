#include "passes.hpp"

namespace hrt::device {
namespace {

constexpr unsigned kLine = 256;            // threads of a block along a line
constexpr unsigned kCells = 32;            // the same for cells of a grid, of which there are few
constexpr Device::Size kTile = {32, 8, 1}; // pixels of a block at full size
constexpr unsigned kSolvers = 256;         // threads of fit_matrix, as the kernel says
constexpr Device::Size kOne = {1, 1, 1}, kAlongLine = {kLine, 1, 1}, kAlongCells = {kCells, 1, 1};

unsigned blocks(int count, unsigned size) { return (static_cast<unsigned>(count) + size - 1) / size; }
unsigned as_unsigned(int value) { return static_cast<unsigned>(value); }

Device::Size tiles(const Plane &plane) { return {blocks(plane.width, kTile.x), blocks(plane.height, kTile.y), 1}; }

// With the triangle filter, to float32 values of the plane's own range.
void resize(const Kernels &kernels, const Plane &source, float *shrunk, float *result, const Sizes &size,
            Stream stream) {
    const float *rows = shrunk;
    kernels.launch(Kernel::resize_rows, {blocks(source.width * source.channels, kLine), as_unsigned(size.height), 1},
                   kAlongLine, stream, source, shrunk, size.height);
    kernels.launch(Kernel::resize_columns, {blocks(size.width * source.channels, kLine), as_unsigned(size.height), 1},
                   kAlongLine, stream, rows, result, source.width, size.width, size.height, source.channels);
}

void sum_rows(const Kernels &kernels, const Scratch &scratch, Stream stream) {
    const Sizes &size = scratch.sizes;
    const float *image = scratch.image, *output = scratch.output, *coverage = scratch.coverage;
    kernels.launch(Kernel::sum_rows, {blocks(size.grid_width, kCells), as_unsigned(size.height), 1}, kAlongCells,
                   stream, image, output, coverage, size, scratch.partial, scratch.state);
}

// Describes what the network did as colour maps: from `image`, `output` and `coverage` to `maps` and `cells`.
void fit_maps(const Kernels &kernels, const Scratch &scratch, Stream stream) {
    const Sizes &size = scratch.sizes;
    const Device::Size every = {blocks(size.grid_width, kCells), as_unsigned(size.grid_height), as_unsigned(kSums)};
    const float *partial = scratch.partial;
    const double *sums = scratch.sums, *windows = scratch.windows;
    const Maps *maps = scratch.maps;
    sum_rows(kernels, scratch, stream);
    kernels.launch(Kernel::sum_cells, every, kAlongCells, stream, partial, size, scratch.sums);
    kernels.launch(Kernel::sum_windows, every, kAlongCells, stream, sums, size, scratch.windows);
    kernels.launch(Kernel::fit_matrix, kOne, {kSolvers, 1, 1}, stream, sums, windows, size, scratch.maps);
    kernels.launch(Kernel::fit_cells, {blocks(size.grid_width * size.grid_height, kCells), 1, 1}, kAlongCells, stream,
                   windows, size, maps, scratch.cells);
}

} // namespace

void fit(const Kernels &kernels, const Picture &picture, bool binary_mask, const Scratch &scratch, Stream stream) {
    const Sizes &size = scratch.sizes;
    const Frame &frame = picture.composite;
    const int pixels = pixels_of(size);
    const Device::Size every = {blocks(pixels, kLine), 1, 1};
    kernels.launch(Kernel::begin, kOne, kOne, stream, scratch.state);
    for (std::size_t i = 0; i < frame.count; ++i)
        resize(kernels, frame.parts[i], scratch.shrunk, scratch.small[i], size, stream);
    const float *first = scratch.small[0], *second = scratch.small[1];
    if (frame.packed()) {
        const Plane &plane = frame.parts[0];
        kernels.launch(Kernel::image_of_colours, every, kAlongLine, stream, first, plane.channels, frame.red,
                       static_cast<float>(plane.highest), scratch.image, pixels);
    } else {
        kernels.launch(Kernel::image_of_planes, every, kAlongLine, stream, first, second, frame.space, scratch.image,
                       pixels);
    }
    resize(kernels, picture.mask, scratch.shrunk, scratch.coverage, size, stream);
    const float *coverage = scratch.coverage;
    const int binary = binary_mask ? 1 : 0;
    kernels.launch(Kernel::coverage_of_levels, every, kAlongLine, stream, scratch.coverage, pixels, scratch.state);
    kernels.launch(Kernel::threshold_mask, {blocks(size.width, kLine), as_unsigned(size.height), 1}, kAlongLine, stream,
                   coverage, scratch.mask, size.width, size.height, binary, scratch.state);
    if (binary_mask) {
        const State *state = scratch.state;
        const Device::Size cells = {blocks((size.width + 3) / 4, kCells), as_unsigned((size.height + 3) / 4), 1};
        kernels.launch(Kernel::anchor_mask, cells, kAlongCells, stream, scratch.mask, size.width, size.height, state);
    }
}

void apply(const Kernels &kernels, const Picture &picture, const Scratch &scratch, Stream stream) {
    const Sizes &size = scratch.sizes;
    const Frame &frame = picture.composite, &result = picture.result;
    const float *cells = scratch.cells, *output = scratch.output;
    const Maps *maps = scratch.maps;
    const State *state = scratch.state;
    if (!frame.packed()) {
        fit_maps(kernels, scratch, stream);
        kernels.launch(Kernel::apply_to_planes, tiles(frame.parts[1]), kTile, stream, frame.parts[0], frame.parts[1],
                       picture.mask, result.parts[0], result.parts[1], picture.strength, frame.space, size, maps, cells,
                       state);
    } else if (frame.height() == size.height && frame.width() == size.width) {
        sum_rows(kernels, scratch, stream); // for the sake of what is not finite
        kernels.launch(Kernel::blend_answer, tiles(frame.parts[0]), kTile, stream, frame.parts[0], picture.mask,
                       result.parts[0], frame.red, picture.strength, output, scratch.state);
    } else {
        fit_maps(kernels, scratch, stream);
        kernels.launch(Kernel::apply_maps, tiles(frame.parts[0]), kTile, stream, frame.parts[0], picture.mask,
                       result.parts[0], frame.red, picture.strength, size, maps, cells, state);
    }
    kernels.launch(Kernel::finish, kOne, kOne, stream, scratch.state);
}

} // namespace hrt::device
