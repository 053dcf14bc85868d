// Reads the pictures of the shared vectors.
#pragma once

#include <doctest/doctest.h>
#include <png.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace face {

struct Png {
    int width = 0, height = 0;
    std::vector<std::uint8_t> data;
};

inline Png read_png(const std::string &path, int channels) {
    png_image image;
    std::memset(&image, 0, sizeof image);
    image.version = PNG_IMAGE_VERSION;
    REQUIRE_MESSAGE(png_image_begin_read_from_file(&image, path.c_str()) != 0, path);
    image.format = channels == 1 ? PNG_FORMAT_GRAY : channels == 4 ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
    Png png{static_cast<int>(image.width), static_cast<int>(image.height), {}};
    png.data.resize(PNG_IMAGE_SIZE(image));
    REQUIRE(png_image_finish_read(&image, nullptr, png.data.data(), 0, nullptr) != 0);
    return png;
}

} // namespace face
