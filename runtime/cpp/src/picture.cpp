#include "picture.hpp"

#include "options.hpp"
#include "status.hpp"

#include <limits>
#include <string>

namespace hrt {
namespace {

[[noreturn]] void invalid(const std::string &message) { throw Error(HRT_INVALID_ARGUMENT, message); }

std::string size_text(std::int64_t width, std::int64_t height) {
    return std::to_string(width) + "x" + std::to_string(height);
}

// Bytes from the first pixel to behind the last; throws where that is more than a process can address.
std::size_t extent(int width, int height, std::size_t stride, std::size_t step, const char *what) {
    constexpr std::size_t most = std::numeric_limits<std::size_t>::max() / 4;
    const auto rows = static_cast<std::size_t>(height - 1), columns = static_cast<std::size_t>(width);
    if (step > most / columns || (rows > 0 && stride > most / rows)) {
        invalid(std::string("the ") + what + "'s stride or step is " + std::to_string(stride) + " or " +
                std::to_string(step) + " bytes, more than memory can hold; give bytes from row to row");
    }
    return rows * stride + columns * step;
}

} // namespace

Picture checked_picture(const hrt_picture *given, std::uint64_t max_pixels) {
    if (given == nullptr) invalid("the picture is NULL; give a picture");
    const hrt_picture picture = filled(given, "hrt_picture");
    if (picture.data == nullptr) invalid("the picture's data is NULL; give its pixels");
    if (picture.width < 1 || picture.height < 1) {
        invalid("the picture is " + size_text(picture.width, picture.height) + "; give one with at least one pixel");
    }
    const std::uint64_t pixels = static_cast<std::uint64_t>(picture.width) * static_cast<std::uint64_t>(picture.height);
    const std::uint64_t limit = max_pixels == 0 ? kMaxPixels : max_pixels;
    if (pixels > limit) {
        invalid("the picture has " + std::to_string(pixels) + " pixels (" + size_text(picture.width, picture.height) +
                "), the limit is " + std::to_string(limit) + "; raise max_pixels or give a smaller picture");
    }
    if (picture.format < HRT_RGB8 || picture.format > HRT_BGRA8) {
        invalid("the picture's format is " + std::to_string(picture.format) + "; give one of hrt_format");
    }
    const bool alpha = picture.format == HRT_RGBA8 || picture.format == HRT_BGRA8;
    const int step = alpha ? 4 : 3;
    const std::size_t row = static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(step);
    const std::size_t stride = picture.stride == 0 ? row : picture.stride;
    if (stride < row) {
        invalid("the picture's stride is " + std::to_string(stride) + " bytes and a row has " + std::to_string(row) +
                "; give bytes from one row to the next, or 0");
    }
    (void)extent(picture.width, picture.height, stride, static_cast<std::size_t>(step), "picture");
    const bool red_first = picture.format == HRT_RGB8 || picture.format == HRT_RGBA8;
    return {picture.data, picture.width, picture.height, stride, step, red_first ? 0 : 2};
}

hrt_mask checked_mask(const hrt_mask *given, const Picture &picture, const char *name) {
    const std::string the = std::string("the ") + name;
    if (given == nullptr) invalid(the + " is NULL; give a mask");
    hrt_mask mask = filled(given, "hrt_mask");
    if (mask.data == nullptr) invalid(the + "'s data is NULL; give its pixels");
    if (mask.width != picture.width || mask.height != picture.height) {
        invalid(the + " is " + size_text(mask.width, mask.height) + " and the picture " +
                size_text(picture.width, picture.height) + "; give a mask of the same size");
    }
    if (mask.full < 1 || mask.full > 255) {
        invalid(the + "'s value of full foreground is " + std::to_string(mask.full) + "; give 1 to 255");
    }
    if (mask.label < 0 || mask.label > 255) {
        invalid(the + "'s label is " + std::to_string(mask.label) + "; give 1 to 255, or 0 for none");
    }
    if (mask.step < 1) invalid(the + "'s step is 0; give the bytes from one pixel to the next");
    const std::size_t row = extent(mask.width, 1, 0, mask.step, name);
    if (mask.stride == 0) mask.stride = row;
    if (mask.stride < row - (mask.step - 1)) {
        invalid(the + "'s stride is " + std::to_string(mask.stride) + " bytes and a row has " + std::to_string(row) +
                "; give bytes from one row to the next, or 0");
    }
    (void)extent(mask.width, mask.height, mask.stride, mask.step, name);
    return mask;
}

std::size_t checked_output_stride(const std::uint8_t *output, std::size_t stride, const Picture &picture) {
    if (output == nullptr) invalid("the output is NULL; give a buffer of the picture's size");
    const auto step = static_cast<std::size_t>(picture.step);
    const std::size_t row = static_cast<std::size_t>(picture.width) * step;
    if (stride == 0) stride = row;
    if (stride < row) {
        invalid("the output's stride is " + std::to_string(stride) + " bytes and a row has " + std::to_string(row) +
                "; give bytes from one row to the next, or 0");
    }
    const auto first = reinterpret_cast<std::uintptr_t>(output), other = reinterpret_cast<std::uintptr_t>(picture.data);
    const std::size_t size = extent(picture.width, picture.height, stride, step, "output");
    const std::size_t other_size = extent(picture.width, picture.height, picture.stride, step, "picture");
    const bool same = first == other && stride == picture.stride;
    const bool apart = first >= other ? first - other >= other_size : other - first >= size;
    if (!same && !apart) {
        invalid("the output overlaps the picture; give a separate buffer, or the picture's own with the same stride");
    }
    return stride;
}

} // namespace hrt
