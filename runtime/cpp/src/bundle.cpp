#include "bundle.hpp"

#include "sha256.hpp"
#include "status.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>

namespace hrt {
namespace fs = std::filesystem;

std::string Bundle::verified_file(const EngineSpec &engine) const {
    const std::string rebuild = "; build the bundle again (" + path + ")";
    for (const FileSpec &spec : engine.files) {
        const fs::path file = fs::path(path) / spec.path;
        std::error_code error;
        if (!fs::is_regular_file(file, error)) {
            throw Error(HRT_NOT_FOUND, file.string() + " is missing from the bundle" + rebuild);
        }
        const auto bytes = fs::file_size(file, error);
        if (error || static_cast<std::int64_t>(bytes) != spec.bytes) {
            throw Error(HRT_BAD_BUNDLE, file.string() + " has " + std::to_string(bytes) + " bytes, its manifest says " +
                                            std::to_string(spec.bytes) + rebuild);
        }
        const std::string found = sha256_of_file(file.string());
        if (found != spec.sha256) {
            throw Error(HRT_BAD_BUNDLE, file.string() + " was altered: found sha256 " + found.substr(0, 12) +
                                            "..., need " + spec.sha256.substr(0, 12) + "..." + rebuild);
        }
    }
    return (fs::path(path) / engine.files.front().path).string();
}

Bundle open_bundle(const std::string &path) {
    std::error_code error;
    if (!fs::exists(path, error)) {
        throw Error(HRT_NOT_FOUND, path + " does not exist; build it with: harmonyrt build phnet");
    }
    const fs::path manifest = fs::path(path) / "manifest.json";
    if (!fs::is_directory(path, error) || !fs::is_regular_file(manifest, error)) {
        throw Error(HRT_NOT_FOUND,
                    path + " is not a bundle: it has no manifest.json; give a folder that `harmonyrt build` wrote");
    }
    std::ifstream file(manifest, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    if (!file) throw Error(HRT_BAD_BUNDLE, manifest.string() + " cannot be read; build the bundle again");
    return {path, parse_manifest(text, manifest.string())};
}

} // namespace hrt
