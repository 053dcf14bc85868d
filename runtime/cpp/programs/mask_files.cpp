// Masks of files: one channel of 8 bits, of whose values the library makes levels (docs/masks.md).
#include "pixels.hpp"

#include <algorithm>
#include <cmath>

namespace {

constexpr unsigned kDark = 16; // the strongest channel of what counts as black

using Notes = std::vector<std::string>;

// Every `step`th value from `first`.
template <class T>
std::vector<T> channel(const std::vector<T> &all, std::size_t first, std::size_t step) {
    std::vector<T> one(all.size() / step);
    for (std::size_t i = 0; i < one.size(); ++i) one[i] = all[i * step + first];
    return one;
}

template <class T>
bool varies(const std::vector<T> &values) {
    return std::any_of(values.begin(), values.end(), [&](T value) { return value != values.front(); });
}

// 8 bits of a mask's 16. The twin of table_for in runtime/images/mask_levels.py, of which the library does the rest.
Bytes mask_levels(const std::vector<std::uint16_t> &values, int label, const std::string &path, Notes &notes) {
    const unsigned highest = *std::max_element(values.begin(), values.end());
    Bytes result(values.size());
    if (label > 0 && highest > 255) { // which the library then finds among 8 bits
        const auto wanted = static_cast<std::uint16_t>(label > 255 ? 0 : label);
        std::transform(values.begin(), values.end(), result.begin(),
                       [wanted](auto value) { return static_cast<std::uint8_t>(value == wanted ? wanted : 0); });
        return result;
    }
    if (highest <= 255) {
        if (highest > 1)
            notes.push_back("note: " + path + " has 16 bits and values up to 255: they are taken as levels of 8 bits");
        std::transform(values.begin(), values.end(), result.begin(),
                       [](auto value) { return static_cast<std::uint8_t>(value); });
        return result;
    }
    const bool narrow = highest == 1023 || highest == 4095 || highest == 16383;
    const unsigned full = narrow ? highest : 65535;
    std::vector<bool> seen(65536);
    std::size_t labels = 0;
    for (std::uint16_t value : values) {
        if (value != 0 && !seen[value]) ++labels;
        seen[value] = true;
    }
    if (labels <= 16 && highest <= (full + 1) / 8) {
        notes.push_back("note: " + path + " holds labels: all but 0 are taken as the foreground");
        std::transform(values.begin(), values.end(), result.begin(),
                       [](auto value) { return static_cast<std::uint8_t>(value != 0 ? 255 : 0); });
        return result;
    }
    if (narrow)
        notes.push_back("note: " + path + " has 16 bits and values up to " + std::to_string(highest) +
                        ": that is taken as white");
    std::transform(values.begin(), values.end(), result.begin(),
                   [full](auto value) { return static_cast<std::uint8_t>((value * 255U + full / 2) / full); });
    return result;
}

Bytes mask_levels(const Bytes &values, int, const std::string &, Notes &) { return values; }

// One colour on black, hard or soft: the strongest channel, with that colour's own as white. Empty: there are more
// colours.
Bytes one_hue(const Bytes &rgb, const Bytes &strongest) {
    const unsigned peak = *std::max_element(strongest.begin(), strongest.end());
    if (*std::min_element(strongest.begin(), strongest.end()) > kDark) return {};
    double full[3] = {0, 0, 0};
    for (std::size_t i = 0; i < strongest.size(); ++i) {
        if (strongest[i] < peak - peak / 10) continue;
        for (std::size_t c = 0; c < 3; ++c) full[c] += rgb[3 * i + c];
    }
    const double most = *std::max_element(full, full + 3);
    std::size_t bright = 0, off = 0;
    for (std::size_t i = 0; i < strongest.size(); ++i) {
        if (strongest[i] <= kDark) continue;
        ++bright;
        bool other = false;
        for (std::size_t c = 0; c < 3; ++c)
            other = other || std::abs(rgb[3 * i + c] - strongest[i] * full[c] / most) > 24;
        if (other) ++off;
    }
    if (off * 50 > bright) return {};
    Bytes result(strongest.size());
    std::transform(strongest.begin(), strongest.end(), result.begin(), [peak](auto value) {
        return static_cast<std::uint8_t>(std::min((value * 255U + peak / 2) / peak, 255U));
    });
    return result;
}

// Levels of a coloured mask: its brightness where its colours say no more than that, its strongest channel where they
// are labels in one, and one colour on black as white. The twin of runtime/images/mask_colours.py, which tells more
// apart.
Bytes levels_of_colours(const Bytes &rgb, const std::string &path, Notes &notes) {
    const std::size_t count = rgb.size() / 3;
    Bytes strongest(count), luma(count);
    std::size_t bright = 0, coloured = 0;
    for (std::size_t i = 0; i < count; ++i) {
        const unsigned r = rgb[3 * i], g = rgb[3 * i + 1], b = rgb[3 * i + 2];
        const unsigned high = std::max({r, g, b}), low = std::min({r, g, b});
        strongest[i] = static_cast<std::uint8_t>(high);
        luma[i] = luma_of(&rgb[3 * i]);
        if (high > kDark) ++bright;
        if (high > kDark && high - low > high / 4) ++coloured;
    }
    if (*std::max_element(strongest.begin(), strongest.end()) <= 32) return strongest;
    if (coloured * 100 < bright) return luma;
    Bytes hue = one_hue(rgb, strongest);
    if (hue.empty())
        refuse_file(path,
                    "is a mask in several colours, of which hrt cannot tell what is foreground; save it as grey, white "
                    "where the"
                    " foreground is, or let `harmonyrt harmonize` read it");
    notes.push_back("note: " + path + " has one colour on black: it is taken as white");
    return hue;
}

// One channel of what the file holds, in 8 or 16 bits.
template <class T>
Bytes mask_channel(const std::vector<T> &all, int channels, int label, const std::string &path, Notes &notes) {
    const auto step = static_cast<std::size_t>(channels);
    if (channels % 2 == 0 && label == 0) {
        const std::vector<T> alpha = channel(all, step - 1, step);
        if (varies(alpha)) {
            notes.push_back("note: the mask is the alpha channel of " + path);
            return mask_levels(alpha, 0, path, notes);
        }
    }
    const std::vector<T> first = channel(all, 0, step);
    if (channels <= 2) return mask_levels(first, label, path, notes);
    std::vector<T> rgb(first.size() * 3);
    bool equal = true;
    for (std::size_t i = 0; i < first.size(); ++i) {
        std::copy_n(&all[i * step], 3, &rgb[3 * i]);
        equal = equal && rgb[3 * i] == rgb[3 * i + 1] && rgb[3 * i] == rgb[3 * i + 2];
    }
    if (equal) return mask_levels(first, label, path, notes);
    if (label != 0)
        refuse_file(path, "is coloured and has no label numbers; give a mask of grey values or of a palette");
    if constexpr (sizeof(T) == 2) {
        return levels_of_colours(narrowed(rgb), path, notes);
    } else {
        return levels_of_colours(rgb, path, notes);
    }
}

} // namespace

Bytes mask_of(Pixels &pixels, int label, const std::string &path, std::vector<std::string> &notes) {
    if (label == 0) look_up(pixels);
    return pixels.wide.empty() ? mask_channel(pixels.samples, pixels.channels, label, path, notes)
                               : mask_channel(pixels.wide, pixels.channels, label, path, notes);
}
