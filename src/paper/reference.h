/* The real images that generated ones are held against: their features, made once. */
#ifndef ALEAT_PAPER_REFERENCE_H
#define ALEAT_PAPER_REFERENCE_H

#include "aleat/array.h"
#include "aleat/features.h"
#include "io/sha256.h"
#include "metrics/moments.h"

struct aleat_paper;

/** Zero-initialise. */
typedef struct aleat_reference {
    aleat_array features; /**< [N,D] */
    aleat_gaussian gaussian;
    char network[ALEAT_SHA256_TEXT]; /**< what decides features: weights, layer, preparation */
} aleat_reference;

/** Sets `network`. */
void aleat_reference_name(aleat_reference *reference, const aleat_features *network);
/** Computes them, or reads them from the paper's folder. The network is open and named. */
ALEAT_MUST_USE aleat_status aleat_reference_make(aleat_reference *out, struct aleat_paper *paper,
                                                 aleat_error *err);
/** Accepts NULL. */
void aleat_reference_clear(aleat_reference *reference);

#endif
