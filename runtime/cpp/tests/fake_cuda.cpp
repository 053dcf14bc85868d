// NVIDIA's driver without a GPU: as much of it as src/device/driver.hpp loads, as libfake_cuda.so. The C++ twin of
// tests/fakes/cuda.py.
//
// Device memory is memory of the host, so sanitizers see whatever goes beyond it. Work that is put on a stream runs
// when somebody waits for it, and only what that waits for runs with it: where order between streams is missing,
// results are wrong. Kernels are those of runtime/kernels, computed by the host's build of the same sources
// (tests/fakes/kernel_shim). Recording follows CUDA's programming guide: not the default stream; no waiting, no memory;
// streams join by an event of the recording and must be joined back.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

extern "C" int shim_launch(const char *name, const unsigned *grid, const unsigned *block, void **arguments,
                           unsigned order);
extern "C" int shim_arguments(const char *name, unsigned *sizes);

namespace {

enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_IMAGE = 200,
    NOT_FOUND = 500,
    LAUNCH_FAILED = 719,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    CAPTURE_UNJOINED = 904,
    CAPTURE_ISOLATION = 905
};

struct Work {
    std::function<void()> action;
    std::vector<std::shared_ptr<Work>> after;
    bool done = false;
};
using WorkPointer = std::shared_ptr<Work>;

struct Capture;
struct Stream {
    WorkPointer tail;           // of what runs
    Capture *capture = nullptr; // of which it is a part, with its last work there
    WorkPointer recorded;
};
struct Capture {
    Stream *origin;
    std::vector<WorkPointer> works;
    bool broken = false;
};
struct Event {
    WorkPointer work;
    Capture *capture = nullptr;
};
struct Graph {
    std::vector<WorkPointer> works;
};
struct Module {
    std::string code;
};
struct Function {
    std::string name;
};

// A kernel's arguments as they were when it was launched.
class Arguments {
public:
    Arguments(const char *kernel, void **given) {
        unsigned sizes[16] = {};
        const int count = shim_arguments(kernel, sizes);
        for (int i = 0; i < count; ++i) {
            const auto *bytes = static_cast<const char *>(given[i]);
            values_.emplace_back(bytes, bytes + sizes[i]);
        }
        for (std::vector<char> &value : values_) places_.push_back(value.data()); // aligned as new char[] is
    }
    void **places() { return places_.data(); }

private:
    std::vector<std::vector<char>> values_;
    std::vector<void *> places_;
};

struct World {
    std::recursive_mutex mutex;
    std::map<std::string, int> counts;
    std::map<std::uintptr_t, std::size_t> blocks; // device memory
    std::set<void *> pinned;
    std::set<Stream *> streams;
    std::set<Event *> events;
    std::set<Graph *> graphs;
    std::set<Module *> modules;
    std::vector<std::unique_ptr<Function>> functions;
    std::vector<std::unique_ptr<Capture>> captures; // ended ones too: events remember them
    Stream legacy;
    int context = 0; // how many are pushed
    int fail_kernels = 0;
    int refuse_modules = 0;
    int refuse_recording = 0;
    unsigned order = 0;
};

World &world() {
    static World *one = new World();
    return *one;
}

#define LOCKED          \
    World &w = world(); \
    const std::lock_guard<std::recursive_mutex> lock(w.mutex)

Stream *of(void *stream) { return stream == nullptr ? &world().legacy : static_cast<Stream *>(stream); }

void run(const WorkPointer &work) {
    if (!work || work->done) return;
    for (const WorkPointer &before : work->after) run(before);
    work->after.clear();
    work->done = true;
    if (work->action) work->action();
}

bool capturing() {
    const auto &every = world().streams;
    return std::any_of(every.begin(), every.end(), [](const Stream *one) { return one->capture != nullptr; });
}

// What the guide calls unsafe breaks recordings of its thread.
int unsafe() {
    for (Stream *one : world().streams) {
        if (one->capture != nullptr) one->capture->broken = true;
    }
    return CAPTURE_UNSUPPORTED;
}

