/*
 * Where the noise of a run comes from, behind one interface: samplers and estimators ask for "the
 * normals of image i, for this purpose, at this step, for this copy" and do not know who answers.
 */
#ifndef ALEAT_BASE_RNG_SOURCE_H
#define ALEAT_BASE_RNG_SOURCE_H

#include <stdint.h>

#include "aleat/status.h"
#include "base/rng.h"

/** A source; `fill` may be called for several images of a batch, in ascending order. */
typedef struct aleat_noise_source aleat_noise_source;
struct aleat_noise_source {
    /**
     * Writes `count` standard normals for one image. key->seed is the source's own business and
     * ignored. For stateful sources (torch) the order of calls with the same image matters.
     */
    aleat_status (*fill)(const aleat_noise_source *source, const aleat_rng_key *key, float *out,
                         int64_t count, aleat_error *err);
    uint64_t seed; /**< of a counter-based source, or of the one behind another */
    void *self;    /**< state of another one; borrowed by whoever holds the source */
};

/** Calls through the interface. */
static inline aleat_status aleat_noise_fill(const aleat_noise_source *source,
                                            const aleat_rng_key *key, float *out, int64_t count,
                                            aleat_error *err)
{
    return source->fill(source, key, out, count, err);
}

/** Philox under one seed: the default. Never fails. */
aleat_noise_source aleat_noise_philox(uint64_t seed);

/**
 * PyTorch's numbers: one generator for each image, seeded with seed + image number, from which x_T
 * and then the noise of each step is drawn. This is what a diffusers pipeline does with
 * generator=[torch.Generator().manual_seed(seed + i) for i in ...]; unlike one generator for the
 * whole batch it does not make an image depend on its batch (for a batch of one both are the same).
 * Everything that diffusers does not draw (copies of Algorithm 1, dropout, labels ...) comes from
 * Philox under the same seed, so that asking for uncertainty does not change the image.
 */
typedef struct aleat_noise_torch aleat_noise_torch;
/** Generators for images first .. first + count - 1. */
ALEAT_MUST_USE aleat_status aleat_noise_torch_new(aleat_noise_torch **out, uint64_t seed,
                                                  uint32_t first, int64_t count, aleat_error *err);
/** The source; images outside the range given to _new are an ALEAT_ERR_ARGUMENT. */
aleat_noise_source aleat_noise_torch_source(aleat_noise_torch *torch);
/** Restarts with other images of the same seed, without allocating. */
void aleat_noise_torch_restart(aleat_noise_torch *torch, uint32_t first);
void aleat_noise_torch_free(aleat_noise_torch *torch);

/**
 * Stored noise, for exact comparisons: arrays that the caller owns, C order. A purpose that has no
 * array is passed on to `otherwise`.
 */
typedef struct aleat_noise_arrays {
    const float *initial; /**< [images, count], or NULL */
    const float *step;    /**< [steps, images, count], or NULL */
    const float *copy;    /**< [copy_steps, copies, images, count], or NULL */
    int64_t images;       /**< of the arrays; image number i reads row i - first */
    uint32_t first;
    int64_t count; /**< elements of an image */
    int64_t steps; /**< rows of `step` */
    int64_t copies;
    int64_t copy_steps;           /**< rows of `copy`; 1: the same draws at every step */
    aleat_noise_source otherwise; /**< fill may be NULL: then a missing array is an error */
} aleat_noise_arrays;
/** The source; `arrays` is borrowed. Reading beyond an array is an ALEAT_ERR_SHAPE. */
aleat_noise_source aleat_noise_from_arrays(aleat_noise_arrays *arrays);

#endif
