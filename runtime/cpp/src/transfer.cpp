#include "transfer.hpp"

#include "colour_maps.hpp"
#include "parallel.hpp"
#include "resample.hpp"
#include "simd.hpp"

#include <algorithm>
#include <cstring>

namespace hrt {
namespace {

constexpr int kGrain = 128; // rows of a picture that are worth a thread

std::uint8_t to_byte(float value) {
    return static_cast<std::uint8_t>(value > 0.F ? (value < 255.F ? value : 255.F) : 0.F);
}

// Columns between which a row of the mask has all that is not 0.
struct Span {
    int from, to;
};

Span span_of(const std::uint8_t *mask, int width) {
    int from = 0, to = width;
    while (from < width && mask[from] == 0) ++from;
    while (to > from && mask[to - 1] == 0) --to;
    return {from, to};
}

// One row of colours, planar, with room for what is done to them.
class Row {
public:
    explicit Row(int width) : width_(static_cast<std::size_t>(width)), data_(width_ * 10) {}
    float *colour(std::size_t c) { return data_.data() + c * width_; }
    float *target(std::size_t c) { return data_.data() + (3 + c) * width_; }
    float *scale(std::size_t c) { return data_.data() + (6 + c) * width_; }
    float *amount() { return data_.data() + 9 * width_; }

private:
    std::size_t width_;
    std::vector<float> data_;
};

HRT_HOT void unpack(const std::uint8_t *pixels, std::size_t step, std::size_t count, float *a, float *b, float *c) {
    for (std::size_t i = 0; i < count; ++i, pixels += step) {
        a[i] = static_cast<float>(pixels[0]);
        b[i] = static_cast<float>(pixels[1]);
        c[i] = static_cast<float>(pixels[2]);
    }
}

HRT_HOT void amounts(const std::uint8_t *mask, std::size_t count, float *out) {
    for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<float>(mask[i]) / 255.F;
}

// target = colour * scale + shift, where `target` comes in holding the shift
HRT_HOT void map_channel(const float *r, const float *g, const float *b, const float (&column)[3], const float *scale,
                         float *target, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
        const float turned = r[i] * column[0] + g[i] * column[1] + b[i] * column[2];
        target[i] = turned * scale[i] + target[i];
    }
}

// Blends and rounds; `pixels` comes in holding the composite.
HRT_HOT void blend_row(const float *colour, const float *target, const float *amount, std::size_t count,
                       std::uint8_t *out, std::size_t step) {
    for (std::size_t i = 0; i < count; ++i) {
        const float value = (target[i] - colour[i]) * amount[i] + colour[i] + 0.5F;
        out[i * step] = to_byte(value);
    }
}

HRT_HOT void interpolate_run(float left, float right, const float *weights, std::size_t count, float *out) {
    for (std::size_t i = 0; i < count; ++i) out[i] = left * weights[2 * i] + right * weights[2 * i + 1];
}

// Which columns lie between the same two cells, with the weights of those: a grid's row becomes a picture's row.
class Stretch {
public:
    Stretch(int cells, int width) : line_(cells, width) {
        for (int x = 0; x < width; ++x) {
            const Taps taps = line_[x];
            if (taps.count > 2) plain_ = false;
            const float pair[2] = {taps.weights[0], taps.count > 1 ? taps.weights[1] : 0.F};
            weights_.insert(weights_.end(), pair, pair + 2);
            if (runs_.empty() || taps.first != line_[x - 1].first || taps.count != line_[x - 1].count)
                runs_.push_back(x);
        }
        runs_.push_back(width);
    }

    // `cells` has `step` values from one cell to the next; writes columns [span.from, span.to) to out[0...].
    void apply(const float *cells, int step, Span span, float *out) const {
        if (!plain_) return apply_taps(cells, step, span, out);
        auto run = std::upper_bound(runs_.begin(), runs_.end(), span.from) - 1;
        for (int x = span.from; x < span.to; ++run) {
            const int end = std::min(*(run + 1), span.to);
            const Taps taps = line_[x];
            const float left = cells[taps.first * step], right = taps.count > 1 ? cells[(taps.first + 1) * step] : 0.F;
            interpolate_run(left, right, weights_.data() + 2 * static_cast<std::size_t>(x),
                            static_cast<std::size_t>(end - x), out + (x - span.from));
            x = end;
        }
    }

private:
    void apply_taps(const float *cells, int step, Span span, float *out) const {
        for (int x = span.from; x < span.to; ++x) {
            const Taps taps = line_[x];
            float sum = 0;
            for (int i = 0; i < taps.count; ++i) sum += taps.weights[i] * cells[(taps.first + i) * step];
            *out++ = sum;
        }
    }

    Line line_;
    bool plain_ = true; // at most two cells for each column
    std::vector<float> weights_;
    std::vector<int> runs_;
};

// sum of taps.weights[i] * rows[taps.first + i], `size` values each
void mix(const float *rows, const Taps &taps, std::size_t size, float *out) {
    std::fill(out, out + size, 0.F);
    for (int i = 0; i < taps.count; ++i) {
        const float *row = rows + static_cast<std::size_t>(taps.first + i) * size;
        for (std::size_t k = 0; k < size; ++k) out[k] += taps.weights[i] * row[k];
    }
}

struct Canvas {
    const Picture &picture;
    const Mask &mask;
    std::uint8_t *output;
    std::size_t stride;
    const Controls &controls;

