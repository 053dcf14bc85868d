#include "colour_maps.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace hrt {
namespace {

// As in runtime/transfer.py; docs/full_resolution.md says how they were chosen.
constexpr int kGrid = 64;                                  // cells along the longer side of the engine's picture
constexpr std::array<double, 5> kWindow = {1, 2, 3, 2, 1}; // weights of a window's cells, in each direction
constexpr double kSlopeRidge = 1e-3;                       // pulls a cell's scales towards 1
constexpr double kMatrixRidge = 1e-4;                      // pulls the matrix towards the identity
constexpr double kFew = 1e-6;                              // weight per cell of the whole foreground's averages
constexpr double kMost = 4.0;                              // largest scale

// Sums over pixels: weight, in (3), out (3), in*in (rr, gg, bb, rg, gb, br), in_i*out_j (9).
constexpr std::size_t kSums = 22;
using Sums = std::array<double, kSums>;
using Vector = std::array<double, 3>;
using Matrix = std::array<Vector, 3>;

// The one or two cells that a pixel lies in, and its share in each.
struct Shares {
    int cell;
    double here;
    double next;
};

std::vector<Shares> shares(int pixels, int cells) {
    std::vector<Shares> out(static_cast<std::size_t>(pixels));
    const double width = static_cast<double>(pixels) / cells;
    for (int i = 0; i < pixels; ++i) {
        int cell = std::min(cells - 1, static_cast<int>(i / width));
        while (cell > 0 && cell * width > i) --cell;
        while (cell + 1 < cells && (cell + 1) * width <= i) ++cell;
        const double edge = cell + 1 < cells ? (cell + 1) * width : pixels;
        const double here = std::min(1.0, edge - i);
        out[static_cast<std::size_t>(i)] = {cell, here, cell + 1 < cells ? 1.0 - here : 0.0};
    }
    return out;
}

struct Box {
    int left, top, right, bottom;
};

// Rows and columns between which the mask has all that is not 0.
Box bounding_box(const std::vector<float> &mask, Size size) {
    Box box = {size.width, size.height, 0, 0};
    for (int y = 0; y < size.height; ++y) {
        const float *row = mask.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(size.width);
        for (int x = 0; x < size.width; ++x) {
            if (row[x] == 0) continue;
            box = {std::min(box.left, x), std::min(box.top, y), std::max(box.right, x + 1), y + 1};
        }
    }
    return box;
}

// The weight falls fast with coverage, since pixels at the border hold background too.
float weight_of(float coverage) { return coverage * (coverage * coverage * coverage + 1e-6F); }

float clipped(float value) { return std::clamp(value, 0.F, 1.F); }

struct Means {
    Vector in{}, out{};
};

// Pixel by pixel over the foreground's box: its index, row, column and weight.
template <class Work>
void over_foreground(const Fitted &fitted, const Box &box, Work &&work) {
    for (int y = box.top; y < box.bottom; ++y) {
        for (int x = box.left; x < box.right; ++x) {
            const auto i =
                static_cast<std::size_t>(y) * static_cast<std::size_t>(fitted.size.width) + static_cast<std::size_t>(x);
            if (fitted.mask[i] != 0) work(i, x, y, weight_of(fitted.mask[i]));
        }
    }
}

Means means_of(const Fitted &fitted, const float *output, const Box &box) {
    const std::size_t plane = fitted.mask.size();
    Means means;
    double total = 0;
    over_foreground(fitted, box, [&](std::size_t i, int, int, float weight) {
        total += static_cast<double>(weight);
        for (std::size_t c = 0; c < 3; ++c) {
            means.in[c] += static_cast<double>(fitted.image[c * plane + i] * weight);
            means.out[c] += static_cast<double>(clipped(output[c * plane + i]) * weight);
        }
    });
    for (std::size_t c = 0; c < 3; ++c) {
        means.in[c] /= total;
        means.out[c] /= total;
    }
    return means;
}

class Grid {
public:
    explicit Grid(Size size)
        : size_(size), cells_(static_cast<std::size_t>(size.width) * static_cast<std::size_t>(size.height)) {}
    Sums &at(int x, int y) {
        return cells_[static_cast<std::size_t>(y) * static_cast<std::size_t>(size_.width) +
                      static_cast<std::size_t>(x)];
    }
    Size size() const { return size_; }
    std::vector<Sums> &cells() { return cells_; }

private:
    Size size_;
    std::vector<Sums> cells_;
};

void add(Sums &to, const Sums &from, double share) {
    for (std::size_t k = 0; k < kSums; ++k) to[k] += share * from[k];
}

// One pixel's sums, about the means.
Sums pixel_sums(const Vector &x, const Vector &y, double weight) {
    Sums v;
    v[0] = weight;
    for (std::size_t c = 0; c < 3; ++c) {
        const double wx = weight * x[c];
        v[1 + c] = wx;
        v[4 + c] = weight * y[c];
        v[7 + c] = wx * x[c];
        v[10 + c] = wx * x[(c + 1) % 3];
        for (std::size_t j = 0; j < 3; ++j) v[13 + 3 * c + j] = wx * y[j];
    }
    return v;
}

Grid grid_sums(const Fitted &fitted, const float *output, const Box &box, const Means &means, Size grid_size) {
    const std::size_t plane = fitted.mask.size();
    const std::vector<Shares> columns = shares(fitted.size.width, grid_size.width);
    const std::vector<Shares> rows = shares(fitted.size.height, grid_size.height);
    Grid grid(grid_size);
    std::vector<Sums> line(static_cast<std::size_t>(grid_size.width));
    int current = -1;
    const auto flush = [&] {
        if (current < 0) return;
        const Shares &row = rows[static_cast<std::size_t>(current)];
        for (int x = 0; x < grid_size.width; ++x) {
            add(grid.at(x, row.cell), line[static_cast<std::size_t>(x)], row.here);
            if (row.next > 0) add(grid.at(x, row.cell + 1), line[static_cast<std::size_t>(x)], row.next);
        }
        std::fill(line.begin(), line.end(), Sums{});
    };
    over_foreground(fitted, box, [&](std::size_t i, int x, int y, float weight) {
        if (y != current) {
            flush();
            current = y;
        }
        Vector in, out;
        for (std::size_t c = 0; c < 3; ++c) {
            in[c] = static_cast<double>(fitted.image[c * plane + i]) - means.in[c];
            out[c] = static_cast<double>(clipped(output[c * plane + i])) - means.out[c];
        }
        const Sums sums = pixel_sums(in, out, static_cast<double>(weight));
        const Shares &column = columns[static_cast<std::size_t>(x)];
        add(line[static_cast<std::size_t>(column.cell)], sums, column.here);
        if (column.next > 0) add(line[static_cast<std::size_t>(column.cell) + 1], sums, column.next);
    });
    flush();
    return grid;
}

// Weighted sums over the cells around each cell; cells past the border count as empty.
Grid windows_of(Grid &grid) {
    const Size size = grid.size();
    constexpr int reach = static_cast<int>(kWindow.size()) / 2;
    double total = 0;
    for (const double w : kWindow) total += w;
    Grid across(size), out(size);
    for (int y = 0; y < size.height; ++y) {
        for (int x = 0; x < size.width; ++x) {
            for (int k = std::max(-reach, -x); k <= std::min(reach, size.width - 1 - x); ++k) {
                add(across.at(x, y), grid.at(x + k, y), kWindow[static_cast<std::size_t>(k + reach)] / total);
            }
        }
    }
    for (int y = 0; y < size.height; ++y) {
        for (int k = std::max(-reach, -y); k <= std::min(reach, size.height - 1 - y); ++k) {
            for (int x = 0; x < size.width; ++x) {
                add(out.at(x, y), across.at(x, y + k), kWindow[static_cast<std::size_t>(k + reach)] / total);
            }
        }
    }
    return out;
}

// The sums of in_i * in_j and in_i * out_j as matrices.
double square(const Sums &s, std::size_t i, std::size_t j) {
    constexpr std::size_t where[3][3] = {{0, 3, 5}, {3, 1, 4}, {5, 4, 2}};
    return s[7 + where[i][j]];
}
double product(const Sums &s, std::size_t i, std::size_t j) { return s[13 + 3 * i + j]; }

// a^-1 b, by elimination with pivots. `a` is symmetric and, thanks to the ridge, positive.
Matrix solve(Matrix a, Matrix b) {
    for (std::size_t k = 0; k < 3; ++k) {
        std::size_t pivot = k;
        for (std::size_t i = k + 1; i < 3; ++i) {
            if (std::fabs(a[i][k]) > std::fabs(a[pivot][k])) pivot = i;
        }
        std::swap(a[k], a[pivot]);
        std::swap(b[k], b[pivot]);
        for (std::size_t i = 0; i < 3; ++i) {
            if (i == k) continue;
            const double factor = a[i][k] / a[k][k];
            for (std::size_t j = 0; j < 3; ++j) {
                a[i][j] -= factor * a[k][j];
                b[i][j] -= factor * b[k][j];
            }
        }
    }
    for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < 3; ++j) b[i][j] /= a[i][i];
    }
    return b;
}

