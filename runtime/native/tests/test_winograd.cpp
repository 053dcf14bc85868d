// Every kernel against a convolution in double precision: odd sizes, batches, channels that fill no block, gates. In
// BF16 also to the last bit of what rounding tiles and weights once gives (rounded_reference.h). The kernel for AMX
// runs with registers in C++ too (amx_emulation.h), on CPUs that have none.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "cases.h"
#include "rounded_reference.h"
#include "winograd.h"
#include "workspace.h"

using namespace hrt::native;

namespace hrt::native::emulated_amx_bf16 {
extern const KernelOf<Bfloat16> kernel;
}

namespace {

float to_float(float number) { return number; }
float to_float(Bfloat16 number) {
    const std::uint32_t bits = static_cast<std::uint32_t>(number.bits) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

// Numbers as a kernel takes them; cut off where it takes fewer bits.
template <typename Number>
std::vector<Number> numbers(const std::vector<float> &from) {
    std::vector<Number> to(from.size());
    for (std::size_t i = 0; i < from.size(); ++i) {
        std::uint32_t bits;
        std::memcpy(&bits, &from[i], sizeof(bits));
        if constexpr (std::is_same_v<Number, float>)
            to[i] = from[i];
        else
            to[i].bits = static_cast<std::uint16_t>(bits >> 16);
    }
    return to;
}

struct Case {
    Convolution conv;
    bool gated = false;
    std::vector<float> source, plain, gated_weights, gate, bias;
    explicit Case(const Convolution &c, bool with_gate) : conv(c), gated(with_gate) {
        std::minstd_rand random(11);
        const auto fill = [&random](std::vector<float> &to, std::size_t count, float scale) {
            to.resize(count);
            for (float &x : to) x = scale * (static_cast<float>(random() % 20001) / 10000.0F - 1.0F);
        };
        const std::size_t weights = static_cast<std::size_t>(c.outputs) * c.inputs * c.kernel * c.kernel;
        fill(source, static_cast<std::size_t>(c.batch) * c.inputs * c.source_height * c.source_width, 1);
        fill(plain, weights, 0.2F);
        fill(gated_weights, gated ? weights : 0, 0.2F);
        fill(gate, gated ? static_cast<std::size_t>(c.batch) * c.inputs : 0, 1);
        fill(bias, c.outputs, 1);
    }
};

// Sources of -1, 0 and 1, whose tiles FP32 holds exactly, and one weight in each kernel, so that there are few
// different transformed weights.
Case whole_numbers(const Convolution &c, bool with_gate) {
    Case x(c, with_gate);
    std::minstd_rand random(5);
    const auto sign = [&random] { return static_cast<float>(static_cast<int>(random() / 7 % 3) - 1); };
    const std::size_t taps = static_cast<std::size_t>(c.kernel) * c.kernel;
    for (std::vector<float> *values : {&x.source, &x.bias})
        for (float &value : *values) value = sign();
    for (float &value : x.gate) value = std::fabs(sign());
    for (std::size_t i = 0; i < x.plain.size(); ++i) {
        const bool chosen = i % taps == i / taps * 5 % taps;
        x.plain[i] = chosen ? sign() : 0;
        if (with_gate) x.gated_weights[i] = chosen ? sign() : 0;
    }
    return x;
}

// A case whose numbers are BF16.
Case in_bf16(Case x) {
    for (std::vector<float> *values : {&x.source, &x.plain, &x.gated_weights, &x.gate, &x.bias}) {
        const std::vector<Bfloat16> cut = numbers<Bfloat16>(*values);
        std::transform(cut.begin(), cut.end(), values->begin(), [](Bfloat16 number) { return to_float(number); });
    }
    return x;
}

std::vector<float> packed(const Convolution &c, const std::vector<float> &w) {
    const int taps = c.kernel * c.kernel, blocks = (c.outputs + kOutputBlock - 1) / kOutputBlock;
    std::vector<float> out(static_cast<std::size_t>(blocks) * c.inputs * taps * kOutputBlock);
    for (std::size_t i = 0; i < w.size(); ++i) {
        const std::size_t tap = i % taps, input = i / taps % c.inputs, output = i / taps / c.inputs;
        out[((output / kOutputBlock * c.inputs + input) * taps + tap) * kOutputBlock + output % kOutputBlock] = w[i];
    }
    return out;
}

double expected(const Case &x, int picture, int o, int y, int column) {
    const Convolution &c = x.conv;
    double sum = x.bias[o];
    for (int i = 0; i < c.inputs; ++i)
        for (int u = 0; u < c.kernel; ++u)
            for (int v = 0; v < c.kernel; ++v) {
                const int sy = y + u - c.top, sx = column + v - c.left;
                if (sy < 0 || sx < 0 || sy >= c.source_height || sx >= c.source_width) continue;
                const std::size_t at = ((static_cast<std::size_t>(o) * c.inputs + i) * c.kernel + u) * c.kernel + v;
                const std::size_t plane = static_cast<std::size_t>(picture) * c.inputs + i;
                const double weight = x.plain[at] + (x.gated ? double(x.gated_weights[at]) * x.gate[plane] : 0.0);
                sum += weight * x.source[(plane * c.source_height + sy) * c.source_width + sx];
            }
    return activated(c, sum);
}

// The result, with the memory around it and behind the workspace watched.
template <typename Number>
std::vector<float> run(const KernelOf<Number> &kernel, const Case &x, int threads) {
    const std::vector<Number> plain = numbers<Number>(packed(x.conv, x.plain));
    const std::vector<Number> gated = numbers<Number>(packed(x.conv, x.gated_weights));
    const std::vector<Number> source = numbers<Number>(x.source), gate = numbers<Number>(x.gate);
    const std::vector<Number> bias = numbers<Number>(x.bias);
    const std::size_t count = static_cast<std::size_t>(x.conv.batch) * x.conv.outputs * x.conv.height * x.conv.width;
    constexpr float untouched = 12352.0F; // BF16 has it
    std::vector<Number> result = numbers<Number>(std::vector<float>(count + 64, untouched));
    std::vector<float> space(kernel.workspace(x.conv, threads), 0.0F);
    OperandsOf<Number> with;
    with.source = source.data(), with.plain = plain.data(), with.bias = bias.data(), with.result = result.data() + 32;
    if (x.gated) with.gated = gated.data(), with.gate = gate.data();
    kernel.run(x.conv, with, space.data(), threads, on_threads);
    std::vector<float> out(result.size());
    std::transform(result.begin(), result.end(), out.begin(), [](Number number) { return to_float(number); });
    CHECK(std::count(out.begin(), out.begin() + 32, untouched) == 32);
    CHECK(std::count(out.end() - 32, out.end(), untouched) == 32);
    return std::vector<float>(out.begin() + 32, out.end() - 32);
}

template <typename Number>
std::vector<float> check(const KernelOf<Number> &kernel, const Case &x, double allowed) {
    const std::vector<float> result = run(kernel, x, 1);
    double worst = 0;
    std::size_t i = 0;
    for (int b = 0; b < x.conv.batch; ++b)
        for (int o = 0; o < x.conv.outputs; ++o)
            for (int y = 0; y < x.conv.height; ++y)
                for (int column = 0; column < x.conv.width; ++column, ++i)
                    if (i % 7 == 0 || y == 0 || column == 0 || y == x.conv.height - 1 || column == x.conv.width - 1)
                        worst = std::max(worst, std::fabs(expected(x, b, o, y, column) - result[i]));
    CHECK(worst <= allowed);
    for (int threads : {2, 3, 5}) CHECK(run(kernel, x, threads) == result);
    return result;
}

// Every value within the last bit of a result of what rounding tiles and weights once gives.
void check_rounding(const KernelOf<Bfloat16> &kernel, const Case &x) {
    const Convolution &c = x.conv;
    const std::vector<float> result = run(kernel, x, 1);
    const auto rounded = [](double value) { // to the nearest one of 8 binary digits, of two to the even one
        int exponent = 0;
        const double digits = std::frexp(value, &exponent);
        return std::ldexp(std::nearbyint(std::ldexp(digits, 8)), exponent - 8);
    };
    double worst = 0;
    for (int picture = 0; picture < c.batch; ++picture)
        for (int o = 0; o < c.outputs; ++o)
            for (int row = 0; 4 * row < c.height; ++row)
                for (int column = 0; 4 * column < c.width; ++column) {
                    const auto weight = [&](int input, int y, int across) {
                        const std::size_t at =
                            ((static_cast<std::size_t>(o) * c.inputs + input) * c.kernel + y) * c.kernel + across;
                        const std::size_t gate = static_cast<std::size_t>(picture) * c.inputs + input;
                        return x.plain[at] + (x.gated ? x.gated_weights[at] * x.gate[gate] : 0.0);
                    };
                    const auto source = [&](int input, int y, int across) {
                        if (y < 0 || across < 0 || y >= c.source_height || across >= c.source_width) return 0.0F;
                        const std::size_t plane = static_cast<std::size_t>(picture) * c.inputs + input;
                        return x.source[(plane * c.source_height + y) * c.source_width + across];
                    };
                    const Matrix tile = rounded_tile(c, c.inputs, row, column, weight, source, rounded);
                    for (int y = 4 * row; y < std::min(4 * row + 4, c.height); ++y)
                        for (int across = 4 * column; across < std::min(4 * column + 4, c.width); ++across) {
                            const double want = activated(c, tile[y % 4][across % 4] + x.bias[o]);
                            const std::size_t plane = static_cast<std::size_t>(picture) * c.outputs + o;
                            const float found = result[(plane * c.height + y) * c.width + across];
                            worst = std::max(worst, std::fabs(found - want) - std::fabs(want) / 256);
                        }
                }
    CHECK(worst <= 1e-5);
    for (int threads : {2, 3, 5}) CHECK(run(kernel, x, threads) == result);
}

Convolution convolution(int kernel, int inputs, int outputs, int height, int width) {
    Convolution c;
    c.kernel = kernel, c.inputs = inputs, c.outputs = outputs, c.source_height = height, c.source_width = width;
    c.top = c.left = 1;
    c.height = height + 3 - kernel, c.width = width + 3 - kernel;
    return c;
}

struct Shape {
    Convolution conv;
    bool gated;
};

std::vector<Shape> shapes(int side) {
    std::vector<Shape> all = {
        {convolution(side, 5, 19, 9, 14), false},                                           // no block is full
        {convolution(side, 1, 1, 1, 1), false},    {convolution(side, 3, 16, 4, 67), true}, // one row of tiles
        {convolution(side, 2, 33, 35, 5), true},                                            // two columns of tiles
        {convolution(side, 4, 48, 41, 37), false},                                          // two blocks of tiles
    };
    for (int batch : {2, 3}) {
        Convolution c = convolution(side, 6, 17, 7, 12);
        c.batch = batch;
        all.push_back({c, batch == 3});
    }
    for (int pad : {0, 1}) { // what phases of transposed convolutions and pairs of pixels are
        Convolution c = convolution(side, 7, 20, 13, 11);
        c.top = pad, c.left = 1 - pad, c.height = 13 - (side - 1) + pad, c.width = 11 - (side - 1) + 1 - pad;
        all.push_back({c, false});
    }
    return all;
}

// Those, many input channels and every activation, whose numbers are not whole.
std::vector<Shape> all_shapes(int side) {
    std::vector<Shape> all = shapes(side);
    all.push_back({convolution(side, 131, 40, 8, 8), true}); // two blocks of input channels in FP32
    all.push_back({convolution(side, 259, 16, 8, 8), true}); // and in BF16
    for (Activation activation : {Activation::relu, Activation::leaky_relu}) {
        Convolution c = convolution(side, 8, 16, 6, 6);
        c.activation = activation, c.slope = 0.2F;
        all.push_back({c, false});
    }
    return all;
}

} // namespace

TEST_CASE("every FP32 kernel of this CPU computes convolutions") {
    int found = 0;
    for (const char *name : {"avx512", "avx2"}) {
        const Kernel *const kernel = kernel_named(name);
        if (kernel == nullptr) continue;
        ++found;
        CHECK(std::string(kernel->name) == name);
        for (int side : {2, 3})
            for (const Shape &shape : all_shapes(side)) {
                INFO(name << ", kernel " << side << ", inputs " << shape.conv.inputs);
                check(*kernel, Case(shape.conv, shape.gated), 2e-5 * std::sqrt(shape.conv.inputs));
            }
    }
    CHECK(found > 0);
    CHECK(best_kernel() != nullptr);
    CHECK(kernel_named("no such") == nullptr);
}

TEST_CASE("every BF16 kernel of this CPU computes convolutions, and all of them nearly the same numbers") {
    const KernelOf<Bfloat16> *const vectors = bf16_kernel_named("avx512_bf16");
    const KernelOf<Bfloat16> *const registers = bf16_kernel_named("amx_bf16");
    std::vector<const KernelOf<Bfloat16> *> kernels;
    if (vectors != nullptr) kernels.push_back(vectors);
    if (registers != nullptr) kernels.push_back(registers);
    if (vectors != nullptr || !HRT_EMULATED_WITH_AVX512) kernels.push_back(&emulated_amx_bf16::kernel);
    if (vectors == nullptr) MESSAGE("not run: this CPU has no AVX512-BF16");
    CHECK(best_bf16_kernel() == (registers != nullptr ? registers : vectors));
    CHECK(bf16_kernel_named("no such") == nullptr);
    for (int side : {2, 3}) {
        for (const Shape &shape : shapes(side)) {
            const Case x = whole_numbers(shape.conv, shape.gated);
            for (const KernelOf<Bfloat16> *const kernel : kernels) {
                INFO(kernel->name << ", whole numbers, kernel " << side << ", inputs " << shape.conv.inputs);
                check_rounding(*kernel, x);
            }
        }
        for (const Shape &shape : all_shapes(side)) { // rounded tiles and weights: some per cent of a result
            const Case x = in_bf16(Case(shape.conv, shape.gated));
            std::vector<float> first;
            for (const KernelOf<Bfloat16> *const kernel : kernels) {
                INFO(kernel->name << ", kernel " << side << ", inputs " << shape.conv.inputs);
                const std::vector<float> result = check(*kernel, x, 0.04 * std::sqrt(shape.conv.inputs));
                if (kernel == &emulated_amx_bf16::kernel && !HRT_EMULATED_WITH_AVX512)
                    continue; // it rounds other tiles
                if (first.empty()) first = result;
                double apart = 0, largest = 0;
                for (std::size_t i = 0; i < result.size(); ++i) {
                    apart = std::max(apart, std::fabs(static_cast<double>(result[i]) - first[i]));
                    largest = std::max(largest, std::fabs(static_cast<double>(first[i])));
                }
                CHECK(apart <= largest / 128); // the last bit of a result: sums are in another order
            }
        }
    }
}
