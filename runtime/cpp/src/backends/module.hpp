// Turns a C++ backend into the table of backend_module.h: exceptions become messages here and pass no further.
//
// A backend is two classes:
//     class Engine {  // immutable once built
//         static void why_not(const hrt_module_request &);   // throws std::runtime_error with the reason
//         explicit Engine(const hrt_module_request &);
//         const char *device() const; const char *version() const;
//         std::string note() const;                          // may be absent: what the user should know
//         int device_runs() const;                           // may be absent: HRT_MODULE_WAITS and so on
//         static std::string cpu_speed(const char *cache, bool measure); // may be absent: see hrt_backend_module
//     };
//     class Session {
//         explicit Session(Engine &);
//         void run(const hrt_module_tensor *tensors);        // the request's inputs, then its outputs
//         void run_on_device(const hrt_module_tensor *tensors, void *stream);  // GPU memory; with device_runs()
//     };
#pragma once

#include "../backend_module.h"

#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace hrt::backends {

// Names of a request's inputs, then of its outputs: the order of run().
inline std::vector<std::string> names_of(const hrt_module_request &request) {
    std::vector<std::string> names(request.inputs, request.inputs + request.input_count);
    names.insert(names.end(), request.outputs, request.outputs + request.output_count);
    return names;
}

inline std::size_t bytes_of(const hrt_module_tensor &tensor) noexcept {
    std::size_t bytes = tensor.type == HRT_MODULE_I64 ? sizeof(int64_t) : sizeof(float);
    for (int32_t i = 0; i < tensor.rank; ++i) bytes *= static_cast<std::size_t>(tensor.shape[i]);
    return bytes;
}

inline int say(hrt_module_message *message, const char *text) noexcept {
    if (message != nullptr && message->capacity > 0) {
        std::strncpy(message->text, text, message->capacity - 1);
        message->text[message->capacity - 1] = '\0';
    }
    return 1;
}

// Whether an engine's own words tell that memory ran out. As in runtime/backends/failures.py.
inline bool speaks_of_memory(std::string text) {
    for (char &c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    for (const char *words : {"bad_alloc", "bad allocation", "failed to allocate", "failed to map segment",
                              "allocate memory", "can't alloc", "out of memory", "outofmemory", "not enough memory"}) {
        if (text.find(words) != std::string::npos) return true;
    }
    return false;
}

inline bool out_of_memory(const char *text) noexcept {
    try {
        return speaks_of_memory(text);
    } catch (...) {
        return true; // not even room for the question
    }
}

template <class Work>
int guarded(hrt_module_message *message, Work &&work) noexcept {
    try {
        work();
        return 0;
    } catch (const std::bad_alloc &) {
        say(message, "memory ran out");
        return HRT_MODULE_NO_MEMORY;
    } catch (const std::exception &error) {
        say(message, error.what());
        return out_of_memory(error.what()) ? HRT_MODULE_NO_MEMORY : 1;
    } catch (...) {
        return say(message, "the inference engine failed without saying why");
    }
}

// What a user should know of an engine that opened; engines without note() have nothing to say.
template <class Engine>
auto note_of(const Engine &engine, int) -> decltype(std::string(engine.note())) {
    return engine.note();
}
template <class Engine>
std::string note_of(const Engine &, long) {
    return "";
}

// Engines without device_runs() take nothing that lies in a GPU's memory.
template <class Engine>
auto device_runs_of(const Engine &engine, int) noexcept -> decltype(engine.device_runs()) {
    return engine.device_runs();
}
template <class Engine>
int device_runs_of(const Engine &, long) noexcept {
    return HRT_MODULE_NOT_ON_DEVICE;
}
template <class Session>
auto run_on_device(Session &session, const hrt_module_tensor *tensors, void *stream, int)
    -> decltype(session.run_on_device(tensors, stream)) {
    session.run_on_device(tensors, stream);
}
template <class Session>
void run_on_device(Session &, const hrt_module_tensor *, void *, long) {
    throw std::runtime_error("this backend takes no tensors in a GPU's memory: give it the host's");
}

// What an engine's library tells of the CPU's speed; null for engines without cpu_speed().
template <class Engine>
auto speed_of(int) -> decltype(Engine::cpu_speed(nullptr, false), decltype(hrt_backend_module::cpu_speed){}) {
    return [](const char *cache, std::int32_t measure, hrt_module_message *message) {
        return guarded(message, [&] { say(message, Engine::cpu_speed(cache, measure != 0).c_str()); });
    };
}
template <class Engine>
decltype(hrt_backend_module::cpu_speed) speed_of(long) {
    return nullptr;
}

template <class Engine, class Session>
const hrt_backend_module *module_table(const char *backend) noexcept {
    static const hrt_backend_module table = {
        HRT_MODULE_ABI,
        backend,
        [](const hrt_module_request *request, hrt_module_message *message) {
            return guarded(message, [&] { Engine::why_not(*request); });
        },
        [](const hrt_module_request *request, void **engine, hrt_module_message *message) {
            return guarded(message, [&] {
                auto made = std::make_unique<Engine>(*request);
                if (const std::string note = note_of(*made, 0); !note.empty()) say(message, note.c_str());
                *engine = made.release();
            });
        },
        [](void *engine) { delete static_cast<Engine *>(engine); },
        [](const void *engine) { return static_cast<const Engine *>(engine)->device(); },
        [](const void *engine) { return static_cast<const Engine *>(engine)->version(); },
        [](void *engine, void **session, hrt_module_message *message) {
            return guarded(message, [&] { *session = new Session(*static_cast<Engine *>(engine)); });
        },
        [](void *session) { delete static_cast<Session *>(session); },
        [](void *session, const hrt_module_tensor *tensors, hrt_module_message *message) {
            return guarded(message, [&] { static_cast<Session *>(session)->run(tensors); });
        },
        [](const void *engine) { return device_runs_of(*static_cast<const Engine *>(engine), 0); },
        [](void *session, const hrt_module_tensor *tensors, void *stream, hrt_module_message *message) {
            return guarded(message, [&] { run_on_device(*static_cast<Session *>(session), tensors, stream, 0); });
        },
        speed_of<Engine>(0),
    };
    return &table;
}

} // namespace hrt::backends

#if defined(_WIN32)
#define HRT_MODULE_EXPORT extern "C" __declspec(dllexport)
#else
#define HRT_MODULE_EXPORT extern "C" __attribute__((visibility("default")))
#endif

#define HRT_BACKEND_MODULE(name, Engine, Session)                             \
    HRT_MODULE_EXPORT const hrt_backend_module *hrt_backend_module_v3(void) { \
        return hrt::backends::module_table<Engine, Session>(name);            \
    }
