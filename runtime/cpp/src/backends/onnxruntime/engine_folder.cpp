#include "engine_folder.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <vector>

namespace hrt::onnxruntime {
namespace {

namespace fs = std::filesystem;

// Before each file in an entry, in this machine's byte order: an entry is not carried to another.
struct Head {
    std::uint64_t name, content; // bytes
};

} // namespace

EngineFolder::EngineFolder(CompiledCache cache, CacheKey key) : cache_(std::move(cache)), key_(std::move(key)) {
    std::error_code error;
    std::string name = (fs::temp_directory_path(error) / "harmonyrt-engines-XXXXXX").string();
    if (error || mkdtemp(name.data()) == nullptr)
        throw std::runtime_error("no folder can be made for ONNX Runtime's TensorRT engines (" + name +
                                 "): set TMPDIR to one that can be written, or cache_folder to \"\"");
    path_ = name;
    try {
        fill();
    } catch (...) {
        fs::remove_all(path_, error);
        throw;
    }
}

EngineFolder::~EngineFolder() {
    std::error_code error;
    fs::remove_all(path_, error);
}

void EngineFolder::fill() {
    std::vector<char> content;
    const bool kept = cache_.read(key_, [&](std::size_t bytes) {
        content.resize(bytes);
        return content.data();
    });
    if (!kept) return;
    for (std::size_t at = 0; at + sizeof(Head) <= content.size();) {
        Head head{};
        std::memcpy(&head, content.data() + at, sizeof head);
        at += sizeof head;
        if (head.name > content.size() - at || head.content > content.size() - at - head.name) break;
        const std::string name(content.data() + at, head.name);
        at += head.name;
        if (name.empty() || name.find('/') != std::string::npos || name == "." || name == "..") break;
        std::ofstream file(path_ + "/" + name, std::ios::binary);
        file.write(content.data() + at, static_cast<std::streamsize>(head.content));
        at += head.content;
    }
    saved_ = found();
}

std::map<std::string, std::uintmax_t> EngineFolder::found() const {
    std::map<std::string, std::uintmax_t> sizes;
    std::error_code error;
    for (const fs::directory_entry &one : fs::directory_iterator(path_, error)) {
        if (one.is_regular_file(error)) sizes[one.path().filename().string()] = one.file_size(error);
    }
    return sizes;
}

void EngineFolder::save() {
    const std::lock_guard<std::mutex> lock(mutex_);
    const std::map<std::string, std::uintmax_t> now = found();
    if (now.empty() || now == saved_) return;
    cache_.write(key_, [&](std::ostream &out) {
        for (const auto &[name, size] : now) {
            std::ifstream file(path_ + "/" + name, std::ios::binary);
            const std::string content{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
            const Head head = {name.size(), content.size()};
            out.write(reinterpret_cast<const char *>(&head), sizeof head);
            out << name << content;
        }
    });
    saved_ = now;
}

} // namespace hrt::onnxruntime
