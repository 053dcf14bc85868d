// Every INT8 kernel against a convolution in double precision: odd sizes, batches, channels that fill no block, gates.
// The kernel for AMX runs with registers in C++ too (amx_emulation.h), on CPUs that have none.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "cases.h"
#include "quantized.h"
#include "workspace.h"

using namespace hrt::native;

namespace hrt::native::emulated_amx_int8 {
extern const QuantizedKernel quantized_kernel;
}

namespace {

struct Case {
    Convolution conv;
    bool gated;
    std::vector<std::int8_t> weights; // packed
    std::vector<float> source, scales, gate, bias;
    Case(const Convolution &c, bool with_gate) : conv(c), gated(with_gate) {
        std::minstd_rand random(11);
        const auto fill = [&random](std::vector<float> &to, std::size_t count, float low, float high) {
            to.resize(count);
            for (float &x : to) x = low + (high - low) * static_cast<float>(random() % 20001) / 20000.0F;
        };
        const std::size_t blocks = (c.outputs + kOutputBlock - 1) / kOutputBlock;
        weights.resize(blocks * inputs() * c.kernel * c.kernel * kOutputBlock);
        for (std::int8_t &w : weights) w = static_cast<std::int8_t>(static_cast<int>(random() % 255) - 127);
        fill(source, static_cast<std::size_t>(c.batch) * c.inputs * c.source_height * c.source_width, -1, 2);
        fill(scales, c.outputs, 0.001F, 0.01F);
        fill(gate, gated ? static_cast<std::size_t>(c.batch) * c.inputs : 0, 0, 2);
        fill(bias, c.outputs, -1, 1);
    }
    int inputs() const { return (gated ? 2 : 1) * conv.inputs; }
};

double expected(const Case &x, int picture, int o, int y, int column) {
    const Convolution &c = x.conv;
    double sum = 0;
    for (int i = 0; i < x.inputs(); ++i)
        for (int u = 0; u < c.kernel; ++u)
            for (int v = 0; v < c.kernel; ++v) {
                const int sy = y + u - c.top, sx = column + v - c.left;
                if (sy < 0 || sx < 0 || sy >= c.source_height || sx >= c.source_width) continue;
                const std::size_t block = static_cast<std::size_t>(o / kOutputBlock) * x.inputs() + i;
                const std::size_t tap = block * c.kernel * c.kernel + u * c.kernel + v;
                const std::size_t plane = static_cast<std::size_t>(picture) * c.inputs + i % c.inputs;
                const double gate = x.gated && i < c.inputs ? x.gate[plane] : 1.0;
                sum += gate * x.weights[tap * kOutputBlock + o % kOutputBlock] *
                       x.source[(plane * c.source_height + sy) * c.source_width + sx];
            }
    sum = sum * x.scales[o] + x.bias[o];
    return activated(c, sum);
}

// The result, with the memory around it watched.
std::vector<float> run(const QuantizedKernel &kernel, const Case &x, int threads) {
    const Convolution &c = x.conv;
    const std::size_t count = static_cast<std::size_t>(c.batch) * c.outputs * c.height * c.width;
    constexpr float untouched = 12345.0F;
    Workspace prepared; // aligned
    void *const weights = prepared.at_least((kernel.prepared(c, x.gated) + 3) / sizeof(float));
    kernel.prepare(c, x.gated, x.weights.data(), x.scales.data(), weights, threads, on_threads);
    std::vector<float> result(count + 64, untouched), space(kernel.workspace(c, x.gated, threads), 0.0F);
    QuantizedOperands with;
    with.source = x.source.data(), with.weights = weights, with.bias = x.bias.data();
    with.gate = x.gated ? x.gate.data() : nullptr, with.result = result.data() + 32;
    kernel.run(c, with, space.data(), threads, on_threads);
    CHECK(std::count(result.begin(), result.begin() + 32, untouched) == 32);
    CHECK(std::count(result.end() - 32, result.end(), untouched) == 32);
    return std::vector<float>(result.begin() + 32, result.end() - 32);
}

// Rounding to 8 bits in the transformed domain leaves this much of the result, in dB below it, at the worst of `Case`.
constexpr double kLeastDb = 25;

std::vector<float> check(const QuantizedKernel &kernel, const Case &x) {
    const std::vector<float> result = run(kernel, x, 1);
    double error = 0, power = 0;
    std::size_t i = 0;
    for (int b = 0; b < x.conv.batch; ++b)
        for (int o = 0; o < x.conv.outputs; ++o)
            for (int y = 0; y < x.conv.height; ++y)
                for (int column = 0; column < x.conv.width; ++column, ++i)
                    if (i % 7 == 0 || y == 0 || column == 0 || y == x.conv.height - 1 || column == x.conv.width - 1) {
                        const double want = expected(x, b, o, y, column);
                        error += (want - result[i]) * (want - result[i]);
                        power += want * want;
                    }
    CHECK(10 * std::log10(power / error) > kLeastDb);
    for (int threads : {2, 3, 5}) CHECK(run(kernel, x, threads) == result);
    return result;
}

Convolution convolution(int kernel, int inputs, int outputs, int height, int width) {
    Convolution c;
    c.kernel = kernel, c.inputs = inputs, c.outputs = outputs, c.source_height = height, c.source_width = width;
    c.top = c.left = 1;
    c.height = height + 3 - kernel, c.width = width + 3 - kernel;
    return c;
}

std::vector<Case> cases() {
    std::vector<Case> all;
    for (int side : {2, 3}) {
        all.emplace_back(convolution(side, 5, 19, 9, 14), false); // no block is full
        all.emplace_back(convolution(side, 1, 1, 1, 1), false);
        all.emplace_back(convolution(side, 4, 16, 4, 67), true);   // one row of tiles
        all.emplace_back(convolution(side, 8, 33, 35, 5), true);   // two columns of tiles
        all.emplace_back(convolution(side, 131, 40, 8, 8), false); // many channels
        all.emplace_back(convolution(side, 4, 48, 41, 37), false); // two blocks of tiles
        for (int batch : {2, 3}) {
            Convolution c = convolution(side, 8, 17, 7, 12);
            c.batch = batch;
            all.emplace_back(c, batch == 3);
        }
        for (Activation activation : {Activation::relu, Activation::leaky_relu}) {
            Convolution c = convolution(side, 8, 16, 6, 6);
            c.activation = activation, c.slope = 0.2F;
            all.emplace_back(c, false);
        }
        for (int pad : {0, 1}) { // what phases of transposed convolutions and pairs of pixels are
            Convolution c = convolution(side, 7, 20, 13, 11);
            c.top = pad, c.left = 1 - pad, c.height = 13 - (side - 1) + pad, c.width = 11 - (side - 1) + 1 - pad;
            all.emplace_back(c, false);
        }
    }
    return all;
}

} // namespace

