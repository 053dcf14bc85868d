// Whatever text is in manifest.json, the parser and the reader of DiffHarmony's loop read it or throw their own
// error.
#include "diffusion.hpp"
#include "sampling_schedule.hpp"
#include "manifest.hpp"
#include "status.hpp"

#include <cstddef>
#include <cstdint>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size) {
    try {
        const std::string text(reinterpret_cast<const char *>(data), size);
        const hrt::Manifest manifest = hrt::parse_manifest(text, "manifest.json");
        const hrt::SamplingSchedule schedule = hrt::sampling_schedule_of(manifest);
        (void)hrt::diffusion_parts(schedule);
        (void)schedule.program(0); // is there, or the schedule would have been refused
    } catch (const hrt::Error &) {
    }
    return 0;
}
