// Picture files as hrt reads and writes them. The files are made here, from what the writers give.
#include "images.hpp"
#include "streams.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include <zlib.h>

namespace {

namespace fs = std::filesystem;

struct Folder {
    fs::path path = fs::temp_directory_path() / ("hrt-images-" + std::to_string(std::rand()));
    Folder() { fs::create_directories(path); }
    ~Folder() { fs::remove_all(path); }
    std::string with(const std::string &name, const Bytes &data) const {
        const fs::path file = path / name;
        std::ofstream(file, std::ios::binary)
            .write(reinterpret_cast<const char *>(data.data()), static_cast<std::streamsize>(data.size()));
        return file.string();
    }
    std::string file(const std::string &name) const { return (path / name).string(); }
};

Pixels picture(int width, int height, int channels) {
    Pixels pixels;
    pixels.width = width;
    pixels.height = height;
    pixels.channels = channels;
    for (std::size_t i = 0; i < pixels.count() * static_cast<std::size_t>(channels); ++i)
        pixels.samples.push_back(static_cast<std::uint8_t>(i * 37 % 251));
    return pixels;
}

Pixels of(int width, int height, int channels, const Bytes &samples) {
    Pixels pixels = picture(width, height, channels);
    pixels.samples = samples;
    return pixels;
}

void append(Bytes &to, const Bytes &more) { to.insert(to.end(), more.begin(), more.end()); }

Bytes number(std::uint32_t value) {
    return {static_cast<std::uint8_t>(value >> 24), static_cast<std::uint8_t>(value >> 16),
            static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

Bytes chunk(const std::string &kind, const Bytes &data) {
    Bytes body(kind.begin(), kind.end());
    append(body, data);
    Bytes whole = number(static_cast<std::uint32_t>(data.size()));
    append(whole, body);
    append(whole, number(static_cast<std::uint32_t>(crc32(0, body.data(), static_cast<uInt>(body.size())))));
    return whole;
}

// A PNG with more chunks after its header, which takes 8 + 25 bytes.
Bytes with_chunks(Bytes png, const Bytes &chunks) {
    png.insert(png.begin() + 33, chunks.begin(), chunks.end());
    return png;
}

// A PNG of any kind, unfiltered; `samples` as they are stored, row by row without filter bytes.
Bytes raw_png(std::uint32_t width, std::uint32_t height, std::uint8_t bits, std::uint8_t kind, const Bytes &samples,
              const Bytes &more = {}) {
    const std::size_t row = samples.size() / height;
    Bytes filtered;
    for (std::size_t y = 0; y < height; ++y) {
        filtered.push_back(0);
        filtered.insert(filtered.end(), samples.begin() + static_cast<std::ptrdiff_t>(y * row),
                        samples.begin() + static_cast<std::ptrdiff_t>((y + 1) * row));
    }
    uLongf size = compressBound(static_cast<uLong>(filtered.size()));
    Bytes packed(size);
    compress(packed.data(), &size, filtered.data(), static_cast<uLong>(filtered.size()));
    packed.resize(size);
    Bytes header = number(width);
    append(header, number(height));
    append(header, {bits, kind, 0, 0, 0});
    Bytes png = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    append(png, chunk("IHDR", header));
    append(png, more);
    append(png, chunk("IDAT", packed));
    append(png, chunk("IEND", {}));
    return png;
}

Bytes exif(std::uint8_t orientation) {
    return {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0};
}

Bytes turned_jpeg(const Pixels &pixels, std::uint8_t orientation) {
    Bytes jpeg = write_jpeg("x.jpg", pixels), data = {'E', 'x', 'i', 'f', 0, 0};
    append(data, exif(orientation));
    Bytes marker = {0xFF, 0xE1, 0, static_cast<std::uint8_t>(data.size() + 2)};
    append(marker, data);
    jpeg.insert(jpeg.begin() + 2, marker.begin(), marker.end());
    return jpeg;
}

std::string refusal(const std::function<void()> &act) {
    try {
        act();
    } catch (const std::runtime_error &error) {
        return error.what();
    }
    return "";
}

bool says(const Image &image, const std::string &words) {
    return std::any_of(image.notes.begin(), image.notes.end(),
                       [&](const std::string &note) { return note.find(words) != std::string::npos; });
}

bool has(const std::string &text, const std::string &words) { return text.find(words) != std::string::npos; }

} // namespace

TEST_CASE("a JPEG that is cut short is refused, and one without its end marker is not") {
    const Folder folder;
    const Bytes whole = write_jpeg("x.jpg", picture(80, 60, 3));
    for (std::size_t share : {3, 5, 8}) {
        const Bytes cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(whole.size() * share / 10));
        const std::string path = folder.with("cut.jpg", cut);
        CHECK(has(refusal([&] { read_composite(path); }), "give a picture that opens elsewhere"));
        CHECK(has(refusal([&] { read_mask(path, 0); }), "give a picture that opens elsewhere"));
    }
    const Image all = read_composite(folder.with("whole.jpg", whole));
    const Image endless = read_composite(folder.with("endless.jpg", Bytes(whole.begin(), whole.end() - 2)));
    CHECK(all.notes.empty());
    CHECK(says(endless, "lacks its last bytes"));
    CHECK(endless.data == all.data);
}

TEST_CASE("a PNG that is cut short is refused") {
    const Folder folder;
    const Bytes whole = write_png("x.png", picture(80, 60, 3));
    const std::string path =
        folder.with("cut.png", Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(whole.size() / 2)));
    CHECK(has(refusal([&] { read_composite(path); }), "is damaged or cut short"));
    CHECK(read_composite(folder.with("no-end.png", Bytes(whole.begin(), whole.end() - 12))).data ==
          picture(80, 60, 3).samples);
}

