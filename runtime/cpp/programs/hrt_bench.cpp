// hrt-bench: latencies and throughput of a bundle, one to N sessions at once. Prints a line for each number of
// sessions, and with --json the document that `harmonyrt bench` writes (schema 1), so that its tables and plots take
// both.
//
//     hrt-bench engines/phnet-256-fp32 --picture 1024x1024 --sessions 1,2 --threads 1

#include "harmonyrt.hpp"
#include "program.hpp"
#include "streams.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using Clock = std::chrono::steady_clock;
using nlohmann::ordered_json;

constexpr int kMostSessions = 256;
constexpr const char *kUsage =
    "usage: hrt-bench BUNDLE [options]\n"
    "  --picture HxW      size of the picture (default: 512x512)\n"
    "  --sessions N,N...  sessions at once, one thread each (default: 1)\n"
    "  --threads N        CPU threads of one run of the engine (default: the engine's choice)\n"
    "  --backend NAME     auto, openvino, onnxruntime or tensorrt\n"
    "  --device NAME      cpu, cuda, cuda:1\n"
    "  --provider NAME    of onnxruntime on a GPU: cuda or tensorrt\n"
    "  --target NAME      only engines of this target: onnx, openvino, tensorrt, tensorrt-rtx\n"
    "  --precision NAME   of bundles with several: fp32, fp16, bf16, int8 or fastest (default: the fastest but int8)\n"
    "  --seed N           DiffHarmony: decides the noise (default: 0)\n"
    "  --steps N          DiffHarmony: denoising steps (default: the bundle's own number)\n"
    "  --seconds S        for each number of sessions (default: 3)\n"
    "  --json FILE        write the run there, - for stdout\n";

struct Arguments {
    std::string bundle, json, command;
    bool only_print = false; // --help, which is done already
    int height = 512, width = 512;
    std::vector<int> sessions = {1};
    double seconds = 3;
    harmonyrt::ModelOptions options;
    harmonyrt::HarmonizeOptions run;
};

const Program kProgram{"hrt-bench", kUsage};

// Numbers that are separated, such as 1,2,4 or 512x512.
std::vector<int> counts_of(const std::string &option, const std::string &value, char separator) {
    std::vector<int> found;
    std::istringstream list(value);
    for (std::string n; std::getline(list, n, separator);) found.push_back(count_of(kProgram, option, n));
    return found;
}

void take_option(Arguments &a, const std::string &name, const std::string &value) {
    if (take_common_option(kProgram, name, value, a.options, a.run)) return;
    if (name == "--picture") {
        const std::vector<int> sides = counts_of(name, value, 'x');
        if (sides.size() != 2) wrong_usage(kProgram, "--picture " + value + " is no size; give HxW");
        a.height = sides[0], a.width = sides[1];
    } else if (name == "--sessions") {
        a.sessions = counts_of(name, value, ',');
        if (a.sessions.empty()) wrong_usage(kProgram, "--sessions takes numbers");
        if (*std::max_element(a.sessions.begin(), a.sessions.end()) > kMostSessions)
            wrong_usage(kProgram, "--sessions " + value + " is more than " + std::to_string(kMostSessions));
    } else if (name == "--seconds") {
        a.seconds = number_of(kProgram, name, value, 0.01, 86400);
    } else if (name == "--json") {
        a.json = value;
    } else {
        wrong_usage(kProgram, "there is no option " + name);
    }
}

Arguments parse(int argc, char **argv) {
    Arguments arguments;
    for (int i = 0; i < argc; ++i) arguments.command += (i > 0 ? " " : "") + std::string(argv[i]);
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (word == "--help") {
            std::fputs(kUsage, stdout);
            arguments.only_print = true;
            return arguments;
        }
        if (word.rfind("--", 0) != 0) {
            if (!arguments.bundle.empty()) wrong_usage(kProgram, "one bundle is taken, and " + word + " is another");
            arguments.bundle = word;
        } else if (i + 1 < argc) {
            take_option(arguments, word, argv[++i]);
        } else {
            wrong_usage(kProgram, word + " needs a value");
        }
    }
    if (arguments.bundle.empty()) wrong_usage(kProgram, "a bundle is needed");
    const int most = *std::max_element(arguments.sessions.begin(), arguments.sessions.end());
    arguments.options.streams = most;
    return arguments;
}

