// The cache of compiled models; the Python twin's cases are in tests/runtime/test_compiled_cache.py.
#include "compiled_cache.hpp"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace fs = std::filesystem;

namespace {

const hrt::CacheKey kKey = {
    {"kind", "test"}, {"NUM_STREAMS", "1"}, {"ENABLE_CPU_PINNING", "false"}, {"files", [] {
                                                                                  std::string text;
                                                                                  for (int i = 0; i < 32; ++i)
                                                                                      text += "ab";
                                                                                  return text;
                                                                              }()}};
const std::string kContent(10000, 'x');

struct Folder {
    Folder() {
        std::string name = (fs::temp_directory_path() / "hrt-cache-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~Folder() {
        std::error_code error;
        fs::remove_all(path, error);
    }
    Folder(const Folder &) = delete;
    Folder &operator=(const Folder &) = delete;
    fs::path entry(const hrt::CacheKey &key = kKey) const { return path / "compiled" / hrt::cache_file_name(key); }
    std::size_t entries() const {
        std::size_t count = 0;
        for ([[maybe_unused]] const auto &one : fs::directory_iterator(path / "compiled")) ++count;
        return count;
    }
    fs::path path;
};

struct Variable {
    Variable(const char *given, const char *value) : name(given) { ::setenv(name, value, 1); }
    ~Variable() { ::unsetenv(name); }
    Variable(const Variable &) = delete;
    Variable &operator=(const Variable &) = delete;
    const char *name;
};

// What is wrong; "" where nothing is.
std::string put(const Folder &folder, const hrt::CacheKey &key = kKey, const std::string &content = kContent) {
    hrt::CompiledCache cache(folder.path.c_str());
    cache.write(key, [&](std::ostream &stream) { stream << content; });
    return cache.notes();
}

std::string got(const Folder &folder, std::string *notes = nullptr, const hrt::CacheKey &key = kKey) {
    hrt::CompiledCache cache(folder.path.c_str());
    std::vector<char> content;
    const bool found = cache.read(key, [&](std::size_t size) {
        content.resize(size);
        return content.data();
    });
    if (notes != nullptr) *notes = cache.notes();
    return found ? std::string(content.begin(), content.end()) : "nothing";
}

std::string bytes_of(const fs::path &path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_bytes(const fs::path &path, const std::string &bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

} // namespace

TEST_CASE("what was put into the cache comes back for the same key") {
    const Folder folder;
    CHECK(got(folder) == "nothing");
    CHECK(put(folder) == "");
    CHECK(got(folder) == kContent);
    hrt::CacheKey other = kKey;
    other["NUM_STREAMS"] = "2";
    CHECK(got(folder, nullptr, other) == "nothing");
    struct stat found = {};
    REQUIRE(::stat(folder.entry().c_str(), &found) == 0);
    CHECK((found.st_mode & 0777) == 0600);
    REQUIRE(::stat((folder.path / "compiled").c_str(), &found) == 0);
    CHECK((found.st_mode & 0777) == 0700);
}

TEST_CASE("keys are the text that Python writes") {
    CHECK(hrt::cache_file_name(kKey) == "bc3ac3bc4be2b0197fa7e1da16d39547.compiled");
    CHECK(hrt::key_text({{"cpu", "A  CPU\nof two lines"}}) == "cpu=A CPU of two lines\n");
}

TEST_CASE("a writer of the cache may seek") {
    const Folder folder;
    hrt::CompiledCache cache(folder.path.c_str());
    cache.write(kKey, [](std::ostream &stream) {
        const auto start = stream.tellp();
        CHECK(start == std::ostream::pos_type(0));
        stream << "????tail";
        stream.seekp(start);
        stream << "head";
        stream.seekp(0, std::ios::end);
        CHECK(stream.tellp() == std::ostream::pos_type(8));
    });
    CHECK(got(folder) == "headtail");
}

TEST_CASE("damage anywhere in an entry is found, and the entry replaced") {
    const Folder folder;
    put(folder);
    const std::string whole = bytes_of(folder.entry());
    std::string notes;
    for (const std::size_t where : {std::size_t{0}, std::size_t{30}, std::size_t{100}, std::size_t{127},
                                    std::size_t{140}, std::size_t{5000}, whole.size() - 1}) {
        std::string damaged = whole;
        damaged[where] = static_cast<char>(damaged[where] ^ 0x20);
        write_bytes(folder.entry(), damaged);
        CHECK(got(folder, &notes) == "nothing");
        CHECK(notes.find("compiling again") != std::string::npos);
    }
    for (const std::size_t length : {0U, 1U, 127U, 128U, 200U, 5000U}) {
        write_bytes(folder.entry(), whole.substr(0, length));
        CHECK(got(folder) == "nothing");
        write_bytes(folder.entry(), whole.substr(0, length) + std::string(whole.size() - length, '\0'));
        CHECK(got(folder) == "nothing");
    }
    put(folder);
    CHECK(got(folder) == kContent);
}

TEST_CASE("an entry of another key, of others, a link and a pipe are not taken") {
    const Folder folder;
    hrt::CacheKey other = kKey;
    other["files"] = "cd";
    put(folder, other);
    fs::rename(folder.entry(other), folder.entry());
    CHECK(got(folder) == "nothing");
    put(folder);
    std::string notes;
    REQUIRE(::chmod(folder.entry().c_str(), 0666) == 0);
    CHECK(got(folder, &notes) == "nothing");
    CHECK(notes.find("other users may write it") != std::string::npos);
    if (::geteuid() == 0) {
        REQUIRE(::chmod(folder.entry().c_str(), 0600) == 0);
        REQUIRE(::chown(folder.entry().c_str(), 12345, 12345) == 0);
        CHECK(got(folder, &notes) == "nothing");
        CHECK(notes.find("belongs to another user") != std::string::npos);
    }
    fs::rename(folder.entry(), folder.path / "elsewhere");
    fs::create_symlink(folder.path / "elsewhere", folder.entry());
    CHECK(got(folder) == "nothing");
    fs::remove(folder.entry());
    REQUIRE(::mkfifo(folder.entry().c_str(), 0600) == 0);
    CHECK(got(folder) == "nothing");
    CHECK(put(folder) == "");
    CHECK(got(folder) == kContent);
    REQUIRE(::chmod((folder.path / "compiled").c_str(), 0777) == 0);
    CHECK(got(folder) == "nothing");
    CHECK(put(folder).find("other users may write the folder") != std::string::npos);
}

TEST_CASE("what fails while an entry is written leaves nothing and is reported") {
    const Folder folder;
    hrt::CompiledCache cache(folder.path.c_str());
    cache.write(kKey, [](std::ostream &stream) {
        stream << "half";
        throw std::runtime_error("No space left on device");
    });
    CHECK(cache.notes().find("No space left on device") != std::string::npos);
    hrt::CompiledCache again(folder.path.c_str());
    again.write(kKey, [](std::ostream &stream) {
        stream << "half";
        stream.setstate(std::ios::badbit);
    });
    CHECK(again.notes().find("are not kept in") != std::string::npos);
    CHECK(folder.entries() == 0);
    std::ofstream(folder.path / "file") << "";
    hrt::CompiledCache none((folder.path / "file" / "here").c_str());
    none.write(kKey, [](std::ostream &stream) { stream << "x"; });
    CHECK(none.notes().find("are not kept in") != std::string::npos);
}

TEST_CASE("the cache is bounded: what was used longest ago goes first") {
    const Folder folder;
    const Variable limit("HARMONYRT_CACHE_MIB", "1");
    std::vector<hrt::CacheKey> keys(4, kKey);
    for (std::size_t i = 0; i < 3; ++i) {
        keys[i]["n"] = std::to_string(i);
        put(folder, keys[i], std::string(300000, 'y'));
        const struct timespec times[2] = {{1000000 + static_cast<long>(i), 0}, {1000000 + static_cast<long>(i), 0}};
        REQUIRE(::utimensat(AT_FDCWD, folder.entry(keys[i]).c_str(), times, 0) == 0);
    }
    CHECK(got(folder, nullptr, keys[0]) != "nothing");
    put(folder, keys[3], std::string(300000, 'y'));
    CHECK(fs::exists(folder.entry(keys[0])));
    CHECK_FALSE(fs::exists(folder.entry(keys[1])));
    CHECK(fs::exists(folder.entry(keys[2])));
    CHECK(fs::exists(folder.entry(keys[3])));
    CHECK(put(folder, kKey, std::string(2000000, 'z')).find("HARMONYRT_CACHE_MIB") != std::string::npos);
    CHECK(folder.entries() == 3);
}

TEST_CASE("the cache is where the XDG specification says, and nowhere when switched off") {
    {
        const Variable cache("XDG_CACHE_HOME", "/c");
        CHECK(hrt::user_cache_folder() == "/c/harmonyrt");
    }
    const std::string home = std::getenv("HOME") == nullptr ? "" : std::getenv("HOME");
    {
        const Variable cache("XDG_CACHE_HOME", "relative"), own("HOME", "/h");
        CHECK(hrt::user_cache_folder() == "/h/.cache/harmonyrt");
    }
    {
        const Variable own("HOME", "");
        CHECK(hrt::user_cache_folder() == "");
    }
    CHECK(hrt::user_cache_folder().find(".cache/harmonyrt") != std::string::npos); // the user's entry, without HOME
    if (!home.empty()) ::setenv("HOME", home.c_str(), 1);
    const Folder folder;
    const Variable limit("HARMONYRT_CACHE_MIB", "0");
    CHECK(put(folder) == "");
    CHECK_FALSE(fs::exists(folder.path / "compiled"));
}