int put(void *stream, std::function<void()> action, std::vector<WorkPointer> after = {}) {
    Stream *target = of(stream);
    auto work = std::make_shared<Work>();
    work->action = std::move(action);
    work->after = std::move(after);
    if (target->capture == nullptr) {
        work->after.push_back(target->tail);
        target->tail = work;
        return SUCCESS;
    }
    if (target->capture->broken) return CAPTURE_INVALIDATED;
    work->after.push_back(target->recorded);
    target->recorded = work;
    target->capture->works.push_back(work);
    return SUCCESS;
}

void finish() {
    run(world().legacy.tail);
    for (Stream *one : world().streams) run(one->tail);
}

bool is_device(std::uintptr_t address) {
    const auto &blocks = world().blocks;
    auto after = blocks.upper_bound(address);
    if (after == blocks.begin()) return false;
    const auto block = std::prev(after);
    return address < block->first + block->second;
}

// Of an ELF file, by its header: machine code as NVRTC and the fake of it make it.
std::size_t elf_size(const unsigned char *image) {
    std::uint64_t sections = 0;
    std::uint16_t each = 0, count = 0;
    std::memcpy(&sections, image + 40, sizeof sections);
    std::memcpy(&each, image + 58, sizeof each);
    std::memcpy(&count, image + 60, sizeof count);
    return static_cast<std::size_t>(sections) + std::size_t{each} * count;
}

bool before(const WorkPointer &what, const WorkPointer &last) {
    if (!last) return false;
    if (what == last) return true;
    return std::any_of(last->after.begin(), last->after.end(),
                       [&](const WorkPointer &one) { return before(what, one); });
}

} // namespace

