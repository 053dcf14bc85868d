// What a PNG or a JPEG holds, as it is stored, for images.cpp to make a composite or a mask of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

using Bytes = std::vector<std::uint8_t>;

struct Pixels {
    int width = 0;
    int height = 0;
    int channels = 0;                 // 1 grey or palette indices, 2 grey and alpha, 3 RGB, 4 RGBA
    Bytes samples;                    // with 8 bits or fewer
    std::vector<std::uint16_t> wide;  // with 16 bits: then `samples` is empty
    Bytes palette;                    // RGBA of each index, where the file has a palette
    int orientation = 1;              // EXIF's, 1 to 8; not applied yet
    Bytes profile;                    // ICC; empty: the file has none
    std::vector<std::string> remarks; // what could not be read as it is meant, without the file's name

    std::size_t count() const { return static_cast<std::size_t>(width) * static_cast<std::size_t>(height); }
};

[[noreturn]] inline void refuse_file(const std::string &path, const std::string &reason) {
    throw std::runtime_error(path + " " + reason);
}

// As the Python runtime's limit. Throws std::runtime_error before anything is decoded.
void check_size(const std::string &path, std::uint64_t width, std::uint64_t height);

// The orientation in EXIF data that begin with the TIFF header; 1 where there is none, or where they are damaged.
int exif_orientation(const std::uint8_t *data, std::size_t size);

// Brightness (ITU-R BT.601) of three channels; equal ones stay as they are.
std::uint8_t luma_of(const std::uint8_t *rgb);

// 8 bits of 16.
Bytes narrowed(const std::vector<std::uint16_t> &wide);

// With the colours of a palette in place of its indices.
void look_up(Pixels &pixels);

// A mask, upright or not: an alpha that varies, else the levels of its colours; with a label, a palette's indices.
// Takes the pixels. Throws std::runtime_error: several colours, or a label of a coloured mask.
Bytes mask_of(Pixels &pixels, int label, const std::string &path, std::vector<std::string> &notes);

// Throw std::runtime_error with the path: damaged, cut short, an animation, a kind of pixels that is not read.
Pixels read_png(const std::string &path, const Bytes &file);
Pixels read_jpeg(const std::string &path, const Bytes &file);

// 1, 3 or 4 channels of 8 bits (JPEG: 1 or 3). Throw WorkFailed.
Bytes write_png(const std::string &path, const Pixels &pixels);
Bytes write_jpeg(const std::string &path, const Pixels &pixels);
