// Sized option structs: older and newer callers are both understood.
#pragma once

#include "harmonyrt_device.h"
#include "status.hpp"

#include <cstring>
#include <string>

namespace hrt {

// The library's own default of each struct; see api.cpp and api_device.cpp.
template <class Options>
Options defaults() noexcept;
template <>
hrt_model_options defaults() noexcept;
template <>
hrt_model_info defaults() noexcept;
template <>
hrt_picture defaults() noexcept;
template <>
hrt_mask defaults() noexcept;
template <>
hrt_harmonize_options defaults() noexcept;
template <>
hrt_report defaults() noexcept;
template <>
hrt_device_picture defaults() noexcept;
template <>
hrt_device_mask defaults() noexcept;
template <>
hrt_colour_space defaults() noexcept;
template <>
hrt_device_options defaults() noexcept;

// A copy of what the caller gave: fields that an older caller does not have keep their defaults; fields that only a
// newer caller has must be zero, since this library cannot obey them.
template <class Options>
Options filled(const Options *given, const char *name) {
    Options options = defaults<Options>();
    if (given == nullptr) return options;
    std::size_t size = 0;
    std::memcpy(&size, given, sizeof size);
    constexpr std::size_t largest = 4096;
    if (size < 2 * sizeof size || size > largest) {
        throw Error(HRT_INVALID_ARGUMENT, std::string(name) + ".size is " + std::to_string(size) + "; start from " +
                                              name + "_default(), which sets it");
    }
    const auto *bytes = reinterpret_cast<const unsigned char *>(given);
    for (std::size_t i = sizeof options; i < size; ++i) {
        if (bytes[i] != 0) {
            throw Error(HRT_UNSUPPORTED,
                        std::string(name) + " has a field that this library does not know; install a newer harmonyrt");
        }
    }
    std::memcpy(&options, given, size < sizeof options ? size : sizeof options);
    return options;
}

// Writes `value` to a caller's struct of the size it was compiled with.
template <class Struct>
void answer(Struct value, Struct *out, const char *name) {
    if (out == nullptr) throw Error(HRT_INVALID_ARGUMENT, std::string(name) + " is NULL; give a struct to fill");
    std::size_t size = 0;
    std::memcpy(&size, out, sizeof size);
    if (size < 2 * sizeof size) {
        throw Error(HRT_INVALID_ARGUMENT, std::string(name) + ".size is " + std::to_string(size) + "; start from " +
                                              name + "_default(), which sets it");
    }
    value.size = size;
    std::memcpy(out, &value, size < sizeof value ? size : sizeof value);
}

} // namespace hrt
