/* What a backend module gives the library: one table of C functions, so that modules and library may come from
 * different compilers. Private to HarmonyRT; libharmonyrt_<module>.so exports hrt_backend_module_v3() and nothing else.
 */
#ifndef HRT_BACKEND_MODULE_H
#define HRT_BACKEND_MODULE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HRT_MODULE_ABI 6

/* Where a function writes why it failed. */
typedef struct hrt_module_message {
    char *text;
    size_t capacity;
} hrt_module_message;

enum { HRT_MODULE_F32 = 0, HRT_MODULE_I64 = 1 };

/* A packed tensor in the host's memory, or for run_on_device() in the GPU's. */
typedef struct hrt_module_tensor {
    void *data;   /* of an input only read */
    int32_t type; /* HRT_MODULE_F32 or HRT_MODULE_I64 */
    int32_t rank; /* 1 to 4 */
    int64_t shape[4];
} hrt_module_tensor;

/* What to open and how. Strings live until open() returns. */
typedef struct hrt_module_request {
    const char *file;           /* verified engine file; NULL when only why_not() is asked */
    const char *target;         /* of the manifest */
    const char *precision;      /* of the engine */
    const char *device;         /* NULL: the module's choice */
    const char *cache;          /* NULL: the default folder; "": none */
    const char *const *inputs;  /* names of the tensors that run() is given, in its order */
    const char *const *outputs; /* likewise; an engine may have more, which nobody reads */
    int32_t input_count;
    int32_t output_count;
    const char *need_version;            /* TensorRT: what the plan needs; NULL if unknown */
    const char *need_compute_capability; /* "8.9", "8.6, 8.9" or "8.0+"; NULL if unknown */
    int32_t need_compatible;             /* 1: later versions open the plan too */
    int32_t threads;                     /* of one run, at least 1 */
    int32_t streams;                     /* at least 1 */
    int32_t pin_threads;                 /* 1: tie CPU threads to cores; -1 or 0: do not */
    const char *files_sha256;            /* of the engine's verified files in the manifest's order, a comma between */
    const char *provider;                /* ONNX Runtime: "cuda" or "tensorrt"; NULL where none was asked for */
    const char *const *provider_options; /* its options' names and values in turn */
    int32_t provider_option_count;       /* pairs */
    const char *need_native;             /* version of the native kernels that the graph names; NULL if none */
} hrt_module_request;

/* How an engine runs on tensors in a GPU's memory. */
enum {
    HRT_MODULE_NOT_ON_DEVICE = 0, /* it does not */
    HRT_MODULE_WAITS = 1, /* it knows no streams: everything that it reads must be there, and it waits for the result */
    HRT_MODULE_IN_ORDER = 2,  /* it puts its work on the stream */
    HRT_MODULE_RECORDABLE = 3 /* and after a first run the stream may be one that is being recorded into a CUDA graph */
};

/* Functions that return int give 0 when they succeed, else they fill the message: one sentence with what to do. */
enum { HRT_MODULE_NO_MEMORY = 2 }; /* they ran out of it */

typedef struct hrt_backend_module {
    int32_t abi;
    const char *backend; /* "openvino", ... */
    /* Why this machine cannot run such an engine; 0 when it can. Cheap. */
    int (*why_not)(const hrt_module_request *request, hrt_module_message *message);
    /* Loads weights; what comes back is shared by threads. When it succeeds, the message may hold what the user should
     * know, else it is "". */
    int (*open)(const hrt_module_request *request, void **engine, hrt_module_message *message);
    void (*close)(void *engine);
    const char *(*device)(const void *engine);  /* as the backend names it */
    const char *(*version)(const void *engine); /* of the inference engine */
    /* A session belongs to one thread at a time; the engine outlives it. */
    int (*open_session)(void *engine, void **session, hrt_module_message *message);
    void (*close_session)(void *session);
    /* The request's inputs and then its outputs, one tensor for each name. */
    int (*run)(void *session, const hrt_module_tensor *tensors, hrt_module_message *message);
    /* One of HRT_MODULE_NOT_ON_DEVICE and so on. */
    int (*device_runs)(const void *engine);
    /* Like run(), on memory of the engine's GPU. `stream` is CUDA's (CUstream, cudaStream_t). */
    int (*run_on_device)(void *session, const hrt_module_tensor *tensors, void *stream, hrt_module_message *message);
    /* How fast this CPU convolves in each precision: the message becomes the cache's entry, JSON, and "" where there is
     * none. With `measure`, one that is missing is measured, for seconds, where the cache can keep it. NULL for modules
     * that do not know. */
    int (*cpu_speed)(const char *cache, int32_t measure, hrt_module_message *message);
} hrt_backend_module;

typedef const hrt_backend_module *(*hrt_backend_module_function)(void);

#ifdef __cplusplus
}
#endif

#endif
