/* The header is plain C: this file is compiled as C11 with every warning an error. */
#include "harmonyrt.h"

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
    hrt_model_free(NULL);
    hrt_session_free(NULL);
    return bad;
}
