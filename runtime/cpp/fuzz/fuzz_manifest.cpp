// Whatever text stands in manifest.json, the parser and the reader of DiffHarmony's loop read it or throw their own
// error.
#include "diffusion.hpp"
#include "loop_plan.hpp"
#include "manifest.hpp"
#include "status.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    try {
        const std::string text(reinterpret_cast<const char *>(data), size);
        const hrt::Manifest manifest = hrt::parse_manifest(text, "manifest.json");
        const hrt::LoopPlan plan = hrt::loop_plan_of(manifest);
        (void)hrt::diffusion_parts(plan);
        (void)plan.program(0); // is there, or the plan would have been refused
    } catch (const hrt::Error &) {
    }
    return 0;
}
