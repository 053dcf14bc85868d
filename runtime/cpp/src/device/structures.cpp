#include "structures.hpp"

#include <algorithm>
#include <cmath>

namespace hrt::device {
namespace {

constexpr int kGrid = 64; // cells along the longer side, as in colour_maps.cpp

template <class Value>
void add(std::string &key, const Value &value) {
    static_assert(std::is_trivially_copyable_v<Value>);
    key.append(reinterpret_cast<const char *>(&value), sizeof value);
}

void add(std::string &key, const Frame &frame) {
    for (const Plane &part : frame.parts) add(key, part);
    add(key, frame.red);
    add(key, frame.space);
}

} // namespace

static_assert(sizeof(Plane) == 40 && sizeof(Space) == 84 && sizeof(Sizes) == 16, "a key has no room for padding");

Sizes sizes_of(int height, int width) {
    const int longer = std::max(height, width);
    const auto cells = [&](int side) {
        const double share = std::floor(static_cast<double>(kGrid) * side / longer + 0.5);
        return std::max(1, std::min(side, static_cast<int>(share)));
    };
    return {width, height, cells(width), cells(height)};
}

std::string Picture::key() const {
    std::string key;
    add(key, composite);
    add(key, mask);
    add(key, result);
    add(key, height);
    add(key, width);
    add(key, strength);
    return key;
}

Scratch Scratch::make(const std::function<void *(std::size_t)> &allocate, Sizes sizes, const Frame &frame,
                      State *state) {
    const auto floats = [&](std::size_t count) { return static_cast<float *>(allocate(count * sizeof(float))); };
    const auto pixels = static_cast<std::size_t>(pixels_of(sizes));
    const auto height = static_cast<std::size_t>(sizes.height), columns = static_cast<std::size_t>(sizes.grid_width);
    const std::size_t cells = columns * static_cast<std::size_t>(sizes.grid_height);
    auto widest = static_cast<std::size_t>(frame.width()); // the mask's too
    for (std::size_t i = 0; i < frame.count; ++i) {
        const Plane &part = frame.parts[i];
        widest = std::max(widest, static_cast<std::size_t>(part.width) * static_cast<std::size_t>(part.channels));
    }
    Scratch scratch{};
    scratch.sizes = sizes;
    scratch.image = floats(3 * pixels);
    scratch.mask = floats(pixels);
    scratch.output = floats(3 * pixels);
    scratch.coverage = floats(pixels);
    scratch.shrunk = floats(height * widest);
    for (std::size_t i = 0; i < frame.count; ++i)
        scratch.small[i] = floats(pixels * static_cast<std::size_t>(frame.parts[i].channels));
    scratch.partial = floats(kSums * height * columns);
    scratch.sums = static_cast<double *>(allocate(kSums * cells * sizeof(double)));
    scratch.windows = static_cast<double *>(allocate(kSums * cells * sizeof(double)));
    scratch.maps = static_cast<Maps *>(allocate(sizeof(Maps)));
    scratch.cells = floats(6 * cells);
    scratch.state = state;
    return scratch;
}

} // namespace hrt::device
