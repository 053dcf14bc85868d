#include "on_device.hpp"

#include "passes.hpp"
#include "status.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace hrt::device {
namespace {

constexpr const char *kNotRecordable =
    "this picture cannot be part of your recording: run it once before, with the same memory, on an engine of TensorRT "
    "with fixed shapes";
constexpr std::size_t kGraphsKept = 8, kScratchKept = 4, kKeysRemembered = 64;

} // namespace

void check_not_recorded(const Device &device, Stream stream) {
    const Current current(device);
    if (device.is_capturing(stream)) throw Error(HRT_INVALID_ARGUMENT, kNotRecordable);
}

OnDevice::OnDevice(EngineSession &session, int index, bool binary_mask, CompiledCache cache)
    : session_(session), device_(Device::get(index)), binary_(binary_mask), process_(getpid()) {
    const Current current(device_);
    try {
        kernels_ = std::make_unique<Kernels>(device_, std::move(cache));
        stream_ = device_.create_stream();
        event_ = device_.create_event();
        state_ = static_cast<State *>(device_.allocate(sizeof(State)));
        said_ = static_cast<State *>(device_.allocate_pinned(sizeof(State)));
        std::memset(static_cast<void *>(said_), 0, sizeof(State));
        device_.copy(state_, said_, sizeof(State), stream_);
    } catch (...) {
        release();
        throw;
    }
}

OnDevice::~OnDevice() {
    if (process_ != getpid()) { // CUDA does not serve a forked child
        (void)kernels_.release();
        return;
    }
    try {
        const Current current(device_);
        release();
    } catch (const Error &) { // at the end of a process CUDA may be gone
        (void)kernels_.release();
    }
}

void OnDevice::release() noexcept {
    try {
        if (stream_ != nullptr) forget();
    } catch (const Error &) { // what still runs may use the memory: leave it
        (void)kernels_.release();
        return;
    }
    kernels_.reset();
    device_.free(state_);
    device_.free_pinned(said_);
    device_.destroy(event_);
    device_.destroy(stream_);
}

void OnDevice::run(const Picture &picture, Stream stream, bool wait) {
    if (std::max(picture.height, picture.width) > kLongestEngineSide) {
        throw Error(HRT_UNSUPPORTED, "an engine of " + std::to_string(picture.height) + " x " +
                                         std::to_string(picture.width) +
                                         " is too large for the kernels: use hrt_harmonize_u8 with host memory");
    }
    if (device_.is_capturing(stream)) {
        if (warm_.count(picture.key()) == 0 || !recordable()) throw Error(HRT_INVALID_ARGUMENT, kNotRecordable);
        work(picture, stream);
        return;
    }
    check_failures();
    order(stream, stream_);
    try {
        launch(picture);
    } catch (...) {
        try { // whatever was put there still uses the caller's memory
            order(stream_, stream);
        } catch (const Error &) {
        }
        throw;
    }
    order(stream_, stream);
    if (!wait) return;
    device_.synchronize(stream_);
    check_failures();
}

void OnDevice::finish() const {
    const Current current(device_);
    device_.synchronize(stream_);
}

bool OnDevice::recordable() const { return !refused_ && session_.device_runs() == DeviceRuns::kRecordable; }

void OnDevice::launch(const Picture &picture) {
    const std::string key = picture.key();
    const auto known = std::find_if(graphs_.begin(), graphs_.end(), [&](const auto &one) { return one.first == key; });
    GraphExec graph = known == graphs_.end() ? nullptr : known->second;
    if (graph == nullptr && warm_.count(key) != 0 && recordable()) {
        graph = recorded(picture);
        if (graph != nullptr) {
            if (graphs_.size() >= kGraphsKept) {
                device_.synchronize(stream_);
                device_.destroy(graphs_.front().second);
                graphs_.erase(graphs_.begin());
            }
            graphs_.emplace_back(key, graph);
        }
    }
    if (graph != nullptr) {
        device_.launch(graph, stream_);
        return;
    }
    work(picture, stream_);
    if (warm_.size() >= kKeysRemembered) warm_.clear();
    warm_.insert(key);
}

// Null, for good, where CUDA or the engine refuses.
GraphExec OnDevice::recorded(const Picture &picture) {
    try {
        device_.begin_capture(stream_);
        try {
            work(picture, stream_);
            return device_.end_capture(stream_);
        } catch (...) {
            device_.abandon_capture(stream_);
            throw;
        }
    } catch (const Error &error) {
        refused_ = true;
        log(HRT_LOG_WARNING, std::string("the work around the engine cannot be recorded as one CUDA graph and runs "
                                         "without, a little slower: ") +
                                 error.what());
        return nullptr;
    }
}

// Everything for one picture, put on a stream.
void OnDevice::work(const Picture &picture, Stream stream) {
    const Scratch &place = scratch(picture);
    fit(*kernels_, picture, binary_, place, stream);
    const std::vector<Tensor> tensors = {planes(place.image, 1, 3, picture.height, picture.width),
                                         planes(place.mask, 1, 1, picture.height, picture.width),
                                         planes(place.output, 1, 3, picture.height, picture.width)};
    if (session_.device_runs() == DeviceRuns::kWaits) device_.synchronize(stream); // it knows no streams
    session_.run_on_device(tensors, stream);
    apply(*kernels_, picture, place, stream);
    device_.copy(said_, place.state, sizeof(State), stream);
}

const Scratch &OnDevice::scratch(const Picture &picture) {
    const auto &parts = picture.composite.parts;
    const std::array<int, 6> key = {picture.height,    picture.width,  parts[0].width,
                                    parts[0].channels, parts[1].width, parts[1].channels};
    const auto known = scratch_.find(key);
    if (known != scratch_.end()) return known->second.scratch;
    if (scratch_.size() >= kScratchKept) forget(); // sizes keep changing: start again
    std::vector<void *> memory;
    try {
        const auto allocate = [&](std::size_t bytes) {
            memory.push_back(nullptr);
            return memory.back() = device_.allocate(bytes);
        };
        Held held{Scratch::make(allocate, sizes_of(picture.height, picture.width), picture.composite, state_), {}};
        held.memory = memory;
        return scratch_.emplace(key, std::move(held)).first->second.scratch;
    } catch (...) {
        for (void *address : memory) device_.free(address);
        throw;
    }
}

// Recordings hold addresses of what goes.
void OnDevice::forget() {
    device_.synchronize(stream_);
    for (const auto &[key, graph] : graphs_) device_.destroy(graph);
    graphs_.clear();
    for (const auto &[key, held] : scratch_) {
        for (void *address : held.memory) device_.free(address);
    }
    scratch_.clear();
    warm_.clear();
}

void OnDevice::check_failures() {
    const int count = const_cast<const volatile State *>(said_)->failures; // CUDA writes it
    if (count <= seen_failures_) return;
    seen_failures_ = count;
    throw Error(HRT_ENGINE_FAILED,
                "the engine gave values that are not finite, and the composite was returned unchanged; "
                "use a bundle of another precision");
}

void OnDevice::order(Stream first, Stream then) const {
    device_.record(event_, first);
    device_.wait(then, event_);
}

} // namespace hrt::device
