#include "frames.hpp"

#include "options.hpp"
#include "status.hpp"

#include <string>

namespace hrt::device {
namespace {

[[noreturn]] void refuse(const std::string &message) { throw Error(HRT_INVALID_ARGUMENT, message); }

bool is_semiplanar(int format) { return format == HRT_DEVICE_NV12 || format == HRT_DEVICE_P010; }

std::string sides(int width, int height) { return std::to_string(width) + " x " + std::to_string(height); }

Plane plane_of(const std::string &name, const void *data, std::size_t pitch, int width, int height, int channels,
               int bits) {
    const int bytes = bits > 8 ? 2 : 1;
    if (width < 1 || height < 1 || width > kLongestSide || height > kLongestSide)
        refuse("the " + name + " is " + sides(width, height) + ": give sides of 1 to " + std::to_string(kLongestSide));
    if (data == nullptr) refuse("the " + name + "'s memory is NULL: give an address on the GPU");
    const std::size_t line = static_cast<std::size_t>(width) * static_cast<std::size_t>(channels * bytes);
    if (pitch != 0 && pitch < line)
        refuse("the " + name + " has rows " + std::to_string(pitch) + " bytes apart, and one takes " +
               std::to_string(line) + ": give a larger pitch, or 0 for rows without gaps");
    pitch = pitch == 0 ? line : pitch;
    if (bytes == 2 && (reinterpret_cast<std::uintptr_t>(data) % 2 != 0 || pitch % 2 != 0))
        refuse("the " + name + " is not aligned to its 2 bytes a value: give an even address and pitch");
    const int shift = bits > 8 ? 16 - bits : 0;
    // The kernels only write to what they are given as a result.
    return {static_cast<unsigned char *>(const_cast<void *>(data)),
            static_cast<long long>(pitch),
            width,
            height,
            channels,
            bytes,
            shift,
            (1 << bits) - 1};
}

Space space_of(const hrt_device_picture &given, const hrt_device_options &options, const std::string &name) {
    if (options.space == nullptr)
        refuse("the " + name + " has luma and chroma, and no colour space: give one of hrt_colour_space_of");
    const hrt_colour_space space = filled(options.space, "hrt_colour_space");
    const int bits = given.format == HRT_DEVICE_NV12 ? 8 : 10;
    if (space.bits != bits)
        refuse("the " + name + " has values of " + std::to_string(bits) + " bits and its colour space is of " +
               std::to_string(space.bits) + ": NV12 has 8, P010 has 10");
    Space made{};
    for (std::size_t i = 0; i < 3; ++i) made.offset[i] = static_cast<float>(space.offset[i]);
    for (std::size_t i = 0; i < 9; ++i) {
        made.to_rgb[i] = static_cast<float>(space.to_rgb[i]);
        made.from_rgb[i] = static_cast<float>(space.from_rgb[i]);
    }
    return made;
}

Frame frame_of(const hrt_device_picture &given, const hrt_device_options &options, const std::string &name) {
    if (given.format < HRT_DEVICE_RGB8 || given.format > HRT_DEVICE_P010)
        refuse("the " + name + "'s format is " + std::to_string(given.format) + "; give one of hrt_device_format");
    Frame frame;
    if (is_semiplanar(given.format)) {
        const int bits = given.format == HRT_DEVICE_NV12 ? 8 : 10;
        frame.count = 2;
        frame.parts[0] = plane_of(name, given.data, given.pitch, given.width, given.height, 1, bits);
        frame.parts[1] = plane_of(name + "'s chroma", given.chroma, given.chroma_pitch, (given.width + 1) / 2,
                                  (given.height + 1) / 2, 2, bits);
        frame.space = space_of(given, options, name);
        return frame;
    }
    if (options.space != nullptr || given.chroma != nullptr)
        refuse("the " + name +
               " has interleaved colours, and chroma or a colour space was given: those are for NV12 and P010");
    const int kind = given.format % 4;
    const int channels = kind == HRT_DEVICE_RGBA8 || kind == HRT_DEVICE_BGRA8 ? 4 : 3;
    frame.red = kind == HRT_DEVICE_BGR8 || kind == HRT_DEVICE_BGRA8 ? 2 : 0;
    frame.parts[0] = plane_of(name, given.data, given.pitch, given.width, given.height, channels,
                              given.format < HRT_DEVICE_RGB16 ? 8 : 16);
    if (channels == 4 && options.opaque != 1)
        refuse("the " + name +
               " has a fourth channel, and transparency is not looked at on the GPU: say opaque = 1 where it "
               "hides nothing (it is then kept as it is), or give hrt_harmonize_u8 host memory");
    return frame;
}

// Of RGB to luma from 0 to 1 and chroma from -1/2 to 1/2, row by row; ITU-T H.273, table 4.
void from_rgb_of(int matrix, double (&out)[9]) {
    struct Row {
        int matrix;
        double red, blue;
    };
    constexpr Row rows[] = {{1, 0.2126, 0.0722}, {4, 0.30, 0.11},   {5, 0.299, 0.114},
                            {6, 0.299, 0.114},   {7, 0.212, 0.087}, {9, 0.2627, 0.0593}};
    if (matrix == 8) { // YCgCo
        constexpr double values[9] = {0.25, -0.25, 0.5, 0.5, 0.5, 0, 0.25, -0.25, -0.5};
        for (std::size_t i = 0; i < 9; ++i) out[i] = values[i];
        return;
    }
    for (const Row &row : rows) {
        if (row.matrix != matrix) continue;
        const double luma[3] = {row.red, 1 - row.red - row.blue, row.blue};
        for (std::size_t c = 0; c < 3; ++c) {
            out[3 * c] = luma[c];
            out[3 * c + 1] = ((c == 2 ? 1 : 0) - luma[c]) / (2 * (1 - row.blue));
            out[3 * c + 2] = ((c == 0 ? 1 : 0) - luma[c]) / (2 * (1 - row.red));
        }
        return;
    }
    refuse("the colour matrix " + std::to_string(matrix) + " of H.273 is not known here; convert to BT.709 (1) first");
}

void invert(const double (&m)[9], double (&out)[9]) {
    const double determinant =
        m[0] * (m[4] * m[8] - m[5] * m[7]) - m[1] * (m[3] * m[8] - m[5] * m[6]) + m[2] * (m[3] * m[7] - m[4] * m[6]);
    for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < 3; ++j) {
            const std::size_t a = (j + 1) % 3, b = (j + 2) % 3, c = (i + 1) % 3, d = (i + 2) % 3;
            out[3 * i + j] = (m[3 * a + c] * m[3 * b + d] - m[3 * a + d] * m[3 * b + c]) / determinant;
        }
    }
}

} // namespace

