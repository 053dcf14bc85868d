#include "images.hpp"

#include "streams.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>

#include <png.h>

namespace {

Pixels read_file(const std::string &path) {
    const Bytes file = read_whole(path);
    if (file.empty()) refuse_file(path, "is empty (0 bytes); give a PNG or a JPEG");
    if (file.size() >= 8 && png_sig_cmp(file.data(), 0, 8) == 0) return read_png(path, file);
    if (file.size() < 2 || file[0] != 0xFF || file[1] != 0xD8)
        refuse_file(path, "is neither a PNG nor a JPEG; give one of them");
    return read_jpeg(path, file);
}

// Where the pixel (x, y) of the upright picture is stored.
std::size_t stored_at(std::size_t x, std::size_t y, std::size_t width, std::size_t height, int orientation) {
    const std::size_t right = width - 1, low = height - 1;
    switch (orientation) {
        case 2: return y * width + (right - x);
        case 3: return (low - y) * width + (right - x);
        case 4: return (low - y) * width + x;
        case 5: return x * width + y;
        case 6: return (low - x) * width + y;
        case 7: return (low - x) * width + (right - y);
        case 8: return x * width + (right - y);
        default: return y * width + x;
    }
}

void turn(Image &image, int orientation) {
    if (orientation <= 1 || orientation > 8) return;
    const auto width = static_cast<std::size_t>(image.width), height = static_cast<std::size_t>(image.height);
    const auto channels = static_cast<std::size_t>(image.channels);
    const bool exchanged = orientation >= 5;
    const std::size_t across = exchanged ? height : width, down = exchanged ? width : height;
    Bytes turned(image.data.size());
    for (std::size_t y = 0; y < down; ++y) {
        for (std::size_t x = 0; x < across; ++x) {
            const std::size_t from = stored_at(x, y, width, height, orientation) * channels;
            std::copy_n(&image.data[from], channels, &turned[(y * across + x) * channels]);
        }
    }
    image.data = std::move(turned);
    image.width = static_cast<int>(across);
    image.height = static_cast<int>(down);
}

bool ends_with(const std::string &text, const std::string &end) {
    return text.size() >= end.size() && std::equal(end.rbegin(), end.rend(), text.rbegin(), [](char a, char b) {
               return a == std::tolower(static_cast<unsigned char>(b));
           });
}

bool contains(const Bytes &data, const std::string &text) {
    return std::search(data.begin(), data.end(), text.begin(), text.end()) != data.end();
}

// A profile that names itself sRGB, in ASCII or in UTF-16.
bool is_srgb(const Bytes &profile) {
    return contains(profile, "sRGB") || contains(profile, std::string("s\0R\0G\0B", 7));
}

void keep_profile(Image &image, Pixels &pixels, const std::string &path) {
    if (pixels.profile.empty()) return;
    const bool fits = pixels.profile.size() > 128 &&
                      std::memcmp(&pixels.profile[16], image.grey ? "GRAY" : "RGB ", 4) == 0 &&
                      std::memcmp(&pixels.profile[36], "acsp", 4) == 0;
    if (!fits) {
        image.notes.push_back("note: the colour profile of " + path + " does not fit its pixels: sRGB is assumed");
        return;
    }
    if (!is_srgb(pixels.profile))
        image.notes.push_back("note: " + path +
                              " has a colour profile: the output keeps it, and the network sees the stored values as if"
                              " they were sRGB (`harmonyrt harmonize` converts them)");
    image.profile = std::move(pixels.profile);
}

Image upright(const Pixels &pixels, const std::string &path) {
    Image image;
    image.width = pixels.width;
    image.height = pixels.height;
    for (const std::string &remark : pixels.remarks) {
        const bool doubtful = remark.rfind("is damaged", 0) == 0;
        image.notes.push_back((doubtful ? "warning: " : "note: ") + path + " " + remark);
    }
    image.orientation = pixels.orientation;
    return image;
}

bool have_exchanged_sides(const Image &one, const Image &other) {
    return one.width == other.height && one.height == other.width && one.width != one.height;
}

} // namespace

