// Work on a picture's rows shared between a few short-lived threads. The result never depends on how many there are.
#pragma once

#include <algorithm>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

namespace hrt {

// Calls work(from, to) for consecutive runs of rows that make up [0, rows). `grain` rows are worth a thread of their
// own.
template <class Work>
void over_rows(int rows, int threads, int grain, Work &&work) {
    const int parts = std::max(1, std::min(threads, rows / std::max(1, grain)));
    const auto start_of = [&](int part) { return static_cast<int>(static_cast<long long>(rows) * part / parts); };
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(parts));
    const auto run = [&](int part) noexcept {
        try {
            work(start_of(part), start_of(part + 1));
        } catch (...) {
            errors[static_cast<std::size_t>(part)] = std::current_exception();
        }
    };
    std::vector<std::thread> helpers;
    helpers.reserve(static_cast<std::size_t>(parts));
    int part = 1;
    try {
        for (; part < parts; ++part) helpers.emplace_back(run, part);
    } catch (const std::exception &) { // no more threads to be had: this one does the rest
    }
    const int left = part;
    run(0);
    for (part = left; part < parts; ++part) run(part);
    for (std::thread &helper : helpers) helper.join();
    for (const std::exception_ptr &error : errors) {
        if (error) std::rethrow_exception(error);
    }
}

} // namespace hrt
