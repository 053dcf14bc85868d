/* harmonyrt.h - HarmonyRT for C and C++ programs.
 *
 * HarmonyRT takes a composite (a picture with a foreground pasted on a background) and a mask of that foreground, and
 * gives back the same picture, same size, with the foreground's colour and light brought into line with the background.
 * Outside the mask every byte stays as it was. It runs the bundles that `harmonyrt build` writes: a folder with
 * manifest.json and engines.
 *
 *     hrt_model *model = NULL;
 *     hrt_session *session = NULL;
 *     if (hrt_model_open("engines/phnet-256-fp32", NULL, &model) != HRT_OK ||     // NULL: default options
 *         hrt_session_open(model, &session) != HRT_OK) {
 *         fprintf(stderr, "%s\n", hrt_last_error());
 *         return 1;
 *     }
 *     hrt_picture picture = hrt_picture_default();
 *     picture.data = rgb;                       // 8-bit, interleaved, rows from top to bottom
 *     picture.width = width;
 *     picture.height = height;
 *     hrt_mask mask = hrt_mask_default();
 *     mask.data = grey;                         // 255 = foreground, 0 = background
 *     mask.width = width;
 *     mask.height = height;
 *     hrt_status status = hrt_harmonize_u8(session, &picture, &mask, output, 0, NULL);
 *     hrt_session_free(session);
 *     hrt_model_free(model);
 *
 * Threads. A model is immutable once it is open: any number of threads may use it at once. A session belongs to one
 * thread at a time: give each thread its own (sessions are cheap: buffers, no weights). A model may be freed before its
 * sessions; the last of them takes the weights along. Messages (hrt_last_error) are per thread.
 *
 * Forks. Open models after a fork: a forked child has none of the engine's threads, so every call with a model or
 * session of its parent is HRT_UNSUPPORTED there; freeing them is fine and gives nothing back. Leave such a child by
 * _exit: the exit handlers of the inference engines may wait for their threads.
 *
 * Errors. Every function that can fail returns an hrt_status; HRT_OK is 0. After any other value hrt_last_error() says
 * in one sentence what happened, what was given and what to do. No exception leaves the library, nothing is printed,
 * and the process is never ended; running out of memory is HRT_OUT_OF_MEMORY. An output buffer is untouched unless
 * HRT_OK came back, apart from HRT_CANCELLED and HRT_ENGINE_FAILED inside a batch, where the finished pictures stay.
 *
 * GPUs. harmonyrt_device.h is for pictures that lie in a GPU's memory.
 *
 * Growing. Every option struct begins with its size, which hrt_..._default() fills in. A program that was compiled
 * against an older header runs with a newer library as long as HRT_ABI_VERSION is the same.
 */
#ifndef HARMONYRT_H
#define HARMONYRT_H

#include <stddef.h>
#include <stdint.h>

#define HRT_VERSION_MAJOR 0
#define HRT_VERSION_MINOR 5
#define HRT_VERSION_PATCH 0
#define HRT_ABI_VERSION 1

#if defined(_WIN32)
#if defined(HRT_BUILDING)
#define HRT_API __declspec(dllexport)
#else
#define HRT_API __declspec(dllimport)
#endif
#elif defined(__GNUC__)
#define HRT_API __attribute__((visibility("default")))
#else
#define HRT_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- status ------------------------------------------------------------------------------------------------------ */

typedef enum hrt_status {
    HRT_OK = 0,
    HRT_INVALID_ARGUMENT = 1, /* a null pointer, a size or stride that cannot be, an unknown option */
    HRT_NOT_FOUND = 2,        /* no such bundle, or a file of it is missing */
    HRT_BAD_BUNDLE = 3,       /* the manifest is broken, of another schema, or a file was altered */
    HRT_NO_BACKEND = 4,       /* nothing on this machine runs any of the bundle's engines */
    HRT_ENGINE_FAILED = 5,    /* the inference engine reported an error */
    HRT_OUT_OF_MEMORY = 6,
    HRT_CANCELLED = 7,   /* the progress callback asked for it */
    HRT_UNSUPPORTED = 8, /* right in itself, but this version or this bundle cannot do it */
    HRT_INTERNAL = 9     /* a defect of the library: please report it with hrt_last_error() */
} hrt_status;

/* The status as a word, for example "HRT_NOT_FOUND". Never NULL. */
HRT_API const char *hrt_status_name(int status);

/* The message of the last call on this thread that failed; "" if none did. Valid until the next failure on this
 * thread. UTF-8, at most 1023 bytes. */
HRT_API const char *hrt_last_error(void);

