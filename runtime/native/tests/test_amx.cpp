// What surrounds the kernels for AMX: who may use its registers, that they are given back, and that the registers in
// C++ which the other tests run on multiply as matrices do.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>

#include <random>
#include <vector>

#include "amx_emulation.h"
#include "amx_permission.h"
#include "quantized.h"
#include "winograd.h"

using namespace hrt::native;

namespace hrt::native::emulated_amx_bf16 {
extern const KernelOf<Bfloat16> kernel;
}
namespace hrt::native::emulated_amx_int8 {
extern const QuantizedKernel quantized_kernel;
}

namespace {

constexpr unsigned kAll = 1U << 22 | 1U << 24 | 1U << 25; // of leaf 7: BF16, registers, INT8

int asked = 0;
AmxFacts facts() {
    AmxFacts all;
    all.leaf7_edx = kAll;
    all.xcr0 = 3U << 17 | 7;
    all.ask = [] { return ++asked > 0; };
    return all;
}

void configure(int rows, int depth, int columns) { // 0: sums, 1 and 2: factors
    std::uint8_t config[64] = {1};
    const int row_bytes[] = {4 * columns, 4 * depth, 4 * columns}, counts[] = {rows, rows, depth};
    for (int i = 0; i < 3; ++i) {
        config[16 + 2 * i] = static_cast<std::uint8_t>(row_bytes[i]);
        config[48 + i] = static_cast<std::uint8_t>(counts[i]);
    }
    _tile_loadconfig(config);
}

} // namespace

TEST_CASE("registers are used where the CPU has them, the system saves them and gives permission") {
    CHECK((amx_of(facts()).bf16 && amx_of(facts()).int8));
    const int before = asked;
    AmxFacts without = facts();
    without.leaf7_edx = kAll & ~(1U << 24);
    CHECK_FALSE((amx_of(without).bf16 || amx_of(without).int8));
    without = facts();
    without.xcr0 = 1U << 17 | 7; // configuration without data
    CHECK_FALSE((amx_of(without).bf16 || amx_of(without).int8));
    without = facts();
    without.wanted = "0";
    CHECK_FALSE((amx_of(without).bf16 || amx_of(without).int8));
    CHECK(asked == before); // in vain, it would cost every thread of the process memory
    without = facts();
    without.ask = [] { return false; };
    CHECK_FALSE((amx_of(without).bf16 || amx_of(without).int8));
    without = facts();
    without.wanted = "1", without.leaf7_edx = 1U << 22 | 1U << 24;
    CHECK((amx_of(without).bf16 && !amx_of(without).int8));
}

TEST_CASE("registers in C++ multiply whole numbers as matrices do") {
    std::minstd_rand random(3);
    constexpr int rows = 7, depth = 5, columns = 11; // in 32-bit values
    std::int8_t a[rows][4 * depth];
    std::uint8_t b[depth][columns][4];
    std::int32_t sums[rows][columns], expected[rows][columns];
    for (auto &row : a)
        for (auto &value : row) value = static_cast<std::int8_t>(random() % 256);
    for (auto &row : b)
        for (auto &four : row)
            for (auto &value : four) value = static_cast<std::uint8_t>(random() % 256);
    for (int m = 0; m < rows; ++m)
        for (int n = 0; n < columns; ++n) {
            sums[m][n] = expected[m][n] = static_cast<std::int32_t>(random() % 1000) - 500;
            for (int k = 0; k < 4 * depth; ++k) expected[m][n] += a[m][k] * b[k / 4][n][k % 4];
        }
    configure(rows, depth, columns);
    _tile_loadd(0, sums, sizeof sums[0]);
    _tile_loadd(1, a, sizeof a[0]);
    _tile_loadd(2, b, sizeof b[0]);
    _tile_dpbsud(0, 1, 2);
    _tile_stored(0, sums, sizeof sums[0]);
    _tile_release();
    for (int m = 0; m < rows; ++m)
        for (int n = 0; n < columns; ++n) CHECK(sums[m][n] == expected[m][n]);
}

TEST_CASE("registers in C++ multiply BF16 as matrices do") {
    std::minstd_rand random(4);
    constexpr int rows = 3, depth = 6, columns = 9;
    std::uint16_t a[rows][2 * depth], b[depth][columns][2];
    float sums[rows][columns] = {}, expected[rows][columns] = {};
    const auto number = [&random](std::uint16_t &to) { // a small whole number; every sum of them is exact
        const float value = static_cast<float>(static_cast<int>(random() % 33) - 16);
        std::uint32_t bits;
        std::memcpy(&bits, &value, sizeof bits);
        to = static_cast<std::uint16_t>(bits >> 16);
        return value;
    };
    float left[rows][2 * depth], right[depth][columns][2];
    for (int m = 0; m < rows; ++m)
        for (int k = 0; k < 2 * depth; ++k) left[m][k] = number(a[m][k]);
    for (int k = 0; k < depth; ++k)
        for (int n = 0; n < columns; ++n)
            for (int i = 0; i < 2; ++i) right[k][n][i] = number(b[k][n][i]);
    for (int m = 0; m < rows; ++m)
        for (int n = 0; n < columns; ++n)
            for (int k = 0; k < 2 * depth; ++k) expected[m][n] += left[m][k] * right[k / 2][n][k % 2];
    configure(rows, depth, columns);
    _tile_zero(0);
    _tile_loadd(1, a, sizeof a[0]);
    _tile_loadd(2, b, sizeof b[0]);
    _tile_dpbf16ps(0, 1, 2);
    _tile_stored(0, sums, sizeof sums[0]);
    _tile_release();
    for (int m = 0; m < rows; ++m)
        for (int n = 0; n < columns; ++n) CHECK(sums[m][n] == expected[m][n]);
}

TEST_CASE("a call gives the registers back") {
    if (HRT_EMULATED_WITH_AVX512 && bf16_kernel_named("avx512_bf16") == nullptr) {
        MESSAGE("not run: it was compiled for AVX-512, which this CPU does not have");
        return;
    }
    Convolution c;
    c.inputs = 8, c.outputs = 16, c.source_height = c.source_width = c.height = c.width = 8, c.top = c.left = 1;
    const std::vector<Bfloat16> numbers(16 * 8 * 9 + 8 * 64 + 16);
    std::vector<Bfloat16> result(16 * 64);
    OperandsOf<Bfloat16> with;
    with.source = with.plain = with.bias = numbers.data(), with.result = result.data();
    const KernelOf<Bfloat16> &kernel = emulated_amx_bf16::kernel;
    std::vector<float> space(kernel.workspace(c, 1));
    kernel.run(c, with, space.data(), 1, serially);
    CHECK_FALSE(emulated::tiles.configured);

    const QuantizedKernel &quantized = emulated_amx_int8::quantized_kernel;
    const std::vector<std::int8_t> weights(16 * 8 * 9);
    const std::vector<float> source(8 * 64), scales(16, 1.0F);
    std::vector<float> prepared(quantized.prepared(c, false) / sizeof(float) + 1), sums(16 * 64);
    quantized.prepare(c, false, weights.data(), scales.data(), prepared.data(), 1, serially);
    QuantizedOperands operands;
    operands.source = source.data(), operands.weights = prepared.data(), operands.bias = scales.data();
    operands.result = sums.data();
    space.resize(quantized.workspace(c, false, 1));
    quantized.run(c, operands, space.data(), 1, serially);
    CHECK_FALSE(emulated::tiles.configured);
    CHECK(sums == std::vector<float>(16 * 64, 1.0F));
}
