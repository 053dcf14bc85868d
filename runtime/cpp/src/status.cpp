#include "status.hpp"

#include <cstring>
#include <mutex>

namespace hrt {
namespace {

constexpr std::size_t kLongest = 1024;
thread_local char message_of_thread[kLongest] = "";

struct Log {
    std::mutex mutex;
    hrt_log_callback callback = nullptr;
    void *user = nullptr;
};

Log &the_log() {
    static Log log;
    return log;
}

} // namespace

hrt_status fail(hrt_status status, const char *message) noexcept {
    std::size_t length = std::strlen(message);
    if (length >= kLongest) {
        length = kLongest - 1;
        while (length > 0 && (static_cast<unsigned char>(message[length]) & 0xC0U) == 0x80U) --length; // whole UTF-8
    }
    std::memmove(message_of_thread, message, length);
    message_of_thread[length] = '\0';
    return status;
}

const char *last_error() noexcept { return message_of_thread; }

void log(hrt_log_level level, const std::string &message) {
    Log &log = the_log();
    const std::lock_guard<std::mutex> lock(log.mutex);
    if (log.callback != nullptr) log.callback(level, message.c_str(), log.user);
}

void set_log(hrt_log_callback callback, void *user) noexcept {
    Log &log = the_log();
    const std::lock_guard<std::mutex> lock(log.mutex);
    log.callback = callback;
    log.user = user;
}

std::string quoted(const std::string &text) {
    constexpr std::size_t longest = 80;
    std::string shown = text.size() <= longest ? text : text.substr(0, longest) + "...";
    for (char &c : shown) c = static_cast<unsigned char>(c) < ' ' ? '?' : c;
    return "'" + shown + "'";
}

} // namespace hrt
