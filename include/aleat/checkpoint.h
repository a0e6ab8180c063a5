/*
 * Any weight file as a list of tensors, whatever network it belongs to.
 */
#ifndef ALEAT_CHECKPOINT_H
#define ALEAT_CHECKPOINT_H

#include "aleat/array.h"
#include "aleat/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct aleat_checkpoint aleat_checkpoint;

/** Strings live as long as the checkpoint, or are static. */
typedef struct aleat_checkpoint_facts {
    const char *path, *format; /**< format: "safetensors", "torch zip", ... */
    int64_t n_tensors, n_parameters;
    const char *resembles; /**< the kind of network that its tensor names fit best, or NULL */
    double share;          /**< of the tensors whose names fit it, 0 to 1 */
} aleat_checkpoint_facts;

/**
 * Opens a weight file; no tensor is read.
 *
 * @param out  to be released by aleat_checkpoint_close(); NULL on error
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_checkpoint_open(aleat_checkpoint **out,
                                                            const char *path, aleat_error *err);
/** Accepts NULL. */
ALEAT_API void aleat_checkpoint_close(aleat_checkpoint *checkpoint);
ALEAT_API aleat_checkpoint_facts aleat_checkpoint_describe(const aleat_checkpoint *checkpoint);
/** The i-th tensor, 0 <= i < n_tensors, in the order of the file. */
ALEAT_API aleat_tensor_facts aleat_checkpoint_tensor(const aleat_checkpoint *checkpoint, int64_t i);
/** The values of the tensor called `name`, as floats, in a new array. ALEAT_ERR_ARGUMENT: there is
 * none. */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_checkpoint_read(const aleat_checkpoint *checkpoint,
                                                            const char *name, aleat_array *out,
                                                            aleat_error *err);

#ifdef __cplusplus
}
#endif
#endif
