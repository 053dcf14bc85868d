// The manifest parser is as strict as Python's.
#include "manifest.hpp"

#include "status.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <functional>
#include <string>

namespace {

using nlohmann::json;

json good() {
    std::ifstream file(HRT_VECTORS "/hand-made-64/manifest.json");
    return json::parse(file);
}

std::string refusal(const std::string &text) {
    try {
        (void)hrt::parse_manifest(text, "manifest.json");
    } catch (const hrt::Error &error) {
        CHECK(error.status() == HRT_BAD_BUNDLE);
        return error.what();
    }
    return "accepted";
}

std::string refusal_after(const std::function<void(json &)> &change) {
    json manifest = good();
    change(manifest);
    return refusal(manifest.dump());
}

bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }

} // namespace

TEST_CASE("a manifest that a build wrote is read") {
    const hrt::Manifest manifest = hrt::parse_manifest(good().dump(), "manifest.json");
    CHECK(manifest.name == "hand-made-64");
    REQUIRE(manifest.size.has_value());
    CHECK(manifest.size->first == 64);
    CHECK(manifest.batch == 1);
    CHECK(manifest.binary_mask);
    REQUIRE(manifest.engines.size() == 2);
    CHECK(manifest.engines[1].files.size() == 2);
    CHECK(manifest.engines[0].component == "network");
}

TEST_CASE("text that is no JSON, or another document, is refused") {
    CHECK(contains(refusal(""), "not valid JSON"));
    CHECK(contains(refusal("{\"kind\": \"harmonyrt-bundle\""), "not valid JSON"));
    CHECK(contains(refusal("[]"), "not the manifest of a HarmonyRT bundle"));
    CHECK(contains(refusal("{}"), "not the manifest of a HarmonyRT bundle"));
    CHECK(contains(refusal(std::string(100000, '[')), "nested too deep"));
    CHECK(contains(refusal(std::string("{\"kind\": \"\xff\"}")), "not valid JSON"));
}

TEST_CASE("another schema is refused with both numbers") {
    const std::string message = refusal_after([](json &m) { m["schema"] = 3; });
    CHECK(contains(message, "has schema 3"));
    CHECK(contains(message, "reads schemas 1 and 2"));
    CHECK(contains(refusal_after([](json &m) { m.erase("schema"); }), "has schema null"));
    CHECK(contains(refusal_after([](json &m) { m["schema"] = "1"; }), "has schema \"1\""));
    CHECK(contains(refusal("{\"kind\": \"harmonyrt-bundle\", \"kind\": 1}"), "stands there twice"));
}

TEST_CASE("measurements name a precision where there are several, and nowhere else") {
    const auto with = [](int schema, const json &precision) {
        return [schema, precision](json &m) {
            json row = {
                {"backend", "openvino"}, {"target", "onnx"}, {"threads", 1}, {"milliseconds", 2.5}, {"machine", "a"}};
            if (!precision.is_null()) row["precision"] = precision;
            m["schema"] = schema;
            m["measurements"] = json::array({row});
        };
    };
    CHECK(contains(refusal_after(with(1, "int8")), "measurements[0] has the unknown field 'precision'"));
    CHECK(contains(refusal_after(with(2, nullptr)), "measurements[0] has no known precision: ''"));
    CHECK(contains(refusal_after(with(2, "fp8")), "measurements[0] has no known precision: 'fp8'"));
    CHECK(refusal_after(with(1, nullptr)) == "accepted");
    CHECK(refusal_after(with(2, "int8")) == "accepted");
}

TEST_CASE("every field is needed, typed and known") {
    CHECK(contains(refusal_after([](json &m) { m["colour"] = 1; }), "unknown field 'colour'"));
    CHECK(contains(refusal_after([](json &m) { m["model"]["colour"] = 1; }),
                   "manifest.json.model has the unknown field"));
    CHECK(contains(refusal_after([](json &m) { m.erase("precision"); }), "has no field 'precision'"));
    CHECK(contains(refusal_after([](json &m) { m["working_size"] = "64"; }), "working_size should be of type int"));
    CHECK(contains(refusal_after([](json &m) { m["working_size"] = 64.0; }), "should be of type int"));
    CHECK(contains(refusal_after([](json &m) { m["working_size"] = true; }), "should be of type int"));
    CHECK(contains(refusal_after([](json &m) { m["binary_mask"] = 1; }), "should be of type bool"));
    CHECK(contains(refusal_after([](json &m) { m["size"] = {64}; }), "size should be a list"));
    CHECK(contains(refusal_after([](json &m) { m["engines"] = json::object(); }), "engines should be a list"));
    CHECK(contains(refusal_after([](json &m) { m["recipe"] = 3; }), "recipe should be an object"));
    CHECK(contains(refusal_after([](json &m) { m["tools"] = {{"torch", 2}}; }), "tools.torch should be of type str"));
    CHECK(contains(refusal_after([](json &m) { m["engines"][0]["files"][0]["bytes"] = 18446744073709551615ULL; }),
                   "type int"));
    CHECK(refusal_after([](json &m) { m["size"] = nullptr; }) == "accepted");
    CHECK(refusal_after([](json &m) { m.erase("skipped"); }) == "accepted");
    CHECK(refusal_after([](json &m) { m["engines"][0]["parity"]["psnr_db"] = 120; }) == "accepted");
}

TEST_CASE("targets, precisions and sizes that no build writes are refused") {
    CHECK(contains(refusal_after([](json &m) { m["engines"][0]["target"] = "coreml"; }), "does not know"));
    CHECK(contains(refusal_after([](json &m) { m["engines"][0]["precision"] = "fp4"; }), "does not know"));
    CHECK(contains(refusal_after([](json &m) { m["engines"][0]["files"] = json::array(); }), "with 0 files"));
    for (const int side : {0, -1, 1 << 20}) {
        CHECK(contains(refusal_after([=](json &m) { m["size"] = {side, 64}; }), "no engine can have"));
        CHECK(contains(refusal_after([=](json &m) { m["working_size"] = side; }), "no engine can have"));
        CHECK(contains(refusal_after([=](json &m) { m["size_multiple"] = side; }), "no engine can have"));
        CHECK(contains(refusal_after([=](json &m) { m["batch"] = side; }), "no engine can have"));
    }
}

TEST_CASE("files stay inside the bundle") {
    for (const char *path : {"/etc/passwd", "../model.onnx", "a/../../b", "a\\b", "", ".."}) {
        CHECK(contains(refusal_after([=](json &m) { m["engines"][0]["files"][0]["path"] = path; }), "do not trust it"));
    }
    CHECK(contains(refusal_after([](json &m) { m["engines"][0]["files"][0]["path"] = std::string("a\0b", 3); }),
                   "trust"));
    CHECK(refusal_after([](json &m) { m["engines"][0]["files"][0]["path"] = "engines/..a/model.onnx"; }) == "accepted");
}
