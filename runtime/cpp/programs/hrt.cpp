// hrt: harmonizes a PNG or JPEG pair from the command line.
//
//     hrt engines/phnet-256-fp32 composite.jpg mask.png harmonized.png
//     hrt engines/diffharmony-512to256-fp32 composite.jpg mask.png harmonized.png --seed 7 --steps 2
//
// Exit codes: 0 fine, 1 the work failed, 2 wrong usage or input. Chatter goes to stderr.

#include "harmonyrt.hpp"
#include "images.hpp"
#include "program.hpp"
#include "streams.hpp"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr const char *kUsage =
    "usage: hrt BUNDLE COMPOSITE MASK OUTPUT [options]\n"
    "  COMPOSITE, MASK  PNG or JPEG of the same size; the mask is white where the foreground is\n"
    "  OUTPUT           .png or .jpg\n"
    "  --backend NAME   auto, openvino, onnxruntime or tensorrt (default: auto)\n"
    "  --device NAME    cpu, cuda, cuda:1\n"
    "  --provider NAME  of onnxruntime on a GPU: cuda or tensorrt\n"
    "  --target NAME    only engines of this target: onnx, openvino, tensorrt, tensorrt-rtx\n"
    "  --precision NAME of bundles with several: fp32, fp16, bf16, int8 or fastest (default: the fastest but int8)\n"
    "  --threads N      CPU threads (default: all cores that the process may use)\n"
    "  --seed N         DiffHarmony: decides the noise (default: 0)\n"
    "  --sample N       DiffHarmony: which variation of the seed (default: 0)\n"
    "  --steps N        DiffHarmony: denoising steps (default: the bundle's own number)\n"
    "  --strength X     how much of the change, 0 to 1.5 (default: 1)\n"
    "  --keep WHAT      luminance or hue: change only the other\n"
    "  --match MASK     the part of the background to match, white\n"
    "  --label N        of a mask that holds labels: which one is the foreground\n"
    "  --repeat N       harmonize N times and say how long it took\n"
    "  --version        what this is\n";

struct Arguments {
    std::vector<std::string> paths;
    harmonyrt::ModelOptions options;
    harmonyrt::HarmonizeOptions run;
    int repeat = 1;
    bool only_print = false; // --help or --version, which is done already
    int label = 0;
    std::string match;
};

const Program kProgram{"hrt", kUsage};

harmonyrt::Keep keep(const std::string &option, const std::string &value) {
    if (value == "luminance") return harmonyrt::Keep::luminance;
    if (value == "hue") return harmonyrt::Keep::hue;
    wrong_usage(kProgram, option + " " + value + " is neither luminance nor hue");
}

bool take_option(Arguments &a, const std::string &name, const std::string &value) {
    if (take_common_option(kProgram, name, value, a.options, a.run)) return true;
    if (name == "--sample") {
        a.run.sample = seed_of(kProgram, name, value);
    } else if (name == "--strength") {
        a.run.strength = number_of(kProgram, name, value, 0, 1.5);
    } else if (name == "--keep") {
        a.run.keep = keep(name, value);
    } else if (name == "--match") {
        a.match = value;
    } else if (name == "--label") {
        a.label = count_of(kProgram, name, value);
    } else if (name == "--repeat") {
        a.repeat = count_of(kProgram, name, value);
    } else {
        return false;
    }
    return true;
}

Arguments parse(int argc, char **argv) {
    Arguments arguments;
    for (int i = 1; i < argc; ++i) {
        const std::string word = argv[i];
        if (word == "--help" || word == "-h") {
            std::fputs(kUsage, stdout);
            arguments.only_print = true;
            return arguments;
        }
        if (word == "--version") {
            std::puts(hrt_build_info());
            arguments.only_print = true;
            return arguments;
        }
        if (word.rfind("--", 0) != 0) {
            arguments.paths.push_back(word);
            continue;
        }
        if (i + 1 == argc) wrong_usage(kProgram, word + " needs a value");
        if (!take_option(arguments, word, argv[++i])) wrong_usage(kProgram, "there is no option " + word);
    }
    if (arguments.paths.size() != 4)
        wrong_usage(kProgram, "four paths are needed, " + std::to_string(arguments.paths.size()) + " were given");
    return arguments;
}

double milliseconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

