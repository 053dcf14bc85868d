// Winograd's algorithm in double precision, straight from its points: what a kernel gives that rounds tiles and weights
// once, each in its own way, and nothing else.
#pragma once

#include <vector>

#include "cases.h"
#include "winograd.h"

namespace hrt::native {

using Matrix = std::vector<std::vector<double>>;

// F(4, kernel) by Lagrange's polynomials; the last point is infinity.
struct ToomCook {
    int n;
    Matrix input, weight, output; // n rows each: of n, of `kernel` and of 4 numbers
    explicit ToomCook(int kernel) : n(kernel + 3) {
        const std::vector<double> points =
            kernel == 3 ? std::vector<double>{0, 1.5, -1.5, 0.625, -0.625} : std::vector<double>{0, -1, 0.625, 1.5};
        for (int i = 0; i < n; ++i) {
            const bool last = i == n - 1;
            std::vector<double> product{1}; // coefficients, the lowest power first
            double divisor = 1;
            for (int j = 0; j < n - 1; ++j) {
                if (j == i) continue;
                product.push_back(0);
                for (std::size_t k = product.size() - 1; k > 0; --k)
                    product[k] = product[k - 1] - points[j] * product[k];
                product[0] *= -points[j];
                if (!last) divisor *= points[i] - points[j];
            }
            product.resize(n);
            input.push_back(product);
            weight.push_back(powers(last, last ? 0 : points[i], kernel, divisor));
            output.push_back(powers(last, last ? 0 : points[i], 4, 1));
        }
    }

    // Both ways, of a square of `rows.front().size()` values: rows * square * rows^T.
    Matrix both(const Matrix &rows, const Matrix &square) const {
        const std::size_t side = square.size();
        Matrix half(rows.size(), std::vector<double>(side)), out(rows.size(), std::vector<double>(rows.size()));
        for (std::size_t i = 0; i < rows.size(); ++i)
            for (std::size_t x = 0; x < side; ++x)
                for (std::size_t y = 0; y < side; ++y) half[i][x] += rows[i][y] * square[y][x];
        for (std::size_t i = 0; i < rows.size(); ++i)
            for (std::size_t j = 0; j < rows.size(); ++j)
                for (std::size_t x = 0; x < side; ++x) out[i][j] += rows[j][x] * half[i][x];
        return out;
    }

private:
    static std::vector<double> powers(bool last, double point, int count, double divisor) {
        std::vector<double> row(count);
        double power = 1;
        for (double &value : row) value = last ? 0 : power / divisor, power *= point;
        if (last) row.back() = 1;
        return row;
    }
};

// One tile of one output channel, 4 x 4 from (4 * row, 4 * column) on, before bias and activation.
//
// weight(input, y, x), source(input, y, x) and rounded(value) are given; the source is zero around the picture.
template <typename Weight, typename Source, typename Rounded>
Matrix rounded_tile(const Convolution &c, int inputs, int row, int column, const Weight &weight, const Source &source,
                    const Rounded &rounded) {
    const ToomCook of(c.kernel);
    Matrix sums(of.n, std::vector<double>(of.n)), taps(c.kernel, std::vector<double>(c.kernel)), pixels = sums;
    for (int input = 0; input < inputs; ++input) {
        for (int y = 0; y < c.kernel; ++y)
            for (int x = 0; x < c.kernel; ++x) taps[y][x] = weight(input, y, x);
        for (int y = 0; y < of.n; ++y)
            for (int x = 0; x < of.n; ++x) pixels[y][x] = source(input, 4 * row + y - c.top, 4 * column + x - c.left);
        const Matrix u = of.both(of.weight, taps), v = of.both(of.input, pixels);
        for (int i = 0; i < of.n; ++i)
            for (int j = 0; j < of.n; ++j) sums[i][j] += rounded(u[i][j]) * rounded(v[i][j]);
    }
    Matrix back(4, std::vector<double>(of.n)); // the output's rows, turned
    for (int i = 0; i < of.n; ++i)
        for (int y = 0; y < 4; ++y) back[y][i] = of.output[i][y];
    return of.both(back, sums);
}

} // namespace hrt::native
