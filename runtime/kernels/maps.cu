// The network's change as colour maps: sums over the cells of a grid, then over windows of cells, and what is fitted to
// them. Twin of runtime/colour_maps.py.
#include "common.cuh"

enum { SUMS = 22 };                      // of a cell: weight, in (3), out (3), in*in (rr gg bb rg gb br), in*out (9)
enum { REACH = 2 };                      // cells of a window on each side of its own
static const float GREY = 0.5f;          // taken off colours before they are multiplied, so that little is lost
static const double MATRIX_RIDGE = 1e-4; // these four: runtime/colour_maps.py
static const double SLOPE_RIDGE = 1e-3;
static const double FEW = 1e-6;
static const double MOST = 4.0;

// Of a pixel's extent, what lies in a cell: a share in [0, 1]. Edges are compared as whole numbers.
static __device__ float share_of(int pixel, int pixels, int cell, int cells) {
    const long long low = static_cast<long long>(pixel) * cells, start = static_cast<long long>(cell) * pixels;
    const long long from = low > start ? low : start;
    const long long end = low + cells, stop = start + pixels;
    const long long to = end < stop ? end : stop;
    return to > from ? static_cast<float>(to - from) / static_cast<float>(cells) : 0.0f;
}

static __device__ int first_pixel(int pixels, int cell, int cells) {
    return static_cast<int>(static_cast<long long>(cell) * pixels / cells);
}

static __device__ int last_pixel(int pixels, int cell, int cells) {
    return static_cast<int>((static_cast<long long>(cell + 1) * pixels + cells - 1) / cells);
}

// Sums along one row of pixels: one thread for a row and a column of cells. `partial` is 22 x height x grid width.
extern "C" __global__ void sum_rows(const float *image, const float *output, const float *coverage, Sizes size,
                                    float *partial, State *state) {
    const int cell = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x), row = static_cast<int>(blockIdx.y);
    if (cell >= size.grid_width || row >= size.height) return;
    const long long pixels = static_cast<long long>(size.width) * size.height;
    float sum[SUMS] = {};
    bool finite = true;
    const int last = last_pixel(size.width, cell, size.grid_width);
    for (int column = first_pixel(size.width, cell, size.grid_width); column < last; ++column) {
        const long long at = static_cast<long long>(row) * size.width + column;
        const float m = coverage[at];
        const float p = m * (m * m * m + 1e-6f) * share_of(column, size.width, cell, size.grid_width);
        float x[3], y[3];
        for (int c = 0; c < 3; ++c) {
            const float answer = output[c * pixels + at];
            finite = finite && fabsf(answer) <= 3.4e38f;
            x[c] = image[c * pixels + at] - GREY;
            y[c] = clamped(answer, 0.0f, 1.0f) - GREY;
        }
        sum[0] += p;
        for (int c = 0; c < 3; ++c) {
            const float px = p * x[c];
            sum[1 + c] += px;
            sum[4 + c] += p * y[c];
            sum[7 + c] += px * x[c];
            sum[10 + c] += px * x[(c + 1) % 3];
            for (int d = 0; d < 3; ++d) sum[13 + 3 * c + d] += px * y[d];
        }
    }
    for (int k = 0; k < SUMS; ++k) {
        partial[(static_cast<long long>(k) * size.height + row) * size.grid_width + cell] = sum[k];
    }
    if (!finite) atomicOr(&state->failed, 1);
}

// Down the rows: one thread for one of the 22 sums of a cell. `sums` is 22 x grid height x grid width.
extern "C" __global__ void sum_cells(const float *partial, Sizes size, double *sums) {
    const int column = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    const int cell = static_cast<int>(blockIdx.y), k = static_cast<int>(blockIdx.z);
    if (column >= size.grid_width || cell >= size.grid_height || k >= SUMS) return;
    double sum = 0.0;
    const int last = last_pixel(size.height, cell, size.grid_height);
    for (int row = first_pixel(size.height, cell, size.grid_height); row < last; ++row) {
        const float part = partial[(static_cast<long long>(k) * size.height + row) * size.grid_width + column];
        sum += static_cast<double>(part) * static_cast<double>(share_of(row, size.height, cell, size.grid_height));
    }
    sums[(static_cast<long long>(k) * size.grid_height + cell) * size.grid_width + column] = sum;
}