void say_notes(std::uint32_t notes) {
    struct Saying {
        std::uint32_t note;
        const char *text;
    };
    constexpr Saying sayings[] = {
        {HRT_NOTE_EMPTY_MASK, "warning: the mask is empty: the composite comes back unchanged"},
        {HRT_NOTE_FULL_MASK, "warning: the mask covers the whole picture: there is no background to learn from"},
        {HRT_NOTE_INVERTED_MASK, "warning: the mask looks inverted: the foreground must be white"},
        {HRT_NOTE_HIDDEN_FOREGROUND,
         "warning: the foreground is transparent everywhere: the composite comes back unchanged"},
        {HRT_NOTE_NO_BACKGROUND,
         "warning: no background is visible, the composite is a cut-out alone: paste it on its background first"},
        {HRT_NOTE_LABELS, "note: the mask holds labels: all but 0 are taken as the foreground; choose with --label"},
        {HRT_NOTE_VIDEO_RANGE, "note: the mask is in video range: 16 to 235 is stretched to 0 to 255"},
        {HRT_NOTE_NOT_WHITE,
         "warning: the mask's highest value is far below white: the foreground gets a part of its change; for labels, "
         "choose with --label"},
        {HRT_NOTE_NOT_BLACK, "warning: the mask's lowest value is above black: no pixel is left as it was"},
        {HRT_NOTE_MIXED_MASK,
         "warning: the mask holds white and nearly black values, which hardly change the picture; for labels, choose "
         "with --label"},
    };
    for (const Saying &saying : sayings) {
        if ((notes & saying.note) != 0) std::fprintf(stderr, "%s\n", saying.text);
    }
}

void say_warning(hrt_log_level level, const char *message, void * /*user*/) {
    if (level >= HRT_LOG_WARNING) std::fprintf(stderr, "warning: %s\n", message);
}

// A bar on a terminal, a line for each part elsewhere. PHNet has one part: nothing to tell.
bool show_progress(int done, int parts) {
    constexpr int width = 30;
    if (parts == 1) return true;
    if (isatty(STDERR_FILENO) == 0) {
        std::fprintf(stderr, "%d of %d parts done\n", done, parts);
        return true;
    }
    const std::string bar(static_cast<std::size_t>(width * done / parts), '=');
    std::fprintf(stderr, "\r[%-*s] %d of %d parts%s", width, bar.c_str(), done, parts, done == parts ? "\n" : "");
    return true;
}

void refuse_what_phnet_ignores(const hrt_model_info &info, const harmonyrt::HarmonizeOptions &run) {
    if (info.steps != nullptr || (run.seed == 0 && run.sample == 0 && run.steps == 0)) return;
    wrong_usage(kProgram,
                std::string("--seed, --sample and --steps are for diffharmony and this bundle holds ") + info.family);
}

void say(const std::vector<std::string> &notes) {
    for (const std::string &note : notes) std::fprintf(stderr, "%s\n", note.c_str());
}

void harmonize(const Arguments &arguments) {
    hrt_set_log(say_warning, nullptr);
    const auto start = std::chrono::steady_clock::now();
    const std::string &composite_path = arguments.paths[1], &mask_path = arguments.paths[2];
    Image image = read_composite(composite_path);
    Image mask = read_mask(mask_path, arguments.label);
    match_turn(mask, image, mask_path, composite_path);
    std::vector<std::string> inputs = {composite_path, mask_path};
    Image match;
    if (!arguments.match.empty()) {
        match = read_mask(arguments.match, 0);
        match_turn(match, image, arguments.match, composite_path);
        inputs.push_back(arguments.match);
    }
    check_output(arguments.paths[3], image, inputs);
    for (const Image *read : {&image, &mask, &match}) say(read->notes);

    const harmonyrt::Model model(arguments.paths[0], arguments.options);
    harmonyrt::Session session(model);
    const double opened = milliseconds_since(start);
    const hrt_model_info info = model.info();
    std::fprintf(stderr, "%s with %s %s on %s (%s), opened in %.0f ms\n", info.name, info.backend, info.precision,
                 info.device, info.engine, opened);

    if (info.random_weights != 0)
        std::fputs("warning: the weights of this bundle are random: its pictures are meaningless\n", stderr);
    refuse_what_phnet_ignores(info, arguments.run);
    harmonyrt::HarmonizeOptions run = arguments.run;
    run.progress = show_progress;

    if (!match.data.empty()) run.match = harmonyrt::MaskView{match.data.data(), match.width, match.height};
    const harmonyrt::Format format = image.channels == 4 ? harmonyrt::Format::rgba : harmonyrt::Format::rgb;
    harmonyrt::MaskView view{mask.data.data(), mask.width, mask.height};
    view.label = arguments.label;
    std::vector<std::uint8_t> output(image.data.size());
    std::vector<double> times;
    for (int i = 0; i < arguments.repeat; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        session.harmonize({image.data.data(), image.width, image.height, format}, view, output.data(), 0, run);
        times.push_back(milliseconds_since(begin));
        if (i == 0) std::fprintf(stderr, "first picture %.0f ms after the start\n", milliseconds_since(start));
    }
    say_notes(session.report().notes);
    if (arguments.repeat > 1) {
        std::sort(times.begin(), times.end());
        const hrt_report report = session.report();
        std::fprintf(stderr, "median of %d: %.2f ms (the last: fit %.2f, engine %.2f, upsampling %.2f)\n",
                     arguments.repeat, times[times.size() / 2], report.fit_ms, report.engine_ms, report.carry_ms);
    }
    image.data = std::move(output);
    write_image(arguments.paths[3], image);
}

} // namespace

int main(int argc, char **argv) {
    return run_program(kProgram, [&] {
        const Arguments arguments = parse(argc, argv);
        if (arguments.only_print) {
            check_stdout();
        } else {
            harmonize(arguments);
        }
    });
}
