// Reading JSON objects whose fields are all known. Every message says where in the document it is.
#pragma once

#include "json.hpp"
#include "status.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace hrt {

[[noreturn]] inline void bad(const std::string &what) {
    throw Error(HRT_BAD_BUNDLE, what + "; build the bundle again");
}

// One JSON object: each field is taken once, and what is left over in the end is refused.
class Object {
public:
    Object(const Json &value, std::string where) : value_(value), where_(std::move(where)) {
        if (value_.kind != Json::Kind::object) bad(where_ + " should be an object, not " + value_.shown());
    }

    // The field, or null where it is optional and absent.
    const Json *find(const char *name, bool optional = false) {
        known_.insert(name);
        if (const Json *field = value_.find(name)) return field;
        if (!optional) bad(where_ + " has no field '" + name + "'");
        return nullptr;
    }
    std::string path(const char *name) const { return where_ + "." + name; }

    void refuse_unknown() const {
        for (const auto &[name, field] : value_.fields) {
            if (known_.count(name) == 0) bad(where_ + " has the unknown field " + quoted(name));
        }
    }

private:
    const Json &value_;
    std::string where_;
    std::set<std::string> known_;
};

[[noreturn]] inline void wrong_type(const std::string &where, const char *type, const Json &value) {
    bad(where + " should be of type " + type + ", not " + value.shown());
}

inline void read(const Json &value, const std::string &where, std::string &out) {
    if (value.kind != Json::Kind::text) wrong_type(where, "str", value);
    out = value.text;
}

inline void read(const Json &value, const std::string &where, bool &out) {
    if (value.kind != Json::Kind::boolean) wrong_type(where, "bool", value);
    out = value.boolean;
}

inline void read(const Json &value, const std::string &where, std::int64_t &out) {
    if (value.kind != Json::Kind::integer) wrong_type(where, "int", value);
    out = value.integer;
}

inline void read(const Json &value, const std::string &where, double &out) {
    if (value.kind != Json::Kind::number && value.kind != Json::Kind::integer) wrong_type(where, "float", value);
    out = value.number;
}

// The templates find the read() of a struct next to that struct, in this namespace.
template <class T>
void read(const Json &value, const std::string &where, std::vector<T> &out) {
    if (value.kind != Json::Kind::list) bad(where + " should be a list, not " + value.shown());
    for (const Json &item : value.items) {
        const std::string place = where + "[" + std::to_string(out.size()) + "]";
        read(item, place, out.emplace_back());
    }
}

template <class T>
void read(const Json &value, const std::string &where, std::pair<T, T> &out) {
    if (value.kind != Json::Kind::list || value.items.size() != 2) {
        bad(where + " should be a list of 2, not " + value.shown());
    }
    read(value.items[0], where + "[0]", out.first);
    read(value.items[1], where + "[1]", out.second);
}

template <class T>
void read(const Json &value, const std::string &where, std::map<std::string, T> &out) {
    if (value.kind != Json::Kind::object) bad(where + " should be an object, not " + value.shown());
    for (const auto &[name, item] : value.fields) read(item, where + "." + name, out[name]);
}

template <class T>
void read(const Json &value, const std::string &where, std::optional<T> &out) {
    if (value.kind != Json::Kind::null) read(value, where, out.emplace());
}

template <class T>
void take(Object &object, const char *name, T &out, bool optional = false) {
    if (const Json *value = object.find(name, optional)) read(*value, object.path(name), out);
}

// A field that is any JSON object: whoever needs it looks inside.
inline const Json &take_free(Object &object, const char *name) {
    const Json *value = object.find(name);
    if (value->kind != Json::Kind::object) bad(object.path(name) + " should be an object, not " + value->shown());
    return *value;
}

} // namespace hrt
