/* harmonyrt_device.h - pictures that lie in a GPU's memory, for C and C++ programs.
 *
 * hrt_harmonize_on_device() does on the GPU what hrt_harmonize_u8() does on the CPU: nothing of the picture goes
 * through the host. It is what Python's harmonize_on_device() does; docs/full_resolution.md, "On a GPU", has the rules.
 *
 *     hrt_device_picture picture = hrt_device_picture_default();
 *     picture.data = rgb_on_gpu;                // of cudaMalloc or cuMemAlloc
 *     picture.width = width;
 *     picture.height = height;
 *     hrt_device_mask mask = hrt_device_mask_default();
 *     mask.data = grey_on_gpu;                  // 255 = foreground
 *     mask.width = width;
 *     mask.height = height;
 *     hrt_device_options options = hrt_device_options_default();
 *     options.stream = stream;                  // a cudaStream_t or CUstream
 *     hrt_status status = hrt_harmonize_on_device(session, &picture, &mask, &picture, &options);   // in place
 *
 * It needs a model whose engine runs on a GPU (backend "tensorrt", or "onnxruntime" with device "cuda"), NVIDIA's
 * driver, and NVRTC (libnvrtc.so.13 or .12), which compiles the kernels for the GPU at hand at first use: about a
 * second, kept in the cache. $HARMONYRT_CUDA and $HARMONYRT_NVRTC name the two libraries where the loader does not find
 * them. Neither is needed to build or to link this library.
 *
 * Memory belongs to the primary context of the engine's GPU, as the CUDA runtime's does.
 */
#ifndef HARMONYRT_DEVICE_H
#define HARMONYRT_DEVICE_H

#include "harmonyrt.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum hrt_device_format {
    HRT_DEVICE_RGB8 = 0, /* interleaved, 8 bits a channel; the first four as hrt_format has them */
    HRT_DEVICE_BGR8 = 1,
    HRT_DEVICE_RGBA8 = 2,
    HRT_DEVICE_BGRA8 = 3,
    HRT_DEVICE_RGB16 = 4, /* 16 bits a channel, of this machine's byte order */
    HRT_DEVICE_BGR16 = 5,
    HRT_DEVICE_RGBA16 = 6,
    HRT_DEVICE_BGRA16 = 7,
    HRT_DEVICE_NV12 = 8, /* luma, and chroma of half its width and height, rounded up; 8 bits */
    HRT_DEVICE_P010 = 9  /* the same with 10 bits in the upper ones of 16 */
} hrt_device_format;

/* A composite, or where its result goes. */
typedef struct hrt_device_picture {
    size_t size;         /* set by hrt_device_picture_default() */
    void *data;          /* address on the GPU: pixels, or luma */
    size_t pitch;        /* bytes from one row to the next; 0: rows follow each other directly */
    void *chroma;        /* NV12 and P010: pairs of chroma; else NULL */
    size_t chroma_pitch; /* likewise */
    int32_t width;
    int32_t height;
    int32_t format;   /* one of hrt_device_format; HRT_DEVICE_RGB8 by default */
    int32_t reserved; /* 0 */
} hrt_device_picture;

/* A mask of the composite's size: 8 bits, 255 = foreground, values between blend. It is taken as it is: nobody looks at
 * its values, and an empty one costs a run. */
typedef struct hrt_device_mask {
    size_t size; /* set by hrt_device_mask_default() */
    const void *data;
    size_t pitch; /* 0: rows follow each other directly */
    int32_t width;
    int32_t height;
} hrt_device_mask;

/* What values of luma and chroma mean: rgb = (values - offset) * to_rgb, as rows, with RGB from 0 to 255, and back. */
typedef struct hrt_colour_space {
    size_t size; /* set by hrt_colour_space_default() */
    double offset[3];
    double to_rgb[9];   /* row by row */
    double from_rgb[9]; /* likewise */
    int32_t bits;       /* of a value: 8 (NV12) or 10 (P010) */
    int32_t reserved;   /* 0 */
} hrt_colour_space;

typedef enum hrt_range { HRT_RANGE_LIMITED = 1, HRT_RANGE_FULL = 2 } hrt_range;

/* Fills `space` for a matrix of ITU-T H.273 (1 BT.709, 5 and 6 BT.601, 9 BT.2020, 4, 7, 8), a range, and 8 or 10 bits.
 * Primaries far from sRGB's (BT.2020's, P3's) are not converted: give such frames to Python's clips. */
HRT_API hrt_status hrt_colour_space_of(int32_t matrix, int32_t range, int32_t bits, hrt_colour_space *space);

typedef struct hrt_device_options {
    size_t size;                   /* set by hrt_device_options_default() */
    void *stream;                  /* CUstream or cudaStream_t that it is ordered on; NULL: the default one */
    const hrt_colour_space *space; /* for NV12 and P010; else NULL */
    double strength;               /* how much of the change: 0 to 1.5; 1 by default, the network's answer */
    int32_t opaque; /* 1: a promise that a fourth channel hides nothing; it is kept as it is. Without it such pictures
                       are HRT_INVALID_ARGUMENT: transparent ones belong to hrt_harmonize_u8 */
    int32_t wait;   /* 1 (the default): return when it is done; 0: at once */
} hrt_device_options;

/* Harmonizes one picture in a GPU's memory, at its own size.
 *
 * `output` has the composite's size and format; it may be the composite. Where the mask is 0 its bytes are the
 * composite's. Results differ from the host's by at most 1 level of 255. `options` may be NULL.
 *
 * The work is ordered on `options->stream` as if it ran there: it waits for what was put there before, and what is put
 * there afterwards waits for it. With TensorRT and an engine of fixed size, the second call with the same addresses
 * records everything, the engine included, as one CUDA graph, and later calls launch that: keep your buffers. A stream
 * that you are recording gets the work recorded into your graph, after one plain call with the same addresses.
 *
 * An answer of the network that is not finite leaves the composite and is HRT_ENGINE_FAILED: at once, or without
 * waiting at the session's next call. hrt_session_get_report() tells nothing of these calls.
 *
 * HRT_UNSUPPORTED: an engine on the CPU, of a batch other than 1, or DiffHarmony. HRT_NO_BACKEND: no driver or NVRTC
 * that fits. Nothing falls back to the host: call hrt_harmonize_u8 for that. */
HRT_API hrt_status hrt_harmonize_on_device(hrt_session *session, const hrt_device_picture *picture,
                                           const hrt_device_mask *mask, const hrt_device_picture *output,
                                           const hrt_device_options *options);

HRT_API void hrt_device_picture_init(hrt_device_picture *picture, size_t size);
HRT_API void hrt_device_mask_init(hrt_device_mask *mask, size_t size);
HRT_API void hrt_colour_space_init(hrt_colour_space *space, size_t size);
HRT_API void hrt_device_options_init(hrt_device_options *options, size_t size);

HRT_DEFAULT_FUNCTION(hrt_device_picture)
HRT_DEFAULT_FUNCTION(hrt_device_mask)
HRT_DEFAULT_FUNCTION(hrt_colour_space)
HRT_DEFAULT_FUNCTION(hrt_device_options)

#ifdef __cplusplus
}
#endif

#endif /* HARMONYRT_DEVICE_H */