extern "C" {

// --- for tests and stand-ins

int fake_cuda_enqueue(void *stream, void (*work)(void *), void *argument) {
    LOCKED;
    return put(stream, [work, argument] { work(argument); });
}

int fake_cuda_count(const char *what) {
    LOCKED;
    const std::string name = what;
    if (name == "blocks") return static_cast<int>(w.blocks.size());
    if (name == "modules") return static_cast<int>(w.modules.size());
    if (name == "graphs") return static_cast<int>(w.graphs.size());
    if (name == "streams") return static_cast<int>(w.streams.size());
    if (name == "contexts") return w.context;
    return w.counts[name];
}

void fake_cuda_set(const char *what, int value) {
    LOCKED;
    const std::string name = what;
    if (name == "fail_kernels") w.fail_kernels = value;
    if (name == "refuse_modules") w.refuse_modules = value;
    if (name == "refuse_recording") w.refuse_recording = value;
    if (name == "order") w.order = static_cast<unsigned>(value);
}

// --- the driver

int cuInit(unsigned) { return std::getenv("FAKE_CUDA_BROKEN") == nullptr ? SUCCESS : 100; }
int cuDriverGetVersion(int *version) {
    const char *asked = std::getenv("FAKE_CUDA_VERSION");
    *version = asked == nullptr ? 13000 : std::atoi(asked);
    return SUCCESS;
}
int cuDeviceGetCount(int *count) {
    *count = 3;
    return SUCCESS;
}
int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return SUCCESS;
}
int cuDeviceGetAttribute(int *value, int attribute, int) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 9 : 0;
    return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void **context, int) {
    *context = &world();
    return SUCCESS;
}
int cuCtxPushCurrent_v2(void *) {
    LOCKED;
    ++w.context;
    return SUCCESS;
}
int cuCtxPopCurrent_v2(void **) {
    LOCKED;
    --w.context;
    return SUCCESS;
}
int cuGetErrorString(int error, const char **text) {
    static const std::map<int, const char *> texts = {
        {OUT_OF_MEMORY, "out of memory"},
        {100, "no CUDA-capable device is detected"},
        {INVALID_IMAGE, "device kernel image is invalid"},
        {NOT_FOUND, "named symbol not found"},
        {LAUNCH_FAILED, "unspecified launch failure"},
        {CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing"},
        {CAPTURE_INVALIDATED, "operation failed due to a previous error during capture"},
        {CAPTURE_UNJOINED, "capturing stream has unjoined work"},
        {CAPTURE_ISOLATION, "dependency created on uncaptured work in another stream"}};
    const auto found = texts.find(error);
    *text = found == texts.end() ? "invalid argument" : found->second;
    return SUCCESS;
}

int cuMemAlloc_v2(unsigned long long *address, std::size_t bytes) {
    LOCKED;
    if (capturing()) return unsafe();
    if (bytes > (std::size_t{1} << 32)) return OUT_OF_MEMORY;
    void *block = std::malloc(bytes);
    std::memset(block, 0xA5, bytes);
    *address = reinterpret_cast<std::uintptr_t>(block);
    w.blocks[static_cast<std::uintptr_t>(*address)] = bytes;
    return SUCCESS;
}
int cuMemFree_v2(unsigned long long address) {
    LOCKED;
    if (capturing()) return unsafe();
    finish();
    if (w.blocks.erase(static_cast<std::uintptr_t>(address)) == 0) return INVALID_VALUE;
    std::free(reinterpret_cast<void *>(static_cast<std::uintptr_t>(address)));
    return SUCCESS;
}
int cuMemAllocHost_v2(void **address, std::size_t bytes) {
    LOCKED;
    *address = std::malloc(bytes);
    w.pinned.insert(*address);
    return SUCCESS;
}
int cuMemFreeHost(void *address) {
    LOCKED;
    finish();
    w.pinned.erase(address);
    std::free(address);
    return SUCCESS;
}
int cuMemcpyAsync(unsigned long long target, unsigned long long source, std::size_t bytes, void *stream) {
    LOCKED;
    ++w.counts["copy"];
    return put(stream, [=] {
        std::memmove(reinterpret_cast<void *>(static_cast<std::uintptr_t>(target)),
                     reinterpret_cast<const void *>(static_cast<std::uintptr_t>(source)), bytes);
    });
}
int cuPointerGetAttribute(void *data, int attribute, unsigned long long address) {
    LOCKED;
    const bool device = is_device(static_cast<std::uintptr_t>(address));
    const bool pinned = w.pinned.count(reinterpret_cast<void *>(static_cast<std::uintptr_t>(address))) != 0;
    if (!device && !pinned) return INVALID_VALUE;
    const unsigned values[] = {pinned ? 1U : 2U, 0U, 0U}; // type, managed, ordinal
    std::memcpy(data, attribute == 2 ? &values[0] : attribute == 8 ? &values[1] : &values[2], sizeof(unsigned));
    return SUCCESS;
}

int cuStreamCreate(void **stream, unsigned) {
    LOCKED;
    auto *made = new Stream();
    w.streams.insert(made);
    *stream = made;
    return SUCCESS;
}
int cuStreamDestroy_v2(void *stream) {
    LOCKED;
    finish();
    w.streams.erase(of(stream));
    delete of(stream);
    return SUCCESS;
}
int cuStreamSynchronize(void *stream) {
    LOCKED;
    if (of(stream)->capture != nullptr) return unsafe();
    ++w.counts["synchronize"];
    run(of(stream)->tail);
    return SUCCESS;
}
int cuStreamWaitEvent(void *stream, void *event, unsigned) {
    LOCKED;
    Stream *waiting = of(stream);
    const Event &reached = *static_cast<Event *>(event);
    if (reached.capture == nullptr && waiting->capture != nullptr) return unsafe(), CAPTURE_ISOLATION;
    if (reached.capture != nullptr && stream == nullptr) return unsafe();
    if (reached.capture != nullptr && waiting->capture == nullptr) { // it joins the recording
        waiting->capture = reached.capture;
        waiting->recorded = reached.work;
        return SUCCESS;
    }
    return put(stream, {}, {reached.work});
}
int cuEventCreate(void **event, unsigned) {
    LOCKED;
    auto *made = new Event();
    w.events.insert(made);
    *event = made;
    return SUCCESS;
}
int cuEventDestroy_v2(void *event) {
    LOCKED;
    w.events.erase(static_cast<Event *>(event));
    delete static_cast<Event *>(event);
    return SUCCESS;
}
int cuEventRecord(void *event, void *stream) {
    LOCKED;
    Stream *from = of(stream);
    *static_cast<Event *>(event) =
        from->capture != nullptr ? Event{from->recorded, from->capture} : Event{from->tail, nullptr};
    return SUCCESS;
}

int cuStreamBeginCapture_v2(void *stream, int) {
    LOCKED;
    if (stream == nullptr || of(stream)->capture != nullptr) return CAPTURE_UNSUPPORTED;
    w.captures.push_back(std::make_unique<Capture>(Capture{of(stream), {}, false}));
    of(stream)->capture = w.captures.back().get();
    of(stream)->recorded.reset();
    return SUCCESS;
}
int cuStreamEndCapture(void *stream, void **graph) {
    LOCKED;
    Capture *capture = of(stream)->capture;
    *graph = nullptr;
    if (capture == nullptr || capture->origin != of(stream)) return CAPTURE_UNSUPPORTED;
    const WorkPointer last = of(stream)->recorded;
    bool joined = true;
    for (Stream *one : w.streams) {
        if (one->capture != capture) continue;
        joined = joined && (!one->recorded || before(one->recorded, last));
        one->capture = nullptr;
        one->recorded.reset();
    }
    if (capture->broken || w.refuse_recording > 0) return CAPTURE_INVALIDATED;
    if (!joined) return CAPTURE_UNJOINED;
    *graph = new Graph{capture->works};
    return SUCCESS;
}
int cuStreamIsCapturing(void *stream, int *status) {
    LOCKED;
    *status = of(stream)->capture != nullptr ? 1 : 0;
    return SUCCESS;
}
int cuGraphInstantiateWithFlags(void **made, void *graph, unsigned long long) {
    LOCKED;
    ++w.counts["recorded"];
    auto *copy = new Graph(*static_cast<Graph *>(graph));
    w.graphs.insert(copy);
    *made = copy;
    return SUCCESS;
}
int cuGraphLaunch(void *graph, void *stream) {
    LOCKED;
    ++w.counts["launch"];
    const std::vector<WorkPointer> works = static_cast<Graph *>(graph)->works;
    return put(stream, [works] {
        for (const WorkPointer &work : works) { // they were recorded in an order that they can run in
            if (work->action) work->action();
        }
    });
}
int cuGraphExecDestroy(void *graph) {
    LOCKED;
    if (capturing()) return unsafe();
    w.graphs.erase(static_cast<Graph *>(graph));
    delete static_cast<Graph *>(graph);
    return SUCCESS;
}
int cuGraphDestroy(void *graph) {
    delete static_cast<Graph *>(graph);
    return SUCCESS;
}

int cuModuleLoadData(void **module, const void *image) {
    LOCKED;
    if (capturing()) return unsafe();
    const auto *bytes = static_cast<const unsigned char *>(image);
    if (std::memcmp(bytes,
                    "\x7f"
                    "ELF",
                    4) != 0)
        return INVALID_IMAGE;
    if (w.refuse_modules > 0) {
        --w.refuse_modules;
        return INVALID_IMAGE;
    }
    auto *made = new Module{std::string(static_cast<const char *>(image), elf_size(bytes))};
    w.modules.insert(made);
    *module = made;
    return SUCCESS;
}
int cuModuleUnload(void *module) {
    LOCKED;
    finish();
    w.modules.erase(static_cast<Module *>(module));
    delete static_cast<Module *>(module);
    return SUCCESS;
}
int cuModuleGetFunction(void **function, void *module, const char *name) {
    LOCKED;
    if (static_cast<Module *>(module)->code.find(name) == std::string::npos) return NOT_FOUND;
    w.functions.push_back(std::make_unique<Function>(Function{name}));
    *function = w.functions.back().get();
    return SUCCESS;
}
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned, void *stream, void **arguments, void **) {
    LOCKED;
    if (w.fail_kernels > 0 && --w.fail_kernels == 0) return LAUNCH_FAILED;
    ++w.counts["kernel"];
    const std::string name = static_cast<Function *>(function)->name;
    const auto copied = std::make_shared<Arguments>(name.c_str(), arguments);
    return put(stream, [=] {
        const unsigned grid[] = {gx, gy, gz}, block[] = {bx, by, bz};
        const int trouble = shim_launch(name.c_str(), grid, block, copied->places(), world().order);
        if (trouble != 0) {
            std::fprintf(stderr, "kernel %s: the shim answers %d\n", name.c_str(), trouble);
            std::abort();
        }
    });
}

} // extern "C"
