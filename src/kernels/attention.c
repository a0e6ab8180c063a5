/*
 * Per image and head: k^T and v are packed once into panels, then blocks of queries take
 * scores -> softmax -> weighted sum, each a run of micro-tiles.
 */
#include "kernels/attention.h"

#include <string.h>

#include "base/alloc.h"
#include "base/parallel.h"

enum { MR = ALEAT_MICRO_ROWS, BLOCK_ROWS = 4 * MR };

static size_t align_up(size_t n)
{
    return (n + ALEAT_ALIGN - 1) / ALEAT_ALIGN * ALEAT_ALIGN;
}

static int64_t padded(const aleat_kernels *k, int64_t n)
{
    return (n + k->vlen - 1) / k->vlen * k->vlen;
}

/**
 * Packs a matrix b[line][column] = data[line*line_stride + column*column_stride] * scale into
 * panels of k->panel columns, as igemm reads them.
 */
static void pack(const aleat_kernels *k, float *dst, const float *data, int64_t lines,
                 int64_t columns, int64_t line_stride, int64_t column_stride, float scale)
{
    for (int64_t col = 0; col < columns; col += k->panel) {
        const int64_t n = columns - col < k->panel ? columns - col : k->panel;
        const int64_t width = padded(k, n);
        for (int64_t line = 0; line < lines; line++, dst += width)
            for (int64_t j = 0; j < width; j++)
                dst[j] = j < n ? data[line * line_stride + (col + j) * column_stride] * scale : 0;
    }
}

/** c[rows][columns] = a[rows][depth] b, b packed; c has room for the padded columns. */
static void multiply(const aleat_kernels *k, int64_t rows, int64_t depth, int64_t columns,
                     const float *a, int64_t a_ld, const float *b, float *c, int64_t c_ld)
{
    for (int64_t col = 0; col < columns; col += k->panel) {
        const int64_t n = columns - col < k->panel ? columns - col : k->panel;
        const int64_t width = padded(k, n);
        for (int64_t r = 0; r < rows; r += MR) {
            const float *pointers[MR];
            const int mr = (int)(rows - r < MR ? rows - r : MR);
            for (int i = 0; i < mr; i++)
                pointers[i] = a + (r + i) * a_ld;
            k->igemm(mr, (int)(width / k->vlen), 1, depth, pointers, b, width, c + r * c_ld + col,
                     c_ld);
        }
        b += depth * width;
    }
}

typedef struct attention_job {
    const aleat_kernels *k;
    const aleat_attention *a;
    const float *q, *key, *v;
    float *y;
    float *packed_k, *packed_v; // [units]: k^T is head_dim x k_tokens, v is k_tokens x head_dim
    int64_t k_size, v_size;
    char *scratch;
    size_t stride;
} attention_job;

static void pack_units(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const attention_job *job = ctx;
    const aleat_attention *a = job->a;
    for (int64_t u = begin; u < end; u++) {
        const int64_t image = u / a->heads, head = u % a->heads;
        const int64_t row = image * a->k_tokens, col = head * a->head_dim;
        pack(job->k, job->packed_k + u * job->k_size, job->key + row * a->k_ld + col, a->head_dim,
             a->k_tokens, 1, a->k_ld, a->scale);
        pack(job->k, job->packed_v + u * job->v_size, job->v + row * a->v_ld + col, a->k_tokens,
             a->head_dim, a->v_ld, 1, 1.0f);
    }
}

static int64_t blocks_of(const aleat_attention *a)
{
    return (a->q_tokens + BLOCK_ROWS - 1) / BLOCK_ROWS;
}

/** Softmax weights of `rows` queries, not yet divided by their sums, into s; sums per row. */
static void weigh(const attention_job *job, int64_t u, int64_t first, int64_t rows, float *s,
                  int64_t s_ld, float *sums)
{
    const aleat_attention *a = job->a;
    const int64_t image = u / a->heads, head = u % a->heads;
    const float *q = job->q + (image * a->q_tokens + first) * a->q_ld + head * a->head_dim;
    float largest[BLOCK_ROWS];
    multiply(job->k, rows, a->head_dim, a->k_tokens, q, a->q_ld, job->packed_k + u * job->k_size, s,
             s_ld);
    job->k->max_rows(s, s_ld, rows, a->k_tokens, largest);
    job->k->exp_rows(s, s_ld, rows, a->k_tokens, largest, sums);
}

