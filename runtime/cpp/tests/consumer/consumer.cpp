// A program of somebody else: it knows the installed headers and nothing more.
#include <harmonyrt.hpp>

#include <cstdint>
#include <cstdio>
#include <vector>

int main(int, char **argv) {
    try {
        const harmonyrt::Model model(argv[1]);
        harmonyrt::Session session(model);
        std::vector<std::uint8_t> picture(40 * 30 * 3, 100), mask(40 * 30, 0);
        mask[600] = 255;
        const auto output = session.harmonize({picture.data(), 40, 30}, {mask.data(), 40, 30});
        if (output.size() != picture.size() || output[0] != 100) return 1;
        std::printf("%s: %s %s\n", hrt_version(), model.info().name, model.info().backend);
    } catch (const harmonyrt::Error &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
