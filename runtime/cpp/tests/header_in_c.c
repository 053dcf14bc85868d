/* The header is plain C: this file is compiled as C11 with every warning an error. */
#include "harmonyrt_device.h"

#include <string.h>

int main(void) {
    hrt_model_options options = hrt_model_options_default();
    hrt_picture picture = hrt_picture_default();
    hrt_mask mask = hrt_mask_default();
    hrt_model *model = NULL;
    int bad = 0;
    bad += options.size != sizeof options || picture.size != sizeof picture || mask.full != 255 || mask.step != 1;
    bad += hrt_model_open("no such folder", &options, &model) != HRT_NOT_FOUND || model != NULL;
    bad += strstr(hrt_last_error(), "no such folder") == NULL;
    bad += strcmp(hrt_status_name(HRT_NOT_FOUND), "HRT_NOT_FOUND") != 0;
    bad += hrt_abi_version() != HRT_ABI_VERSION;
    {
        hrt_device_picture picture_on_gpu = hrt_device_picture_default();
        hrt_device_mask mask_on_gpu = hrt_device_mask_default();
        hrt_device_options on_gpu = hrt_device_options_default();
        bad += picture_on_gpu.size != sizeof picture_on_gpu || on_gpu.strength != 1 || on_gpu.wait != 1;
        bad += hrt_harmonize_on_device(NULL, &picture_on_gpu, &mask_on_gpu, &picture_on_gpu, &on_gpu) != HRT_INVALID_ARGUMENT;
    }
    hrt_model_free(NULL);
    hrt_session_free(NULL);
    return bad;
}