// Weighted sums over the window around each cell: (1, 2, 3, 2, 1) / 9 in each direction, nothing beyond the border.
extern "C" __global__ void sum_windows(const double *sums, Sizes size, double *windows) {
    const int column = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    const int row = static_cast<int>(blockIdx.y), k = static_cast<int>(blockIdx.z);
    if (column >= size.grid_width || row >= size.grid_height || k >= SUMS) return;
    const double *plane = sums + static_cast<long long>(k) * size.grid_width * size.grid_height;
    double sum = 0.0;
    for (int i = row - REACH; i <= row + REACH; ++i) {
        if (i < 0 || i >= size.grid_height) continue;
        double line = 0.0;
        for (int j = column - REACH; j <= column + REACH; ++j) {
            if (j < 0 || j >= size.grid_width) continue;
            line += plane[static_cast<long long>(i) * size.grid_width + j] *
                    (REACH + 1 - (j < column ? column - j : j - column));
        }
        sum += line * (REACH + 1 - (i < row ? row - i : i - row));
    }
    windows[(static_cast<long long>(k) * size.grid_height + row) * size.grid_width + column] = sum / 81.0;
}

enum { SOLVERS = 256 }; // threads of fit_matrix, a power of two

// The block's sum of one value of each thread, for every thread.
static __device__ double block_sum(double value, double *scratch) {
    __syncthreads();
    scratch[threadIdx.x] = value;
    __syncthreads();
#pragma unroll 1
    for (unsigned step = SOLVERS / 2; step > 0; step /= 2) {
        if (threadIdx.x < step) scratch[threadIdx.x] += scratch[threadIdx.x + step];
        __syncthreads();
    }
    return scratch[0];
}

// Solves a @ x = b for 3x3 matrices, a symmetric and positive definite (Cholesky); the answer replaces b.
static __device__ void solve(const double a[9], double b[9]) {
    const double l00 = sqrt(a[0]);
    const double l10 = a[3] / l00, l20 = a[6] / l00;
    const double l11 = sqrt(a[4] - l10 * l10);
    const double l21 = (a[7] - l20 * l10) / l11;
    const double l22 = sqrt(a[8] - l20 * l20 - l21 * l21);
    for (int c = 0; c < 3; ++c) {
        const double f0 = b[c] / l00;
        const double f1 = (b[3 + c] - l10 * f0) / l11;
        const double f2 = (b[6 + c] - l20 * f0 - l21 * f1) / l22;
        b[6 + c] = f2 / l22;
        b[3 + c] = (f1 - l21 * b[6 + c]) / l11;
        b[c] = (f0 - l10 * b[3 + c] - l20 * b[6 + c]) / l00;
    }
}

// Where the six products of `in` with itself stand in a symmetric 3x3 matrix, row by row.
static __device__ int square_at(int i, int j) { return i == j ? 7 + i : (i + j == 1 ? 10 : (i + j == 3 ? 11 : 12)); }

