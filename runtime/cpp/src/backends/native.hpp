// The libraries of fused kernels that engines built with --rewrites native need; the twin of runtime/native/__init__.py.
#pragma once

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>

namespace hrt::backends::native {

constexpr char version[] = "1";
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
    if (path.empty() && dladdr(version, &info) != 0 && info.dli_fname != nullptr) {
        path = std::filesystem::absolute(info.dli_fname).parent_path() / name_for(backend);
    }
    std::error_code ignored;
    return std::filesystem::is_regular_file(path, ignored) ? std::filesystem::absolute(path).string() : "";
}

// Throws the reason why an engine cannot have its kernels here; `needed` is null where it needs none.
inline void check(const char *needed, const std::string &backend, const std::string &precision) {
    if (needed == nullptr) return;
    if (std::string(needed) != version) {
        throw std::runtime_error(std::string("it needs native kernels of version ") + needed + ", found " + version +
                                 ": build the bundle again");
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
    if (!library(backend).empty()) return;
    const char *given = std::getenv(variable);
    const std::string found =
        given != nullptr && *given != '\0'
            ? std::string(variable) + " names " + named(given, backend).string() + ", which is no file"
            : "they are not next to the " + backend + " module";
    throw std::runtime_error("it needs the native kernels, and " + found + ": run make native and set " + variable +
                             ", or build the bundle without --rewrites native");
}

} // namespace hrt::backends::native
