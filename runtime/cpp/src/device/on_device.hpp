// Whole pictures on a GPU: kernels, the engine, kernels; recorded as one CUDA graph where the engine allows it. The
// twin of runtime/kernels/on_device.py.
#pragma once

#include "../module.hpp"
#include "kernels.hpp"
#include "structures.hpp"

#include <array>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace hrt::device {

// Throws Error (HRT_INVALID_ARGUMENT): the stream is being recorded, which loading the kernels would break.
void check_not_recorded(const Device &device, Stream stream);

// One engine with the kernels around it, on the engine's GPU. One thread at a time, as its session.
class OnDevice {
public:
    // Throws Error: no driver, no NVRTC that fits, or memory ran out. `session` outlives this.
    OnDevice(EngineSession &session, int index, bool binary_mask, CompiledCache cache);
    ~OnDevice();
    OnDevice(const OnDevice &) = delete;
    OnDevice &operator=(const OnDevice &) = delete;

    const Device &device() const noexcept { return device_; }

    // Harmonizes one picture, ordered on `stream` as if it ran there. A stream that is being recorded gets the work
    // recorded. With `wait` it returns when the result is there.
    // Throws Error (HRT_ENGINE_FAILED): the network gave values that are not finite, for this picture or (without
    // `wait`) an earlier one: its result is the composite.
    void run(const Picture &picture, Stream stream, bool wait);

    // Waits for every picture: the engine's session must not run twice at once.
    void finish() const;

private:
    struct Held { // device memory for pictures of one size
        Scratch scratch;
        std::vector<void *> memory;
    };

    bool recordable() const;
    void launch(const Picture &picture);
    void work(const Picture &picture, Stream stream);
    GraphExec recorded(const Picture &picture);
    const Scratch &scratch(const Picture &picture);
    void forget(); // graphs and scratch memory
    void check_failures();
    void order(Stream first, Stream then) const;
    void release() noexcept;

    EngineSession &session_;
    const Device &device_;
    bool binary_;
    long process_; // that made it: a forked child gives nothing back
    std::unique_ptr<Kernels> kernels_;
    Stream stream_ = nullptr;
    Event event_ = nullptr;
    State *state_ = nullptr; // for pictures of all sizes
    State *said_ = nullptr;  // page-locked: a copy of it
    int seen_failures_ = 0;
    bool refused_ = false;
    std::set<std::string> warm_;
    std::vector<std::pair<std::string, GraphExec>> graphs_; // the oldest first
    std::map<std::array<int, 6>, Held> scratch_;
};

} // namespace hrt::device
