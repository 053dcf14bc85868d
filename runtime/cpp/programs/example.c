/* The whole of HarmonyRT in one page of C: a picture in memory, a mask, the harmonized picture.
 *
 *     hrt-example engines/phnet-256-fp32
 */
#include <harmonyrt.h>

#include <stdio.h>
#include <stdlib.h>

enum { WIDTH = 640, HEIGHT = 480 };

/* A grey wall with a reddish ball on it: what a paste with the wrong light looks like. */
static void paint(unsigned char *rgb, unsigned char *mask) {
    for (int y = 0; y < HEIGHT; ++y) {
        for (int x = 0; x < WIDTH; ++x) {
            const int dx = x - WIDTH / 2, dy = y - HEIGHT / 2, inside = dx * dx + dy * dy < 120 * 120;
            unsigned char *p = rgb + 3 * (y * WIDTH + x);
            p[0] = (unsigned char)(inside ? 220 - y / 8 : 90 + x / 8);
            p[1] = (unsigned char)(inside ? 90 : 95 + x / 8);
            p[2] = (unsigned char)(inside ? 60 + x / 16 : 110 + x / 8);
            mask[y * WIDTH + x] = inside ? 255 : 0;
        }
    }
}

int main(int argc, char **argv) {
    static unsigned char rgb[WIDTH * HEIGHT * 3], mask_pixels[WIDTH * HEIGHT];
    hrt_model *model = NULL;
    hrt_session *session = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: hrt-example BUNDLE\n");
        return 2;
    }
    paint(rgb, mask_pixels);
    if (hrt_model_open(argv[1], NULL, &model) != HRT_OK || hrt_session_open(model, &session) != HRT_OK) {
        fprintf(stderr, "%s\n", hrt_last_error());
        hrt_model_free(model);
        return 1;
    }
    hrt_picture picture = hrt_picture_default();
    picture.data = rgb;
    picture.width = WIDTH;
    picture.height = HEIGHT;
    hrt_mask mask = hrt_mask_default();
    mask.data = mask_pixels;
    mask.width = WIDTH;
    mask.height = HEIGHT;
    const hrt_status status = hrt_harmonize_u8(session, &picture, &mask, rgb, 0, NULL); /* in place */
    if (status == HRT_OK) {
        const unsigned char *p = rgb + 3 * (HEIGHT / 2 * WIDTH + WIDTH / 2);
        printf("%sthe ball's middle is now %d %d %d\n", hrt_model_notes(model), p[0], p[1], p[2]);
    } else {
        fprintf(stderr, "%s\n", hrt_last_error());
    }
    hrt_session_free(session);
    hrt_model_free(model);
    return status == HRT_OK ? 0 : 1;
}
