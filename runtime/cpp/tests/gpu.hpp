// The simulated GPU of fake_cuda.cpp, as a program with pictures on a GPU would use a real one.
#pragma once

#include "face.hpp"
#include "harmonyrt_device.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>

namespace face {

class Gpu {
public:
    static Gpu &get() {
        static Gpu gpu;
        return gpu;
    }

    int count(const char *what) const { return count_(what); }
    void set(const char *what, int value) const { set_(what, value); }
    int compilations() const { return compilations_(); }

    template <class Result, class... Arguments>
    Result call(const char *name, Arguments... arguments) const {
        const auto function = reinterpret_cast<Result (*)(Arguments...)>(dlsym(cuda_, name));
        const bool known = function != nullptr;
        REQUIRE_MESSAGE(known, name);
        return function(arguments...);
    }
    void *stream() const {
        void *made = nullptr;
        REQUIRE(call<int>("cuStreamCreate", &made, 1U) == 0);
        return made;
    }
    void synchronize(void *stream) const { REQUIRE(call<int>("cuStreamSynchronize", stream) == 0); }

private:
    Gpu() {
        setenv("HARMONYRT_CUDA", HRT_FAKES "/libfake_cuda.so", 1);
        setenv("HARMONYRT_NVRTC", HRT_FAKES "/libfake_nvrtc.so", 1);
        cuda_ = dlopen(std::getenv("HARMONYRT_CUDA"), RTLD_NOW);
        void *nvrtc = dlopen(std::getenv("HARMONYRT_NVRTC"), RTLD_NOW);
        REQUIRE(cuda_ != nullptr);
        REQUIRE(nvrtc != nullptr);
        count_ = reinterpret_cast<int (*)(const char *)>(dlsym(cuda_, "fake_cuda_count"));
        set_ = reinterpret_cast<void (*)(const char *, int)>(dlsym(cuda_, "fake_cuda_set"));
        compilations_ = reinterpret_cast<int (*)()>(dlsym(nvrtc, "fake_nvrtc_compilations"));
    }

    void *cuda_;
    int (*count_)(const char *);
    void (*set_)(const char *, int);
    int (*compilations_)();
};

// Memory of the GPU, with what was put there.
class OnGpu {
public:
    explicit OnGpu(const std::vector<std::uint8_t> &bytes) : size_(bytes.size()) {
        REQUIRE(Gpu::get().call<int>("cuMemAlloc_v2", &address_, size_) == 0);
        put(bytes);
    }
    ~OnGpu() { (void)Gpu::get().call<int>("cuMemFree_v2", address_); }
    OnGpu(const OnGpu &) = delete;
    OnGpu &operator=(const OnGpu &) = delete;

    void *address() const { return reinterpret_cast<void *>(static_cast<std::uintptr_t>(address_)); }
    void put(const std::vector<std::uint8_t> &bytes) {
        std::copy(bytes.begin(), bytes.end(), static_cast<std::uint8_t *>(address()));
    }
    std::vector<std::uint8_t> get() const {
        const auto *first = static_cast<const std::uint8_t *>(address());
        return std::vector<std::uint8_t>(first, first + size_);
    }

private:
    unsigned long long address_ = 0;
    std::size_t size_;
};

// A pair on the GPU, and room for what comes of it, filled with what is no result.
struct Given {
    OnGpu composite, mask, output;
    hrt_device_picture picture = hrt_device_picture_default(), result = hrt_device_picture_default();
    hrt_device_mask levels = hrt_device_mask_default();

    Given(int width, int height, const std::vector<std::uint8_t> &pixels, const std::vector<std::uint8_t> &mask_levels,
          int format = HRT_DEVICE_RGB8)
        : composite(pixels), mask(mask_levels), output(std::vector<std::uint8_t>(pixels.size(), 0xA5)) {
        picture.data = composite.address();
        picture.width = levels.width = width;
        picture.height = levels.height = height;
        picture.format = format;
        result = picture;
        result.data = output.address();
        levels.data = mask.address();
    }
    explicit Given(const Pair &pair)
        : Given(pair.width, pair.height, pair.rgb, pair.mask, pair.channels == 3 ? HRT_DEVICE_RGB8 : HRT_DEVICE_RGBA8) {
    }

    hrt_status run(hrt_session *session, const hrt_device_options *options = nullptr) const {
        return hrt_harmonize_on_device(session, &picture, &levels, &result, options);
    }
};

// A folder of this test's own for compiled kernels.
inline const std::string &cache_folder() {
    struct Folder {
        Folder() : name((std::filesystem::temp_directory_path() / "hrt-device-XXXXXX").string()) {
            const bool made = mkdtemp(name.data()) != nullptr;
            REQUIRE(made);
        }
        ~Folder() {
            std::error_code error;
            std::filesystem::remove_all(name, error);
        }
        std::string name;
    };
    static const Folder folder;
    return folder.name;
}

// The hand-made network on the simulated GPU.
inline ModelHandle open_on_gpu(const char *how, const std::string &bundle = kBundle, const char *device = "cuda") {
    (void)Gpu::get();
    setenv("HRT_STAND_IN_GPU", how, 1);
    hrt_model_options options = stand_in();
    options.backend = "onnxruntime";
    options.device = device;
    options.cache_folder = cache_folder().c_str();
    hrt_model *model = nullptr;
    const hrt_status status = hrt_model_open(bundle.c_str(), &options, &model);
    REQUIRE_MESSAGE(status == HRT_OK, hrt_last_error());
    return ModelHandle(model);
}

inline ModelHandle open_on_cpu(const char *bundle = kBundle) {
    hrt_model_options options = stand_in();
    options.device = "cpu";
    hrt_model *model = nullptr;
    REQUIRE(hrt_model_open(bundle, &options, &model) == HRT_OK);
    return ModelHandle(model);
}

// What the host makes of a pair, by the same network.
inline std::vector<std::uint8_t> on_host(const Pair &pair, const hrt_harmonize_options *options = nullptr) {
    static const ModelHandle model = open_on_cpu();
    const SessionHandle session = open_session(model);
    return harmonized(session.get(), pair, options);
}

inline int worst(const std::vector<std::uint8_t> &found, const std::vector<std::uint8_t> &expected) {
    REQUIRE(found.size() == expected.size());
    int most = 0;
    for (std::size_t i = 0; i < found.size(); ++i) most = std::max(most, std::abs(int{found[i]} - int{expected[i]}));
    return most;
}

} // namespace face
