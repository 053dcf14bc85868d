// Runs kernels of runtime/kernels on the host; tests/fakes/kernels.py builds and calls it.
#include "kernel_shim.hpp"

#include "harmonize.cu"

#include <ucontext.h>

#include <cstddef>
#include <memory>
#include <numeric>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

Index threadIdx, blockIdx, blockDim, gridDim;

namespace {

enum Outcome { RAN, NO_SUCH_KERNEL, OUTSIDE_LIMITS, UNEXPECTED_BARRIER, DIVERGED };

using Body = void (*)(void **arguments);

template <auto kernel, class... Arguments, std::size_t... I>
void unpacked(void **given, void (*)(Arguments...), std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_reference_t<Arguments> *>(given[I])...);
}

template <class... Arguments>
constexpr std::size_t count_of(void (*)(Arguments...)) {
    return sizeof...(Arguments);
}

template <auto kernel>
void body(void **given) {
    unpacked<kernel>(given, kernel, std::make_index_sequence<count_of(kernel)>());
}

template <class... Arguments>
int sizes_of(void (*)(Arguments...), unsigned *sizes) {
    const unsigned found[] = {sizeof(Arguments)...};
    std::copy(std::begin(found), std::end(found), sizes);
    return static_cast<int>(sizeof...(Arguments));
}

template <auto kernel>
int argument_sizes(unsigned *sizes) {
    return sizes_of(kernel, sizes);
}

struct Kernel {
    const char *name;
    Body body;
    int (*argument_sizes)(unsigned *sizes);
    bool synchronizes;
};

// Of the macros, clang-format takes the brackets for comparisons.
// clang-format off
#define PLAIN(name) { #name, body<name>, argument_sizes<name>, false }
#define IN_STEP(name) { #name, body<name>, argument_sizes<name>, true }
// clang-format on
constexpr Kernel KERNELS[] = {
    PLAIN(begin),           PLAIN(resize_rows),
    PLAIN(resize_columns),  PLAIN(image_of_colours),
    PLAIN(image_of_planes), IN_STEP(coverage_of_levels),
    PLAIN(threshold_mask),  PLAIN(anchor_mask),
    PLAIN(sum_rows),        PLAIN(sum_cells),
    PLAIN(sum_windows),     IN_STEP(fit_matrix),
    PLAIN(fit_cells),       PLAIN(apply_maps),
    PLAIN(blend_answer),    PLAIN(apply_to_planes),
    PLAIN(finish),
};

constexpr std::size_t STACK = 128 * 1024;

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    bool done = false;
};

struct Running {
    ucontext_t scheduler;
    Fiber *current = nullptr;
    Body body = nullptr;
    void **arguments = nullptr;
    bool unexpected = false;
} running;

void enter() {
    running.body(running.arguments);
    running.current->done = true;
    swapcontext(&running.current->context, &running.scheduler);
}

Index index_of(unsigned number, const Index &size) {
    return {number % size.x, number / size.x % size.y, number / size.x / size.y};
}

// Each thread up to the next barrier, in a new order for every stretch, until all have ended.
Outcome run_in_step(unsigned threads, const auto &order) {
    static std::vector<Fiber> fibers(1024);
    for (unsigned i = 0; i < threads; ++i) {
        Fiber &fiber = fibers[i];
        if (!fiber.stack) fiber.stack.reset(new char[STACK]);
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = nullptr;
        fiber.done = false;
        makecontext(&fiber.context, enter, 0);
    }
    for (;;) {
        unsigned done = 0;
        for (const unsigned i : order(threads)) {
            threadIdx = index_of(i, blockDim);
            running.current = &fibers[i];
            swapcontext(&running.scheduler, &fibers[i].context);
            done += fibers[i].done;
        }
        running.current = nullptr;
        if (done == threads) return RAN;
        if (done > 0) return DIVERGED;
    }
}

} // namespace

void __syncthreads() {
#ifdef WITHOUT_BARRIERS // to show that tests would notice
    return;
#endif
    if (running.current == nullptr) {
        running.unexpected = true;
        return;
    }
    swapcontext(&running.current->context, &running.scheduler);
}

// order: 0 forwards, 1 backwards, anything else a seed to shuffle by; of blocks, and of the threads of each.
extern "C" int shim_launch(const char *name, const unsigned *grid, const unsigned *block, void **arguments,
                           unsigned order) {
    const Kernel *kernel = std::find_if(std::begin(KERNELS), std::end(KERNELS),
                                        [&](const Kernel &one) { return std::strcmp(one.name, name) == 0; });
    if (kernel == std::end(KERNELS)) return NO_SUCH_KERNEL;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    const bool some = threads > 0 && gridDim.x > 0 && gridDim.y > 0 && gridDim.z > 0;
    if (!some || threads > 1024 || blockDim.z > 64 || gridDim.x > 2147483647u || gridDim.y > 65535 ||
        gridDim.z > 65535) {
        return OUTSIDE_LIMITS; // CUDA programming guide, technical specifications
    }
    std::mt19937 random(order);
    const auto ordered = [&](unsigned count) {
        std::vector<unsigned> numbers(count);
        std::iota(numbers.begin(), numbers.end(), 0u);
        if (order == 1) std::reverse(numbers.begin(), numbers.end());
        if (order > 1) std::shuffle(numbers.begin(), numbers.end(), random);
        return numbers;
    };
    running.body = kernel->body;
    running.arguments = arguments;
    running.unexpected = false;
    for (const unsigned number : ordered(gridDim.x * gridDim.y * gridDim.z)) {
        blockIdx = index_of(number, gridDim);
        if (kernel->synchronizes) {
            if (const Outcome outcome = run_in_step(threads, ordered); outcome != RAN) return outcome;
            continue;
        }
        for (const unsigned i : ordered(threads)) {
            threadIdx = index_of(i, blockDim);
            kernel->body(arguments);
        }
        if (running.unexpected) return UNEXPECTED_BARRIER;
    }
    return RAN;
}

// Bytes of each of a kernel's arguments, of which there are at most 16: a driver copies them when a kernel is launched.
// The answer is how many there are, 0 where there is no such kernel.
extern "C" int shim_arguments(const char *name, unsigned *sizes) {
    const Kernel *kernel = std::find_if(std::begin(KERNELS), std::end(KERNELS),
                                        [&](const Kernel &one) { return std::strcmp(one.name, name) == 0; });
    return kernel == std::end(KERNELS) ? 0 : kernel->argument_sizes(sizes);
}

// Sizes that runtime/kernels/structures.py has to agree with, in the order that its test asks for.
extern "C" void shim_sizes(unsigned *sizes) {
    const unsigned found[] = {sizeof(Plane), sizeof(Space), sizeof(Maps), sizeof(Sizes), sizeof(State)};
    std::copy(std::begin(found), std::end(found), sizes);
}
