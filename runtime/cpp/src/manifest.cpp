#include "manifest.hpp"

#include "json_fields.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace hrt {

// Not in the namespace without a name: the templates of json_fields.hpp would not find them there.
static void read(const Json &value, const std::string &where, TensorSpec &out) {
    Object object(value, where);
    take(object, "name", out.name);
    take(object, "shape", out.shape);
    take(object, "dtype", out.dtype);
    take(object, "layout", out.layout);
    take(object, "range", out.range);
    take(object, "meaning", out.meaning);
    object.refuse_unknown();
}

static void read(const Json &value, const std::string &where, ModelSpec &out) {
    Object object(value, where);
    take(object, "family", out.family);
    out.config = take_free(object, "config");
    take(object, "parameters", out.parameters);
    take(object, "checkpoint", out.checkpoint);
    take(object, "checkpoint_sha256", out.checkpoint_sha256);
    take(object, "random_weights", out.random_weights, true);
    object.refuse_unknown();
}

static void read(const Json &value, const std::string &where, FileSpec &out) {
    Object object(value, where);
    take(object, "path", out.path);
    take(object, "sha256", out.sha256);
    take(object, "bytes", out.bytes);
    object.refuse_unknown();
}

static void read(const Json &value, const std::string &where, Parity &out) {
    Object object(value, where);
    take(object, "cases", out.cases);
    take(object, "max_abs_error", out.max_abs_error);
    take(object, "psnr_db", out.psnr_db);
    take(object, "gate", out.gate);
    take(object, "measured_on", out.measured_on);
    object.refuse_unknown();
}

static void read(const Json &value, const std::string &where, EngineSpec &out) {
    Object object(value, where);
    take(object, "target", out.target);
    take(object, "precision", out.precision);
    take(object, "files", out.files);
    take(object, "census", out.census);
    take(object, "parity", out.parity);
    take(object, "needs", out.needs, true);
    take(object, "rewrites", out.rewrites, true);
    take(object, "build_seconds", out.build_seconds, true);
    take(object, "component", out.component, true);
    object.refuse_unknown();
}

static void read(const Json &value, const std::string &where, Skipped &out) {
    Object object(value, where);
    take(object, "target", out.target);
    take(object, "precision", out.precision);
    take(object, "reason", out.reason);
    object.refuse_unknown();
}

static void read(const Json &value, const std::string &where, Measurement &out) {
    Object object(value, where);
    take(object, "backend", out.backend);
    take(object, "target", out.target);
    take(object, "threads", out.threads);
    take(object, "milliseconds", out.milliseconds);
    take(object, "machine", out.machine);
    take(object, "precision", out.precision, true); // which schema decides; see check_measurements()
    object.refuse_unknown();
}

