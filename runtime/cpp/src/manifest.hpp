// manifest.json of a bundle, schema 1 (of one precision) or 2 (of several). The twin of runtime/manifest.py;
// docs/bundle.md describes the fields.
#pragma once

#include "json.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace hrt {

struct TensorSpec {
    std::string name;
    std::vector<std::int64_t> shape;
    std::string dtype;
    std::string layout;
    std::pair<double, double> range;
    std::string meaning;
};

struct ModelSpec {
    std::string family;
    Json config; // of the network; DiffHarmony's has the loop
    std::int64_t parameters = 0;
    std::string checkpoint;
    std::string checkpoint_sha256;
    bool random_weights = false;
};

struct FileSpec {
    std::string path;
    std::string sha256;
    std::int64_t bytes = 0;
};

struct Parity {
    std::int64_t cases = 0;
    double max_abs_error = 0;
    double psnr_db = 0;
    std::string gate;
    std::string measured_on;
};

struct EngineSpec {
    std::string target;
    std::string precision;
    std::vector<FileSpec> files;
    std::map<std::string, std::int64_t> census;
    Parity parity;
    std::map<std::string, std::string> needs;
    std::vector<std::string> rewrites;
    double build_seconds = 0;
    std::string component = "network";

    // It needs the native kernels; a plain one stands by it.
    bool is_native() const { return needs.count("native") != 0; }
    std::string label() const { return target + " " + precision + (is_native() ? " native" : ""); }
};

struct Skipped {
    std::string target;
    std::string precision;
    std::string reason;
};

struct Measurement {
    std::string backend;
    std::string target;
    std::int64_t threads = 0;
    double milliseconds = 0;
    std::string machine;
    std::string precision; // of the engine, in a bundle of several; else ""
};

struct Manifest {
    std::int64_t schema = 1;
    std::string name;
    ModelSpec model;
    std::string precision;
    std::optional<std::pair<std::int64_t, std::int64_t>> size; // height, width
    std::optional<std::int64_t> batch;
    std::int64_t working_size = 0;
    std::int64_t size_multiple = 0;
    bool binary_mask = false;
    std::vector<TensorSpec> inputs;
    std::vector<TensorSpec> outputs;
    std::vector<EngineSpec> engines;
    std::map<std::string, std::string> tools;
    std::string recipe_sha256;
    std::string created;
    std::vector<Skipped> skipped;
    std::vector<Measurement> measurements;
};

// Reads the text of manifest.json; `where` is how messages name it.
// Throws Error (HRT_BAD_BUNDLE): not JSON, another schema, a field missing, unknown or of the wrong type, values that
// no build writes, or a file outside the bundle.
Manifest parse_manifest(const std::string &text, const std::string &where);

} // namespace hrt
