#include "compiled_cache.hpp"

#include "sha256.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <new>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <vector>

namespace hrt {
namespace {

namespace fs = std::filesystem;

constexpr const char *kMagic = "harmonyrt-compiled-1";
constexpr const char *kSubfolder = "compiled", *kSuffix = ".compiled", *kPartial = ".partial";
constexpr std::size_t kHeader = 128; // as in runtime/compiled_cache.py
constexpr std::size_t kPiece = 1U << 20U;
constexpr std::uint64_t kDefaultMib = 4096;
constexpr std::time_t kAbandoned = 3600; // seconds after which a scratch file belongs to a process that died

// Why an entry or a folder is not used, as the end of a sentence.
struct Unfit : std::runtime_error {
    using std::runtime_error::runtime_error;
};

[[noreturn]] void failed(int error) { throw Unfit(std::generic_category().message(error)); }

std::uint64_t limit_bytes(std::string *complaint) {
    const char *given = std::getenv("HARMONYRT_CACHE_MIB");
    const std::string text = given == nullptr ? "" : given;
    if (text.empty()) return kDefaultMib << 20U;
    if (text.find_first_not_of("0123456789") != std::string::npos) {
        if (complaint != nullptr) {
            *complaint = "HARMONYRT_CACHE_MIB is '" + text + "', not a whole number: compiled models take up to " +
                         std::to_string(kDefaultMib) + " MiB";
        }
        return kDefaultMib << 20U;
    }
    const std::uint64_t mib = std::strtoull(text.c_str(), nullptr, 10);
    return std::min<std::uint64_t>(mib, 1ULL << 40U) << 20U;
}

struct Descriptor {
    explicit Descriptor(int number) : fd(number) {}
    ~Descriptor() {
        if (fd >= 0) (void)::close(fd);
    }
    Descriptor(const Descriptor &) = delete;
    Descriptor &operator=(const Descriptor &) = delete;
    int fd;
};

void check_owner(const struct stat &found, const std::string &what) {
    if (found.st_uid != 0 && found.st_uid != ::geteuid()) throw Unfit(what + " belongs to another user");
    if ((found.st_mode & (S_IWGRP | S_IWOTH)) != 0) throw Unfit("other users may write " + what);
}

// Root, with another user's home (sudo), would leave folders there that this user could not write any more.
void check_home(const fs::path &folder) {
    if (::geteuid() != 0) return;
    for (fs::path near = folder.parent_path();; near = near.parent_path()) {
        struct stat found = {};
        if (::stat(near.c_str(), &found) == 0) {
            if (found.st_uid != 0) throw Unfit(near.string() + " belongs to another user");
            return;
        }
        if (near == near.parent_path()) return;
    }
}

void check_folder(const std::string &folder, bool make) {
    if (make) {
        check_home(folder);
        std::error_code error;
        fs::create_directories(fs::path(folder).parent_path(), error);
        if (error) throw Unfit(error.message());
        if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) failed(errno);
    }
    struct stat found = {};
    if (::lstat(folder.c_str(), &found) != 0) failed(errno);
    if (!S_ISDIR(found.st_mode)) throw Unfit(folder + " is no folder of its own");
    check_owner(found, "the folder");
}

std::size_t read_some(int fd, void *data, std::size_t size) {
    std::size_t done = 0;
    while (done < size) {
        const ssize_t got = ::read(fd, static_cast<char *>(data) + done, size - done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) failed(errno);
        if (got == 0) break;
        done += static_cast<std::size_t>(got);
    }
    return done;
}

std::string header(const std::string &digest, std::size_t key, std::size_t content) {
    std::string text = std::string(kMagic) + " " + digest + " " + std::to_string(key) + " " + std::to_string(content);
    text.resize(kHeader - 1, ' ');
    return text + "\n";
}

// A file that begins at an offset for those who seek in it.
class OffsetBuffer : public std::filebuf {
public:
    explicit OffsetBuffer(std::streamoff start) : start_(start) {}

protected:
    pos_type seekoff(off_type offset, std::ios_base::seekdir from, std::ios_base::openmode which) override {
        const pos_type at = std::filebuf::seekoff(from == std::ios_base::beg ? offset + start_ : offset, from, which);
        return at == pos_type(off_type(-1)) ? at : at - start_;
    }
    pos_type seekpos(pos_type position, std::ios_base::openmode which) override {
        return seekoff(off_type(position), std::ios_base::beg, which);
    }

private:
    std::streamoff start_;
};

// Writes an entry; returns its size.
std::uint64_t fill(const std::string &path, const std::string &key, const std::function<void(std::ostream &)> &save) {
    OffsetBuffer buffer(static_cast<std::streamoff>(kHeader + key.size()));
    if (buffer.open(path, std::ios::in | std::ios::out | std::ios::binary) == nullptr) failed(errno);
    std::ostream stream(&buffer);
    stream << std::string(kHeader, ' ') << key;
    errno = 0;
    save(stream);
    stream.flush();
    if (!stream.good() || buffer.close() == nullptr) failed(errno != 0 ? errno : EIO);

    const Descriptor file(::open(path.c_str(), O_RDWR | O_CLOEXEC));
    if (file.fd < 0) failed(errno);
    if (::lseek(file.fd, static_cast<off_t>(kHeader), SEEK_SET) < 0) failed(errno);
    Sha256 digest;
    std::vector<char> piece(kPiece);
    std::uint64_t size = 0;
    for (std::size_t got = 0; (got = read_some(file.fd, piece.data(), piece.size())) > 0; size += got) {
        digest.update(piece.data(), got);
    }
    if (size < key.size()) throw Unfit("nothing was written");
    const std::string first = header(digest.hex(), key.size(), static_cast<std::size_t>(size) - key.size());
    if (::pwrite(file.fd, first.data(), first.size(), 0) != static_cast<ssize_t>(first.size())) failed(errno);
    return size + kHeader;
}

void read_entry(const std::string &path, const std::string &key, const std::function<void *(std::size_t)> &make) {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (file.fd < 0) failed(errno);
    struct stat found = {};
    if (::fstat(file.fd, &found) != 0) failed(errno);
    if (!S_ISREG(found.st_mode)) throw Unfit("it is no plain file");
    check_owner(found, "it");
    const auto total = static_cast<std::size_t>(found.st_size);
    std::array<char, kHeader> first{};
    if (total < kHeader + key.size() || read_some(file.fd, first.data(), kHeader) != kHeader) {
        throw Unfit("it was cut short or is no entry");
    }
    const std::size_t content = total - kHeader - key.size();
    std::istringstream words(std::string(first.data(), kHeader));
    std::string magic, digest;
    words >> magic >> digest;
    if (header(digest, key.size(), content) != std::string(first.data(), kHeader)) {
        throw Unfit("it was cut short or is no entry");
    }
    std::string found_key(key.size(), '\0');
    if (read_some(file.fd, found_key.data(), key.size()) != key.size() || found_key != key) {
        throw Unfit("it was made from something else");
    }
    Sha256 sha;
    sha.update(key.data(), key.size());
    auto *data = static_cast<char *>(make(content));
    for (std::size_t done = 0; done < content;) {
        const std::size_t got = read_some(file.fd, data + done, std::min(kPiece, content - done));
        if (got == 0) throw Unfit("it was cut short");
        sha.update(data + done, got);
        done += got;
    }
    if (sha.hex() != digest) throw Unfit("it was damaged (its sha256 does not match)");
}

bool ends_with(const std::string &text, const std::string &end) {
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// Deletes what was not used for longest until the rest is within the bound, and what dead processes left.
void evict(const std::string &folder, const std::string &keep) {
    struct Entry {
        std::string path;
        std::uint64_t size;
        struct timespec used;
        bool partial;
    };
    std::vector<Entry> entries;
    std::uint64_t total = 0;
    std::error_code error;
    for (const fs::directory_entry &one : fs::directory_iterator(folder, error)) {
        const std::string path = one.path().string();
        struct stat found = {};
        if ((!ends_with(path, kSuffix) && !ends_with(path, kPartial)) || ::lstat(path.c_str(), &found) != 0) continue;
        entries.push_back({path, static_cast<std::uint64_t>(found.st_size), found.st_mtim, ends_with(path, kPartial)});
        total += entries.back().size;
    }
    std::sort(entries.begin(), entries.end(), [](const Entry &a, const Entry &b) {
        return a.used.tv_sec != b.used.tv_sec ? a.used.tv_sec < b.used.tv_sec : a.used.tv_nsec < b.used.tv_nsec;
    });
    const std::uint64_t most = limit_bytes(nullptr);
    for (const Entry &entry : entries) {
        const bool dead = entry.partial && std::time(nullptr) - entry.used.tv_sec > kAbandoned;
        if (!dead && (total <= most || entry.partial || entry.path == keep)) continue;
        (void)::unlink(entry.path.c_str());
        total -= entry.size;
    }
}

// Beyond such a limit a write ends the process by a signal, which a library may not take from its host.
void check_file_limit() {
    struct rlimit limit = {};
    if (::getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        throw Unfit("the size of files is limited here (ulimit -f)");
    }
}

} // namespace

std::string key_text(const CacheKey &key) {
    std::string text;
    for (const auto &[name, value] : key) {
        std::istringstream words(value);
        std::string line;
        for (std::string word; words >> word;) line += (line.empty() ? "" : " ") + word;
        text += name;
        text += '=';
        text += line;
        text += '\n';
    }
    return text;
}

std::string cache_file_name(const CacheKey &key) {
    const std::string text = key_text(key);
    Sha256 digest;
    digest.update(text.data(), text.size());
    return digest.hex().substr(0, 32) + kSuffix;
}

std::string user_cache_folder() {
    const auto absolute = [](const char *path) { return path != nullptr && *path == '/'; };
    const char *cache = std::getenv("XDG_CACHE_HOME"); // a relative one is to be ignored, says its specification
    if (absolute(cache)) return (fs::path(cache) / "harmonyrt").string();
    const char *home = std::getenv("HOME");
    if (home == nullptr) {
        std::array<char, 4096> memory{};
        struct passwd entry = {}, *found = nullptr;
        if (::getpwuid_r(::geteuid(), &entry, memory.data(), memory.size(), &found) != 0 || found == nullptr) return "";
        return absolute(entry.pw_dir) ? (fs::path(entry.pw_dir) / ".cache" / "harmonyrt").string() : "";
    }
    return absolute(home) ? (fs::path(home) / ".cache" / "harmonyrt").string() : "";
}

CompiledCache::CompiledCache(const char *asked) {
    const std::string root = asked == nullptr ? user_cache_folder() : asked;
    std::string complaint;
    if (!root.empty() && limit_bytes(&complaint) > 0) folder_ = (fs::path(root) / kSubfolder).string();
    if (!complaint.empty()) note(complaint);
}

void CompiledCache::note(const std::string &text) { notes_ += (notes_.empty() ? "" : "; ") + text; }

bool CompiledCache::read(const CacheKey &key, const std::function<void *(std::size_t)> &make) {
    if (folder_.empty()) return false;
    const std::string path = path_of(key);
    try {
        check_folder(folder_, false);
    } catch (const Unfit &) {
        return false; // write() says it
    }
    if (::access(path.c_str(), F_OK) != 0 && errno == ENOENT) {
        struct stat found = {};
        if (::lstat(path.c_str(), &found) != 0) return false;
    }
    std::string reason = "memory ran out";
    try {
        read_entry(path, key_text(key), make);
        (void)::utimensat(AT_FDCWD, path.c_str(), nullptr, 0); // when it was last used: what is longest ago goes first
        return true;
    } catch (const Unfit &error) {
        reason = error.what();
    } catch (const std::bad_alloc &) {
    }
    note("the cached file " + path + " is not used: " + reason + "; compiling again");
    return false;
}

void CompiledCache::write(const CacheKey &key, const std::function<void(std::ostream &)> &save) {
    if (folder_.empty()) return;
    std::string scratch;
    try {
        check_folder(folder_, true);
        check_file_limit();
        std::string name = folder_ + "/.XXXXXX" + kPartial;
        const Descriptor file(::mkostemps(name.data(), static_cast<int>(std::strlen(kPartial)), O_CLOEXEC));
        if (file.fd < 0) failed(errno);
        scratch = name;
        const std::uint64_t size = fill(scratch, key_text(key), save);
        if (size > limit_bytes(nullptr)) {
            throw Unfit("it has " + std::to_string(size >> 20U) +
                        " MiB, more than the cache may take (HARMONYRT_CACHE_MIB)");
        }
        if (::rename(scratch.c_str(), path_of(key).c_str()) != 0) failed(errno);
        evict(folder_, path_of(key));
        return;
    } catch (const std::exception &error) { // of the stream's writer too
        note("compiled models are not kept in " + folder_ + ": " + error.what());
    }
    if (!scratch.empty()) (void)::unlink(scratch.c_str());
}

void CompiledCache::remove(const CacheKey &key) {
    if (!folder_.empty()) (void)::unlink(path_of(key).c_str());
}

} // namespace hrt