static void attend_blocks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const attention_job *job = ctx;
    const aleat_attention *a = job->a;
    const int64_t blocks = blocks_of(a), s_ld = padded(job->k, a->k_tokens);
    const int64_t o_ld = padded(job->k, a->head_dim);
    float *s = (float *)(void *)(job->scratch + (size_t)thread * job->stride);
    float *o = s + BLOCK_ROWS * s_ld;
    for (int64_t b = begin; b < end; b++) {
        const int64_t u = b / blocks, first = b % blocks * BLOCK_ROWS;
        const int64_t image = u / a->heads, head = u % a->heads;
        const int64_t left = a->q_tokens - first, rows = left < BLOCK_ROWS ? left : BLOCK_ROWS;
        float sums[BLOCK_ROWS];
        weigh(job, u, first, rows, s, s_ld, sums);
        multiply(job->k, rows, a->k_tokens, a->head_dim, s, s_ld, job->packed_v + u * job->v_size,
                 o, o_ld);
        for (int64_t r = 0; r < rows; r++) {
            float *y = job->y + (image * a->q_tokens + first + r) * a->y_ld + head * a->head_dim;
            const float inverse = 1.0f / sums[r];
            for (int64_t i = 0; i < a->head_dim; i++)
                y[i] = o[r * o_ld + i] * inverse;
        }
    }
}

static size_t thread_scratch(const aleat_kernels *k, const aleat_attention *a)
{
    return align_up((size_t)(BLOCK_ROWS * (padded(k, a->k_tokens) + padded(k, a->head_dim))) *
                    sizeof(float));
}

/** Sizes of one packed head, in floats, and the bytes of all of them. */
static size_t packed_bytes(const aleat_kernels *k, const aleat_attention *a, int64_t *k_size,
                           int64_t *v_size)
{
    *k_size = a->head_dim * padded(k, a->k_tokens);
    *v_size = a->k_tokens * padded(k, a->head_dim);
    return align_up((size_t)(a->images * a->heads * (*k_size + *v_size)) * sizeof(float));
}

size_t aleat_attention_scratch(const aleat_kernels *k, const aleat_attention *a, int threads)
{
    int64_t k_size, v_size;
    return packed_bytes(k, a, &k_size, &v_size) + (size_t)threads * thread_scratch(k, a);
}

void aleat_attention_run(const aleat_kernels *k, const aleat_attention *a, const float *q,
                         const float *key, const float *v, float *y, void *scratch, int threads)
{
    attention_job job = {.k = k, .a = a, .q = q, .key = key, .v = v, .y = y};
    const size_t bytes = packed_bytes(k, a, &job.k_size, &job.v_size);
    const int64_t units = a->images * a->heads;
    job.packed_k = scratch;
    job.packed_v = job.packed_k + units * job.k_size;
    job.scratch = (char *)scratch + bytes;
    job.stride = thread_scratch(k, a);
    aleat_parallel_for(threads, units, pack_units, &job);
    aleat_parallel_for(threads, units * blocks_of(a), attend_blocks, &job);
}

/* ---- gradient ---------------------------------------------------------------------------------
 */

typedef struct grad_job {
    attention_job forward;
    const aleat_attention_grad *g;
    float *packed_vt; // v^T: head_dim x k_tokens, for dP = dy v^T; per unit like k^T
    char *scratch;
    size_t stride;
} grad_job;

/**
 * One head: with P the softmax and y = P v:
 *   dv = P^T dy, dP = dy v^T, dS = P * (dP - rowsum(dP * P)), dq = scale dS k, dk = scale dS^T q.
 * Whole rows of P and dS are kept for the head (q_tokens x k_tokens), so that the transposed
 * products have a fixed order of summation.
 */
