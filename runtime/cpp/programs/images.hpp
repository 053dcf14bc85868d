// PNG and JPEG files as what the library takes, upright and with 8 bits, for the programs.
#pragma once

#include "pixels.hpp"

#include <cstdint>
#include <string>
#include <vector>

struct Image {
    int width = 0;
    int height = 0;
    int channels = 0; // 1: a mask; 3 RGB, 4 RGBA: a composite
    Bytes data;
    bool grey = false;              // the file was, and what is written will be
    int orientation = 1;            // EXIF's, 1 to 8, which has been applied
    Bytes profile;                  // ICC, kept for the output
    std::vector<std::string> notes; // sentences for the user, each beginning with note: or warning:
};

// The file's pixels: as RGB, or RGBA where it has an alpha channel. Throws std::runtime_error with the file's name: not
// there, no PNG or JPEG, damaged, cut short, an animation, too large.
Image read_composite(const std::string &path);

// One channel, as mask_of of pixels.hpp says. Throws std::runtime_error as read_composite.
Image read_mask(const std::string &path, int label);

// The mask turned as its composite is, where only one of the two says by EXIF that it is to be turned, and the sides
// show it (runtime/images/mask_files.py has the twin).
void match_turn(Image &mask, const Image &composite, const std::string &mask_path, const std::string &composite_path);

// Whether a picture can be written there: the suffix chooses .png, .jpg or .jpeg, and no input is overwritten. Throws
// std::runtime_error.
void check_output(const std::string &path, const Image &image, const std::vector<std::string> &inputs);

// As write_whole of streams.hpp. Throws std::runtime_error, or WorkFailed.
void write_image(const std::string &path, const Image &image);