// The foreground's matrix, from covariances inside windows, so that a change from place to place does not pass for one
// of hue.
Matrix foreground_matrix(Grid &windows) {
    Matrix within{}, across{};
    double total = 0;
    for (const Sums &s : windows.cells()) {
        const double some = std::max(s[0], 1e-30);
        total += s[0];
        for (std::size_t i = 0; i < 3; ++i) {
            for (std::size_t j = 0; j < 3; ++j) {
                within[i][j] += square(s, i, j) - s[1 + i] * s[1 + j] / some;
                across[i][j] += product(s, i, j) - s[1 + i] * s[4 + j] / some;
            }
        }
    }
    for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < 3; ++j) {
            within[i][j] = within[i][j] / total + (i == j ? kMatrixRidge : 0);
            across[i][j] = across[i][j] / total + (i == j ? kMatrixRidge : 0);
        }
    }
    Matrix matrix = solve(within, across);
    double norm = 0;
    for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < 3; ++j) {
            const double change = matrix[i][j] - (i == j ? 1 : 0);
            norm += change * change;
        }
    }
    const double kept = std::min(1.0, (kMost - 1) / std::max(std::sqrt(norm), 1e-30));
    for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < 3; ++j) {
            const double identity = i == j ? 1 : 0;
            matrix[i][j] = identity + (matrix[i][j] - identity) * kept;
        }
    }
    return matrix;
}

