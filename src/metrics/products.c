#include "metrics/products.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/parallel.h"
#include "kernels/kernels.h"

/*
 * b is taken in slabs of SLAB_BYTES, packed once for all threads; a thread takes blocks of BLOCK
 * rows of a and goes over the panels of the slab. A panel's chunk (CHUNK lines of 32 doubles, 64
 * KB) and the block's chunk (192 KB) stay in the second cache while they are multiplied.
 */
enum { BLOCK = 96, CHUNK = 256, MAX_PANEL = 32, SLAB_BYTES = 1 << 25 };

typedef struct product_job {
    const aleat_kernels *k;
    const aleat_rows *a, *b;
    bool upper;
    aleat_product_fn *fn;
    void *ctx;
    double *packed;       // [panels][d][panel] of the slab
    int64_t first, count; // rows of b in the slab
    double *blocks;       // [threads][BLOCK * d]
    int64_t n_blocks;
} product_job;

double aleat_squared_distance(const aleat_rows *a, int64_t i, const aleat_rows *b, int64_t j)
{
    double sum = 0;
    for (int64_t k = 0; k < a->d; k++) {
        const double d = aleat_rows_at(a, i, k) - aleat_rows_at(b, j, k);
        sum += d * d;
    }
    return sum;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// Packs panels [begin, end) of the slab; columns beyond its rows are zero.
static void pack_panels(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const product_job *job = ctx;
    const int64_t panel = job->k->panel_f64, d = job->b->d;
    for (int64_t p = begin; p < end; p++) {
        double *to = job->packed + p * panel * d;
        for (int64_t j = 0; j < panel; j++) {
            const int64_t row = p * panel + j;
            for (int64_t k = 0; k < d; k++)
                to[k * panel + j] =
                    row < job->count ? aleat_rows_at(job->b, job->first + row, k) : 0;
        }
    }
}

static void multiply_block(const product_job *job, const double *block, int64_t row, int64_t rows)
{
    double values[BLOCK * MAX_PANEL];
    const int64_t panel = job->k->panel_f64, d = job->a->d;
    for (int64_t p = 0; p * panel < job->count; p++) {
        const int64_t col = job->first + p * panel, cols = min64(panel, job->count - p * panel);
        if (job->upper && col + cols <= row)
            continue;
        memset(values, 0, (size_t)(rows * panel) * sizeof *values);
        for (int64_t k = 0; k < d; k += CHUNK)
            for (int64_t i = 0; i < rows; i += ALEAT_MICRO_ROWS) {
                const double *at[ALEAT_MICRO_ROWS];
                const int mr = (int)min64(ALEAT_MICRO_ROWS, rows - i);
                for (int m = 0; m < mr; m++)
                    at[m] = block + (i + m) * d + k;
                job->k->igemm_f64(mr, min64(CHUNK, d - k), at, job->packed + (p * d + k) * panel,
                                  values + i * panel, panel);
            }
        const aleat_product_tile tile = {row, col, rows, cols, panel, values};
        job->fn(job->ctx, &tile);
    }
}

static void multiply_blocks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const product_job *job = ctx;
    const int64_t d = job->a->d;
    double *block = job->blocks + (int64_t)thread * BLOCK * d;
    for (int64_t item = begin; item < end; item++) {
        // first, last, second, last but one ...: with `upper` late blocks have less to do, and
        // threads get contiguous items
        const int64_t b = item % 2 ? job->n_blocks - 1 - item / 2 : item / 2;
        const int64_t row = b * BLOCK, rows = min64(BLOCK, job->a->n - row);
        for (int64_t i = 0; i < rows; i++)
            for (int64_t k = 0; k < d; k++)
                block[i * d + k] = aleat_rows_at(job->a, row + i, k);
        multiply_block(job, block, row, rows);
    }
}

aleat_status aleat_row_products(const aleat_rows *a, const aleat_rows *b, bool upper, int threads,
                                aleat_product_fn *fn, void *ctx, aleat_error *err)
{
    if (threads <= 0)
        threads = aleat_cpu_count();
    product_job job = {.k = aleat_kernels_for(aleat_cpu_isa()),
                       .a = a,
                       .b = b,
                       .upper = upper,
                       .fn = fn,
                       .ctx = ctx,
                       .n_blocks = (a->n + BLOCK - 1) / BLOCK};
    const int64_t panel = job.k->panel_f64, panels = (b->n + panel - 1) / panel;
    const int64_t panel_bytes = panel * a->d * (int64_t)sizeof(double);
    const int64_t slab = min64(panels, 1 + SLAB_BYTES / (panel_bytes + 1)); // panels
    job.packed = aleat_calloc((size_t)slab, (size_t)panel_bytes);
    job.blocks = aleat_calloc((size_t)threads * BLOCK, (size_t)a->d * sizeof(double));
    aleat_status st = job.packed && job.blocks ? ALEAT_OK : aleat_fail_memory(err, "products");
    for (int64_t p = 0; !st && p < panels; p += slab) {
        job.first = p * panel;
        job.count = min64(slab * panel, b->n - job.first);
        aleat_parallel_for(threads, (job.count + panel - 1) / panel, pack_panels, &job);
        aleat_parallel_for(threads, job.n_blocks, multiply_blocks, &job);
    }
    aleat_free(job.packed);
    aleat_free(job.blocks);
    return st;
}

/* ---- as matrices ----------------------------------------------------------------------------- */

typedef struct matrix {
    double *out;
    int64_t ld;
} matrix;

static void store_tile(void *ctx, const aleat_product_tile *tile)
{
    const matrix *m = ctx;
    for (int64_t i = 0; i < tile->rows; i++)
        memcpy(m->out + (tile->row + i) * m->ld + tile->col, tile->values + i * tile->ld,
               (size_t)tile->cols * sizeof(double));
}

aleat_status aleat_row_product_matrix(double *out, const aleat_rows *a, const aleat_rows *b,
                                      int threads, aleat_error *err)
{
    matrix m = {out, b->n};
    return aleat_row_products(a, b, false, threads, store_tile, &m, err);
}

aleat_status aleat_gram_matrix(double *out, const aleat_rows *a, int threads, aleat_error *err)
{
    matrix m = {out, a->n};
    aleat_status st = aleat_row_products(a, a, true, threads, store_tile, &m, err);
    for (int64_t i = 0; !st && i < a->n; i++)
        for (int64_t j = 0; j < i; j++)
            out[i * a->n + j] = out[j * a->n + i];
    return st;
}
