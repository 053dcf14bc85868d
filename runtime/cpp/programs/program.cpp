#include "program.hpp"

#include "streams.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <exception>

void wrong_usage(const Program &program, const std::string &what) {
    std::fprintf(stderr, "%s: %s\n%s", program.name, what.c_str(), program.usage);
    std::exit(2);
}

int count_of(const Program &program, const std::string &option, const std::string &value) {
    char *end = nullptr;
    const long n = std::strtol(value.c_str(), &end, 10);
    if (end == value.c_str() || *end != '\0' || n < 1 || n > 1000000)
        wrong_usage(program, option + " " + value + " is no count");
    return static_cast<int>(n);
}

std::uint64_t seed_of(const Program &program, const std::string &option, const std::string &value) {
    char *end = nullptr;
    errno = 0;
    const unsigned long long n = std::strtoull(value.c_str(), &end, 10);
    const bool digits = !value.empty() && value.find_first_not_of("0123456789") == std::string::npos;
    if (!digits || *end != '\0' || errno != 0)
        wrong_usage(program, option + " " + value + " is no number from 0 to 2^64 - 1");
    return n;
}

double number_of(const Program &program, const std::string &option, const std::string &value, double low, double high) {
    char *end = nullptr;
    const double x = std::strtod(value.c_str(), &end);
    if (end == value.c_str() || *end != '\0' || !(x >= low && x <= high)) {
        char range[64];
        std::snprintf(range, sizeof range, "%g to %g", low, high);
        wrong_usage(program, option + " " + value + " is no number from " + range);
    }
    return x;
}

bool take_common_option(const Program &program, const std::string &option, const std::string &value,
                        harmonyrt::ModelOptions &model, harmonyrt::HarmonizeOptions &run) {
    if (option == "--backend") {
        model.backend = value;
    } else if (option == "--device") {
        model.device = value;
    } else if (option == "--provider") {
        model.provider = value;
    } else if (option == "--target") {
        model.target = value;
    } else if (option == "--precision") {
        model.precision = value;
    } else if (option == "--threads") {
        model.threads = count_of(program, option, value);
    } else if (option == "--seed") {
        run.seed = seed_of(program, option, value);
    } else if (option == "--steps") {
        run.steps = count_of(program, option, value);
    } else {
        return false;
    }
    return true;
}

int run_program(const Program &program, const std::function<void()> &work) {
    const auto failed = [&program](const std::exception &error, int code) {
        std::fprintf(stderr, "%s: %s\n", program.name, error.what());
        return code;
    };
    prepare_streams();
    setenv("ORT_DISABLE_TELEMETRY", "1", 0); // no events to its maker; who has set it keeps that
    try {
        work();
        return 0;
    } catch (const harmonyrt::Error &error) {
        return failed(error, error.status() == HRT_ENGINE_FAILED || error.status() == HRT_OUT_OF_MEMORY ? 1 : 2);
    } catch (const WorkFailed &error) {
        return failed(error, 1);
    } catch (const std::exception &error) {
        return failed(error, 2);
    }
}
