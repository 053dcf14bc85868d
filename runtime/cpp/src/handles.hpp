// What the opaque handles of the C face hold, and how its structs are filled.
#pragma once

#include "options.hpp"
#include "session.hpp"
#include "status.hpp"

#include <cstring>
#include <memory>
#include <string>
#include <type_traits>

struct hrt_model {
    std::shared_ptr<const hrt::Model> model;
};

struct hrt_session {
    hrt::Session session;
};

namespace hrt {

template <class Struct>
Struct zeroed() noexcept {
    static_assert(std::is_trivially_copyable_v<Struct>);
    Struct value;
    std::memset(&value, 0, sizeof value); // padding too: structs are compared and copied as bytes
    value.size = sizeof value;
    return value;
}

template <class Struct>
void init(Struct *out, std::size_t size) noexcept {
    if (out == nullptr || size < sizeof(std::size_t)) return;
    const Struct value = defaults<Struct>();
    std::memset(out, 0, size);
    std::memcpy(out, &value, size < sizeof value ? size : sizeof value);
    std::memcpy(out, &size, sizeof size); // the caller's size, not ours
}

inline void require(const void *pointer, const char *what) {
    if (pointer == nullptr) throw Error(HRT_INVALID_ARGUMENT, std::string(what) + " is NULL; give a valid one");
}

} // namespace hrt