/* ---- the library itself ------------------------------------------------------------------------------------------ */

/* "0.5.0": the library that runs, which may be newer than this header. */
HRT_API const char *hrt_version(void);

/* The library's HRT_ABI_VERSION. A program works with libraries that have the number it was compiled with. */
HRT_API int hrt_abi_version(void);

/* One line: version, compiler, build type and where backend modules are looked for. Static storage. */
HRT_API const char *hrt_build_info(void);

typedef enum hrt_log_level {
    HRT_LOG_DEBUG = 0,
    HRT_LOG_INFO = 1,
    HRT_LOG_WARNING = 2,
    HRT_LOG_ERROR = 3
} hrt_log_level;

/* Called with single lines without a newline end. May come from any thread that uses the library, one at a time. */
typedef void (*hrt_log_callback)(hrt_log_level level, const char *message, void *user);

/* Where log lines go, for the whole process; NULL (the default): nowhere. */
HRT_API void hrt_set_log(hrt_log_callback callback, void *user);

/* ---- models ------------------------------------------------------------------------------------------------------ */

typedef struct hrt_model hrt_model;

typedef struct hrt_model_options {
    size_t size;               /* sizeof(hrt_model_options), set by hrt_model_options_default() */
    const char *backend;       /* "auto", "onnxruntime", "openvino" or "tensorrt"; NULL: "auto" */
    const char *device;        /* "cpu", "cuda", "cuda:1"; NULL: the backend's choice */
    const char *cache_folder;  /* for compiled engines; NULL: harmonyrt/ in the user's cache folder; "": none */
    const char *module_folder; /* where backend modules are; NULL: $HARMONYRT_MODULES, else next to the library */
    int32_t threads;           /* CPU threads of one run; 0: all cores that the process may use */
    int32_t streams;           /* runs that the engine prepares to do at once, one per busy session; 0: 1 */
    uint64_t max_pixels;       /* larger pictures are HRT_INVALID_ARGUMENT; 0: 200 million */
    const char *target;    /* only engines of this target: "onnx", "openvino", "tensorrt", "tensorrt-rtx"; NULL: any */
    int32_t pin_threads;   /* 1: tie CPU threads to cores, where the backend can; -1 or 0: do not */
    int32_t reserved;      /* 0 */
    const char *precision; /* of bundles with several: "fp32", "fp16", "bf16", "int8", or "fastest" for any; NULL: any
                              but INT8, unless nothing else can run */
    const char *provider;  /* of backend "onnxruntime" on a GPU: "cuda" (NULL too) or "tensorrt" */
    const char *const *provider_options; /* more options of that provider: ONNX Runtime's names and values in turn */
    size_t provider_option_count;        /* how many pairs */
} hrt_model_options;

/* Opens a bundle: reads its manifest, chooses an engine, verifies its files' hashes, loads it.
 * `options` may be NULL. On failure *model is NULL. With backend "auto" the order is what `build --tune` measured on
 * this machine if the manifest says, else tensorrt, onnxruntime on cuda, openvino, onnxruntime on the CPU (device "cpu"
 * leaves out the first two, "cuda" the last two); hrt_model_notes() tells what was skipped and why. Any other name
 * opens that backend or fails: nothing falls back silently. */
HRT_API hrt_status hrt_model_open(const char *bundle, const hrt_model_options *options, hrt_model **model);

/* Frees it; NULL is fine. Sessions that are still open keep working. */
HRT_API void hrt_model_free(hrt_model *model);

typedef struct hrt_model_info {
    size_t size;           /* sizeof(hrt_model_info), set by hrt_model_info_default() */
    const char *name;      /* "phnet-256-fp32"; strings live as long as the model */
    const char *family;    /* "phnet" or "diffharmony", whose other fields tell of its UNet */
    const char *backend;   /* "openvino" */
    const char *target;    /* "openvino", "onnx", "tensorrt", "tensorrt-rtx" */
    const char *precision; /* "fp32", "fp16", "bf16", "int8" */
    const char *device;    /* as the backend names it */
    const char *engine;    /* the engine's own version */
    int32_t width;  /* of the engine (DiffHarmony: of its stage one); 0 where it takes any multiple of size_multiple */
    int32_t height; /* likewise */
    int32_t batch;  /* pictures in one run of the engine; 0: any */
    int32_t working_size;   /* side that pictures are fitted to where width and height are 0 */
    int32_t size_multiple;  /* sides of the engine's input are multiples of this */
    int32_t binary_mask;    /* 1: the network sees masks cut at one half */
    double parity_max_abs;  /* measured by the build against the reference, on the output before blending */
    double parity_psnr_db;  /* likewise, on the blended picture, worst case */
    const int32_t *steps;   /* DiffHarmony: step counts that the bundle can run, its own number first; else NULL */
    int32_t step_counts;    /* how many there are */
    int32_t random_weights; /* 1: the weights are not trained: good for timing, not for pictures */
} hrt_model_info;

