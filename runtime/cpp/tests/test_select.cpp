// Which engine comes first: the cases of tests/vectors/select.json, to which tests/runtime/test_several_precisions.py
// holds Python; and what is read of the measured CPU.
#include "choices.hpp"
#include "cpu_speed.hpp"
#include "json.hpp"
#include "machine.hpp"

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace {

constexpr int kDeepest = 10;

std::string text_of(const hrt::Json &object, const char *name, const char *otherwise = "") {
    const hrt::Json *field = object.find(name);
    return field == nullptr ? otherwise : field->text;
}

std::vector<std::string> words(const std::string &text) {
    std::istringstream stream(text);
    return {std::istream_iterator<std::string>(stream), {}};
}

hrt::Manifest manifest_of(const hrt::Json &one) {
    hrt::Manifest manifest;
    for (const hrt::Json &item : one.find("engines")->items) {
        const std::vector<std::string> parts = words(item.text);
        hrt::EngineSpec engine;
        engine.target = parts.at(0);
        engine.precision = parts.at(1);
        for (std::size_t i = 2; i < parts.size(); ++i) {
            if (parts[i] == "native") {
                engine.needs["native"] = "1";
            } else {
                engine.rewrites.push_back(parts[i]);
            }
        }
        manifest.engines.push_back(engine);
    }
    if (const hrt::Json *tuned = one.find("tuned")) {
        for (const hrt::Json &row : tuned->items) {
            const std::vector<std::string> parts = words(row.items.at(0).text);
            hrt::Measurement measurement;
            measurement.backend = parts.at(0);
            measurement.target = parts.at(1);
            measurement.precision = parts.at(2);
            measurement.milliseconds = row.items.at(1).number;
            measurement.threads = 1;
            measurement.machine = hrt::machine_name();
            manifest.measurements.push_back(measurement);
        }
    }
    return manifest;
}

std::string speed_text(const char *milliseconds) {
    return std::string("{\"cpu\": \"a\", \"library\": \"b\", \"milliseconds\": ") + milliseconds +
           ", \"copy_gb_per_s\": 9}";
}

} // namespace

TEST_CASE("the order is Python's") {
    std::ifstream file(std::string(HRT_VECTORS) + "/select.json");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const hrt::Json vectors = hrt::parse_json(text, kDeepest);
    REQUIRE(vectors.find("cases")->items.size() > 10);
    for (const hrt::Json &one : vectors.find("cases")->items) {
        const hrt::Manifest manifest = manifest_of(one);
        hrt::EngineOptions options;
        options.backend = text_of(one, "backend", "auto");
        options.device = text_of(one, "device");
        options.target = text_of(one, "target");
        options.precision = text_of(one, "precision");
        options.threads = 1;
        std::optional<hrt::CpuSpeed> speed;
        if (const hrt::Json *given = one.find("speed")) {
            speed.emplace();
            for (const auto &[name, value] : given->fields) speed->milliseconds[name] = value.number;
        }
        std::vector<std::string> labels, expected;
        std::string why;
        for (const hrt::Choice &choice : hrt::choices_for(manifest, {}, options, speed, why)) {
            labels.push_back(choice.label());
        }
        for (const hrt::Json &label : one.find("expected")->items) expected.push_back(label.text);
        CAPTURE(text_of(one, "why"));
        CHECK(labels == expected);
        CHECK(why == text_of(one, "why"));
    }
}

TEST_CASE("a measurement of the CPU that makes no sense is none") {
    const auto found = hrt::parse_cpu_speed(speed_text("{\"fp32\": 9, \"fp32 winograd\": 8, \"bf16\": 12}"));
    REQUIRE(found);
    CHECK(found->best("fp32") == 8.0);
    CHECK(found->against_fp32("bf16") == 1.5);
    CHECK_FALSE(found->against_fp32("int8"));
    CHECK(found->sentence() == "time as a multiple of fp32's: bf16 1.50");
    for (const char *wrong :
         {"{}", "{\"bf16\": 1}", "{\"fp32\": 0}", "{\"fp32\": -1}", "{\"fp32\": \"9\"}", "[9]", "9"}) {
        CAPTURE(wrong);
        CHECK_FALSE(hrt::parse_cpu_speed(speed_text(wrong)));
    }
    for (const char *wrong : {"", "{", "[]", "{}", "{\"milliseconds\": {\"fp32\": 9}}", "null"}) {
        CAPTURE(wrong);
        CHECK_FALSE(hrt::parse_cpu_speed(wrong));
    }
}
