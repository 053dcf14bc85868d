#include "pixels.hpp"
#include "streams.hpp"

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstring>

#include <png.h>

namespace {

// libpng reports errors by a jump: nothing with a destructor may be alive between setjmp and the calls.
struct Problem {
    char message[160] = "";
};

void on_error(png_structp png, png_const_charp message) {
    auto *problem = static_cast<Problem *>(png_get_error_ptr(png));
    std::strncpy(problem->message, message, sizeof problem->message - 1);
    png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

struct Reader {
    png_structp png = nullptr;
    png_infop info = nullptr;
    const Bytes *file = nullptr;
    std::size_t at = 0;
    ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

void take(png_structp png, png_bytep to, png_size_t size) {
    auto *reader = static_cast<Reader *>(png_get_io_ptr(png));
    if (size > reader->file->size() - reader->at) png_error(png, "it is cut short");
    std::memcpy(to, reader->file->data() + reader->at, size);
    reader->at += size;
}

struct Writer {
    png_structp png = nullptr;
    png_infop info = nullptr;
    Bytes file;
    ~Writer() { png_destroy_write_struct(&png, &info); }
};

void append(png_structp png, png_bytep from, png_size_t size) {
    auto *writer = static_cast<Writer *>(png_get_io_ptr(png));
    writer->file.insert(writer->file.end(), from, from + size);
}

void flush(png_structp) {}

std::uint32_t big_endian(const std::uint8_t *at) {
    return static_cast<std::uint32_t>(at[0]) << 24 | static_cast<std::uint32_t>(at[1]) << 16 |
           static_cast<std::uint32_t>(at[2]) << 8 | at[3];
}

// The data of the first chunk of a kind; nullptr where the file has none.
const std::uint8_t *chunk(const Bytes &file, const char *kind, std::size_t &size) {
    for (std::size_t at = 8; at + 12 <= file.size();) {
        const std::size_t length = big_endian(&file[at]);
        if (length > file.size() - at - 12) return nullptr;
        if (std::memcmp(&file[at + 4], kind, 4) == 0) {
            size = length;
            return &file[at + 8];
        }
        at += 12 + length;
    }
    return nullptr;
}

bool read_rows(Reader &reader, Pixels &pixels, std::vector<png_bytep> &rows, bool &too_large) {
    png_structp png = reader.png;
    if (setjmp(png_jmpbuf(png)) != 0) return false;
    png_set_benign_errors(png, 1); // a damaged profile or text is not the pixels'
    png_set_read_fn(png, &reader, take);
    png_read_info(png, reader.info);
    const png_uint_32 width = png_get_image_width(png, reader.info), height = png_get_image_height(png, reader.info);
    too_large = static_cast<std::uint64_t>(width) * height > 200000000;
    if (too_large) png_error(png, "too large");
    const int kind = png_get_color_type(png, reader.info), bits = png_get_bit_depth(png, reader.info);
    if (bits < 8) png_set_packing(png);
    if (kind == PNG_COLOR_TYPE_GRAY && bits < 8) png_set_expand_gray_1_2_4_to_8(png);
    const bool keyed = png_get_valid(png, reader.info, PNG_INFO_tRNS) != 0;
    if (keyed && kind != PNG_COLOR_TYPE_PALETTE) png_set_tRNS_to_alpha(png);
    png_set_swap(png); // 16 bits in the order of this machine, which is little-endian
    png_set_interlace_handling(png);
    png_read_update_info(png, reader.info);
    pixels.width = static_cast<int>(width);
    pixels.height = static_cast<int>(height);
    pixels.channels = png_get_channels(png, reader.info);
    const std::size_t row = pixels.count() / height * static_cast<std::size_t>(pixels.channels);
    rows.resize(height);
    if (bits == 16) {
        pixels.wide.resize(row * height);
        for (std::size_t y = 0; y < height; ++y) rows[y] = reinterpret_cast<png_bytep>(&pixels.wide[y * row]);
    } else {
        pixels.samples.resize(row * height);
        for (std::size_t y = 0; y < height; ++y) rows[y] = &pixels.samples[y * row];
    }
    png_read_image(png, rows.data()); // not png_read_end: a missing end is none of the pixels' business
    return true;
}

void read_palette(const Reader &reader, Pixels &pixels) {
    png_colorp colours = nullptr;
    int count = 0;
    if (png_get_PLTE(reader.png, reader.info, &colours, &count) == 0) return;
    if (png_get_color_type(reader.png, reader.info) != PNG_COLOR_TYPE_PALETTE) return;
    png_bytep alphas = nullptr;
    int alpha_count = 0;
    png_get_tRNS(reader.png, reader.info, &alphas, &alpha_count, nullptr);
    pixels.palette.assign(4 * 256, 0); // an index beyond the palette is black
    for (int i = 0; i < 256; ++i) {
        std::uint8_t *entry = &pixels.palette[4 * static_cast<std::size_t>(i)];
        if (i < count) {
            entry[0] = colours[i].red;
            entry[1] = colours[i].green;
            entry[2] = colours[i].blue;
        }
        entry[3] = alphas != nullptr && i < alpha_count ? alphas[i] : 255;
    }
}

// gAMA, cHRM and cICP that say another space than sRGB.
bool names_other_colours(const Reader &reader, const Bytes &file) {
    std::size_t size = 0;
    if (const std::uint8_t *cicp = chunk(file, "cICP", size); cicp != nullptr && size >= 2)
        return cicp[0] != 1 || (cicp[1] != 13 && cicp[1] != 1);
    if (chunk(file, "sRGB", size) != nullptr) return false;
    double gamma = 0;
    if (png_get_gAMA(reader.png, reader.info, &gamma) != 0 && std::abs(gamma - 0.45455) > 0.01) return true;
    double points[8];
    if (png_get_cHRM(reader.png, reader.info, &points[0], &points[1], &points[2], &points[3], &points[4], &points[5],
                     &points[6], &points[7]) == 0)
        return false;
    constexpr double srgb[8] = {0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06};
    return !std::equal(points, points + 8, srgb, [](double a, double b) { return std::abs(a - b) < 0.01; });
}

void read_colours(const Reader &reader, const Bytes &file, Pixels &pixels) {
    png_charp name = nullptr;
    png_bytep profile = nullptr;
    png_uint_32 size = 0;
    int compression = 0;
    std::size_t found = 0;
    if (png_get_iCCP(reader.png, reader.info, &name, &compression, &profile, &size) != 0) {
        pixels.profile.assign(profile, profile + size);
    } else if (chunk(file, "iCCP", found) != nullptr) {
        pixels.remarks.emplace_back("has a damaged colour profile: sRGB is assumed");
    } else if (names_other_colours(reader, file)) {
        pixels.remarks.emplace_back(
            "says its colours by chunks (cICP, or gAMA and cHRM) that are not applied: they are taken as "
            "sRGB, and the output does not keep them");
    }
}

bool write_rows(Writer &writer, const Pixels &pixels, std::vector<png_bytep> &rows) {
    png_structp png = writer.png;
    if (setjmp(png_jmpbuf(png)) != 0) return false;
    png_set_benign_errors(png, 1); // a profile that libpng finds damaged is left out
    png_set_write_fn(png, &writer, append, flush);
    const int kind = pixels.channels == 1   ? PNG_COLOR_TYPE_GRAY
                     : pixels.channels == 4 ? PNG_COLOR_TYPE_RGB_ALPHA
                                            : PNG_COLOR_TYPE_RGB;
    png_set_IHDR(png, writer.info, static_cast<png_uint_32>(pixels.width), static_cast<png_uint_32>(pixels.height), 8,
                 kind, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (!pixels.profile.empty())
        png_set_iCCP(png, writer.info, "icc", PNG_COMPRESSION_TYPE_BASE, pixels.profile.data(),
                     static_cast<png_uint_32>(pixels.profile.size()));
    png_write_info(png, writer.info);
    png_write_image(png, rows.data());
    png_write_end(png, writer.info);
    return true;
}

} // namespace

Pixels read_png(const std::string &path, const Bytes &file) {
    std::size_t size = 0;
    if (const std::uint8_t *frames = chunk(file, "acTL", size);
        frames != nullptr && size >= 4 && big_endian(frames) > 1)
        refuse_file(path,
                    "is an animation of " + std::to_string(big_endian(frames)) + " frames; give it frame by frame");
    Problem problem;
    Reader reader;
    reader.file = &file;
    reader.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &problem, on_error, on_warning);
    if (reader.png == nullptr || (reader.info = png_create_info_struct(reader.png)) == nullptr) throw std::bad_alloc();
    Pixels pixels;
    std::vector<png_bytep> rows;
    bool too_large = false;
    if (!read_rows(reader, pixels, rows, too_large)) {
        if (too_large) {
            check_size(path, png_get_image_width(reader.png, reader.info),
                       png_get_image_height(reader.png, reader.info));
        }
        refuse_file(path, std::string("is damaged or cut short (") + problem.message +
                              "); give a picture that opens elsewhere");
    }
    read_palette(reader, pixels);
    read_colours(reader, file, pixels);
    if (const std::uint8_t *exif = chunk(file, "eXIf", size)) pixels.orientation = exif_orientation(exif, size);
    return pixels;
}

Bytes write_png(const std::string &path, const Pixels &pixels) {
    Problem problem;
    Writer writer;
    writer.png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &problem, on_error, on_warning);
    if (writer.png == nullptr || (writer.info = png_create_info_struct(writer.png)) == nullptr) throw std::bad_alloc();
    std::vector<png_bytep> rows(static_cast<std::size_t>(pixels.height));
    const std::size_t row = static_cast<std::size_t>(pixels.width) * static_cast<std::size_t>(pixels.channels);
    for (std::size_t y = 0; y < rows.size(); ++y) rows[y] = const_cast<png_bytep>(&pixels.samples[y * row]);
    if (!write_rows(writer, pixels, rows)) throw WorkFailed(path + " cannot be written: " + problem.message);
    return std::move(writer.file);
}
