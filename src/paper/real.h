/* The real images themselves, with the classes that the model is told. */
#ifndef ALEAT_PAPER_REAL_H
#define ALEAT_PAPER_REAL_H

#include "aleat/features.h"
#include "paper/paper.h"

/** Zero-initialise. */
typedef struct aleat_real {
    aleat_image_set *set;
    aleat_images images; /**< the first n of the set; borrowed from it */
    int32_t *labels;     /**< [n]: their own, or the class that means none; NULL: no classes */
} aleat_real;

/** The first of them, as many as the options ask for or there are. */
ALEAT_MUST_USE aleat_status aleat_real_open(aleat_real *out, aleat_paper *paper,
                                            aleat_error *err);
/** Accepts NULL. */
void aleat_real_close(aleat_real *real);
/** Sizes and content of images join a hash. */
void aleat_hash_images(aleat_sha256_state *state, const aleat_images *images);

#endif
