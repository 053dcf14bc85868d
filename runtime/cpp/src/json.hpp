// JSON as a plain tree of our own. The text is read by nlohmann-json's event parser; its own tree allocates while it is
// destroyed, so that running out of memory would end the process.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace hrt {

struct Json {
    enum class Kind { null, boolean, integer, number, text, list, object };

    Kind kind = Kind::null;
    bool boolean = false;
    std::int64_t integer = 0;
    double number = 0; // also of integers
    std::string text;
    std::vector<Json> items;                          // of a list
    std::vector<std::pair<std::string, Json>> fields; // of an object; names are unique

    const Json *find(const std::string &name) const noexcept;
    // For messages: the value where it is short, else what it is.
    std::string shown() const;
};

// Throws std::invalid_argument with the reason: not JSON, nested deeper than `deepest`, a field named twice.
Json parse_json(const std::string &text, int deepest);

} // namespace hrt
