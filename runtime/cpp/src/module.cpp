#include "module.hpp"

#include "status.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <new>
#include <vector>

namespace hrt {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMessage = 1024;

struct Message {
    char text[kMessage] = "";
    hrt_module_message c = {text, sizeof text};
};

void check(int result, const Message &message) {
    if (result == HRT_MODULE_NO_MEMORY) {
        throw Error(HRT_OUT_OF_MEMORY, std::string("memory ran out in the engine (") + message.text +
                                           "); free some, raise the process's limit, or take a smaller size");
    }
    if (result != 0) throw Error(HRT_ENGINE_FAILED, message.text);
}

// The folder of this library: modules are in its subfolder harmonyrt/, or next to it in a deployment folder.
fs::path own_folder() {
    Dl_info info = {};
    if (dladdr(reinterpret_cast<const void *>(&hrt_version), &info) == 0 || info.dli_fname == nullptr) return {};
    std::error_code error;
    const fs::path file = fs::canonical(info.dli_fname, error);
    return error ? fs::path(info.dli_fname).parent_path() : file.parent_path();
}

std::vector<fs::path> module_folders(const std::string &asked) {
    if (!asked.empty()) return {asked};
    const char *named = std::getenv("HARMONYRT_MODULES");
    if (named != nullptr && *named != '\0') return {named};
    const fs::path own = own_folder();
    return {own / "harmonyrt", own};
}

const hrt_backend_module *load(const fs::path &file, std::string &reason) {
    void *library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        const char *error = dlerror();
        reason = std::string("its module does not load (") + (error != nullptr ? error : "no reason given") +
                 "): install the inference engine, or put its libraries where the loader finds them";
        return nullptr;
    }
    const auto get = reinterpret_cast<hrt_backend_module_function>(dlsym(library, "hrt_backend_module_v3"));
    const hrt_backend_module *table = get != nullptr ? get() : nullptr;
    if (table == nullptr || table->abi != HRT_MODULE_ABI) {
        reason = file.string() + " is no backend module of this version: install modules and library together";
        dlclose(library);
        return nullptr;
    }
    return table;
}

} // namespace

const Module *Module::find(const std::string &name, const std::string &folder, std::string &reason) {
    static std::mutex mutex;
    static auto *loaded = new std::map<std::string, std::unique_ptr<Module>>(); // outlives every model
    const std::lock_guard<std::mutex> lock(mutex);
    std::string looked;
    for (const fs::path &place : module_folders(folder)) {
        const fs::path file = place / ("libharmonyrt_" + name + ".so");
        const auto known = loaded->find(file.string());
        if (known != loaded->end()) return known->second.get();
        std::error_code error;
        looked += (looked.empty() ? "" : " and ") + place.string();
        if (!fs::is_regular_file(file, error)) continue;
        const hrt_backend_module *table = load(file, reason);
        if (table == nullptr) return nullptr;
        auto &slot = (*loaded)[file.string()];
        slot.reset(new Module(table));
        return slot.get();
    }
    reason = "this installation has no libharmonyrt_" + name + ".so (looked in " + looked +
             "): install it, or set HARMONYRT_MODULES to its folder";
    return nullptr;
}

std::string Module::why_not(const hrt_module_request &request) const {
    Message message;
    return table_->why_not(&request, &message.c) == 0 ? "" : message.text;
}

std::string Module::cpu_speed(const char *cache, bool measure) const {
    Message message;
    if (table_->cpu_speed == nullptr) return "";
    if (table_->cpu_speed(cache, measure ? 1 : 0, &message.c) == 0) return message.text;
    log(HRT_LOG_WARNING, std::string("this CPU's speed could not be measured: ") + message.text);
    return ""; // which stops no work
}

Engine::Engine(const Module &module, const hrt_module_request &request)
    : table_(module.table()),
      process_(getpid()),
      tensors_(static_cast<std::size_t>(request.input_count + request.output_count)) {
    Message message;
    check(table_.open(&request, &handle_, &message.c), message);
    note_ = message.text;
}

// A forked child has none of the engine's threads: destroying it there would wait for them.
Engine::~Engine() {
    if (process_ == getpid()) table_.close(handle_);
}

EngineSession::EngineSession(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {
    Message message;
    check(engine_->table_.open_session(engine_->handle_, &handle_, &message.c), message);
}

EngineSession::~EngineSession() {
    if (engine_->process_ == getpid()) engine_->table_.close_session(handle_);
}

void EngineSession::check_count(const std::vector<Tensor> &tensors) const {
    if (tensors.size() != engine_->tensors_) throw Error(HRT_INTERNAL, "an engine was given tensors of another one");
}

void EngineSession::run(const std::vector<Tensor> &tensors) {
    Message message;
    check_count(tensors);
    check(engine_->table_.run(handle_, tensors.data(), &message.c), message);
}

void EngineSession::run_on_device(const std::vector<Tensor> &tensors, void *stream) {
    Message message;
    check_count(tensors);
    check(engine_->table_.run_on_device(handle_, tensors.data(), stream, &message.c), message);
}

std::string default_module_folders() {
    std::string text;
    for (const fs::path &folder : module_folders("")) text += (text.empty() ? "" : ":") + folder.string();
    return text;
}

} // namespace hrt
