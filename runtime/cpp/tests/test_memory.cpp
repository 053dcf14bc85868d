// Memory: running out of it is a status at every single allocation, and calls do not make the process grow.
#include "face.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>

#include <unistd.h>

namespace {

// Allocations until one fails; negative: none does. The library shares operator new with this program.
std::atomic<long> countdown{-1};

void *allocate_or_null(std::size_t size) noexcept {
    return countdown >= 0 && countdown-- == 0 ? nullptr : std::malloc(size == 0 ? 1 : size);
}

void *allocate(std::size_t size) {
    if (void *memory = allocate_or_null(size)) return memory;
    throw std::bad_alloc();
}

} // namespace

void *operator new(std::size_t size) { return allocate(size); }
void *operator new[](std::size_t size) { return allocate(size); }
// std::stable_sort asks for memory that it can do without.
void *operator new(std::size_t size, const std::nothrow_t &) noexcept { return allocate_or_null(size); }
void *operator new[](std::size_t size, const std::nothrow_t &) noexcept { return allocate_or_null(size); }
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete[](void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, const std::nothrow_t &) noexcept { std::free(memory); }
void operator delete[](void *memory, const std::nothrow_t &) noexcept { std::free(memory); }
void operator delete(void *memory, std::size_t) noexcept { std::free(memory); }
void operator delete[](void *memory, std::size_t) noexcept { std::free(memory); }

namespace {

using namespace face;

// Runs `call` with the 1st, 2nd, 3rd... allocation failing until it succeeds; returns how many failed.
template <class Call>
int failures(Call call) {
    for (int n = 0; n < 100000; ++n) {
        countdown = n;
        const hrt_status status = call();
        countdown = -1;
        if (status == HRT_OK) return n;
        // A backend's own failure to allocate is that engine's reason to be skipped.
        const bool right =
            status == HRT_OUT_OF_MEMORY || (status == HRT_NO_BACKEND && last_error_has("memory ran out"));
        if (!right) {
            FAIL("allocation ", n, ": ", std::string(hrt_status_name(status)), ": ", std::string(hrt_last_error()));
        }
    }
    return -1;
}

long resident_kib() {
    long pages = 0, resident = 0;
    if (std::FILE *file = std::fopen("/proc/self/statm", "r")) {
        if (std::fscanf(file, "%ld %ld", &pages, &resident) != 2) resident = 0;
        std::fclose(file);
    }
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

} // namespace

TEST_CASE("running out of memory is a status, whichever allocation fails") {
    const char *bundle = nullptr;
    SUBCASE("PHNet") { bundle = kBundle; }
    SUBCASE("DiffHarmony") { bundle = kHarmonyVae; }
    (void)open_model(bundle); // modules are loaded once and for all
    const hrt_model_options options = stand_in();
    const int at_open = failures([&] {
        hrt_model *model = nullptr;
        const hrt_status status = hrt_model_open(bundle, &options, &model);
        hrt_model_free(model);
        return status;
    });
    CHECK(at_open > 50);
    const ModelHandle model = open_model(bundle);
    const int at_session = failures([&] {
        hrt_session *raw = nullptr;
        const hrt_status status = hrt_session_open(model.get(), &raw);
        hrt_session_free(raw);
        return status;
    });
    CHECK(at_session > 1);
    const SessionHandle session = open_session(model);
    const Pair pair(70, 50);
    const hrt_picture picture = pair.picture();
    const hrt_mask mask = pair.foreground();
    std::vector<std::uint8_t> output(pair.rgb.size());
    const int at_harmonize =
        failures([&] { return hrt_harmonize_u8(session.get(), &picture, &mask, output.data(), 0, nullptr); });
    CHECK(at_harmonize > 5);
    CHECK(output == harmonized(open_session(model).get(), pair));
}

TEST_CASE("two thousand calls do not make the process grow") {
    const char *bundle = nullptr;
    SUBCASE("PHNet") { bundle = kBundle; }
    SUBCASE("DiffHarmony") { bundle = kDiffusion; }
    const ModelHandle model = open_model(bundle);
    const std::string sanitized = HRT_SANITIZED;
    const int calls = sanitized.empty() ? 2000 : 200;
    const Pair small(61, 47), large(130, 90);
    const SessionHandle session = open_session(model);
    long before = 0;
    for (int i = 0; i < calls; ++i) {
        (void)harmonized(session.get(), i % 2 == 0 ? small : large);
        if (i % 10 == 0) (void)harmonized(open_session(model).get(), small);
        if (i == calls / 4) before = resident_kib();
    }
    const long growth = resident_kib() - before;
    MESSAGE("grew by ", growth, " KiB over ", calls * 3 / 4, " calls");
    if (sanitized.empty()) CHECK(growth < 1024); // sanitizers keep freed memory for a while
}
