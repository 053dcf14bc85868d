#include "images.hpp"

#include "streams.hpp"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

#include <jpeglib.h>
#include <png.h>

namespace {

[[noreturn]] void fail(const std::string &path, const std::string &reason) {
    throw std::runtime_error(path + " " + reason);
}

using Bytes = std::vector<std::uint8_t>;

Image read_png(const std::string &path, const Bytes &file, bool grey) {
    png_image png;
    std::memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    if (png_image_begin_read_from_memory(&png, file.data(), file.size()) == 0)
        fail(path, std::string("is no PNG: ") + png.message);
    const bool alpha = (png.format & PNG_FORMAT_FLAG_ALPHA) != 0;
    png.format = grey ? PNG_FORMAT_GRAY : alpha ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
    Image image{static_cast<int>(png.width), static_cast<int>(png.height), grey ? 1 : alpha ? 4 : 3, {}};
    image.data.resize(PNG_IMAGE_SIZE(png));
    png_color black = {0, 0, 0};
    if (png_image_finish_read(&png, grey ? &black : nullptr, image.data.data(), 0, nullptr) == 0) {
        fail(path, std::string("is damaged: ") + png.message);
    }
    return image;
}

Bytes encode_png(const std::string &path, const Image &image) {
    png_image png;
    std::memset(&png, 0, sizeof png);
    png.version = PNG_IMAGE_VERSION;
    png.width = static_cast<png_uint_32>(image.width);
    png.height = static_cast<png_uint_32>(image.height);
    png.format = image.channels == 1 ? PNG_FORMAT_GRAY : image.channels == 4 ? PNG_FORMAT_RGBA : PNG_FORMAT_RGB;
    Bytes file(PNG_IMAGE_PNG_SIZE_MAX(png));
    png_alloc_size_t size = file.size();
    if (png_image_write_to_memory(&png, file.data(), &size, 0, image.data.data(), 0, nullptr) == 0) {
        throw WorkFailed(path + " cannot be written: " + png.message);
    }
    file.resize(size);
    return file;
}

// libjpeg reports errors by a jump: nothing with a destructor may be alive between setjmp and the calls.
struct JpegError {
    jpeg_error_mgr base;
    std::jmp_buf jump;
    char message[JMSG_LENGTH_MAX];
};

void on_error(j_common_ptr info) {
    auto *error = reinterpret_cast<JpegError *>(info->err);
    error->base.format_message(info, error->message);
    std::longjmp(error->jump, 1);
}

void no_message(j_common_ptr) {}

jpeg_error_mgr *set_up(JpegError &error) {
    jpeg_std_error(&error.base);
    error.base.error_exit = on_error;
    error.base.output_message = no_message;
    return &error.base;
}

bool decode(const Bytes &file, bool grey, Image &image, JpegError &error) {
    jpeg_decompress_struct jpeg;
    jpeg.err = set_up(error);
    jpeg_create_decompress(&jpeg);
    if (setjmp(error.jump) != 0) {
        jpeg_destroy_decompress(&jpeg);
        return false;
    }
    jpeg_mem_src(&jpeg, file.data(), static_cast<unsigned long>(file.size()));
    jpeg_read_header(&jpeg, TRUE);
    jpeg.out_color_space = grey ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&jpeg);
    image.width = static_cast<int>(jpeg.output_width);
    image.height = static_cast<int>(jpeg.output_height);
    image.channels = jpeg.output_components;
    const std::size_t row = static_cast<std::size_t>(image.width) * static_cast<std::size_t>(image.channels);
    image.data.resize(row * static_cast<std::size_t>(image.height));
    while (jpeg.output_scanline < jpeg.output_height) {
        JSAMPROW line = image.data.data() + jpeg.output_scanline * row;
        jpeg_read_scanlines(&jpeg, &line, 1);
    }
    jpeg_finish_decompress(&jpeg);
    jpeg_destroy_decompress(&jpeg);
    return true;
}

// libjpeg makes the buffer: to be freed with std::free, also after an error.
struct JpegBuffer {
    unsigned char *data = nullptr;
    unsigned long size = 0;
    ~JpegBuffer() { std::free(data); }
};

bool encode(JpegBuffer &buffer, const Image &image, JpegError &error) {
    jpeg_compress_struct jpeg;
    jpeg.err = set_up(error);
    jpeg_create_compress(&jpeg);
    if (setjmp(error.jump) != 0) {
        jpeg_destroy_compress(&jpeg);
        return false;
    }
    jpeg_mem_dest(&jpeg, &buffer.data, &buffer.size);
    jpeg.image_width = static_cast<JDIMENSION>(image.width);
    jpeg.image_height = static_cast<JDIMENSION>(image.height);
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 95, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    const std::size_t row = static_cast<std::size_t>(image.width) * 3;
    while (jpeg.next_scanline < jpeg.image_height) {
        auto *line = const_cast<JSAMPLE *>(image.data.data() + jpeg.next_scanline * row);
        jpeg_write_scanlines(&jpeg, &line, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    return true;
}

bool ends_with(const std::string &text, const std::string &end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

} // namespace

Image read_image(const std::string &path, bool grey) {
    const Bytes file = read_whole(path);
    if (file.empty()) fail(path, "is empty (0 bytes); give a PNG or a JPEG");
    if (file.size() >= 8 && png_sig_cmp(file.data(), 0, 8) == 0) return read_png(path, file, grey);
    if (file.size() < 2 || file[0] != 0xFF || file[1] != 0xD8)
        fail(path, "is neither a PNG nor a JPEG; give one of them");
    Image image;
    JpegError error;
    if (!decode(file, grey, image, error)) fail(path, std::string("is a damaged JPEG: ") + error.message);
    return image;
}

void check_output(const std::string &path, int channels) {
    if (ends_with(path, ".png")) return;
    if (!ends_with(path, ".jpg") && !ends_with(path, ".jpeg"))
        fail(path, "has no suffix .png, .jpg or .jpeg; give one");
    if (channels != 3) fail(path, "cannot hold an alpha channel as a JPEG; write a .png");
}

void write_image(const std::string &path, const Image &image) {
    check_output(path, image.channels);
    if (ends_with(path, ".png")) {
        const Bytes file = encode_png(path, image);
        return write_whole(path, file.data(), file.size());
    }
    JpegBuffer buffer;
    JpegError error;
    if (!encode(buffer, image, error)) throw WorkFailed(path + " cannot be written: " + error.message);
    write_whole(path, buffer.data, buffer.size);
}