static void grad_unit(const grad_job *job, int64_t u, char *mine)
{
    const attention_job *f = &job->forward;
    const aleat_attention *a = f->a;
    const aleat_attention_grad *g = job->g;
    const aleat_kernels *k = f->k;
    const int64_t image = u / a->heads, col = u % a->heads * a->head_dim;
    const int64_t s_ld = padded(k, a->k_tokens), d_ld = padded(k, a->head_dim);
    const int64_t row_q = image * a->q_tokens, row_k = image * a->k_tokens;
    float *p = (float *)(void *)mine, *ds = p + a->q_tokens * s_ld;
    float *packed = ds + a->q_tokens * s_ld; // a right factor: tokens x head_dim
    float *turned = packed + (a->q_tokens > a->k_tokens ? a->q_tokens : a->k_tokens) * d_ld;
    float *result = turned + a->k_tokens * padded(k, a->q_tokens);
    const float *dy = g->dy + row_q * g->dy_ld + col;
    multiply(k, a->q_tokens, a->head_dim, a->k_tokens, dy, g->dy_ld, job->packed_vt + u * f->k_size,
             ds, s_ld);
    for (int64_t first = 0; first < a->q_tokens; first += BLOCK_ROWS) {
        const int64_t left = a->q_tokens - first, rows = left < BLOCK_ROWS ? left : BLOCK_ROWS;
        float sums[BLOCK_ROWS];
        weigh(f, u, first, rows, p + first * s_ld, s_ld, sums);
        for (int64_t r = first; r < first + rows; r++) {
            const float inverse = 1.0f / sums[r - first];
            double inner = 0;
            for (int64_t j = 0; j < a->k_tokens; j++) {
                p[r * s_ld + j] *= inverse;
                inner += (double)p[r * s_ld + j] * (double)ds[r * s_ld + j];
            }
            for (int64_t j = 0; j < a->k_tokens; j++)
                ds[r * s_ld + j] = p[r * s_ld + j] * (ds[r * s_ld + j] - (float)inner) * a->scale;
        }
    }
    // dq = dS k
    pack(k, packed, g->k + row_k * a->k_ld + col, a->k_tokens, a->head_dim, a->k_ld, 1, 1.0f);
    multiply(k, a->q_tokens, a->k_tokens, a->head_dim, ds, s_ld, packed, result, d_ld);
    for (int64_t r = 0; r < a->q_tokens; r++)
        memcpy(g->dq + (row_q + r) * g->dq_ld + col, result + r * d_ld,
               (size_t)a->head_dim * sizeof(float));
    // dk = dS^T q, dv = P^T dy: the left factor is turned first
    const struct {
        const float *left, *right;
        int64_t right_ld;
        float *out;
        int64_t out_ld;
    } turns[] = {{ds, g->q + row_q * a->q_ld + col, a->q_ld, g->dk, g->dk_ld},
                 {p, dy, g->dy_ld, g->dv, g->dv_ld}};
    for (int i = 0; i < 2; i++) {
        for (int64_t r = 0; r < a->q_tokens; r++)
            for (int64_t j = 0; j < a->k_tokens; j++)
                turned[j * padded(k, a->q_tokens) + r] = turns[i].left[r * s_ld + j];
        pack(k, packed, turns[i].right, a->q_tokens, a->head_dim, turns[i].right_ld, 1, 1.0f);
        multiply(k, a->k_tokens, a->q_tokens, a->head_dim, turned, padded(k, a->q_tokens), packed,
                 result, d_ld);
        for (int64_t r = 0; r < a->k_tokens; r++)
            memcpy(turns[i].out + (row_k + r) * turns[i].out_ld + col, result + r * d_ld,
                   (size_t)a->head_dim * sizeof(float));
    }
}

static void grad_units(void *ctx, int64_t begin, int64_t end, int thread)
{
    const grad_job *job = ctx;
    for (int64_t u = begin; u < end; u++)
        grad_unit(job, u, job->scratch + (size_t)thread * job->stride);
}

static void pack_vt_units(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const grad_job *job = ctx;
    const aleat_attention *a = job->forward.a;
    for (int64_t u = begin; u < end; u++) {
        const float *v =
            job->g->v + u / a->heads * a->k_tokens * a->v_ld + u % a->heads * a->head_dim;
        pack(job->forward.k, job->packed_vt + u * job->forward.k_size, v, a->head_dim, a->k_tokens,
             1, a->v_ld, 1.0f);
    }
}

static size_t grad_thread_scratch(const aleat_kernels *k, const aleat_attention *a)
{
    const int64_t most = a->q_tokens > a->k_tokens ? a->q_tokens : a->k_tokens;
    return align_up((size_t)(2 * a->q_tokens * padded(k, a->k_tokens) +
                             2 * most * padded(k, a->head_dim) +
                             a->k_tokens * padded(k, a->q_tokens)) *
                    sizeof(float));
}

size_t aleat_attention_grad_scratch(const aleat_kernels *k, const aleat_attention *a, int threads)
{
    int64_t k_size, v_size;
    const size_t packed = packed_bytes(k, a, &k_size, &v_size);
    return packed + align_up((size_t)(a->images * a->heads * k_size) * sizeof(float)) +
           (size_t)threads * grad_thread_scratch(k, a);
}

void aleat_attention_grad_run(const aleat_kernels *k, const aleat_attention *a,
                              const aleat_attention_grad *g, void *scratch, int threads)
{
    grad_job job = {.forward = {.k = k, .a = a, .q = g->q, .key = g->k, .v = g->v}, .g = g};
    attention_job *f = &job.forward;
    const size_t packed = packed_bytes(k, a, &f->k_size, &f->v_size);
    const int64_t units = a->images * a->heads;
    f->packed_k = scratch;
    f->packed_v = f->packed_k + units * f->k_size;
    job.packed_vt = (float *)(void *)((char *)scratch + packed);
    job.scratch = (char *)job.packed_vt + align_up((size_t)(units * f->k_size) * sizeof(float));
    job.stride = grad_thread_scratch(k, a);
    aleat_parallel_for(threads, units, pack_units, f);
    aleat_parallel_for(threads, units, pack_vt_units, &job);
    aleat_parallel_for(threads, units, grad_units, &job);
}