TEST_CASE("EXIF turns a picture upright") {
    const Folder folder;
    const Bytes stored = {1, 2, 3, 4, 5, 6}; // 3 x 2
    const std::pair<std::uint8_t, Bytes> expected[] = {
        {1, {1, 2, 3, 4, 5, 6}}, {2, {3, 2, 1, 6, 5, 4}}, {3, {6, 5, 4, 3, 2, 1}}, {4, {4, 5, 6, 1, 2, 3}},
        {5, {1, 4, 2, 5, 3, 6}}, {6, {4, 1, 5, 2, 6, 3}}, {7, {6, 3, 5, 2, 4, 1}}, {8, {3, 6, 2, 5, 1, 4}}};
    for (const auto &[orientation, upright] : expected) {
        const Image mask = read_mask(folder.with("m.png", with_chunks(write_png("m.png", of(3, 2, 1, stored)),
                                                                      chunk("eXIf", exif(orientation)))),
                                     0);
        CHECK(mask.data == upright);
        CHECK(mask.width == (orientation < 5 ? 3 : 2));
        CHECK(mask.orientation == orientation);
        const Image photo = read_composite(folder.with("c.jpg", turned_jpeg(picture(48, 32, 3), orientation)));
        CHECK(photo.width == (orientation < 5 ? 48 : 32));
        CHECK(photo.orientation == orientation);
    }
}

TEST_CASE("a mask of the stored pixels is turned like its photo, and the other way round") {
    const Folder folder;
    const Image photo = read_composite(folder.with("c.jpg", turned_jpeg(picture(3, 2, 3), 6)));
    Image mask = read_mask(folder.with("m.png", write_png("m.png", of(3, 2, 1, {1, 2, 3, 4, 5, 6}))), 0);
    match_turn(mask, photo, "m.png", "c.jpg");
    CHECK(mask.data == Bytes{4, 1, 5, 2, 6, 3});
    CHECK(says(mask, "note: c.jpg has the EXIF orientation 6 and m.png has none: the mask was turned like it"));

    const Image plain = read_composite(folder.with("c.png", write_png("c.png", picture(3, 2, 3))));
    Image kept = read_mask(
        folder.with("k.png", with_chunks(write_png("k.png", of(3, 2, 1, {1, 2, 3, 4, 5, 6})), chunk("eXIf", exif(8)))),
        0);
    match_turn(kept, plain, "k.png", "c.png");
    CHECK(kept.data == Bytes{1, 2, 3, 4, 5, 6});
    CHECK(says(kept, "the mask was taken as it is stored"));

    Image unknown = read_mask(folder.with("m.png", write_png("m.png", of(3, 2, 1, {1, 2, 3, 4, 5, 6}))), 0);
    match_turn(unknown, read_composite(folder.with("h.jpg", turned_jpeg(picture(3, 2, 3), 3))), "m.png", "h.jpg");
    CHECK(unknown.data == Bytes{1, 2, 3, 4, 5, 6});
    CHECK(says(unknown, "if the result is misplaced"));
}

