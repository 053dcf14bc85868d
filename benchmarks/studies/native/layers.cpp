// CPU time of the native convolution over the layers of PHNet on one thread, and the core's rate of multiply-adds.
//
//     layers [avx512|avx512_bf16|amx_bf16|avx2] [repeats] < FILE
//
// Lines of FILE: name kernel inputs outputs height width gated

#include <sys/mman.h>
#include <time.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "winograd.h"

using namespace hrt::native;

static double cpu_seconds() {
    timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

template <typename Number>
static Number *aligned(std::size_t count) { // in large pages where the system gives them
    constexpr std::size_t page = 2 << 20;
    const std::size_t bytes = (count * sizeof(Number) + page - 1) / page * page;
    void *const space = std::aligned_alloc(page, bytes);
    madvise(space, bytes, MADV_HUGEPAGE);
    return static_cast<Number *>(space);
}

static float widened(float value) { return value; }
static float widened(Bfloat16 value) {
    const std::uint32_t bits = static_cast<std::uint32_t>(value.bits) << 16;
    float out;
    std::memcpy(&out, &bits, sizeof(out));
    return out;
}
static void set(float &to, float value) { to = value; }
static void set(Bfloat16 &to, float value) { // cut off, not rounded: these numbers are random
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    to.bits = static_cast<std::uint16_t>(bits >> 16);
}

template <typename Number>
static void fill(Number *to, std::size_t count, float scale, unsigned seed) {
    std::minstd_rand random(seed);
    for (std::size_t i = 0; i < count; ++i) set(to[i], scale * (static_cast<float>(random()) / 2147483648.0F - 0.5F));
}

__attribute__((noinline)) static double peak() { // GFLOP/s of 12 independent chains of vectors of 16
    typedef float V __attribute__((vector_size(64)));
    V x = V{} + 1.0001F, y = V{} + 1e-9F;
    V a{}, b{}, c{}, d{}, e{}, f{}, g{}, h{}, i{}, j{}, k{}, l{};
    double best = 1e9;
    for (int repeat = 0; repeat < 20; ++repeat) {
        const double start = cpu_seconds();
        for (int n = 0; n < 1000000; ++n) {
            a = a * x + y, b = b * x + y, c = c * x + y, d = d * x + y, e = e * x + y, f = f * x + y;
            g = g * x + y, h = h * x + y, i = i * x + y, j = j * x + y, k = k * x + y, l = l * x + y;
            asm volatile("" : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f));
            asm volatile("" : "+v"(g), "+v"(h), "+v"(i), "+v"(j), "+v"(k), "+v"(l));
        }
        best = std::min(best, cpu_seconds() - start);
    }
    return 12.0 * 16 * 2 * 1e6 / best * 1e-9;
}

template <typename Number>
static double check(const Convolution &c, const OperandsOf<Number> &with, const Number *weights, const Number *gated) {
    double worst = 0;
    std::minstd_rand random(7);
    for (int trial = 0; trial < 400; ++trial) {
        const int o = random() % c.outputs, y = trial < 4 ? (trial & 1) * (c.height - 1) : random() % c.height,
                  x = trial < 4 ? (trial >> 1) * (c.width - 1) : random() % c.width;
        double sum = widened(with.bias[o]);
        for (int i = 0; i < c.inputs; ++i)
            for (int u = 0; u < c.kernel; ++u)
                for (int v = 0; v < c.kernel; ++v) {
                    const int sy = y + u - c.top, sx = x + v - c.left;
                    if (sy < 0 || sx < 0 || sy >= c.source_height || sx >= c.source_width) continue;
                    const std::size_t at = ((static_cast<std::size_t>(o) * c.inputs + i) * c.kernel + u) * c.kernel + v;
                    const double w =
                        widened(weights[at]) + (gated ? double(widened(gated[at])) * widened(with.gate[i]) : 0);
                    sum += w *
                           widened(
                               with.source[(static_cast<std::size_t>(i) * c.source_height + sy) * c.source_width + sx]);
                }
        if (c.activation == Activation::relu && sum < 0) sum = 0;
        worst = std::max(
            worst, std::fabs(sum - widened(with.result[(static_cast<std::size_t>(o) * c.height + y) * c.width + x])));
    }
    return worst;
}

