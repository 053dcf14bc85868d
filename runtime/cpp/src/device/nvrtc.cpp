#include "nvrtc.hpp"

#include "library.hpp"
#include "sha256.hpp"
#include "status.hpp"

#include <algorithm>
#include <cstdlib>

namespace hrt::device {
namespace {

void check(const NvrtcCalls &calls, int error, const char *name) {
    if (error == 0) return;
    throw Error(HRT_ENGINE_FAILED, std::string("NVRTC's ") + name + " failed: " + calls.nvrtcGetErrorString(error) +
                                       "; install it again, or use hrt_harmonize_u8 with host memory");
}

#define HRT_CALL(name, ...) check(calls, calls.name(__VA_ARGS__), #name)

std::string text_of(std::pair<int, int> version) {
    return std::to_string(version.first) + "." + std::to_string(version.second);
}

// A program that is destroyed whatever happens.
class Program {
public:
    explicit Program(const NvrtcCalls &given) : calls(given) {
        std::vector<const char *> texts, names;
        for (std::size_t i = 1; i < kKernelSourceCount; ++i) {
            texts.push_back(kKernelSources[i].text);
            names.push_back(kKernelSources[i].name);
        }
        HRT_CALL(nvrtcCreateProgram, &program, kKernelSources[0].text, kKernelSources[0].name,
                 static_cast<int>(names.size()), texts.data(), names.data());
    }
    ~Program() { (void)calls.nvrtcDestroyProgram(&program); }
    Program(const Program &) = delete;
    Program &operator=(const Program &) = delete;

    // The first line of what it complained about, apart from what NVRTC 12 says of compute capability 7.0.
    std::string complaint(int error) const {
        std::size_t size = 0;
        HRT_CALL(nvrtcGetProgramLogSize, program, &size);
        std::string log(std::max<std::size_t>(size, 1), '\0');
        HRT_CALL(nvrtcGetProgramLog, program, log.data());
        log.resize(size > 0 ? size - 1 : 0);
        for (std::size_t at = 0; at < log.size();) {
            const std::size_t end = std::min(log.find('\n', at), log.size());
            const std::string line = log.substr(at, end - at);
            const bool empty = line.find_first_not_of(" \r\t") == std::string::npos;
            if (!empty && line.find("Architectures prior to") == std::string::npos) return line;
            at = end + 1;
        }
        return calls.nvrtcGetErrorString(error);
    }

    const NvrtcCalls &calls;
    _nvrtcProgram *program = nullptr;
};

} // namespace

std::string kernel_sources_sha256() {
    Sha256 digest;
    for (std::size_t i = 0; i < kKernelSourceCount; ++i) {
        const KernelSource &source = kKernelSources[i];
        const std::string head = std::string(source.name) + " " + std::to_string(source.bytes) + "\n";
        digest.update(head.data(), head.size());
        digest.update(source.text, source.bytes);
    }
    return digest.hex();
}

bool Nvrtc::knows(Capability capability) const noexcept {
    const int number = 10 * capability.first + capability.second;
    return std::find(architectures_.begin(), architectures_.end(), number) != architectures_.end();
}

std::vector<char> Nvrtc::compile(Capability capability) const {
    const NvrtcCalls &calls = calls_;
    const Program made(calls);
    const std::string architecture =
        "--gpu-architecture=sm_" + std::to_string(capability.first) + std::to_string(capability.second);
    const char *options[] = {architecture.c_str(), kNvrtcOptions};
    if (const int error = calls.nvrtcCompileProgram(made.program, 2, options); error != 0) {
        throw Error(HRT_ENGINE_FAILED, "NVRTC " + text_of(version_) +
                                           " cannot compile the kernels for compute capability " + text_of(capability) +
                                           ": " + made.complaint(error) +
                                           "; install another version of it, or use hrt_harmonize_u8 with host memory");
    }
    std::size_t size = 0;
    HRT_CALL(nvrtcGetCUBINSize, made.program, &size);
    std::vector<char> code(size);
    HRT_CALL(nvrtcGetCUBIN, made.program, code.data());
    return code;
}

// Every NVRTC that is installed, the newest major version first.
std::vector<Nvrtc> load_all() {
    const char *named = std::getenv("HARMONYRT_NVRTC");
    const bool given = named != nullptr && *named != '\0';
    std::vector<Nvrtc> found;
    for (const char *name : {"libnvrtc.so.13", "libnvrtc.so.12"}) {
        Nvrtc one;
        NvrtcCalls &calls = one.calls_;
        try {
            const Library library("HARMONYRT_NVRTC", {name}, "NVRTC");
            const auto load = [&](auto &function, const char *symbol) { library.find(function, symbol); };
#define HRT_LOAD(symbol) load(calls.symbol, #symbol)
            HRT_LOAD(nvrtcGetErrorString);
            HRT_LOAD(nvrtcVersion);
            HRT_LOAD(nvrtcGetNumSupportedArchs);
            HRT_LOAD(nvrtcGetSupportedArchs);
            HRT_LOAD(nvrtcCreateProgram);
            HRT_LOAD(nvrtcDestroyProgram);
            HRT_LOAD(nvrtcCompileProgram);
            HRT_LOAD(nvrtcGetProgramLogSize);
            HRT_LOAD(nvrtcGetProgramLog);
            HRT_LOAD(nvrtcGetCUBINSize);
            HRT_LOAD(nvrtcGetCUBIN);
            int count = 0;
            HRT_CALL(nvrtcVersion, &one.version_.first, &one.version_.second);
            HRT_CALL(nvrtcGetNumSupportedArchs, &count);
            one.architectures_.resize(static_cast<std::size_t>(std::max(count, 0)));
            HRT_CALL(nvrtcGetSupportedArchs, one.architectures_.data());
        } catch (const Error &) {
            if (given) throw; // what was named has to do
            continue;
        }
        found.push_back(std::move(one));
        if (given) break;
    }
    return found;
}

const Nvrtc &Nvrtc::fitting(Capability capability, int driver_major) {
    static const auto *every = new std::vector<Nvrtc>(load_all()); // stays loaded
    std::string found;
    for (const Nvrtc &one : *every) {
        if (one.version_.first <= driver_major && one.knows(capability)) return one;
        found += (found.empty() ? "" : " and ") + text_of(one.version_);
    }
    const int wanted = driver_major < 13 || capability < Capability(7, 5) ? 12 : 13;
    throw Error(
        HRT_NO_BACKEND,
        "the kernels that work on the GPU need NVRTC for compute capability " + text_of(capability) +
            " and a driver for CUDA " + std::to_string(driver_major) + ", found " + (found.empty() ? "none" : found) +
            ": install libnvrtc.so." + std::to_string(wanted) +
            " (CUDA's nvrtc package), set HARMONYRT_NVRTC to its path, or use hrt_harmonize_u8 with host memory");
}

} // namespace hrt::device