/* Fills `info` up to its size. */
HRT_API hrt_status hrt_model_get_info(const hrt_model *model, hrt_model_info *info);

/* What was chosen and what was skipped, with reasons, one per line. Lives as long as the model. */
HRT_API const char *hrt_model_notes(const hrt_model *model);

/* ---- sessions ---------------------------------------------------------------------------------------------------- */

typedef struct hrt_session hrt_session;

HRT_API hrt_status hrt_session_open(const hrt_model *model, hrt_session **session);

/* Frees it; NULL is fine. */
HRT_API void hrt_session_free(hrt_session *session);

/* ---- pictures ---------------------------------------------------------------------------------------------------- */

typedef enum hrt_format { HRT_RGB8 = 0, HRT_BGR8 = 1, HRT_RGBA8 = 2, HRT_BGRA8 = 3 } hrt_format;

/* A composite: 8 bits a channel, interleaved. Alpha is copied to the output; 255 is opaque, and colours count as much
 * as they are seen. Pixels of alpha 0 keep their bytes. Colours are not multiplied by alpha. */
typedef struct hrt_picture {
    size_t size; /* set by hrt_picture_default() */
    const uint8_t *data;
    int32_t width;
    int32_t height;
    size_t stride;  /* bytes from one row to the next; 0: rows follow each other directly */
    int32_t format; /* one of hrt_format; HRT_RGB8 by default */
} hrt_picture;

/* A mask of the composite's size. A byte of `full` or more is foreground, 0 is background, what lies between is soft.
 * With `full` at 255, values that are plainly no levels are understood as docs/masks.md says, and hrt_report.notes
 * tells: labels (at most 16 values, none above 32; a 255 among them is their border), and video range (16 to 235). */
typedef struct hrt_mask {
    size_t size; /* set by hrt_mask_default() */
    const uint8_t *data;
    int32_t width;
    int32_t height;
    size_t stride; /* bytes from one row to the next; 0: width * step */
    size_t step;   /* bytes from one pixel to the next; 1 by default, 4 for the alpha channel of RGBA */
    int32_t full;  /* the value of full foreground: 255 by default, 1 for 0/1 masks */
    int64_t label; /* 1 to 255: this value is the foreground, everything else background; 0: none is chosen */
} hrt_mask;

/* Tells how many of a run's parts are done, from 0 to all of them; in a batch it starts again with each run. PHNet has
 * one part. DiffHarmony has: encoding, each step, decoding, and refining where the bundle has a refiner. Return 0 to go
 * on, anything else to stop: the call then returns HRT_CANCELLED, and the session can be used again at once. To stop a
 * call from another thread, return a flag of your own that this thread sets. */
typedef int (*hrt_progress_callback)(int32_t done, int32_t parts, void *user);

/* What of the foreground stays as it was, in linear light; docs/controls.md has the arithmetic. */
typedef enum hrt_keep { HRT_KEEP_NOTHING = 0, HRT_KEEP_LUMINANCE = 1, HRT_KEEP_HUE = 2 } hrt_keep;

/* DiffHarmony draws noise: equal seeds and samples give the same picture, in Python too. PHNet ignores seed, sample and
 * steps. */
typedef struct hrt_harmonize_options {
    size_t size; /* set by hrt_harmonize_options_default() */
    hrt_progress_callback progress;
    void *progress_user;
    uint64_t seed;
    int32_t steps;    /* one of hrt_model_info.steps, else HRT_UNSUPPORTED; 0: the bundle's own number */
    int32_t reserved; /* 0 */
    uint64_t sample;  /* which variation of this seed */
    double strength;  /* how much of the change: 0 (the composite's bytes) to 1.5; 1 by default, the network's answer */
    const hrt_mask *match; /* the part of the background to match; the network sees no other. NULL: all of it */
    int32_t keep;          /* one of hrt_keep; HRT_KEEP_NOTHING by default */
} hrt_harmonize_options;

/* Harmonizes one picture of any size.
 *
 * `output` takes the composite's size and format, with rows `output_stride` bytes apart (0: directly after each other).
 * It may be the composite's own buffer with the same stride; any other overlap is HRT_INVALID_ARGUMENT. `options` may
 * be NULL. An empty mask gives the composite back. On top of the buffers, memory holds some rows and the engine's
 * tensors, and a copy of the mask where its `full` is not 255 or its `step` not 1. */