// A picture with a foreground of a quarter of it, as the Python benchmark's.
struct Pair {
    std::vector<std::uint8_t> rgb, mask;
};

Pair make_pair(int height, int width) {
    Pair pair;
    for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
            for (int c = 1; c <= 3; ++c)
                pair.rgb.push_back(static_cast<std::uint8_t>((x * c + y * 2 + (x / 16 % 2) * 40) % 256));
            const bool inside = std::abs(2 * x - width) < width / 2 && std::abs(2 * y - height) < height / 2;
            pair.mask.push_back(inside ? 255 : 0);
        }
    }
    return pair;
}

double milliseconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
}

// Latencies of `count` sessions that work at once for about `seconds`, by session.
std::vector<std::vector<double>> measure(const harmonyrt::Model &model, const Arguments &arguments, const Pair &pair,
                                         int count, double seconds) {
    std::vector<std::vector<double>> samples(static_cast<std::size_t>(count));
    std::vector<std::thread> threads;
    for (auto &own : samples) {
        threads.emplace_back([&model, &arguments, &pair, &own, seconds] {
            harmonyrt::Session session;
            std::vector<std::uint8_t> output(pair.rgb.size());
            if (session.try_open(model) != HRT_OK) return;
            const auto start = Clock::now();
            for (auto now = start; own.size() < 3 || milliseconds(start, now) < seconds * 1000;) {
                const auto before = now;
                if (session.try_harmonize({pair.rgb.data(), arguments.width, arguments.height},
                                          {pair.mask.data(), arguments.width, arguments.height}, output.data(), 0,
                                          arguments.run) != HRT_OK) {
                    return;
                }
                now = Clock::now();
                own.push_back(milliseconds(before, now));
            }
        });
    }
    for (std::thread &thread : threads) thread.join();
    return samples;
}

// As numpy.percentile: linear between samples.
double percentile(const std::vector<double> &sorted, double p) {
    const double place = p / 100 * static_cast<double>(sorted.size() - 1);
    const auto low = static_cast<std::size_t>(place);
    const std::size_t high = std::min(low + 1, sorted.size() - 1);
    return sorted[low] + (sorted[high] - sorted[low]) * (place - static_cast<double>(low));
}

std::vector<double> all_of(const std::vector<std::vector<double>> &samples) {
    std::vector<double> all;
    for (const auto &own : samples) all.insert(all.end(), own.begin(), own.end());
    std::sort(all.begin(), all.end());
    return all;
}

ordered_json summary(const std::vector<double> &sorted) {
    double sum = 0;
    for (const double v : sorted) sum += v;
    return {{"samples", sorted.size()},      {"p50", percentile(sorted, 50)},
            {"p90", percentile(sorted, 90)}, {"p95", percentile(sorted, 95)},
            {"p99", percentile(sorted, 99)}, {"mean", sum / static_cast<double>(sorted.size())},
            {"fastest", sorted.front()}};
}

std::string line_of(const char *file, const std::string &start) {
    std::ifstream stream(file);
    for (std::string line; std::getline(stream, line);) {
        if (line.rfind(start, 0) == 0) return line.substr(line.find(':') + 1);
    }
    return "";
}

std::string trimmed(const std::string &text) {
    std::istringstream words(text);
    std::string out;
    for (std::string word; words >> word;) out += (out.empty() ? "" : " ") + word;
    return out;
}

double peak_mb() { return std::atof(line_of("/proc/self/status", "VmHWM").c_str()) * 1024 / 1e6; }

ordered_json measured(const Arguments &arguments, const hrt_model_info &info, int sessions,
                      const std::vector<std::vector<double>> &samples, double load_ms, double first_ms) {
    ordered_json subject = {{"kind", "picture"},
                            {"path", arguments.bundle},
                            {"height", arguments.height},
                            {"width", arguments.width},
                            {"batch", 1},
                            {"threads", nullptr},
                            {"backend", arguments.options.backend},
                            {"target", info.target},
                            {"device", info.device},
                            {"mode", "eager"},
                            {"foreground", 0.25}};
    if (arguments.options.threads > 0) subject["threads"] = arguments.options.threads;
    ordered_json about = {{"model", info.name},          {"backend", info.backend},
                          {"device", info.device},       {"target", info.target},
                          {"precision", info.precision}, {"runtime", "libharmonyrt " + std::string(hrt_version())},
                          {"engine", info.engine},       {"sessions", std::to_string(sessions)}};
    if (info.steps != nullptr) {
        about["steps"] = std::to_string(arguments.run.steps != 0 ? arguments.run.steps : info.steps[0]);
    }
    return {{"subject", subject},
            {"about", about},
            {"latency", summary(all_of(samples))},
            {"load_ms", load_ms},
            {"first_call_ms", first_ms},
            {"peak_rss_mb", peak_mb()},
            {"stable", true},
            {"speedup", nullptr},
            {"psnr_to_first_db", nullptr},
            {"samples", samples}};
}

