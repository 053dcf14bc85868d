// The hand-made network of tests/vectors/write_vectors.py, computed here. Stands in for ONNX Runtime.
//
// Environment variables make it misbehave: HRT_STAND_IN=open, run or allocate fails there.

#include "backends/module.hpp"

#include <cstdlib>
#include <stdexcept>
#include <string>

namespace {

constexpr float kMatrix[3][3] = {{0.80F, 0.10F, -0.05F}, {0.05F, 0.70F, 0.10F}, {0.00F, 0.15F, 0.75F}};
constexpr float kOfMask[3] = {0.08F, -0.04F, -0.10F};
constexpr float kBias[3] = {0.05F, 0.02F, -0.03F};
constexpr float kSquare[3] = {0.20F, -0.15F, 0.30F};

bool asked_to(const char *what) {
    const char *value = std::getenv("HRT_STAND_IN");
    return value != nullptr && std::string(value) == what;
}

class Engine {
public:
    static void why_not(const hrt_module_request &request) {
        if (request.device != nullptr && std::string(request.device) != "cpu") {
            throw std::runtime_error("the stand-in runs on device cpu");
        }
    }
    explicit Engine(const hrt_module_request &) {
        if (asked_to("open")) throw std::runtime_error("the stand-in was asked to fail when it opens");
        if (asked_to("allocate")) throw std::bad_alloc();
    }
    const char *device() const { return "cpu"; }
    const char *version() const { return "stand-in 1"; }
};

class Session {
public:
    explicit Session(Engine &) {}
    void run(const float *image, const float *mask, float *output, int batch, int height, int width) {
        if (asked_to("run")) throw std::runtime_error("the stand-in was asked to fail when it runs");
        const std::size_t plane = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
        for (int n = 0; n < batch; ++n, image += 3 * plane, mask += plane, output += 3 * plane) {
            for (std::size_t i = 0; i < plane; ++i) {
                for (std::size_t c = 0; c < 3; ++c) {
                    float sum =
                        kBias[c] + kOfMask[c] * mask[i] + kSquare[c] * image[c * plane + i] * image[c * plane + i];
                    for (std::size_t k = 0; k < 3; ++k) sum += kMatrix[c][k] * image[k * plane + i];
                    output[c * plane + i] = sum;
                }
            }
        }
    }
};

} // namespace

HRT_BACKEND_MODULE("onnxruntime", Engine, Session)
