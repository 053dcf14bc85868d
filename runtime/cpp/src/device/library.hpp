// Shared libraries of NVIDIA's that are loaded when they are first needed, and stay.
#pragma once

#include <string>
#include <vector>

namespace hrt::device {

class Library {
public:
    // The file that the environment variable `variable` names, else the first of `names` that the system's loader
    // finds. Throws Error (HRT_NO_BACKEND): there is none; `what` is how the sentence calls it.
    Library(const char *variable, const std::vector<std::string> &names, const std::string &what);

    // Throws Error (HRT_NO_BACKEND): the library is too old to have it.
    template <class Function>
    void find(Function &function, const char *name) const {
        function = reinterpret_cast<Function>(symbol(name));
    }

private:
    void *symbol(const char *name) const;

    void *handle_ = nullptr;
    std::string what_;
};

} // namespace hrt::device
