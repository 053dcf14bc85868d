#include "resample.hpp"

#include "parallel.hpp"
#include "simd.hpp"

#include <algorithm>
#include <cmath>

namespace hrt {
namespace {

constexpr int kGrain = 256; // input rows that are worth a thread

HRT_HOT void add_row(const std::uint8_t *row, float weight, float *sums, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) sums[i] += weight * static_cast<float>(row[i]);
}

// One output row: the weighted sum of input rows, `size` values each.
void mix_rows(const Samples &source, const Taps &taps, float *sums, std::size_t size) {
    std::fill(sums, sums + size, 0.F);
    for (int i = 0; i < taps.count; ++i) {
        add_row(source.data + static_cast<std::size_t>(taps.first + i) * source.stride, taps.weights[i], sums, size);
    }
}

template <int Channels>
void mix_columns(const float *row, const Line &line, int step, float *out) {
    for (int x = 0; x < line.size(); ++x) {
        const Taps taps = line[x];
        const float *p = row + static_cast<std::size_t>(taps.first) * static_cast<std::size_t>(step);
        float sums[Channels] = {};
        for (int i = 0; i < taps.count; ++i, p += step) {
            for (int c = 0; c < Channels; ++c) sums[c] += taps.weights[i] * p[c];
        }
        out = std::copy(sums, sums + Channels, out);
    }
}

} // namespace

Line::Line(int source, int target) {
    const double scale = static_cast<double>(source) / target;
    const double reach = std::max(scale, 1.0);
    runs_.reserve(static_cast<std::size_t>(target));
    std::vector<double> raw;
    for (int i = 0; i < target; ++i) {
        const double center = (i + 0.5) * scale;
        const int from = std::max(0, static_cast<int>(std::floor(center - reach)));
        const int to = std::min(source, static_cast<int>(std::ceil(center + reach)));
        raw.clear();
        double sum = 0;
        for (int x = from; x < to; ++x) {
            raw.push_back(std::max(0.0, 1.0 - std::fabs(x + 0.5 - center) / reach));
            sum += raw.back();
        }
        // A weight of zero at either end is no input: the same size is then the same picture, and costs no more.
        std::size_t begin = 0, end = raw.size();
        while (begin + 1 < end && raw[begin] == 0) ++begin;
        while (end - 1 > begin && raw[end - 1] == 0) --end;
        runs_.push_back({from + static_cast<int>(begin), static_cast<int>(end - begin), weights_.size()});
        for (std::size_t k = begin; k < end; ++k) weights_.push_back(static_cast<float>(raw[k] / sum));
    }
}

std::vector<float> resample(const Samples &source, int channels, int width, int height, int threads) {
    const Line rows(source.height, height), columns(source.width, width);
    const std::size_t row = static_cast<std::size_t>(source.width) * static_cast<std::size_t>(source.step);
    const std::size_t out_row = static_cast<std::size_t>(width) * static_cast<std::size_t>(channels);
    std::vector<float> out(out_row * static_cast<std::size_t>(height));
    const int grain = static_cast<int>(static_cast<long long>(kGrain) * height / source.height) + 1;
    over_rows(height, threads, grain, [&](int from, int to) {
        std::vector<float> sums(row);
        for (int y = from; y < to; ++y) {
            mix_rows(source, rows[y], sums.data(), row);
            float *const line = out.data() + static_cast<std::size_t>(y) * out_row;
            if (channels == 1) {
                mix_columns<1>(sums.data(), columns, source.step, line);
            } else {
                mix_columns<3>(sums.data(), columns, source.step, line);
            }
        }
    });
    return out;
}

} // namespace hrt
