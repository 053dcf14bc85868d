// OpenVINO's threads, for its faces of the kernels.
#pragma once

#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

#include "winograd.h"

namespace hrt::native {

inline void on_threads(int parts, const Parts &part) {
    if (parts == 1) {
        part(0);
        return;
    }
    // Isolated: a thread that waits here must not begin another inference, which would want the same workspace.
    oneapi::tbb::this_task_arena::isolate([&] {
        oneapi::tbb::parallel_for(
            0, parts, 1, [&](int i) { part(i); }, oneapi::tbb::static_partitioner());
    });
}

inline int threads_here() { return oneapi::tbb::this_task_arena::max_concurrency(); }

} // namespace hrt::native
