#include "streams.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace {

bool stdout_was_closed = false;

std::string last_error() { return std::strerror(errno); }

[[noreturn]] void refuse(const std::string &path, const std::string &why) {
    throw std::runtime_error(path + " " + why);
}

[[noreturn]] void fail(const std::string &path) {
    throw WorkFailed(path + " cannot be written: " + last_error() + "; make room, or name another output");
}

// A file descriptor that is closed in the end.
class Descriptor {
public:
    explicit Descriptor(int number) : number_(number) {}
    Descriptor(const Descriptor &) = delete;
    Descriptor &operator=(const Descriptor &) = delete;
    ~Descriptor() {
        if (number_ >= 0) ::close(number_);
    }
    int get() const { return number_; }
    bool close() { // what a file system holds back until then may fail here
        const int number = number_;
        number_ = -1;
        return ::close(number) == 0;
    }

private:
    int number_;
};

bool write_all(int file, const void *data, std::size_t size) {
    const auto *at = static_cast<const char *>(data);
    while (size > 0) {
        const ssize_t written = ::write(file, at, size);
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return false;
        at += written;
        size -= static_cast<std::size_t>(written);
    }
    return true;
}

bool is_special(const std::string &path) {
    struct stat found {};
    return ::stat(path.c_str(), &found) == 0 &&
           (S_ISFIFO(found.st_mode) || S_ISCHR(found.st_mode) || S_ISSOCK(found.st_mode));
}

// Where a chain of links ends, even if nothing is there yet.
std::string end_of_links(std::string path) {
    for (int i = 0; i < 40; ++i) {
        char target[PATH_MAX];
        const ssize_t length = ::readlink(path.c_str(), target, sizeof target);
        if (length < 0) return path;
        const std::string next(target, static_cast<std::size_t>(length));
        const std::size_t slash = path.rfind('/');
        path = next.empty() || next[0] == '/' || slash == std::string::npos ? next : path.substr(0, slash + 1) + next;
    }
    errno = ELOOP;
    refuse(path, "cannot be written: " + last_error() + "; name another output");
}

void pour(const std::string &path, const void *data, std::size_t size) {
    Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (file.get() < 0) refuse(path, "cannot be written: " + last_error() + "; name another output");
    if (!write_all(file.get(), data, size) || !file.close()) fail(path);
}

} // namespace

void prepare_streams() {
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN); // a limit on file sizes (ulimit -f) is an error like a full disk
    for (int number = 0; number < 3; ++number) {
        if (::fcntl(number, F_GETFD) >= 0) continue;
        if (number == STDOUT_FILENO) stdout_was_closed = true;
        (void)::open("/dev/null", O_RDWR); // the lowest free number: this one
    }
}

void check_stdout() {
    const bool flushed = std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
    if (!flushed && errno == EPIPE) std::exit(1); // who read it has seen enough, as `| head` does
    if (flushed && !stdout_was_closed) return;
    throw WorkFailed("what was printed to stdout is lost (" + (flushed ? "it is closed" : last_error()) +
                     "); send it to a place that takes it and run again");
}

std::vector<std::uint8_t> read_whole(const std::string &path) {
    struct Close {
        void operator()(std::FILE *file) const noexcept { std::fclose(file); }
    };
    const std::unique_ptr<std::FILE, Close> file(std::fopen(path.c_str(), "rbe"));
    if (!file) refuse(path, "cannot be opened (" + last_error() + "); check its name and permissions");
    std::vector<std::uint8_t> data;
    std::size_t used = 0;
    for (std::size_t got = 1; got > 0; used += got) {
        data.resize(used + (used < (1U << 16) ? (1U << 16) : used));
        got = std::fread(data.data() + used, 1, data.size() - used, file.get());
    }
    if (std::ferror(file.get()) != 0) refuse(path, "cannot be read (" + last_error() + "); name a picture");
    data.resize(used);
    return data;
}

void write_whole(const std::string &path, const void *data, std::size_t size) {
    if (is_special(path)) return pour(path, data, size);
    const std::string target = end_of_links(path);
    const std::size_t slash = target.rfind('/');
    std::string scratch = (slash == std::string::npos ? "" : target.substr(0, slash + 1)) + ".hrt-XXXXXX.partial";
    Descriptor file(::mkstemps(scratch.data(), 8));
    if (file.get() < 0) {
        if (errno == ENOSPC || errno == EDQUOT) fail(path);
        refuse(path, "cannot be written: " + last_error() + "; name another output");
    }
    const mode_t mask = ::umask(0);
    ::umask(mask);
    const bool written = write_all(file.get(), data, size) && ::fchmod(file.get(), 0666 & ~mask) == 0 && file.close() &&
                         ::rename(scratch.c_str(), target.c_str()) == 0;
    if (written) return;
    const int error = errno;
    ::unlink(scratch.c_str());
    errno = error;
    fail(path);
}
