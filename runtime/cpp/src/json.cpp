#include "json.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <limits>
#include <stdexcept>

namespace hrt {
namespace {

// Builds the tree from the parser's events. `open_` are the lists and objects that have not ended yet.
class Builder : public nlohmann::json_sax<nlohmann::json> {
public:
    explicit Builder(int deepest) : deepest_(static_cast<std::size_t>(deepest)) {}
    Json take() { return std::move(root_); }

    bool null() override { return put({}); }
    bool boolean(bool value) override {
        Json json;
        json.kind = Json::Kind::boolean;
        json.boolean = value;
        return put(std::move(json));
    }
    bool number_integer(number_integer_t value) override {
        Json json;
        json.kind = Json::Kind::integer;
        json.integer = value;
        json.number = static_cast<double>(value);
        return put(std::move(json));
    }
    bool number_unsigned(number_unsigned_t value) override {
        if (value <= static_cast<number_unsigned_t>(std::numeric_limits<std::int64_t>::max())) {
            return number_integer(static_cast<number_integer_t>(value));
        }
        return number_float(static_cast<double>(value), "");
    }
    bool number_float(number_float_t value, const string_t &) override {
        Json json;
        json.kind = Json::Kind::number;
        json.number = value;
        return put(std::move(json));
    }
    bool string(string_t &value) override {
        Json json;
        json.kind = Json::Kind::text;
        json.text = std::move(value);
        return put(std::move(json));
    }
    bool binary(binary_t &) override { return false; }
    bool start_object(std::size_t) override { return open(Json::Kind::object); }
    bool end_object() override { return close(); }
    bool start_array(std::size_t) override { return open(Json::Kind::list); }
    bool end_array() override { return close(); }
    bool key(string_t &name) override {
        if (open_.back()->find(name) != nullptr)
            throw std::invalid_argument("the field '" + name + "' stands there twice");
        open_.back()->fields.emplace_back(std::move(name), Json());
        return true;
    }
    bool parse_error(std::size_t position, const std::string &, const nlohmann::detail::exception &) override {
        throw std::invalid_argument("error at byte " + std::to_string(position));
    }

private:
    // Where the next value goes. Pointers stay valid: what they point into grows only after they are closed.
    Json *place() {
        if (open_.empty()) return &root_;
        Json &parent = *open_.back();
        return parent.kind == Json::Kind::list ? &parent.items.emplace_back() : &parent.fields.back().second;
    }
    bool put(Json value) {
        *place() = std::move(value);
        return true;
    }
    bool open(Json::Kind kind) {
        if (open_.size() >= deepest_) throw std::invalid_argument("nested too deep");
        Json *json = place();
        json->kind = kind;
        open_.push_back(json);
        return true;
    }
    bool close() {
        open_.pop_back();
        return true;
    }

    std::size_t deepest_;
    Json root_;
    std::vector<Json *> open_;
};

} // namespace

const Json *Json::find(const std::string &name) const noexcept {
    for (const auto &[field, value] : fields) {
        if (field == name) return &value;
    }
    return nullptr;
}

std::string Json::shown() const {
    constexpr std::size_t longest = 60;
    switch (kind) {
        case Kind::null: return "null";
        case Kind::boolean: return boolean ? "true" : "false";
        case Kind::integer: return std::to_string(integer);
        case Kind::number: return std::to_string(number);
        case Kind::text: return "\"" + (text.size() <= longest ? text : text.substr(0, longest) + "...") + "\"";
        case Kind::list: return "a list of " + std::to_string(items.size());
        case Kind::object: return "an object";
    }
    return "a value";
}

Json parse_json(const std::string &text, int deepest) {
    Builder builder(deepest);
    nlohmann::json::sax_parse(text, &builder);
    return builder.take();
}

} // namespace hrt
