#include "library.hpp"

#include "status.hpp"

#include <dlfcn.h>

#include <cstdlib>

namespace hrt::device {

Library::Library(const char *variable, const std::vector<std::string> &names, const std::string &what) : what_(what) {
    const char *named = std::getenv(variable);
    const bool given = named != nullptr && *named != '\0';
    for (const std::string &name : given ? std::vector<std::string>{named} : names) {
        handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
        if (handle_ != nullptr) return;
    }
    const char *error = dlerror();
    throw Error(HRT_NO_BACKEND, what + " does not load (" + (error != nullptr ? error : "no reason given") +
                                    "): install it, set " + variable +
                                    " to the library's path, or use hrt_harmonize_u8 with host memory");
}

void *Library::symbol(const char *name) const {
    void *found = dlsym(handle_, name);
    if (found == nullptr) throw Error(HRT_NO_BACKEND, what_ + " has no " + name + ": install a newer version");
    return found;
}

} // namespace hrt::device
