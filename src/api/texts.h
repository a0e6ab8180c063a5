/* Encoded texts of the public interface as conditions of a network. */
#ifndef ALEAT_API_TEXTS_H
#define ALEAT_API_TEXTS_H

#include "aleat/model.h"
#include "denoiser/denoiser.h"

/** One text an image; they point into the caller's arrays. Zero-initialise. */
typedef struct aleat_text_list {
    aleat_text *items;
    const aleat_text **pointers; /**< [n], what a condition takes; NULL: the network takes none */
} aleat_text_list;

/**
 * The texts of n images, as the network of `info` takes them. Images that share a row of every
 * array share a text. ALEAT_ERR_SHAPE: an array does not fit; ALEAT_ERR_ARGUMENT: one is missing,
 * or given to a network that does not take it.
 */
ALEAT_MUST_USE aleat_status aleat_text_list_make(aleat_text_list *out,
                                                 const aleat_denoiser_info *info,
                                                 const aleat_texts *texts, int64_t n,
                                                 aleat_error *err);
void aleat_text_list_clear(aleat_text_list *list);

#endif