template <typename Number>
static std::vector<Number> pack(const Convolution &c, const Number *w) {
    const int taps = c.kernel * c.kernel, blocks = (c.outputs + 15) / 16;
    std::vector<Number> out(static_cast<std::size_t>(blocks) * c.inputs * taps * 16);
    for (int o = 0; o < c.outputs; ++o)
        for (int i = 0; i < c.inputs; ++i)
            for (int t = 0; t < taps; ++t)
                out[((static_cast<std::size_t>(o / 16) * c.inputs + i) * taps + t) * 16 + o % 16] =
                    w[(static_cast<std::size_t>(o) * c.inputs + i) * taps + t];
    return out;
}

template <typename Number>
static int study(const KernelOf<Number> *kernel, int repeats) {
    if (kernel == nullptr) return std::fputs("this CPU does not have it\n", stderr), 2;
    const double rate = peak() * (sizeof(Number) == 2 ? 2 : 1); // two products per lane, where they take no longer
    std::printf("%s, multiply-adds at %.1f GFLOP/s\n%-14s %9s %9s %9s %9s %9s\n", kernel->name, rate, "layer", "ms",
                "GFLOP", "GFLOP/s", "of peak", "error");
    double total = 0, work = 0;
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream in(line);
        std::string name;
        Convolution c;
        int gated = 0;
        if (!(in >> name >> c.kernel >> c.inputs >> c.outputs >> c.source_height >> c.source_width >> gated)) continue;
        c.top = c.left = 1;
        c.height = c.source_height + 3 - c.kernel;
        c.width = c.source_width + 3 - c.kernel;
        c.activation = Activation::relu;
        const std::size_t pixels = static_cast<std::size_t>(c.source_height) * c.source_width;
        const std::size_t count = static_cast<std::size_t>(c.outputs) * c.inputs * c.kernel * c.kernel;
        Number *source = aligned<Number>(pixels * c.inputs), *bias = aligned<Number>(c.outputs);
        Number *gate = aligned<Number>(c.inputs);
        Number *result = aligned<Number>(static_cast<std::size_t>(c.outputs) * c.height * c.width);
        std::vector<Number> w(count), w2(gated ? count : 0);
        fill(source, pixels * c.inputs, 2, 1), fill(bias, c.outputs, 1, 2), fill(gate, c.inputs, 1, 3);
        fill(w.data(), count, 0.1F, 4), fill(w2.data(), w2.size(), 0.1F, 5);
        std::vector<Number> packed = pack(c, w.data()), packed2 = gated ? pack(c, w2.data()) : std::vector<Number>();
        OperandsOf<Number> with;
        with.source = source, with.bias = bias, with.plain = packed.data(), with.result = result;
        if (gated) with.gated = packed2.data(), with.gate = gate;
        float *space = aligned<float>(kernel->workspace(c, 1));
        double best = 1e9;
        for (int r = 0; r < repeats; ++r) {
            const double start = cpu_seconds();
            kernel->run(c, with, space, 1, serially);
            best = std::min(best, cpu_seconds() - start);
        }
        const int n = c.kernel + 3;
        const double flops = 2.0 * n * n * ((c.height + 3) / 4) * ((c.width + 3) / 4) * c.inputs * c.outputs * 1e-9;
        std::printf("%-14s %9.2f %9.3f %9.1f %8.0f%% %9.1e\n", name.c_str(), best * 1e3, flops, flops / best,
                    100 * flops / best / rate, check(c, with, w.data(), gated ? w2.data() : nullptr));
        std::fflush(stdout);
        total += best, work += flops;
        for (Number *p : {source, bias, gate, result}) std::free(p);
        std::free(space);
    }
    std::printf("%-14s %9.2f %9.3f %9.1f %8.0f%%\n", "all", total * 1e3, work, work / total, 100 * work / total / rate);
    return 0;
}

int main(int argc, char **argv) {
    const std::string name = argc > 1 ? argv[1] : "avx512";
    const int repeats = argc > 2 ? std::atoi(argv[2]) : 5;
    const bool bf16 = name.find("bf16") != std::string::npos;
    return bf16 ? study(bf16_kernel_named(name.c_str()), repeats) : study(kernel_named(name.c_str()), repeats);
}