TEST_CASE("every INT8 kernel of this CPU computes convolutions, and all of them nearly the same numbers") {
    std::vector<const QuantizedKernel *> kernels;
    for (const char *name : {"amx_int8", "avx512vnni", "avx2"})
        if (const QuantizedKernel *const kernel = quantized_kernel_named(name)) {
            CHECK(std::string(kernel->name) == name);
            kernels.push_back(kernel);
        }
    REQUIRE(!kernels.empty());
    CHECK(best_quantized_kernel() == kernels.front());
    CHECK(quantized_kernel_named("no such") == nullptr);
    const QuantizedKernel *const vectors = quantized_kernel_named("avx512vnni");
    if (vectors != nullptr || !HRT_EMULATED_WITH_AVX512) kernels.push_back(&emulated_amx_int8::quantized_kernel);
    for (const Case &x : cases()) {
        INFO("kernel " << x.conv.kernel << ", " << x.conv.inputs << " to " << x.conv.outputs << " channels");
        std::vector<float> first;
        const std::vector<float> in_vectors = vectors == nullptr ? std::vector<float>() : run(*vectors, x, 1);
        for (const QuantizedKernel *const kernel : kernels) {
            INFO(kernel->name);
            const std::vector<float> result = check(*kernel, x);
            const bool emulated = kernel == &emulated_amx_int8::quantized_kernel;
            if (emulated && !HRT_EMULATED_WITH_AVX512) continue; // its transforms have other last bits
            // Nothing but the instruction that adds up whole numbers differs from the kernel with VNNI.
            if (std::string(kernel->name).find("amx") != std::string::npos) CHECK(result == in_vectors);
            if (first.empty()) first = result;
            double apart = 0, largest = 0;
            for (std::size_t i = 0; i < result.size(); ++i) {
                apart = std::max(apart, static_cast<double>(std::fabs(result[i] - first[i])));
                largest = std::max(largest, static_cast<double>(std::fabs(first[i])));
            }
            CHECK(apart <= 1e-5 * largest); // sums are exact; scales may differ in their last digit
        }
    }
}

TEST_CASE("nothing gives the bias") {
    Case x(convolution(3, 8, 16, 9, 9), false);
    std::fill(x.source.begin(), x.source.end(), 0.0F);
    const std::vector<float> result = run(*best_quantized_kernel(), x, 1);
    for (std::size_t i = 0; i < result.size(); ++i) CHECK(result[i] == x.bias[i / 81]);
}

TEST_CASE("weights and pictures that fit 8 bits are exact where the transform loses nothing") {
    // One channel, whose every tile has one value only: each position of a tile is quantized without loss.
    Convolution c = convolution(3, 1, 1, 4, 4);
    Case x(c, false);
    std::fill(x.source.begin(), x.source.end(), 0.0F);
    x.source[5] = 1.0F; // row 1, column 1
    std::fill(x.weights.begin(), x.weights.end(), std::int8_t{0});
    for (int tap = 0; tap < 9; ++tap) x.weights[static_cast<std::size_t>(tap) * kOutputBlock] = 1;
    const std::vector<float> result = run(*best_quantized_kernel(), x, 1);
    for (int i = 0; i < 16; ++i) CHECK(result[i] == doctest::Approx(expected(x, 0, 0, i / 4, i % 4)).epsilon(1e-4));
}