HRT_API hrt_status hrt_harmonize_u8(hrt_session *session, const hrt_picture *picture, const hrt_mask *mask,
                                    uint8_t *output, size_t output_stride, const hrt_harmonize_options *options);

/* Harmonizes `count` pictures, whose sizes may differ. outputs[i] is packed (no row gaps) like picture i. Stops at the
 * first failure; *done (may be NULL) says how many pictures are finished. Engines that take several pictures at once
 * are given several. The options are the same for all: with DiffHarmony each picture has the noise that it would have
 * alone. */
HRT_API hrt_status hrt_harmonize_batch_u8(hrt_session *session, size_t count, const hrt_picture *pictures,
                                          const hrt_mask *masks, uint8_t *const *outputs,
                                          const hrt_harmonize_options *options, size_t *done);

/* The network alone, for pipelines that fit and blend themselves. Planar float32 in [0, 1], RGB, tightly packed:
 * image batch x 3 x height x width, mask batch x 1 x height x width (1 = foreground), output like image, BEFORE
 * blending. The sizes must be the engine's (hrt_model_get_info). Buffers must not overlap. For bundles of one network:
 * DiffHarmony is HRT_UNSUPPORTED. */
HRT_API hrt_status hrt_run_f32(hrt_session *session, const float *image, const float *mask, float *output,
                               int32_t batch, int32_t height, int32_t width);

enum {
    HRT_NOTE_EMPTY_MASK = 1,        /* the composite came back unchanged */
    HRT_NOTE_FULL_MASK = 2,         /* it covers the whole picture: the network has no background to learn from */
    HRT_NOTE_INVERTED_MASK = 4,     /* it looks inverted */
    HRT_NOTE_HIDDEN_FOREGROUND = 8, /* the foreground is transparent everywhere: the composite came back unchanged */
    HRT_NOTE_NO_BACKGROUND = 16,    /* no background is visible: a cut-out alone, and nothing to learn from */
    HRT_NOTE_LABELS = 32,           /* it holds labels (or 0 and 1): all but 0 are taken as the foreground */
    HRT_NOTE_VIDEO_RANGE = 64,      /* it goes from about 16 to about 235: that is stretched to 0 to 255 */
    HRT_NOTE_NOT_WHITE = 128,       /* its highest value is far below white: the foreground changes by as much less */
    HRT_NOTE_NOT_BLACK = 256,       /* its lowest value is above black: no pixel is left as it was */
    HRT_NOTE_MIXED_MASK = 512       /* it holds 255 and nearly black values, which hardly change the picture: labels? */
};

/* About the session's last hrt_harmonize_u8, or the last picture of a batch. */
typedef struct hrt_report {
    size_t size;             /* set by hrt_report_default() */
    uint32_t notes;          /* HRT_NOTE_...: what is probably a mistake; 0: nothing */
    double foreground_ratio; /* share of pixels whose mask is above one half (127 of 255) */
    double fit_ms;           /* resizing to the engine */
    double engine_ms;        /* the inference engine itself */
    double carry_ms;         /* back to full size, and blending */
    double total_ms;
} hrt_report;

HRT_API hrt_status hrt_session_get_report(const hrt_session *session, hrt_report *report);

/* ---- defaults ---------------------------------------------------------------------------------------------------- */

/* Fill a struct of `size` bytes; used by the inline functions below, and directly from other languages. */
HRT_API void hrt_model_options_init(hrt_model_options *options, size_t size);
HRT_API void hrt_model_info_init(hrt_model_info *info, size_t size);
HRT_API void hrt_picture_init(hrt_picture *picture, size_t size);
HRT_API void hrt_mask_init(hrt_mask *mask, size_t size);
HRT_API void hrt_harmonize_options_init(hrt_harmonize_options *options, size_t size);
HRT_API void hrt_report_init(hrt_report *report, size_t size);

#define HRT_DEFAULT_FUNCTION(type)            \
    static inline type type##_default(void) { \
        type value;                           \
        type##_init(&value, sizeof value);    \
        return value;                         \
    }
HRT_DEFAULT_FUNCTION(hrt_model_options)
HRT_DEFAULT_FUNCTION(hrt_model_info)
HRT_DEFAULT_FUNCTION(hrt_picture)
HRT_DEFAULT_FUNCTION(hrt_mask)
HRT_DEFAULT_FUNCTION(hrt_harmonize_options)
HRT_DEFAULT_FUNCTION(hrt_report)

#ifdef __cplusplus
}
#endif

#endif /* HARMONYRT_H */
