/*
 * A network that was built for a tile, run over a larger image: tiles overlap, and where they do
 * their outputs are blended by weights that fall off linearly and sum to 1, so that no edge shows.
 * What a network sees of the whole image (norms, attention) it here sees of one tile, so the result
 * differs slightly from that of the undivided network; memory is that of one tile, whatever the
 * image.
 */
#ifndef ALEAT_DENOISER_TILED_H
#define ALEAT_DENOISER_TILED_H

#include "denoiser/denoiser.h"

/** Sizes in cells: the steps in which tiles can be laid, such as one latent and its pixels. */
typedef struct aleat_tiling {
    int64_t height, width;           /**< of the whole image */
    int64_t tile_height, tile_width; /**< of a tile, at most the image's */
    int64_t overlap;                 /**< of neighbours, at least; below a side that is cut */
    int64_t in_cell, out_cell;       /**< pixels of a cell in the input and in the output */
} aleat_tiling;

/**
 * A denoiser of the whole image around `tile`, a network without time and label for
 * [tile_height in_cell, tile_width in_cell] inputs; it is borrowed and must outlive this one. It
 * has all methods, as networks do; backward() evaluates each tile again. One evaluation costs as
 * many of `tile` as there are tiles. ALEAT_ERR_ARGUMENT: sizes that contradict.
 */
ALEAT_MUST_USE aleat_status aleat_tiled_denoiser(aleat_denoiser *out, const aleat_denoiser *tile,
                                                 const aleat_tiling *tiling, aleat_error *err);

#endif
