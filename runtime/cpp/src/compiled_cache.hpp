// Compiled models on disk: found by what they were made from, checked before use, bounded in size, never in the way.
// The twin of runtime/compiled_cache.py, with the same files in the same folder; docs/cache.md has the rules.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <ostream>
#include <string>

namespace hrt {

using CacheKey = std::map<std::string, std::string>;

// A key as an entry holds it: lines of name=value by name, with single spaces in values.
std::string key_text(const CacheKey &key);

// The name of an entry's file.
std::string cache_file_name(const CacheKey &key);

// HarmonyRT's folder in the user's cache: $XDG_CACHE_HOME if absolute, else ~/.cache; "" without a home.
std::string user_cache_folder();

class CompiledCache {
public:
    // NULL: the user's cache; "": none; else entries lie in the subfolder "compiled" of that folder.
    explicit CompiledCache(const char *asked);

    // Fills what `make` gives for a number of bytes with an entry's content. False where there is none to use.
    bool read(const CacheKey &key, const std::function<void *(std::size_t)> &make);

    // Keeps what `save` writes; it may seek. Other processes see all of it or nothing.
    void write(const CacheKey &key, const std::function<void(std::ostream &)> &save);

    // Whether anything is kept at all.
    bool keeps() const { return !folder_.empty(); }

    // Drops an entry that its library did not take.
    void remove(const CacheKey &key);

    // What went wrong, as sentences; "" where nothing did. None of it stops the work.
    const std::string &notes() const { return notes_; }
    void note(const std::string &text);

private:
    std::string path_of(const CacheKey &key) const { return folder_ + "/" + cache_file_name(key); }

    std::string folder_; // "": keep nothing
    std::string notes_;
};

} // namespace hrt
