// The library's one exception type, and the border where it becomes a status code and a message.
#pragma once

#include "harmonyrt.h"

#include <exception>
#include <new>
#include <stdexcept>
#include <string>

namespace hrt {

// One sentence: what happened, what was given, what to do.
class Error : public std::runtime_error {
public:
    Error(hrt_status status, const std::string &message) : std::runtime_error(message), status_(status) {}
    hrt_status status() const noexcept { return status_; }

private:
    hrt_status status_;
};

// Keeps the message for hrt_last_error() on this thread. Allocates nothing.
hrt_status fail(hrt_status status, const char *message) noexcept;

const char *last_error() noexcept;

// Sends a line to the caller's log callback.
void log(hrt_log_level level, const std::string &message);
void set_log(hrt_log_callback callback, void *user) noexcept;

// Runs `work` and turns whatever it throws into a status: nothing passes the border.
template <class Work>
hrt_status guarded(Work &&work) noexcept {
    try {
        work();
        return HRT_OK;
    } catch (const Error &error) {
        return fail(error.status(), error.what());
    } catch (const std::bad_alloc &) {
        return fail(HRT_OUT_OF_MEMORY, "memory ran out; free some, or give a smaller picture");
    } catch (const std::length_error &) {
        return fail(HRT_OUT_OF_MEMORY, "more memory was asked for than a process can have; give a smaller picture");
    } catch (const std::exception &error) {
        return fail(HRT_INTERNAL, error.what());
    } catch (...) {
        return fail(HRT_INTERNAL, "something that is no exception type was thrown, perhaps by a callback");
    }
}

// A file name or value in a message: quoted, cut when it is long.
std::string quoted(const std::string &text);

} // namespace hrt