Vector turned_by(const Vector &colour, const Matrix &matrix) {
    Vector out{};
    for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < 3; ++j) out[j] += colour[i] * matrix[i][j];
    }
    return out;
}

// A cell's scale and shift, of colours that the matrix has turned already.
void fit_cell(const Sums &s, const Matrix &matrix, const Means &means, double few, float *scale, float *shift) {
    const double n = s[0] + few;
    const Vector turned = turned_by({s[1] / n, s[2] / n, s[3] / n}, matrix);
    const Vector mean_turned = turned_by(means.in, matrix);
    for (std::size_t j = 0; j < 3; ++j) {
        const double average = s[4 + j] / n;
        double variance = 0, covariance = 0;
        for (std::size_t i = 0; i < 3; ++i) {
            double across = 0;
            for (std::size_t k = 0; k < 3; ++k) across += square(s, i, k) / n * matrix[k][j];
            variance += matrix[i][j] * across;
            covariance += matrix[i][j] * product(s, i, j) / n;
        }
        variance = std::max(0.0, variance - turned[j] * turned[j]);
        covariance -= turned[j] * average;
        const double slope = std::clamp((covariance + kSlopeRidge) / (variance + kSlopeRidge), 0.0, kMost);
        scale[j] = static_cast<float>(slope);
        shift[j] = static_cast<float>((average + means.out[j] - slope * (turned[j] + mean_turned[j])) * 255);
    }
}

Size grid_size_of(Size size) {
    const double longer = std::max(size.width, size.height);
    const auto cells = [&](int side) {
        return std::max(1, std::min(side, static_cast<int>(std::floor(kGrid * side / longer + 0.5))));
    };
    return {cells(size.width), cells(size.height)};
}

} // namespace

ColourMaps fit_maps(const Fitted &fitted, const float *output) {
    const Size grid_size = grid_size_of(fitted.size);
    const Box box = bounding_box(fitted.mask, fitted.size);
    const Means means = means_of(fitted, output, box);
    Grid sums = grid_sums(fitted, output, box, means, grid_size);
    Grid windows = windows_of(sums);
    const Matrix matrix = foreground_matrix(windows);

    ColourMaps maps{{}, grid_size, {}, {}};
    for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < 3; ++j) maps.matrix[i][j] = static_cast<float>(matrix[i][j]);
    }
    const std::size_t cells = windows.cells().size();
    const double few = kFew * static_cast<double>(fitted.mask.size()) / static_cast<double>(cells);
    maps.scale.resize(cells * 3);
    maps.shift.resize(cells * 3);
    for (std::size_t i = 0; i < cells; ++i) {
        fit_cell(windows.cells()[i], matrix, means, few, &maps.scale[3 * i], &maps.shift[3 * i]);
    }
    return maps;
}

} // namespace hrt