// The matrix of the whole foreground, and its mean colours; one block. From covariances inside windows, so that a
// change from place to place does not pass for one of hue; these do not depend on what was taken off the colours.
extern "C" __global__ void fit_matrix(const double *sums, const double *windows, Sizes size, Maps *maps) {
    __shared__ double scratch[SOLVERS];
    const int cells = size.grid_width * size.grid_height;
    double total[7] = {};
    double covariance[16] = {}; // the windows' weight, in*in (6), in*out (9)
    for (int cell = static_cast<int>(threadIdx.x); cell < cells; cell += SOLVERS) {
        for (int k = 0; k < 7; ++k) total[k] += sums[static_cast<long long>(k) * cells + cell];
        const double *w = windows + cell;
        const double weight = w[0], some = fmax(weight, 1e-30);
        double x[3], y[3];
        for (int c = 0; c < 3; ++c) {
            x[c] = w[static_cast<long long>(1 + c) * cells];
            y[c] = w[static_cast<long long>(4 + c) * cells];
        }
        covariance[0] += weight;
        for (int c = 0; c < 3; ++c) {
            const int next = (c + 1) % 3;
            covariance[1 + c] += w[static_cast<long long>(7 + c) * cells] - x[c] * x[c] / some;
            covariance[4 + c] += w[static_cast<long long>(10 + c) * cells] - x[c] * x[next] / some;
            for (int d = 0; d < 3; ++d) {
                covariance[7 + 3 * c + d] += w[static_cast<long long>(13 + 3 * c + d) * cells] - x[c] * y[d] / some;
            }
        }
    }
    for (int k = 0; k < 7; ++k) total[k] = block_sum(total[k], scratch);
    for (int k = 0; k < 16; ++k) covariance[k] = block_sum(covariance[k], scratch);
    if (threadIdx.x != 0) return;
    const bool empty = !(total[0] > 0.0) || !(covariance[0] > 0.0);
    double within[9], change[9];
    for (int i = 0; i < 3; ++i) {
        maps->mean_in[i] = empty ? 0.0 : total[1 + i] / total[0];
        maps->mean_out[i] = empty ? 0.0 : total[4 + i] / total[0];
        for (int j = 0; j < 3; ++j) {
            const double ridge = i == j ? MATRIX_RIDGE : 0.0;
            within[3 * i + j] = empty ? ridge : covariance[square_at(i, j) - 6] / covariance[0] + ridge;
            change[3 * i + j] = empty ? ridge : covariance[7 + 3 * i + j] / covariance[0] + ridge;
        }
    }
    solve(within, change);
    double norm = 0.0;
    for (int k = 0; k < 9; ++k) {
        change[k] -= k % 4 == 0 ? 1.0 : 0.0;
        norm += change[k] * change[k];
    }
    norm = sqrt(norm);
    const double most = norm > MOST - 1.0 ? (MOST - 1.0) / norm : 1.0;
    for (int k = 0; k < 9; ++k) maps->matrix[k] = static_cast<float>((k % 4 == 0 ? 1.0 : 0.0) + change[k] * most);
}

// Each cell's scale (3) and shift (3), of colours that the matrix has turned already: grid height x grid width x 6.
extern "C" __global__ void fit_cells(const double *windows, Sizes size, const Maps *maps, float *cells_out) {
    const int cells = size.grid_width * size.grid_height;
    const int cell = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
    if (cell >= cells) return;
    const double *w = windows + cell;
    const double weight = w[0];
    const double n = weight + FEW * (static_cast<double>(size.width) * size.height / cells);
    const double *a = maps->mean_in, *b = maps->mean_out;
    double matrix[9], x[3], y[3], square[9], product[9];
    for (int k = 0; k < 9; ++k) matrix[k] = static_cast<double>(maps->matrix[k]);
    for (int c = 0; c < 3; ++c) {
        x[c] = w[static_cast<long long>(1 + c) * cells];
        y[c] = w[static_cast<long long>(4 + c) * cells];
    }
    for (int i = 0; i < 3; ++i) { // about the means of the whole foreground
        for (int j = 0; j < 3; ++j) {
            const double in_in = w[static_cast<long long>(square_at(i, j)) * cells];
            const double in_out = w[static_cast<long long>(13 + 3 * i + j) * cells];
            square[3 * i + j] = (in_in - a[i] * x[j] - a[j] * x[i] + a[i] * a[j] * weight) / n;
            product[3 * i + j] = (in_out - a[i] * y[j] - b[j] * x[i] + a[i] * b[j] * weight) / n;
        }
    }
    for (int c = 0; c < 3; ++c) {
        x[c] = (x[c] - a[c] * weight) / n;
        y[c] = (y[c] - b[c] * weight) / n;
    }
    for (int c = 0; c < 3; ++c) {
        double turned = 0.0, mean = 0.0, variance = 0.0, covariance = 0.0;
        for (int i = 0; i < 3; ++i) {
            turned += x[i] * matrix[3 * i + c];
            mean += (a[i] + static_cast<double>(GREY)) * matrix[3 * i + c];
            covariance += matrix[3 * i + c] * product[3 * i + c];
            for (int j = 0; j < 3; ++j) variance += matrix[3 * i + c] * square[3 * i + j] * matrix[3 * j + c];
        }
        variance = fmax(variance - turned * turned, 0.0);
        covariance -= turned * y[c];
        const double scale = fmin(fmax((covariance + SLOPE_RIDGE) / (variance + SLOPE_RIDGE), 0.0), MOST);
        const double shift = y[c] + b[c] + static_cast<double>(GREY) - scale * (turned + mean);
        cells_out[6LL * cell + c] = static_cast<float>(scale);
        cells_out[6LL * cell + 3 + c] = static_cast<float>(shift * 255.0);
    }
}