    // The composite's row goes to the output; returns where the mask changes it.
    Span begin(int y, std::uint8_t *&out) const {
        out = output + static_cast<std::size_t>(y) * stride;
        const std::uint8_t *in = picture.row(y);
        if (out != in)
            std::memcpy(out, in, static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.step));
        return span_of(mask.row(y), picture.width);
    }
    // Which byte of a pixel holds channel c of RGB.
    std::size_t byte(std::size_t c) const { return picture.red == 0 ? c : 2 - c; }
};

void unpack_span(const Canvas &canvas, int y, Span span, const std::uint8_t *out, Row &row) {
    const auto count = static_cast<std::size_t>(span.to - span.from);
    const auto step = static_cast<std::size_t>(canvas.picture.step);
    float *byte[3];
    for (std::size_t c = 0; c < 3; ++c) byte[canvas.byte(c)] = row.colour(c);
    unpack(out + static_cast<std::size_t>(span.from) * step, step, count, byte[0], byte[1], byte[2]);
    amounts(canvas.mask.row(y) + span.from, count, row.amount());
}

void pack_span(const Canvas &canvas, Span span, std::uint8_t *out, Row &row) {
    const auto step = static_cast<std::size_t>(canvas.picture.step);
    if (!canvas.controls.plain()) {
        const float *const before[3] = {row.colour(0), row.colour(1), row.colour(2)};
        float *const after[3] = {row.target(0), row.target(1), row.target(2)};
        control(canvas.controls, before, after, static_cast<std::size_t>(span.to - span.from));
    }
    for (std::size_t c = 0; c < 3; ++c) {
        blend_row(row.colour(c), row.target(c), row.amount(), static_cast<std::size_t>(span.to - span.from),
                  out + static_cast<std::size_t>(span.from) * step + canvas.byte(c), step);
    }
}

// Colours the foreground by the maps.
void apply_maps(const Canvas &canvas, const ColourMaps &maps, int threads) {
    const int width = canvas.picture.width, height = canvas.picture.height;
    const Line rows(maps.grid.height, height);
    const Stretch columns(maps.grid.width, width);
    const std::size_t cells = static_cast<std::size_t>(maps.grid.width) * 3;
    over_rows(height, threads, kGrain, [&](int from, int to) {
        Row row(width);
        std::vector<float> scale(cells), shift(cells);
        for (int y = from; y < to; ++y) {
            std::uint8_t *out = nullptr;
            const Span span = canvas.begin(y, out);
            if (span.from >= span.to) continue;
            unpack_span(canvas, y, span, out, row);
            mix(maps.scale.data(), rows[y], cells, scale.data());
            mix(maps.shift.data(), rows[y], cells, shift.data());
            for (std::size_t c = 0; c < 3; ++c) {
                columns.apply(scale.data() + c, 3, span, row.scale(c));
                columns.apply(shift.data() + c, 3, span, row.target(c));
                const float column[3] = {maps.matrix[0][c], maps.matrix[1][c], maps.matrix[2][c]};
                map_channel(row.colour(0), row.colour(1), row.colour(2), column, row.scale(c), row.target(c),
                            static_cast<std::size_t>(span.to - span.from));
            }
            pack_span(canvas, span, out, row);
        }
    });
}

// Blends the network's picture itself: for composites of the engine's size, which were never resized.
void blend(const Canvas &canvas, const float *result, int threads) {
    const int width = canvas.picture.width, height = canvas.picture.height;
    const auto row_size = static_cast<std::size_t>(width);
    const std::size_t plane = row_size * static_cast<std::size_t>(height);
    over_rows(height, threads, kGrain, [&](int from, int to) {
        Row row(width);
        for (int y = from; y < to; ++y) {
            std::uint8_t *out = nullptr;
            const Span span = canvas.begin(y, out);
            if (span.from >= span.to) continue;
            unpack_span(canvas, y, span, out, row);
            const auto count = static_cast<std::size_t>(span.to - span.from);
            for (std::size_t c = 0; c < 3; ++c) {
                const float *in =
                    result + c * plane + static_cast<std::size_t>(y) * row_size + static_cast<std::size_t>(span.from);
                float *target = row.target(c);
                for (std::size_t x = 0; x < count; ++x) target[x] = std::clamp(in[x], 0.F, 1.F) * 255.F;
            }
            pack_span(canvas, span, out, row);
        }
    });
}

} // namespace

void upsample_edit(const Picture &picture, const Mask &mask, const Fitted &fitted, const float *result,
                   std::uint8_t *output, std::size_t output_stride, int threads, bool as_seen,
                   const Controls &controls) {
    const Canvas canvas = {picture, mask, output, output_stride, controls};
    if (as_seen && picture.width == fitted.size.width && picture.height == fitted.size.height) {
        blend(canvas, result, threads);
    } else {
        apply_maps(canvas, fit_maps(fitted, result), threads);
    }
}

} // namespace hrt