Image read_composite(const std::string &path) {
    Pixels pixels = read_file(path);
    Image image = upright(pixels, path);
    if (!pixels.wide.empty()) {
        image.notes.push_back("note: " + path + " holds 16 bits per channel, of which 8 are read and written");
        pixels.samples = narrowed(pixels.wide);
    }
    look_up(pixels);
    image.grey = pixels.channels == 1;
    if (pixels.channels == 2) image.notes.push_back("note: " + path + " is grey with alpha: the output is in colour");
    keep_profile(image, pixels, path);
    if (pixels.channels >= 3) {
        image.channels = pixels.channels;
        image.data = std::move(pixels.samples);
    } else { // grey becomes three equal channels
        const auto from = static_cast<std::size_t>(pixels.channels), to = from + 2;
        image.channels = static_cast<int>(to);
        image.data.resize(pixels.count() * to);
        for (std::size_t i = 0; i < pixels.count(); ++i) {
            std::fill_n(&image.data[i * to], 3, pixels.samples[i * from]);
            if (from == 2) image.data[i * to + 3] = pixels.samples[i * 2 + 1];
        }
    }
    turn(image, image.orientation);
    return image;
}

Image read_mask(const std::string &path, int label) {
    Pixels pixels = read_file(path);
    Image image = upright(pixels, path);
    image.channels = 1;
    image.data = mask_of(pixels, label, path, image.notes);
    turn(image, image.orientation);
    return image;
}

void match_turn(Image &mask, const Image &composite, const std::string &mask_path, const std::string &composite_path) {
    if (mask.orientation == composite.orientation || (mask.orientation > 1 && composite.orientation > 1)) return;
    const bool composite_says = mask.orientation == 1;
    const int orientation = composite_says ? composite.orientation : mask.orientation;
    const std::string why = "note: " + (composite_says ? composite_path : mask_path) + " has the EXIF orientation " +
                            std::to_string(orientation) + " and " + (composite_says ? mask_path : composite_path) +
                            " has none: ";
    if (orientation >= 5 && have_exchanged_sides(mask, composite)) {
        const int back = orientation == 6 ? 8 : orientation == 8 ? 6 : orientation;
        turn(mask, composite_says ? orientation : back);
        mask.notes.push_back(why + "the mask was " + (composite_says ? "turned like it" : "taken as it is stored"));
    } else if (orientation < 5 || mask.width == mask.height) {
        mask.notes.push_back(why +
                             "both are taken as upright after it; if the result is misplaced, turn the mask alike");
    }
}

void check_output(const std::string &path, const Image &image, const std::vector<std::string> &inputs) {
    struct stat output {};
    if (::stat(path.c_str(), &output) == 0 && S_ISREG(output.st_mode)) {
        for (const std::string &input : inputs) {
            struct stat found {};
            if (::stat(input.c_str(), &found) == 0 && found.st_dev == output.st_dev && found.st_ino == output.st_ino)
                refuse_file(path, "is one of the inputs and would be overwritten; name another output");
        }
    }
    if (ends_with(path, ".png")) return;
    if (!ends_with(path, ".jpg") && !ends_with(path, ".jpeg"))
        refuse_file(path, "has no suffix .png, .jpg or .jpeg; give one");
    if (image.channels == 4) refuse_file(path, "cannot hold an alpha channel as a JPEG; write a .png");
}

void write_image(const std::string &path, const Image &image) {
    Pixels pixels;
    pixels.width = image.width;
    pixels.height = image.height;
    pixels.channels = image.grey ? 1 : image.channels;
    pixels.profile = image.profile;
    if (image.grey) { // its brightness
        pixels.samples.resize(pixels.count());
        for (std::size_t i = 0; i < pixels.count(); ++i) pixels.samples[i] = luma_of(&image.data[3 * i]);
    } else {
        pixels.samples = image.data;
    }
    const Bytes file = ends_with(path, ".png") ? write_png(path, pixels) : write_jpeg(path, pixels);
    write_whole(path, file.data(), file.size());
}