ordered_json document(const Arguments &arguments, const hrt_model_info &info, const ordered_json &rows) {
    char made[64] = "";
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    gmtime_r(&now, &utc);
    std::strftime(made, sizeof made, "%Y-%m-%d %H:%M UTC", &utc);
    const unsigned cores = std::thread::hardware_concurrency();
    return {{"name", "hrt-bench"},
            {"command", arguments.command},
            {"made", made},
            {"machine",
             {{"cpu",
               {{"model", trimmed(line_of("/proc/cpuinfo", "model name"))},
                {"cores", cores},
                {"cores_granted", cores},
                {"features", ordered_json::array()}}},
              {"cards", ordered_json::array()},
              {"packages", {{info.backend, info.engine}}}}},
            {"effort",
             {{"rounds", 1}, {"seconds", arguments.seconds}, {"least", 3}, {"burn_in_seconds", arguments.seconds / 4}}},
            {"measured", rows},
            {"method", "a quarter of the time to warm up, then one turn for each number of sessions"},
            {"schema", 1},
            {"kind", "harmonyrt-benchmark"}};
}

bool show_progress(int done, int parts) {
    if (parts > 1) std::fprintf(stderr, "first picture: %d of %d parts done\n", done, parts);
    return true;
}

void bench(const Arguments &arguments) {
    const Pair pair = make_pair(arguments.height, arguments.width);
    const auto start = Clock::now();
    const harmonyrt::Model model(arguments.bundle, arguments.options);
    const auto opened = Clock::now();
    harmonyrt::Session session(model);
    harmonyrt::HarmonizeOptions run = arguments.run;
    run.progress = show_progress; // of the first picture only: it may take minutes
    (void)session.harmonize({pair.rgb.data(), arguments.width, arguments.height},
                            {pair.mask.data(), arguments.width, arguments.height}, run);
    const double load_ms = milliseconds(start, opened), first_ms = milliseconds(opened, Clock::now());
    const hrt_model_info info = model.info();
    std::fprintf(stderr, "%s, %s %s on %s, picture %dx%d: opened in %.0f ms, first picture %.0f ms later\n", info.name,
                 info.backend, info.precision, info.device, arguments.height, arguments.width, load_ms, first_ms);
    ordered_json rows = ordered_json::array();
    for (const int count : arguments.sessions) {
        (void)measure(model, arguments, pair, count, arguments.seconds / 4);
        const auto before = Clock::now();
        const auto samples = measure(model, arguments, pair, count, arguments.seconds);
        const double elapsed = milliseconds(before, Clock::now()) / 1000;
        const std::vector<double> all = all_of(samples);
        if (all.empty()) throw WorkFailed("no session finished a picture");
        std::fprintf(stderr, "%3d sessions: p50 %8.2f ms  p90 %8.2f  p99 %8.2f  %8.2f pictures/s  peak %.0f MB\n",
                     count, percentile(all, 50), percentile(all, 90), percentile(all, 99),
                     static_cast<double>(all.size()) / elapsed, peak_mb());
        rows.push_back(measured(arguments, info, count, samples, load_ms, first_ms));
    }
    if (arguments.json.empty()) return;
    const std::string text = document(arguments, info, rows).dump(1) + "\n";
    if (arguments.json == "-") {
        std::fputs(text.c_str(), stdout);
        check_stdout();
    } else {
        write_whole(arguments.json, text.data(), text.size());
    }
}

} // namespace

int main(int argc, char **argv) {
    return run_program(kProgram, [&] {
        const Arguments arguments = parse(argc, argv);
        if (arguments.only_print) {
            check_stdout();
        } else {
            bench(arguments);
        }
    });
}
