#include "pixels.hpp"
#include "streams.hpp"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <jpeglib.h>

#include <jerror.h>

namespace {

// libjpeg reports errors by a jump: nothing with a destructor may be alive between setjmp and the calls.
struct JpegError {
    jpeg_error_mgr base;
    std::jmp_buf jump;
    char message[JMSG_LENGTH_MAX];
    bool no_end;  // the file ends before its end marker
    bool missing; // pixels are missing, and libjpeg made some up
    bool damaged; // some of the data are not what an encoder writes
};

void on_error(j_common_ptr info) {
    auto *error = reinterpret_cast<JpegError *>(info->err);
    error->base.format_message(info, error->message);
    std::longjmp(error->jump, 1);
}

void no_message(j_common_ptr) {}

void on_message(j_common_ptr info, int level) {
    if (level >= 0) return; // a trace
    auto *error = reinterpret_cast<JpegError *>(info->err);
    const int what = error->base.msg_code;
    if (what == JWRN_JPEG_EOF) {
        error->no_end = true;
    } else if (what == JWRN_HIT_MARKER) {
        error->missing = true;
    } else if (what != JWRN_EXTRANEOUS_DATA && what != JWRN_ADOBE_XFORM) {
        error->damaged = true;
    }
}

jpeg_error_mgr *set_up(JpegError &error) {
    error.no_end = error.missing = error.damaged = false;
    jpeg_std_error(&error.base);
    error.base.error_exit = on_error;
    error.base.output_message = no_message;
    error.base.emit_message = on_message;
    return &error.base;
}

constexpr char kExif[] = "Exif\0"; // and the 0 that ends the string
constexpr std::size_t kExifSize = sizeof kExif;

// libjpeg makes the buffer: to be freed with std::free, also after an error.
struct Buffer {
    unsigned char *data = nullptr;
    unsigned long size = 0;
    ~Buffer() { std::free(data); }
};

struct ProfileBuffer {
    JOCTET *data = nullptr;
    unsigned int size = 0;
    ~ProfileBuffer() { std::free(data); }
};

enum class Kind { read, cmyk, too_large };

bool decode(const Bytes &file, Pixels &pixels, ProfileBuffer &profile, Kind &kind, JpegError &error) {
    jpeg_decompress_struct jpeg;
    jpeg.err = set_up(error);
    jpeg_create_decompress(&jpeg);
    if (setjmp(error.jump) != 0) {
        jpeg_destroy_decompress(&jpeg);
        return false;
    }
    jpeg_mem_src(&jpeg, file.data(), static_cast<unsigned long>(file.size()));
    jpeg_save_markers(&jpeg, JPEG_APP0 + 1, 0xFFFF);
    jpeg_save_markers(&jpeg, JPEG_APP0 + 2, 0xFFFF);
    jpeg_read_header(&jpeg, TRUE);
    pixels.width = static_cast<int>(jpeg.image_width);
    pixels.height = static_cast<int>(jpeg.image_height);
    if (jpeg.jpeg_color_space == JCS_CMYK || jpeg.jpeg_color_space == JCS_YCCK) {
        kind = Kind::cmyk;
        ERREXIT(&jpeg, JERR_CONVERSION_NOTIMPL);
    }
    if (static_cast<std::uint64_t>(jpeg.image_width) * jpeg.image_height > 200000000) {
        kind = Kind::too_large;
        ERREXIT(&jpeg, JERR_IMAGE_TOO_BIG);
    }
    for (jpeg_saved_marker_ptr marker = jpeg.marker_list; marker != nullptr; marker = marker->next) {
        if (marker->marker == JPEG_APP0 + 1 && marker->data_length > kExifSize &&
            std::memcmp(marker->data, kExif, kExifSize) == 0 && pixels.orientation == 1)
            pixels.orientation = exif_orientation(marker->data + kExifSize, marker->data_length - kExifSize);
    }
    if (jpeg_read_icc_profile(&jpeg, &profile.data, &profile.size) == FALSE) profile.size = 0;
    const bool grey = jpeg.jpeg_color_space == JCS_GRAYSCALE;
    jpeg.out_color_space = grey ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_start_decompress(&jpeg);
    pixels.channels = jpeg.output_components;
    const std::size_t row = static_cast<std::size_t>(pixels.width) * static_cast<std::size_t>(pixels.channels);
    pixels.samples.resize(row * static_cast<std::size_t>(pixels.height));
    while (jpeg.output_scanline < jpeg.output_height) {
        JSAMPROW line = pixels.samples.data() + jpeg.output_scanline * row;
        jpeg_read_scanlines(&jpeg, &line, 1);
    }
    jpeg_finish_decompress(&jpeg);
    // Of several scans, later ones may be missing without a trace in the others.
    if (error.no_end && (jpeg.progressive_mode != FALSE || error.damaged)) error.missing = true;
    jpeg_destroy_decompress(&jpeg);
    return true;
}

bool encode(Buffer &buffer, const Pixels &pixels, JpegError &error) {
    jpeg_compress_struct jpeg;
    jpeg.err = set_up(error);
    jpeg_create_compress(&jpeg);
    if (setjmp(error.jump) != 0) {
        jpeg_destroy_compress(&jpeg);
        return false;
    }
    jpeg_mem_dest(&jpeg, &buffer.data, &buffer.size);
    jpeg.image_width = static_cast<JDIMENSION>(pixels.width);
    jpeg.image_height = static_cast<JDIMENSION>(pixels.height);
    jpeg.input_components = pixels.channels;
    jpeg.in_color_space = pixels.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 95, TRUE);
    jpeg.comp_info[0].h_samp_factor = jpeg.comp_info[0].v_samp_factor =
        1; // every pixel has its own colour, as in Python
    jpeg_start_compress(&jpeg, TRUE);
    if (!pixels.profile.empty())
        jpeg_write_icc_profile(&jpeg, pixels.profile.data(), static_cast<unsigned int>(pixels.profile.size()));
    const std::size_t row = static_cast<std::size_t>(pixels.width) * static_cast<std::size_t>(pixels.channels);
    while (jpeg.next_scanline < jpeg.image_height) {
        auto *line = const_cast<JSAMPLE *>(pixels.samples.data() + jpeg.next_scanline * row);
        jpeg_write_scanlines(&jpeg, &line, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    return true;
}

} // namespace

Pixels read_jpeg(const std::string &path, const Bytes &file) {
    Pixels pixels;
    ProfileBuffer profile;
    Kind kind = Kind::read;
    JpegError error;
    if (!decode(file, pixels, profile, kind, error)) {
        if (kind == Kind::cmyk)
            refuse_file(
                path,
                "is a CMYK JPEG, which hrt does not read; save it as RGB, or let `harmonyrt harmonize` convert it");
        if (kind == Kind::too_large)
            check_size(path, static_cast<std::uint64_t>(pixels.width), static_cast<std::uint64_t>(pixels.height));
        refuse_file(path, std::string("is a damaged JPEG: ") + error.message + "; give a picture that opens elsewhere");
    }
    if (error.missing) refuse_file(path, "is a JPEG that is cut short; give a picture that opens elsewhere");
    if (error.no_end) pixels.remarks.emplace_back("lacks its last bytes, the end marker");
    if (error.damaged) pixels.remarks.emplace_back("is damaged: some of its pixels are probably wrong");
    if (profile.size > 0) pixels.profile.assign(profile.data, profile.data + profile.size);
    return pixels;
}

Bytes write_jpeg(const std::string &path, const Pixels &pixels) {
    Buffer buffer;
    JpegError error;
    if (!encode(buffer, pixels, error)) throw WorkFailed(path + " cannot be written: " + error.message);
    return Bytes(buffer.data, buffer.data + buffer.size);
}