TEST_CASE("damaged EXIF data turn nothing") {
    const Bytes whole = exif(6);
    CHECK(exif_orientation(whole.data(), whole.size()) == 6);
    for (std::size_t size = 0; size < 19; ++size) CHECK(exif_orientation(whole.data(), size) == 1);
    const Bytes far = {'I', 'I', 42, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0};
    CHECK(exif_orientation(far.data(), far.size()) == 1);
    CHECK(exif_orientation(exif(9).data(), whole.size()) == 1);
}

TEST_CASE("masks of 16 bits mean what they mean in Python") {
    const Folder folder;
    const auto mask = [&](const Bytes &big_endian) {
        return read_mask(folder.with("m.png", raw_png(2, 1, 16, 0, big_endian)), 0);
    };
    CHECK(mask({0, 0, 0, 1}).data == Bytes{0, 1}); // 0 and 1, which the library reads as black and white
    CHECK(mask({0, 0, 0xFF, 0xFF}).data == Bytes{0, 255});
    CHECK(mask({0x7F, 0xFF, 0xFF, 0xFF}).data == Bytes{127, 255});
    const Image levels = mask({0, 128, 0, 255});
    CHECK(levels.data == Bytes{128, 255});
    CHECK(says(levels, "taken as levels of 8 bits"));
    const Image narrow = mask({0, 0, 0x0F, 0xFF});
    CHECK(narrow.data == Bytes{0, 255});
    CHECK(says(narrow, "values up to 4095: that is taken as white"));
    const Image labels = mask({0, 0, 0x03, 0xE8});
    CHECK(labels.data == Bytes{0, 255});
    CHECK(says(labels, "holds labels"));
}

TEST_CASE("an alpha that varies is the mask, and one colour on black is white") {
    const Folder folder;
    const Image alpha =
        read_mask(folder.with("a.png", write_png("a.png", of(2, 1, 4, {9, 200, 9, 0, 9, 200, 9, 255}))), 0);
    CHECK(alpha.data == Bytes{0, 255});
    CHECK(says(alpha, "the mask is the alpha channel"));
    CHECK(read_mask(folder.with("o.png", write_png("o.png", of(2, 1, 4, {0, 0, 0, 255, 90, 90, 90, 255}))), 0).data ==
          Bytes{0, 90});
    const Image red =
        read_mask(folder.with("r.png", write_png("r.png", of(3, 1, 3, {0, 0, 0, 200, 0, 0, 100, 0, 0}))), 0);
    CHECK(red.data == Bytes{0, 255, 128});
    CHECK(says(red, "has one colour on black"));
    const std::string two = folder.with("two.png", write_png("two.png", of(3, 1, 3, {0, 0, 0, 200, 0, 0, 0, 0, 200})));
    CHECK(has(refusal([&] { read_mask(two, 0); }), "is a mask in several colours"));
}

TEST_CASE("labels of a palette are its indices") {
    const Folder folder;
    const Bytes file = raw_png(3, 1, 8, 3, {0, 1, 2}, chunk("PLTE", {0, 0, 0, 255, 0, 0, 0, 0, 255}));
    CHECK(read_mask(folder.with("p.png", file), 2).data == Bytes{0, 1, 2});
    CHECK(read_composite(folder.with("p.png", file)).data == Bytes{0, 0, 0, 255, 0, 0, 0, 0, 255});
    CHECK(read_composite(folder.with("beyond.png", raw_png(1, 1, 8, 3, {9}, chunk("PLTE", {1, 2, 3})))).data ==
          Bytes{0, 0, 0});
}

