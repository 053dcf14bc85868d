// How fast this CPU convolves in each precision, as measured. The twin of runtime/cpu_speed.py, with the same entry in
// the same cache; the OpenVINO module reads, measures and keeps it (backends/cpu_speed.cpp).
#pragma once

#include <map>
#include <optional>
#include <string>

namespace hrt {

struct CpuSpeed {
    // A precision pays where it takes less than this share of FP32's time; what lies nearer is noise.
    static constexpr double worthwhile = 0.95;
    // Native kernels come second where OpenVINO's own convolutions take less than this share of their time.
    static constexpr double plain_wins = 0.9;

    std::map<std::string, double> milliseconds; // by precision, "<precision> winograd" and "<precision> native"

    // Of the faster of plain and Winograd, without native kernels; none where this CPU does not have the precision.
    std::optional<double> best(const std::string &precision) const;
    // Time taken as a multiple of FP32's.
    std::optional<double> against_fp32(const std::string &precision) const;
    // Whether an engine of OpenVINO's own convolutions, Winograd's as graph operations or plain, takes clearly less
    // time than one of native kernels; false if that is not known.
    bool native_is_slower(const std::string &precision, bool winograd) const;
    // For people: "time as a multiple of fp32's: bf16 1.33" and so on.
    std::string sentence() const;
};

// None where the text is no such measurement, or makes no sense.
std::optional<CpuSpeed> parse_cpu_speed(const std::string &text);

// What was measured on this CPU before; else, where `may_measure` and nothing forbids it, what is measured now in a few
// seconds. None without the OpenVINO module. Never throws for what it lacks.
std::optional<CpuSpeed> cpu_speed(const char *cache, const std::string &module_folder, bool may_measure);

} // namespace hrt