namespace {

constexpr std::int64_t kSchema = 1, kSeveralPrecisions = 2;
constexpr std::int64_t kLargestSide = 1 << 16;
constexpr std::size_t kLongestText = 64U << 20U;
constexpr int kDeepest = 100; // a tree that is freed without coming near the stack's end

void read_fields(const Json &value, const std::string &where, Manifest &out) {
    Object object(value, where);
    object.find("kind");
    object.find("schema");
    take(object, "name", out.name);
    take(object, "model", out.model);
    take(object, "precision", out.precision);
    take(object, "size", out.size);
    take(object, "batch", out.batch);
    take(object, "working_size", out.working_size);
    take(object, "size_multiple", out.size_multiple);
    take(object, "binary_mask", out.binary_mask);
    take(object, "inputs", out.inputs);
    take(object, "outputs", out.outputs);
    take(object, "engines", out.engines);
    take(object, "tools", out.tools);
    (void)take_free(object, "recipe");
    take(object, "recipe_sha256", out.recipe_sha256);
    take(object, "created", out.created);
    take(object, "skipped", out.skipped, true);
    take(object, "measurements", out.measurements, true);
    object.refuse_unknown();
}

bool inside_bundle(const std::string &path) {
    if (path.empty() || path[0] == '/' || path.find('\\') != std::string::npos ||
        path.find('\0') != std::string::npos) {
        return false;
    }
    for (std::size_t start = 0; start <= path.size();) {
        const std::size_t end = std::min(path.find('/', start), path.size());
        if (path.compare(start, end - start, "..") == 0) return false;
        start = end + 1;
    }
    return true;
}

template <std::size_t N>
bool one_of(const std::string &value, const std::array<const char *, N> &known) {
    return std::find(known.begin(), known.end(), value) != known.end();
}

constexpr std::array<const char *, 4> precisions = {"fp32", "fp16", "bf16", "int8"};

void check_engines(const Manifest &manifest, const std::string &where) {
    constexpr std::array<const char *, 4> targets = {"onnx", "openvino", "tensorrt", "tensorrt-rtx"};
    for (const EngineSpec &engine : manifest.engines) {
        if (!one_of(engine.target, targets) || !one_of(engine.precision, precisions) || engine.files.empty()) {
            bad(where + " has an engine of target " + quoted(engine.target) + ", precision " +
                quoted(engine.precision) + " with " + std::to_string(engine.files.size()) +
                " files, which this runtime does not know");
        }
        for (const FileSpec &file : engine.files) {
            if (!inside_bundle(file.path)) {
                throw Error(HRT_BAD_BUNDLE,
                            where + " names the file " + quoted(file.path) + " outside the bundle; do not trust it");
            }
        }
    }
}

// A measurement names a precision where a bundle has several, and nowhere else.
void check_measurements(const Manifest &manifest, const Json &data, const std::string &where) {
    for (std::size_t i = 0; i < manifest.measurements.size(); ++i) {
        const std::string place = where + ".measurements[" + std::to_string(i) + "]";
        const bool named = data.find("measurements")->items[i].find("precision") != nullptr;
        if (manifest.schema == kSchema && named) bad(place + " has the unknown field 'precision'");
        if (manifest.schema != kSchema && !one_of(manifest.measurements[i].precision, precisions)) {
            bad(place + " has no known precision: " + quoted(manifest.measurements[i].precision));
        }
    }
}

void check_sizes(const Manifest &manifest, const std::string &where) {
    const auto side = [](std::int64_t value) { return value >= 1 && value <= kLargestSide; };
    const bool size = !manifest.size || (side(manifest.size->first) && side(manifest.size->second));
    if (!size || !side(manifest.working_size) || !side(manifest.size_multiple) ||
        (manifest.batch && !side(*manifest.batch))) {
        bad(where + " has sizes that no engine can have (1 to " + std::to_string(kLargestSide) + " are possible)");
    }
}

} // namespace

Manifest parse_manifest(const std::string &text, const std::string &where) {
    if (text.size() > kLongestText)
        bad(where + " is " + std::to_string(text.size()) + " bytes long, which no manifest is");
    Json data;
    try {
        data = parse_json(text, kDeepest);
    } catch (const std::invalid_argument &error) {
        bad(where + " is not valid JSON (" + error.what() + ")");
    }
    const Json *kind = data.find("kind");
    if (kind == nullptr || kind->text != "harmonyrt-bundle") {
        throw Error(HRT_BAD_BUNDLE,
                    where + " is not the manifest of a HarmonyRT bundle; give a folder that `build` wrote");
    }
    const Json *schema = data.find("schema");
    if (schema == nullptr || schema->kind != Json::Kind::integer ||
        (schema->integer != kSchema && schema->integer != kSeveralPrecisions)) {
        throw Error(HRT_BAD_BUNDLE, where + " has schema " + (schema == nullptr ? "null" : schema->shown()) +
                                        ", this runtime reads schemas " + std::to_string(kSchema) + " and " +
                                        std::to_string(kSeveralPrecisions) +
                                        "; build the bundle again with this version, or install the one that wrote it");
    }
    Manifest manifest;
    manifest.schema = schema->integer;
    read_fields(data, where, manifest);
    check_measurements(manifest, data, where);
    check_engines(manifest, where);
    check_sizes(manifest, where);
    return manifest;
}

} // namespace hrt
