// The libraries of fused kernels that engines built with --rewrites native need; the twin of
// runtime/native/__init__.py.
#pragma once

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "../sha256.hpp"

namespace hrt::backends::native {

// The newest version of the operators; libraries compute those of their own version and of versions before it.
constexpr int version = 2;
constexpr char variable[] = "HARMONYRT_NATIVE_LIBRARY";

inline std::string name_for(const std::string &backend) { return "libharmonyrt_native_" + backend + ".so"; }

// What the environment names: a folder of libraries, one of them (the others are next to it), or any file.
inline std::filesystem::path named(const std::filesystem::path &given, const std::string &backend) {
    std::error_code ignored;
    if (std::filesystem::is_directory(given, ignored)) return given / name_for(backend);
    const std::string name = given.filename().string();
    const bool of_another = name == name_for("openvino") || name == name_for("onnxruntime");
    return of_another ? given.parent_path() / name_for(backend) : given;
}

// Where a backend's library is: as the variable says, else next to the module that asks. Empty if there is none.
inline std::string library(const std::string &backend) {
    const char *given = std::getenv(variable);
    std::filesystem::path path = given != nullptr && *given != '\0' ? named(given, backend) : "";
    Dl_info info = {};
    if (path.empty() && dladdr(variable, &info) != 0 && info.dli_fname != nullptr) {
        path = std::filesystem::absolute(info.dli_fname).parent_path() / name_for(backend);
    }
    std::error_code ignored;
    return std::filesystem::is_regular_file(path, ignored) ? std::filesystem::absolute(path).string() : "";
}

// As a manifest has it; beyond every version where it is no number.
inline int version_of(const std::string &needed) {
    const bool is_number =
        !needed.empty() && needed.size() < 6 && needed.find_first_not_of("0123456789") == std::string::npos;
    return is_number ? std::atoi(needed.c_str()) : version + 1;
}

// Throws where the library cannot be loaded, or does not know an engine's operators.
inline void check_version(const std::string &path, const std::string &backend, int needed) {
    void *const loaded = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL); // stays: the engine that opens next uses it
    if (loaded == nullptr) {
        const char *const error = dlerror();
        const std::string engine = backend == "openvino" ? "OpenVINO" : "ONNX Runtime";
        throw std::runtime_error("the native kernels of " + path + " do not fit this " + engine + " (" +
                                 (error != nullptr ? error : "no reason given") +
                                 "): install the one that they were built with, or run make native again");
    }
    using Tell = int (*)();
    const auto tell = reinterpret_cast<Tell>(dlsym(loaded, "harmonyrt_native_version"));
    const int found = tell != nullptr ? tell() : 1; // those of the first version do not tell it
    if (found >= needed) return;
    const char *given = std::getenv(variable);
    const std::string place = given != nullptr && *given != '\0' ? "have " + std::string(variable) + " name newer ones"
                                                                 : "put newer ones next to the " + backend + " module";
    throw std::runtime_error("it needs native kernels of version " + std::to_string(needed) + ", and " + path +
                             " has version " + std::to_string(found) + ": run make native, or " + place);
}

// What tells one build of the kernels from another, for what is measured with them: the start of the library's sha256,
// and whether AMX is switched off; "none" without a library.
inline std::string build_of(const std::string &backend) {
    const std::string path = library(backend);
    std::ifstream file(path, std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (path.empty() || content.empty()) return "none";
    hrt::Sha256 digest;
    digest.update(content.data(), content.size());
    const char *amx = std::getenv("HARMONYRT_NATIVE_AMX");
    const bool without = amx != nullptr && std::string(amx) == "0";
    return digest.hex().substr(0, 16) + (without ? " without amx" : "");
}

// Throws the reason why an engine cannot have its kernels here; `needed` is null where it needs none.
inline void check(const char *needed, const std::string &backend, const std::string &precision) {
    if (needed == nullptr) return;
    if (version_of(needed) > version) {
        throw std::runtime_error(std::string("it needs native kernels of version ") + needed +
                                 ", and this libharmonyrt knows those up to " + std::to_string(version) +
                                 ": install the HarmonyRT that built it, or build the bundle again");
    }
#if defined(__x86_64__)
    const bool fits = __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
    const bool fits_bf16 = __builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512bw") != 0 &&
                           __builtin_cpu_supports("avx512dq") != 0 && __builtin_cpu_supports("avx512vl") != 0 &&
                           __builtin_cpu_supports("avx512bf16") != 0;
#else
    constexpr bool fits = false, fits_bf16 = false;
#endif
    if (!fits) {
        throw std::runtime_error("its native kernels need a CPU with AVX2 and FMA: build it without --rewrites native");
    }
    if (precision == "bf16" && !fits_bf16) {
        throw std::runtime_error(
            "its native kernels need a CPU with AVX512-BF16: use an fp32 engine, or build it without --rewrites "
            "native");
    }
    if (const std::string path = library(backend); !path.empty()) {
        // Bundles of the time when libraries did not tell their version say 1, whatever they need.
        check_version(path, backend, std::max(version_of(needed), precision == "fp32" ? 1 : 2));
        return;
    }
    const char *given = std::getenv(variable);
    const std::string found =
        given != nullptr && *given != '\0'
            ? std::string(variable) + " names " + named(given, backend).string() + ", which is no file"
            : "they are not next to the " + backend + " module";
    throw std::runtime_error("it needs the native kernels, and " + found + ": run make native and set " + variable +
                             ", or build the bundle without --rewrites native");
}

} // namespace hrt::backends::native
