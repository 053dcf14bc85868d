#include "cpu_speed.hpp"

#include "json.hpp"
#include "module.hpp"
#include "status.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>

namespace hrt {

std::optional<double> CpuSpeed::best(const std::string &precision) const {
    std::optional<double> least;
    for (const std::string &name : {precision, precision + " winograd"}) {
        const auto found = milliseconds.find(name);
        if (found != milliseconds.end()) least = std::min(least.value_or(found->second), found->second);
    }
    return least;
}

std::optional<double> CpuSpeed::against_fp32(const std::string &precision) const {
    const std::optional<double> taken = best(precision), fp32 = best("fp32");
    if (!taken || !fp32) return std::nullopt;
    return *taken / *fp32;
}

bool CpuSpeed::native_is_slower(const std::string &precision, bool winograd) const {
    const auto own = milliseconds.find(winograd ? precision + " winograd" : precision);
    const auto native = milliseconds.find(precision + " native");
    return own != milliseconds.end() && native != milliseconds.end() && own->second < plain_wins * native->second;
}

std::string CpuSpeed::sentence() const {
    std::string words;
    for (const char *name : {"bf16", "fp16", "int8"}) {
        const std::optional<double> times = against_fp32(name);
        if (!times) continue;
        char text[64];
        std::snprintf(text, sizeof text, "%s %.2f", name, *times);
        words += (words.empty() ? "" : ", ") + std::string(text);
    }
    return words.empty() ? "only fp32" : "time as a multiple of fp32's: " + words;
}

std::optional<CpuSpeed> parse_cpu_speed(const std::string &text) {
    constexpr int deepest = 4;
    Json data;
    try {
        data = parse_json(text, deepest);
    } catch (const std::invalid_argument &) {
        return std::nullopt;
    }
    const auto sound = [](const Json *value) {
        const bool number = value->kind == Json::Kind::number || value->kind == Json::Kind::integer;
        return number && std::isfinite(value->number) && value->number > 0;
    };
    for (const char *name : {"cpu", "library", "milliseconds", "copy_gb_per_s"}) {
        if (data.find(name) == nullptr) return std::nullopt;
    }
    if (data.fields.size() != 4 || !sound(data.find("copy_gb_per_s"))) return std::nullopt;
    CpuSpeed speed;
    for (const auto &[name, value] : data.find("milliseconds")->fields) {
        if (!sound(&value)) return std::nullopt;
        speed.milliseconds[name] = value.number;
    }
    if (speed.milliseconds.count("fp32") == 0) return std::nullopt;
    return speed;
}

std::optional<CpuSpeed> cpu_speed(const char *cache, const std::string &module_folder, bool may_measure) {
    std::string reason;
    const Module *module = Module::find("openvino", module_folder, reason);
    if (module == nullptr) return std::nullopt;
    const char *wish = std::getenv("HARMONYRT_MEASURE");
    const bool allowed = may_measure && (wish == nullptr || std::string(wish) != "0");
    std::optional<CpuSpeed> found = parse_cpu_speed(module->cpu_speed(cache, false));
    if (found || !allowed) return found;
    log(HRT_LOG_INFO, "measuring how fast this CPU is in each precision, once");
    return parse_cpu_speed(module->cpu_speed(cache, true));
}

} // namespace hrt