TEST_CASE("what is not read is refused in its own words") {
    const Folder folder;
    const Bytes plain = write_png("x.png", picture(4, 3, 3));
    const std::string moving = folder.with("moving.png", with_chunks(plain, chunk("acTL", {0, 0, 0, 3, 0, 0, 0, 0})));
    CHECK(has(refusal([&] { read_composite(moving); }), "is an animation of 3 frames"));
    const std::string vast = folder.with("vast.png", raw_png(60000, 60000, 8, 2, Bytes(60000)));
    CHECK(has(refusal([&] { read_composite(vast); }), "60000 x 60000 pixels, more than the limit"));
    CHECK(has(refusal([&] { read_composite(folder.with("e.png", {})); }), "is empty"));
}

TEST_CASE("grey stays grey, a profile is kept, and colours named otherwise are spoken of") {
    const Folder folder;
    Image grey = read_composite(folder.with("g.png", write_png("g.png", picture(4, 3, 1))));
    CHECK(grey.channels == 3);
    CHECK(grey.notes.empty());
    write_image(folder.file("g2.jpg"), grey);
    CHECK(read_composite(folder.file("g2.jpg")).grey);
    write_image(folder.file("g2.png"), grey);
    CHECK(read_composite(folder.file("g2.png")).data == grey.data);

    const Image linear = read_composite(
        folder.with("l.png", with_chunks(write_png("l.png", picture(4, 3, 3)), chunk("gAMA", number(100000)))));
    CHECK(linear.data == picture(4, 3, 3).samples);
    CHECK(says(linear, "says its colours by chunks"));
    CHECK(read_composite(
              folder.with("s.png", with_chunks(write_png("s.png", picture(4, 3, 3)), chunk("gAMA", number(45455)))))
              .notes.empty());
    const Image deep = read_composite(folder.with("d.png", raw_png(1, 1, 16, 2, {255, 255, 0, 0, 1, 1})));
    CHECK(deep.data == Bytes{255, 0, 1});
    CHECK(says(deep, "of which 8 are read"));
}

TEST_CASE("a JPEG keeps its profile") {
    const Folder folder;
    Pixels pixels = picture(8, 8, 3);
    pixels.profile.assign(200, 0);
    std::memcpy(&pixels.profile[16], "RGB ", 4);
    std::memcpy(&pixels.profile[36], "acsp", 4);
    const Image read = read_composite(folder.with("p.jpg", write_jpeg("p.jpg", pixels)));
    CHECK(read.profile == pixels.profile);
    CHECK(says(read, "has a colour profile"));
    write_image(folder.file("q.jpg"), read);
    CHECK(read_composite(folder.file("q.jpg")).profile == pixels.profile);
    std::memcpy(&pixels.profile[16], "CMYK", 4);
    const Image other = read_composite(folder.with("o.jpg", write_jpeg("o.jpg", pixels)));
    CHECK(other.profile.empty());
    CHECK(says(other, "does not fit its pixels"));
}

TEST_CASE("no input is overwritten, and suffixes may be capitals") {
    const Folder folder;
    const std::string path = folder.with("c.png", write_png("c.png", picture(4, 3, 3)));
    const Image image = read_composite(path);
    fs::create_symlink(path, folder.path / "link.png");
    CHECK(has(refusal([&] { check_output(path, image, {path}); }), "is one of the inputs"));
    CHECK(has(refusal([&] { check_output(folder.file("link.png"), image, {path}); }), "is one of the inputs"));
    CHECK_NOTHROW(check_output(folder.file("O.PNG"), image, {path}));
    CHECK_NOTHROW(check_output(folder.file("o.JPeG"), image, {path}));
    CHECK(has(refusal([&] { check_output(folder.file("o.gif"), image, {path}); }), "has no suffix"));
}
