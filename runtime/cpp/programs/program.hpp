// What hrt and hrt-bench share as command-line programs: options, numbers, usage and exit codes.
#pragma once

#include "harmonyrt.hpp"

#include <cstdint>
#include <functional>
#include <string>

// Its name and what --help prints.
struct Program {
    const char *name;
    const char *usage;
};

// Says what is wrong, and how it is meant, on stderr; ends with 2.
[[noreturn]] void wrong_usage(const Program &program, const std::string &what);

// A whole number from 1 to 1,000,000; anything else is wrong usage, as for the next two.
int count_of(const Program &program, const std::string &option, const std::string &value);

// A whole number from 0 to 2^64 - 1.
std::uint64_t seed_of(const Program &program, const std::string &option, const std::string &value);

// A number from `low` to `high`.
double number_of(const Program &program, const std::string &option, const std::string &value, double low, double high);

// Takes an option that chooses the engine or is DiffHarmony's; false where it is another one.
bool take_common_option(const Program &program, const std::string &option, const std::string &value,
                        harmonyrt::ModelOptions &model, harmonyrt::HarmonizeOptions &run);

// Does the work of `main` between streams that are prepared and checked. Returns the exit code: 0 fine, 1 the work
// failed, 2 wrong usage or input.
int run_program(const Program &program, const std::function<void()> &work);