Picture checked_picture(const hrt_device_picture &composite, const hrt_device_mask &mask,
                        const hrt_device_picture &output, const hrt_device_options &options) {
    constexpr double most = 1.5;
    if (!(options.strength >= 0 && options.strength <= most)) // which no NaN is
        refuse("the strength is " + std::to_string(options.strength) +
               "; give 0 (no change) to 1.5; 1 is the answer itself");
    for (const int flag : {options.opaque, options.wait}) {
        if (flag != 0 && flag != 1) refuse("opaque and wait are " + std::to_string(flag) + "; give 0 or 1");
    }
    Picture picture{};
    picture.composite = frame_of(composite, options, "composite");
    if (mask.width != composite.width || mask.height != composite.height)
        refuse("the mask is " + sides(mask.width, mask.height) + " and the composite " +
               sides(composite.width, composite.height) + ": give one of the same size");
    picture.mask = plane_of("mask", mask.data, mask.pitch, mask.width, mask.height, 1, 8);
    if (output.format != composite.format || output.width != composite.width || output.height != composite.height)
        refuse("the output is " + sides(output.width, output.height) + " of format " + std::to_string(output.format) +
               " and the composite " + sides(composite.width, composite.height) + " of format " +
               std::to_string(composite.format) + ": give the same");
    picture.result = frame_of(output, options, "output");
    picture.strength = static_cast<float>(options.strength);
    return picture;
}

void check_places(const Picture &picture, const Device &device) {
    const auto check = [&](const Plane &plane, const char *name) {
        const int found = device.device_of(plane.data);
        if (found == device.index()) return;
        if (found < 0)
            refuse(std::string("the ") + name +
                   " is not in a GPU's memory: give hrt_harmonize_u8 host memory, or move it to the GPU");
        refuse(std::string("the ") + name + " lies on cuda:" + std::to_string(found) +
               ", the engine runs on cuda:" + std::to_string(device.index()) + ": move it");
    };
    for (std::size_t i = 0; i < picture.composite.count; ++i) {
        check(picture.composite.parts[i], "composite");
        check(picture.result.parts[i], "output");
    }
    check(picture.mask, "mask");
}

hrt_colour_space colour_space_of(int matrix, int range, int bits) {
    if (bits != 8 && bits != 10)
        refuse("a colour space of " + std::to_string(bits) + " bits was asked for; give 8 or 10");
    if (range != HRT_RANGE_LIMITED && range != HRT_RANGE_FULL)
        refuse("the range is " + std::to_string(range) + "; give HRT_RANGE_LIMITED or HRT_RANGE_FULL");
    const double step = 1 << (bits - 8), highest = (1 << bits) - 1;
    const bool full = range == HRT_RANGE_FULL;
    const double span[3] = {full ? highest : 219 * step, full ? highest : 224 * step, full ? highest : 224 * step};
    hrt_colour_space space = defaults<hrt_colour_space>();
    from_rgb_of(matrix, space.from_rgb);
    for (std::size_t i = 0; i < 9; ++i) space.from_rgb[i] *= span[i % 3] / 255;
    invert(space.from_rgb, space.to_rgb);
    space.offset[0] = full ? 0 : 16 * step;
    space.offset[1] = space.offset[2] = 1 << (bits - 1);
    space.bits = bits;
    return space;
}

} // namespace hrt::device
