// Every kernel against a convolution in double precision: odd sizes, batches, channels that fill no block, gates.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "winograd.h"
#include "workspace.h"

using namespace hrt::native;

namespace {

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
    if (c.activation == Activation::relu) return std::max(sum, 0.0);
    if (c.activation == Activation::leaky_relu) return sum > 0 ? sum : sum * c.slope;
    return sum;
}

void on_threads(int parts, const Parts &part) {
    std::vector<std::thread> threads;
    for (int i = 0; i < parts; ++i) threads.emplace_back([&part, i] { part(i); });
    for (std::thread &thread : threads) thread.join();
}

// The result, with the memory around it and behind the workspace watched.
std::vector<float> run(const Kernel &kernel, const Case &x, int threads) {
    const std::vector<float> plain = packed(x.conv, x.plain), gated = packed(x.conv, x.gated_weights);
    const std::size_t count = static_cast<std::size_t>(x.conv.batch) * x.conv.outputs * x.conv.height * x.conv.width;
    constexpr float untouched = 12345.0F;
    std::vector<float> result(count + 64, untouched), space(kernel.workspace(x.conv, threads), 0.0F);
    Operands with;
    with.source = x.source.data(), with.plain = plain.data(), with.bias = x.bias.data(),
    with.result = result.data() + 32;
    if (x.gated) with.gated = gated.data(), with.gate = x.gate.data();
    kernel.run(x.conv, with, space.data(), threads, on_threads);
    CHECK(std::count(result.begin(), result.begin() + 32, untouched) == 32);
    CHECK(std::count(result.end() - 32, result.end(), untouched) == 32);
    return std::vector<float>(result.begin() + 32, result.end() - 32);
}

void check(const Kernel &kernel, const Case &x) {
    const std::vector<float> result = run(kernel, x, 1);
    const double allowed = 2e-5 * std::sqrt(static_cast<double>(x.conv.inputs));
    double worst = 0;
    std::size_t i = 0;
    for (int b = 0; b < x.conv.batch; ++b)
        for (int o = 0; o < x.conv.outputs; ++o)
            for (int y = 0; y < x.conv.height; ++y)
                for (int column = 0; column < x.conv.width; ++column, ++i)
                    if (i % 7 == 0 || y == 0 || column == 0 || y == x.conv.height - 1 || column == x.conv.width - 1)
                        worst = std::max(worst, std::fabs(expected(x, b, o, y, column) - result[i]));
    CHECK(worst < allowed);
    for (int threads : {2, 3, 5}) CHECK(run(kernel, x, threads) == result);
}

Convolution convolution(int kernel, int inputs, int outputs, int height, int width) {
    Convolution c;
    c.kernel = kernel, c.inputs = inputs, c.outputs = outputs, c.source_height = height, c.source_width = width;
    c.top = c.left = 1;
    c.height = height + 3 - kernel, c.width = width + 3 - kernel;
    return c;
}

} // namespace

TEST_CASE("every kernel of this CPU computes convolutions") {
    int found = 0;
    for (const char *name : {"avx512", "avx2"}) {
        const Kernel *const kernel = kernel_named(name);
        if (kernel == nullptr) continue;
        ++found;
        CHECK(std::string(kernel->name) == name);
        for (int side : {2, 3}) {
            INFO(name << ", kernel " << side);
            check(*kernel, Case(convolution(side, 5, 19, 9, 14), false)); // no block is full
            check(*kernel, Case(convolution(side, 1, 1, 1, 1), false));
            check(*kernel, Case(convolution(side, 3, 16, 4, 67), true));   // one row of tiles
            check(*kernel, Case(convolution(side, 2, 33, 35, 5), true));   // two columns of tiles
            check(*kernel, Case(convolution(side, 131, 40, 8, 8), true));  // two blocks of input channels
            check(*kernel, Case(convolution(side, 4, 48, 41, 37), false)); // two blocks of tiles
            for (int batch : {2, 3}) {
                Convolution c = convolution(side, 6, 17, 7, 12);
                c.batch = batch;
                check(*kernel, Case(c, batch == 3));
            }
            for (Activation activation : {Activation::relu, Activation::leaky_relu}) {
                Convolution c = convolution(side, 8, 16, 6, 6);
                c.activation = activation, c.slope = 0.2F;
                check(*kernel, Case(c, false));
            }
            for (int pad : {0, 1}) { // what phases of transposed convolutions and pairs of pixels are
                Convolution c = convolution(side, 7, 20, 13, 11);
                c.top = pad, c.left = 1 - pad, c.height = 13 - (side - 1) + pad, c.width = 11 - (side - 1) + 1 - pad;
                check(*kernel, Case(c, false));
            }
        }
    }
    CHECK(found > 0);
    CHECK(best_kernel() != nullptr);
    CHECK(kernel_named("no such") == nullptr);
}

TEST_CASE("a workspace grows and keeps what it has") {
    Workspace workspace;
    float *const first = workspace.at_least(1000);
    CHECK(workspace.at_least(10) == first);
    float *const larger = workspace.at_least(std::size_t{1} << 20);
    larger[(std::size_t{1} << 20) - 1] = 1;
    CHECK(reinterpret_cast<std::size_t>(larger) % 64 == 0);
}
