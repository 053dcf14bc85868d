// The C face of pictures in device memory.

#include "harmonyrt_device.h"

#include "device/frames.hpp"
#include "handles.hpp"

namespace hrt {

template <>
hrt_device_picture defaults() noexcept {
    return zeroed<hrt_device_picture>();
}
template <>
hrt_device_mask defaults() noexcept {
    return zeroed<hrt_device_mask>();
}
template <>
hrt_colour_space defaults() noexcept {
    return zeroed<hrt_colour_space>();
}
template <>
hrt_device_options defaults() noexcept {
    hrt_device_options options = zeroed<hrt_device_options>();
    options.strength = 1;
    options.wait = 1;
    return options;
}

} // namespace hrt

using hrt::guarded;

extern "C" {

hrt_status hrt_colour_space_of(int32_t matrix, int32_t range, int32_t bits, hrt_colour_space *space) {
    return guarded([&] { hrt::answer(hrt::device::colour_space_of(matrix, range, bits), space, "hrt_colour_space"); });
}

hrt_status hrt_harmonize_on_device(hrt_session *session, const hrt_device_picture *picture, const hrt_device_mask *mask,
                                   const hrt_device_picture *output, const hrt_device_options *options) {
    return guarded([&] {
        hrt::require(session, "session");
        hrt::require(picture, "picture");
        hrt::require(mask, "mask");
        hrt::require(output, "output");
        const hrt_device_options given = hrt::filled(options, "hrt_device_options");
        const hrt::device::Picture checked = hrt::device::checked_picture(
            hrt::filled(picture, "hrt_device_picture"), hrt::filled(mask, "hrt_device_mask"),
            hrt::filled(output, "hrt_device_picture"), given);
        session->session.harmonize_on_device(checked, given.stream, given.wait != 0);
    });
}

void hrt_device_picture_init(hrt_device_picture *picture, size_t size) { hrt::init(picture, size); }
void hrt_device_mask_init(hrt_device_mask *mask, size_t size) { hrt::init(mask, size); }
void hrt_colour_space_init(hrt_colour_space *space, size_t size) { hrt::init(space, size); }
void hrt_device_options_init(hrt_device_options *options, size_t size) { hrt::init(options, size); }

} // extern "C"
