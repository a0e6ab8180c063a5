/*
 * Inner products of all pairs of rows of two arrays, in double, tile by tile: what covariances,
 * distances and kernels between sets of feature vectors are made of. Nothing of the size of the
 * result is ever stored here.
 */
#ifndef ALEAT_METRICS_PRODUCTS_H
#define ALEAT_METRICS_PRODUCTS_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/status.h"

/** Rows of [n,d], f32 or f64 (exactly one pointer is set); borrowed. */
typedef struct aleat_rows {
    const float *f32;
    const double *f64;
    int64_t n, d;
} aleat_rows;

/** A tile of the result: product of row `row + i` of a with row `col + j` of b at
 * values[i * ld + j]. */
typedef struct aleat_product_tile {
    int64_t row, col, rows, cols, ld;
    double *values; /**< may be overwritten */
} aleat_product_tile;

/** Takes a tile. The tiles of one row of a come one after the other, in ascending columns; others
 * come from other threads at the same time. */
typedef void aleat_product_fn(void *ctx, const aleat_product_tile *tile);

/**
 * Calls `fn` with tiles that cover the products of all rows of a with all rows of b.
 *
 * A product is summed in chunks of fixed length in the order of k: its bits depend neither on its
 * place, nor on other rows, nor on the threads. |error| <= (d + 8) DBL_EPSILON sum |a_k b_k|.
 *
 * @param upper    leave out tiles whose columns are all below all of their rows (a is b, and the
 *                 result symmetric)
 * @param threads  0: all processors
 * @note  2 d a.n b.n flop (half if upper); 32 MB, and 96 rows a thread
 */
ALEAT_MUST_USE aleat_status aleat_row_products(const aleat_rows *a, const aleat_rows *b, bool upper,
                                               int threads, aleat_product_fn *fn, void *ctx,
                                               aleat_error *err);

/** out = the products as a matrix [a.n,b.n]. */
ALEAT_MUST_USE aleat_status aleat_row_product_matrix(double *out, const aleat_rows *a,
                                                     const aleat_rows *b, int threads,
                                                     aleat_error *err);
/** out = the products of the rows of a with each other, [a.n,a.n], exactly symmetric. */
ALEAT_MUST_USE aleat_status aleat_gram_matrix(double *out, const aleat_rows *a, int threads,
                                              aleat_error *err);

/** Number k of row i as double. */
static inline double aleat_rows_at(const aleat_rows *x, int64_t i, int64_t k)
{
    return x->f32 ? (double)x->f32[i * x->d + k] : x->f64[i * x->d + k];
}

/** Sum of (a_i - b_j)^2 by explicit differences, in the order of k: exactly symmetric. */
double aleat_squared_distance(const aleat_rows *a, int64_t i, const aleat_rows *b, int64_t j);

#endif
