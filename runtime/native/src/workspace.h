// Scratch memory of one thread: grown when a larger convolution comes, kept until the thread ends.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <new>

namespace hrt::native {

class Workspace {
public:
    Workspace() = default;
    Workspace(const Workspace &) = delete;
    Workspace &operator=(const Workspace &) = delete;
    ~Workspace() { std::free(space_); }

    float *at_least(std::size_t floats) {
        if (floats > floats_) {
            constexpr std::size_t page = std::size_t{2} << 20;
            const std::size_t bytes = (floats * sizeof(float) + page - 1) / page * page;
            std::free(space_);
            space_ = std::aligned_alloc(page, bytes);
            floats_ = space_ == nullptr ? 0 : bytes / sizeof(float);
            if (space_ == nullptr) throw std::bad_alloc();
            madvise(space_, bytes, MADV_HUGEPAGE); // small pages cost a third of the speed; refused, it only is slower
        }
        return static_cast<float *>(space_);
    }

private:
    void *space_ = nullptr;
    std::size_t floats_ = 0;
};

} // namespace hrt::native
