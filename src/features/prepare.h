/* From images of any size, bytes or floats, to the input of a feature network. */
#ifndef ALEAT_FEATURES_PREPARE_H
#define ALEAT_FEATURES_PREPARE_H

#include "aleat/features.h"
#include "graph/graph.h"
#include "models/model.h"

typedef struct aleat_preparer aleat_preparer;

/**
 * What turns images of the sizes in `images` (whose pixels it does not look at) into inputs of
 * `dims`. Grey images are repeated for networks of three colours. ALEAT_ERR_SHAPE if the
 * preparation does not take images of that size or their colours; the text says which it takes.
 */
ALEAT_MUST_USE aleat_status aleat_preparer_new(aleat_preparer **out, const aleat_preparation *how,
                                               aleat_dims dims, const aleat_images *images,
                                               aleat_error *err);
void aleat_preparer_free(aleat_preparer *p);
/** Floats of working memory that one call of aleat_prepare_image() needs. */
int64_t aleat_preparer_scratch(const aleat_preparer *p);
/** Image `i` of a batch of the same sizes to dst [h,w,c]. Calls may run side by side. */
void aleat_prepare_image(const aleat_preparer *p, const aleat_images *images, int64_t i,
                         float *scratch, float *dst);

#endif
