// PNG and JPEG files as 8-bit pixels, for the programs.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

struct Image {
    int width = 0;
    int height = 0;
    int channels = 0; // 1 grey, 3 RGB, 4 RGBA
    std::vector<std::uint8_t> data;
};

// The file's pixels: as RGB, or RGBA where it has an alpha channel; with `grey` as one channel.
// Throws std::runtime_error with the file's name: not there, no PNG or JPEG, damaged.
Image read_image(const std::string &path, bool grey);

// Whether a picture of so many channels can be written there: the suffix chooses .png, .jpg or .jpeg. Throws
// std::runtime_error.
void check_output(const std::string &path, int channels);

// As write_whole of streams.hpp. Throws std::runtime_error, or WorkFailed.
void write_image(const std::string &path, const Image &image);
