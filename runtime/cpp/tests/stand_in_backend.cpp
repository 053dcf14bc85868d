// The hand-made networks of tests/vectors, computed here. Replaces ONNX Runtime in tests.
//
// Environment variables make it misbehave: HRT_STAND_IN=open, run, allocate, allocate-by-words or
// run-out-of-memory fails there, and HRT_STAND_IN=nan gives
// one value that is no number from the component that HRT_STAND_IN_PART names (by its output).
//
// HRT_STAND_IN_GPU=waits, in-order or recordable makes it take device cuda too, and memory of the GPU that
// $HARMONYRT_CUDA (tests/fake_cuda.cpp) simulates.

#include "backends/module.hpp"

#include "stand_in_diffusion.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr float kMatrix[3][3] = {{0.80F, 0.10F, -0.05F}, {0.05F, 0.70F, 0.10F}, {0.00F, 0.15F, 0.75F}};
constexpr float kOfMask[3] = {0.08F, -0.04F, -0.10F};
constexpr float kBias[3] = {0.05F, 0.02F, -0.03F};
constexpr float kSquare[3] = {0.20F, -0.15F, 0.30F};

bool asked_to(const char *what) {
    const char *value = std::getenv("HRT_STAND_IN");
    return value != nullptr && std::string(value) == what;
}

int gpu() {
    const char *value = std::getenv("HRT_STAND_IN_GPU");
    const std::string asked = value == nullptr ? "" : value;
    return asked == "waits"        ? HRT_MODULE_WAITS
           : asked == "in-order"   ? HRT_MODULE_IN_ORDER
           : asked == "recordable" ? HRT_MODULE_RECORDABLE
                                   : HRT_MODULE_NOT_ON_DEVICE;
}

class Engine {
public:
    static void why_not(const hrt_module_request &request) {
        if (gpu() != HRT_MODULE_NOT_ON_DEVICE && request.device != nullptr &&
            std::string(request.device).rfind("cuda", 0) == 0)
            return;
        if (request.device != nullptr && std::string(request.device) != "cpu") {
            throw std::runtime_error("the stand-in runs on device cpu");
        }
    }
    explicit Engine(const hrt_module_request &request)
        : device_(request.device == nullptr ? "cpu" : request.device),
          names_(hrt::backends::names_of(request)),
          inputs_(static_cast<std::size_t>(request.input_count)) {
        if (asked_to("open")) throw std::runtime_error("the stand-in was asked to fail when it opens");
        if (asked_to("allocate")) throw std::bad_alloc();
        if (asked_to("allocate-by-words")) throw std::runtime_error("Exception during initialization: std::bad_alloc");
    }
    const char *device() const { return device_.c_str(); }
    int device_runs() const { return device_ == "cpu" ? HRT_MODULE_NOT_ON_DEVICE : gpu(); }
    const char *version() const { return "stand-in 1"; }
    std::size_t inputs() const { return inputs_; }
    const std::string &output() const { return names_.back(); } // every network here has one

private:
    std::string device_;
    std::vector<std::string> names_;
    std::size_t inputs_;
};

void feed_forward(const hrt_module_tensor *tensors) {
    const auto *image = static_cast<const float *>(tensors[0].data),
               *mask = static_cast<const float *>(tensors[1].data);
    auto *output = static_cast<float *>(tensors[2].data);
    const auto plane = static_cast<std::size_t>(tensors[0].shape[2] * tensors[0].shape[3]);
    for (int64_t n = 0; n < tensors[0].shape[0]; ++n, image += 3 * plane, mask += plane, output += 3 * plane) {
        for (std::size_t i = 0; i < plane; ++i) {
            for (std::size_t c = 0; c < 3; ++c) {
                float sum = kBias[c] + kOfMask[c] * mask[i] + kSquare[c] * image[c * plane + i] * image[c * plane + i];
                for (std::size_t k = 0; k < 3; ++k) sum += kMatrix[c][k] * image[k * plane + i];
                output[c * plane + i] = sum;
            }
        }
    }
}

class Session {
public:
    explicit Session(Engine &engine) : engine_(engine) {}
    void run(const hrt_module_tensor *tensors) {
        if (busy_ > 0) throw std::runtime_error("the stand-in runs already, on a stream");
        compute(tensors);
    }
    void compute(const hrt_module_tensor *tensors) {
        if (asked_to("run")) throw std::runtime_error("the stand-in was asked to fail when it runs");
        if (asked_to("run-out-of-memory")) throw std::runtime_error("Failed to allocate memory for requested buffer");
        const std::string &output = engine_.output();
        const std::size_t inputs = engine_.inputs();
        if (output == "condition") {
            stand_in::encode(tensors);
        } else if (output == "next_latents") {
            stand_in::step(tensors);
        } else if (output == "picture") {
            stand_in::decode(tensors, inputs == 4);
        } else if (tensors[0].shape[2] != tensors[inputs].shape[2]) { // the refiner makes it smaller
            stand_in::refine(tensors, inputs);
        } else {
            feed_forward(tensors);
        }
        const char *part = std::getenv("HRT_STAND_IN_PART");
        if (asked_to("nan") && part != nullptr && output == part) {
            *static_cast<float *>(tensors[inputs].data) = std::numeric_limits<float>::quiet_NaN();
        }
    }

    // The work is put on the simulated stream, and computes on what is in memory when it runs.
    void run_on_device(const hrt_module_tensor *tensors, void *stream) {
        if (asked_to("run")) throw std::runtime_error("the stand-in was asked to fail when it runs");
        if (engine_.device_runs() == HRT_MODULE_WAITS) return run(tensors);
        using Enqueue = int (*)(void *, void (*)(void *), void *);
        void *library = dlopen(std::getenv("HARMONYRT_CUDA"), RTLD_NOW);
        const auto enqueue = reinterpret_cast<Enqueue>(dlsym(library, "fake_cuda_enqueue"));
        kept_.push_back(std::make_unique<Put>(Put{this, {tensors, tensors + 3}}));
        const auto work = [](void *put) {
            auto &one = *static_cast<Put *>(put);
            one.session->busy_ = 0;
            one.session->compute(one.tensors.data());
        };
        busy_ = 1; // until the work is done; what is recorded runs when nobody looks
        if (enqueue(stream, work, kept_.back().get()) != 0) throw std::runtime_error("the simulated GPU refused it");
    }

private:
    struct Put {
        Session *session;
        std::vector<hrt_module_tensor> tensors;
    };

    Engine &engine_;
    int busy_ = 0;
    std::vector<std::unique_ptr<Put>> kept_; // recordings run them again
};

} // namespace

HRT_BACKEND_MODULE("onnxruntime", Engine, Session)
