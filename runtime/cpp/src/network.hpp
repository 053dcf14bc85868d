// The networks of a bundle behind one question: fitted pictures in, the network's pictures out. The twin of
// runtime/network.py.
#pragma once

#include "controls.hpp"
#include "device/structures.hpp"
#include "fit.hpp"
#include "model.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace hrt {

// Says how many of a run's parts are done; true asks it to stop.
using Progress = std::function<bool(int done, int parts)>;

struct RunOptions {
    std::uint64_t seed = 0;   // decides the noise
    std::uint64_t sample = 0; // which variation of this seed
    int steps = 0;            // 0: the bundle's own number
    Progress progress;
    Controls controls;
};

// Throws Error (HRT_CANCELLED) when the caller does not want to go on.
void ask(const RunOptions &options, int done, int parts);

// Throws Error (HRT_ENGINE_FAILED) where an engine's output has values that are no numbers.
void check_finite(const float *values, std::size_t count, const std::string &engine);

// One picture, ready for its network.
struct Prepared {
    Fitted fitted;                // at the size of the network's output: what the edit is measured against
    std::optional<Fitted> inside; // what DiffHarmony's stage one sees, where that has another size
};

// A session's buffers and engines. One thread at a time.
class Network {
public:
    Network() = default;
    virtual ~Network() = default;
    Network(const Network &) = delete;
    Network &operator=(const Network &) = delete;

    // Pictures that go through in one run at most, if their sizes at the network are equal.
    virtual std::size_t most() const = 0;
    virtual Size size_of(const Picture &picture) const = 0;
    // Throws Error: options that this bundle cannot obey.
    virtual void check(const RunOptions &options) const = 0;
    virtual Prepared prepare(const Picture &picture, const Mask &mask, int threads) const = 0;
    // The network's pictures before blending, planar, one after the other; they stay until the next run.
    virtual const float *run(const std::vector<Prepared> &pictures, const RunOptions &options) = 0;
    // One network alone, on the caller's tensors.
    virtual void run(const float *image, const float *mask, float *output, int batch, int height, int width) = 0;
    // A picture in a GPU's memory, whose size at the network is filled in here; see harmonyrt_device.h.
    virtual void harmonize_on_device(device::Picture picture, void *stream, bool wait) = 0;
};

std::unique_ptr<Network> open_network(const Model &model);

} // namespace hrt
