/*
 * A unit is one head of one image. k^T and v are packed once into panels, then blocks of queries
 * take scores -> softmax -> weighted sum, each a run of micro-tiles. Forward mode does the same
 * with sums of two products; reverse mode keeps the weights of a few units at a time.
 */
#include "kernels/attention.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/parallel.h"

enum { MR = ALEAT_MICRO_ROWS, BLOCK_ROWS = 4 * MR, MOST_TERMS = 2 };

static size_t align_up(size_t n)
{
    return (n + ALEAT_ALIGN - 1) / ALEAT_ALIGN * ALEAT_ALIGN;
}

static int64_t padded(const aleat_kernels *k, int64_t n)
{
    return (n + k->vlen - 1) / k->vlen * k->vlen;
}

/** A right factor: b[line][column] = data[line*line_stride + column*column_stride] * scale. */
typedef struct right {
    const float *data;
    int64_t line_stride, column_stride;
    float scale;
} right;

/** A left factor: rows `ld` apart. */
typedef struct left {
    const float *data;
    int64_t ld;
} left;

/** Packs lines [0, lines) and columns [0, n) of a factor, `width` floats a line. Pieces of lines
 * are as long as a cache line, so that a factor that is stored turned is read once. */
static void pack_panel(float *dst, const right *f, const float *src, int64_t lines, int64_t n,
                       int64_t width)
{
    enum { PIECE = 16 };
    for (int64_t first = 0; first < lines; first += PIECE, dst += PIECE * width) {
        const int64_t count = lines - first < PIECE ? lines - first : PIECE;
        const float *piece = src + first * f->line_stride;
        if (f->column_stride == 1) {
            for (int64_t i = 0; i < count; i++)
                for (int64_t j = 0; j < n; j++)
                    dst[i * width + j] = piece[i * f->line_stride + j] * f->scale;
        } else {
            for (int64_t j = 0; j < n; j++)
                for (int64_t i = 0; i < count; i++)
                    dst[i * width + j] =
                        piece[i * f->line_stride + j * f->column_stride] * f->scale;
        }
        for (int64_t i = 0; i < count; i++)
            for (int64_t j = n; j < width; j++)
                dst[i * width + j] = 0;
    }
}

/** Packs right factors, one below the other, into panels of k->panel columns, as igemm reads them.
 */
static void pack(const aleat_kernels *k, float *dst, const right *b, int terms, int64_t lines,
                 int64_t columns)
{
    for (int64_t col = 0; col < columns; col += k->panel) {
        const int64_t n = columns - col < k->panel ? columns - col : k->panel;
        const int64_t width = padded(k, n);
        for (int t = 0; t < terms; t++, dst += lines * width)
            pack_panel(dst, &b[t], b[t].data + col * b[t].column_stride, lines, n, width);
    }
}

/**
 * c[rows][columns] = sum of a[i] b[i] over `terms` products of depth `depth`; b is packed in panels
 * of `lines` lines (>= terms * depth). c has room for the padded columns.
 */
static void multiply(const aleat_kernels *k, int64_t rows, int64_t depth, int64_t columns,
                     const left *a, int terms, const float *b, int64_t lines, float *c,
                     int64_t c_ld)
{
    for (int64_t col = 0; col < columns; col += k->panel) {
        const int64_t n = columns - col < k->panel ? columns - col : k->panel;
        const int64_t width = padded(k, n);
        for (int64_t r = 0; r < rows; r += MR) {
            const float *pointers[MOST_TERMS * MR];
            const int mr = (int)(rows - r < MR ? rows - r : MR);
            for (int t = 0; t < terms; t++)
                for (int i = 0; i < mr; i++)
                    pointers[t * MR + i] = a[t].data + (r + i) * a[t].ld;
            k->igemm(mr, (int)(width / k->vlen), terms, depth, pointers, b, width, false,
                     c + r * c_ld + col, c_ld);
        }
        b += lines * width;
    }
}

typedef struct attention_job {
    const aleat_kernels *k;
    const aleat_attention *a;
    const float *q, *key, *v;
    float *y;
    const aleat_attention_jvp *jvp; // NULL: no tangents
    int terms;                      // 2: tk^T lies below k^T and tv below v
    float *packed_k, *packed_v;     // [units]: k^T is head_dim x k_tokens, v is k_tokens x head_dim
    int64_t k_size, v_size;         // floats of a unit
    char *scratch;
    size_t stride;
} attention_job;

/** Where head and image of a unit begin in an array of rows. */
static int64_t unit_offset(const aleat_attention *a, int64_t u, int64_t tokens, int64_t ld)
{
    return u / a->heads * tokens * ld + u % a->heads * a->head_dim;
}

static void pack_units(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const attention_job *job = ctx;
    const aleat_attention *a = job->a;
    const aleat_attention_jvp *t = job->jvp;
    for (int64_t u = begin; u < end; u++) {
        right k[MOST_TERMS] = {
            {job->key + unit_offset(a, u, a->k_tokens, a->k_ld), 1, a->k_ld, a->scale}};
        right v[MOST_TERMS] = {{job->v + unit_offset(a, u, a->k_tokens, a->v_ld), a->v_ld, 1, 1}};
        if (job->terms == 2) {
            k[1] = (right){t->tk + unit_offset(a, u, a->k_tokens, t->tk_ld), 1, t->tk_ld, a->scale};
            v[1] = (right){t->tv + unit_offset(a, u, a->k_tokens, t->tv_ld), t->tv_ld, 1, 1};
        }
        pack(job->k, job->packed_k + u * job->k_size, k, job->terms, a->head_dim, a->k_tokens);
        pack(job->k, job->packed_v + u * job->v_size, v, job->terms, a->k_tokens, a->head_dim);
    }
}

static int64_t blocks_of(int64_t tokens)
{
    return (tokens + BLOCK_ROWS - 1) / BLOCK_ROWS;
}

/** Block b of all units: its unit, first row and number of rows. */
static int64_t block_rows(int64_t tokens, int64_t b, int64_t *u, int64_t *first)
{
    *u = b / blocks_of(tokens);
    *first = b % blocks_of(tokens) * BLOCK_ROWS;
    return tokens - *first < BLOCK_ROWS ? tokens - *first : BLOCK_ROWS;
}

/** Bias and mask of the scores of one query, whose number in its image is i. */
static void mask_scores(const aleat_attention *a, int64_t head, int64_t i, float *s)
{
    const int64_t distances = a->q_tokens + a->k_tokens - 1;
    if (a->bias) {
        const float *bias = a->bias + head * distances + a->q_tokens - 1 - i;
        for (int64_t j = 0; j < a->k_tokens; j++)
            s[j] += bias[j];
    }
    for (int64_t j = i + 1; a->causal && j < a->k_tokens; j++)
        s[j] = -INFINITY; // of weight exp(-87), the smallest that exp_rows() knows: 1e-38
}

/** Softmax weights of queries [first, first + rows) of unit u, not yet divided by their sums, into
 * s; sums per row. packed_k: k^T of the unit, in panels of `lines` lines. */
static void weigh(const aleat_kernels *k, const aleat_attention *a, int64_t u, int64_t first,
                  const left *q, int64_t rows, const float *packed_k, int64_t lines, float *s,
                  int64_t s_ld, float *sums)
{
    float largest[BLOCK_ROWS];
    multiply(k, rows, a->head_dim, a->k_tokens, q, 1, packed_k, lines, s, s_ld);
    for (int64_t r = 0; (a->bias || a->causal) && r < rows; r++)
        mask_scores(a, u % a->heads, first + r, s + r * s_ld);
    k->max_rows(s, s_ld, rows, a->k_tokens, largest);
    k->exp_rows(s, s_ld, rows, a->k_tokens, largest, sums);
}

/** Copies rows of results out of their padded place. */
static void put_rows(float *dst, int64_t ld, const float *src, int64_t src_ld, int64_t rows,
                     int64_t n)
{
    for (int64_t r = 0; r < rows; r++)
        memcpy(dst + r * ld, src + r * src_ld, (size_t)n * sizeof *dst);
}

static void attend_blocks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const attention_job *job = ctx;
    const aleat_attention *a = job->a;
    const int64_t s_ld = padded(job->k, a->k_tokens), o_ld = padded(job->k, a->head_dim);
    float *s = (float *)(void *)(job->scratch + (size_t)thread * job->stride);
    float *o = s + BLOCK_ROWS * s_ld;
    for (int64_t b = begin; b < end; b++) {
        int64_t u, first;
        const int64_t rows = block_rows(a->q_tokens, b, &u, &first);
        const left q = {job->q + unit_offset(a, u, a->q_tokens, a->q_ld) + first * a->q_ld,
                        a->q_ld};
        const left weights = {s, s_ld};
        float *y = job->y + unit_offset(a, u, a->q_tokens, a->y_ld) + first * a->y_ld;
        float sums[BLOCK_ROWS];
        weigh(job->k, a, u, first, &q, rows, job->packed_k + u * job->k_size, a->head_dim, s, s_ld,
              sums);
        multiply(job->k, rows, a->k_tokens, a->head_dim, &weights, 1,
                 job->packed_v + u * job->v_size, a->k_tokens, o, o_ld);
        for (int64_t r = 0; r < rows; r++) {
            const float inverse = 1.0f / sums[r];
            for (int64_t i = 0; i < a->head_dim; i++)
                y[r * a->y_ld + i] = o[r * o_ld + i] * inverse;
        }
    }
}

/** Bytes of `matrices` blocks of weights and one of results. */
static size_t thread_scratch(const aleat_kernels *k, const aleat_attention *a, int matrices)
{
    return align_up(
        (size_t)(BLOCK_ROWS * (matrices * padded(k, a->k_tokens) + padded(k, a->head_dim))) *
        sizeof(float));
}

/** Sizes of one packed unit, in floats, and the bytes of all of them. */
static size_t packed_bytes(const aleat_kernels *k, const aleat_attention *a, int terms,
                           int64_t *k_size, int64_t *v_size)
{
    *k_size = terms * a->head_dim * padded(k, a->k_tokens);
    *v_size = terms * a->k_tokens * padded(k, a->head_dim);
    return align_up((size_t)(a->images * a->heads * (*k_size + *v_size)) * sizeof(float));
}

/** Packs, then works on all blocks of queries. */
static void run_blocks(attention_job *job, void *scratch, int threads, int matrices,
                       aleat_range_fn *work)
{
    const aleat_attention *a = job->a;
    const size_t bytes = packed_bytes(job->k, a, job->terms, &job->k_size, &job->v_size);
    const int64_t units = a->images * a->heads;
    job->packed_k = scratch;
    job->packed_v = job->packed_k + units * job->k_size;
    job->scratch = (char *)scratch + bytes;
    job->stride = thread_scratch(job->k, a, matrices);
    aleat_parallel_for(threads, units, pack_units, job);
    aleat_parallel_for(threads, units * blocks_of(a->q_tokens), work, job);
}

size_t aleat_attention_scratch(const aleat_kernels *k, const aleat_attention *a, int threads)
{
    int64_t k_size, v_size;
    return packed_bytes(k, a, 1, &k_size, &v_size) + (size_t)threads * thread_scratch(k, a, 1);
}

void aleat_attention_run(const aleat_kernels *k, const aleat_attention *a, const float *q,
                         const float *key, const float *v, float *y, void *scratch, int threads)
{
    attention_job job = {.k = k, .a = a, .q = q, .key = key, .v = v, .y = y, .terms = 1};
    run_blocks(&job, scratch, threads, 1, attend_blocks);
}

/* ---- tangent ----------------------------------------------------------------------------------
 */

static void tangent_blocks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const attention_job *job = ctx;
    const aleat_attention *a = job->a;
    const aleat_attention_jvp *g = job->jvp;
    const int64_t s_ld = padded(job->k, a->k_tokens), o_ld = padded(job->k, a->head_dim);
    const int64_t k_lines = job->terms * a->head_dim, v_lines = job->terms * a->k_tokens;
    float *p = (float *)(void *)(job->scratch + (size_t)thread * job->stride);
    float *t = p + BLOCK_ROWS * s_ld, *o = t + BLOCK_ROWS * s_ld;
    for (int64_t b = begin; b < end; b++) {
        int64_t u, first;
        const int64_t rows = block_rows(a->q_tokens, b, &u, &first);
        const left q = {job->q + unit_offset(a, u, a->q_tokens, a->q_ld) + first * a->q_ld,
                        a->q_ld};
        const left tq = {g->tq + unit_offset(a, u, a->q_tokens, g->tq_ld) + first * g->tq_ld,
                         g->tq_ld};
        const left of_scores[] = {tq, q}, of_result[] = {{t, s_ld}, {p, s_ld}};
        const float *packed_k = job->packed_k + u * job->k_size;
        float sums[BLOCK_ROWS];
        weigh(job->k, a, u, first, &q, rows, packed_k, k_lines, p, s_ld, sums);
        multiply(job->k, rows, a->head_dim, a->k_tokens, of_scores, job->terms, packed_k, k_lines,
                 t, s_ld);
        job->k->softmax_jacobian(p, t, s_ld, rows, a->k_tokens, sums, 1.0f);
        multiply(job->k, rows, a->k_tokens, a->head_dim, of_result, job->terms,
                 job->packed_v + u * job->v_size, v_lines, o, o_ld);
        put_rows(g->ty + unit_offset(a, u, a->q_tokens, g->ty_ld) + first * g->ty_ld, g->ty_ld, o,
                 o_ld, rows, a->head_dim);
    }
}

size_t aleat_attention_jvp_scratch(const aleat_kernels *k, const aleat_attention *a, int threads)
{
    int64_t k_size, v_size;
    return packed_bytes(k, a, MOST_TERMS, &k_size, &v_size) +
           (size_t)threads * thread_scratch(k, a, 2);
}

void aleat_attention_jvp_run(const aleat_kernels *k, const aleat_attention *a,
                             const aleat_attention_jvp *g, void *scratch, int threads)
{
    attention_job job = {.k = k, .a = a, .q = g->q, .key = g->k, .v = g->v, .jvp = g};
    job.terms = g->tk ? 2 : 1;
    run_blocks(&job, scratch, threads, 2, tangent_blocks);
}

/* ---- gradient ---------------------------------------------------------------------------------
 */

/** Bytes of weights and their cotangents kept at a time, unless one unit needs more. */
#define GRAD_GROUP_BYTES ((int64_t)512 << 10)

/**
 * With P the softmax and y = P v:
 *   dv = P^T dy, dP = dy v^T, dS = scale P * (dP - rowsum(dP * P)), dq = dS k, dk = dS^T q.
 * P and dS of a group of units are kept whole (q_tokens x k_tokens), so that every sum is one run
 * of fixed order: over keys for blocks of queries, then over queries for blocks of keys.
 */
typedef struct grad_job {
    const aleat_kernels *k;
    const aleat_attention *a;
    const aleat_attention_grad *g;
    int64_t first;                 // unit of the group
    float *kt, *vt, *key, *q, *dy; // packed, of each unit of the group: k^T, v^T, k, q, dy
    float *p, *ds;                 // of each unit of the group
    int64_t turned_size, tokens_k, tokens_q, matrix; // floats a unit of kt and vt, key, q and dy, p
    char *scratch;
    size_t stride;
} grad_job;

/** Sizes and, in an area for `group` units, places; returns the bytes of the area. */
static size_t grad_layout(grad_job *job, int64_t group, void *area)
{
    const aleat_attention *a = job->a;
    const int64_t d_ld = padded(job->k, a->head_dim);
    job->turned_size = a->head_dim * padded(job->k, a->k_tokens);
    job->tokens_k = a->k_tokens * d_ld;
    job->tokens_q = a->q_tokens * d_ld;
    job->matrix = a->q_tokens * padded(job->k, a->k_tokens);
    const int64_t turned = group * job->turned_size, keys = group * job->tokens_k;
    const int64_t queries = group * job->tokens_q, matrices = group * job->matrix;
    if (area) {
        job->kt = area;
        job->vt = job->kt + turned;
        job->key = job->vt + turned;
        job->q = job->key + keys;
        job->dy = job->q + queries;
        job->p = job->dy + queries;
        job->ds = job->p + matrices;
    }
    return align_up((size_t)(2 * turned + keys + 2 * queries + 2 * matrices) * sizeof(float));
}

/** Units that are worked on together. */
static int64_t grad_group(const aleat_kernels *k, const aleat_attention *a)
{
    const int64_t bytes = 2 * a->q_tokens * padded(k, a->k_tokens) * (int64_t)sizeof(float);
    const int64_t units = a->images * a->heads, fit = GRAD_GROUP_BYTES / bytes;
    return fit < 1 ? 1 : fit < units ? fit : units;
}

/** Floats between turned rows: never a power of two, so that they do not fall on one cache set. */
static int64_t turned_ld(const aleat_kernels *k, const aleat_attention *a)
{
    return padded(k, a->q_tokens) + k->vlen;
}

/** Bytes of a thread: a block of turned weights and one of results. */
static size_t grad_thread_scratch(const aleat_kernels *k, const aleat_attention *a)
{
    return align_up((size_t)(BLOCK_ROWS * (turned_ld(k, a) + padded(k, a->head_dim))) *
                    sizeof(float));
}

static void grad_pack_units(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const grad_job *job = ctx;
    const aleat_attention *a = job->a;
    const aleat_attention_grad *g = job->g;
    for (int64_t i = begin; i < end; i++) {
        const int64_t u = job->first + i;
        const float *key = g->k + unit_offset(a, u, a->k_tokens, a->k_ld);
        const float *v = g->v + unit_offset(a, u, a->k_tokens, a->v_ld);
        const float *q = g->q + unit_offset(a, u, a->q_tokens, a->q_ld);
        const float *dy = g->dy + unit_offset(a, u, a->q_tokens, g->dy_ld);
        const struct {
            float *dst;
            right b;
            int64_t lines, columns;
        } packs[] = {
            {job->kt + i * job->turned_size, {key, 1, a->k_ld, a->scale}, a->head_dim, a->k_tokens},
            {job->vt + i * job->turned_size, {v, 1, a->v_ld, 1}, a->head_dim, a->k_tokens},
            {job->key + i * job->tokens_k, {key, a->k_ld, 1, 1}, a->k_tokens, a->head_dim},
            {job->q + i * job->tokens_q, {q, a->q_ld, 1, 1}, a->q_tokens, a->head_dim},
            {job->dy + i * job->tokens_q, {dy, g->dy_ld, 1, 1}, a->q_tokens, a->head_dim},
        };
        for (size_t j = 0; j < sizeof packs / sizeof *packs; j++)
            pack(job->k, packs[j].dst, &packs[j].b, 1, packs[j].lines, packs[j].columns);
    }
}

/** P, dS and dq of blocks of queries. */
static void grad_query_blocks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const grad_job *job = ctx;
    const aleat_attention *a = job->a;
    const aleat_attention_grad *g = job->g;
    const int64_t s_ld = padded(job->k, a->k_tokens), o_ld = padded(job->k, a->head_dim);
    float *o = (float *)(void *)(job->scratch + (size_t)thread * job->stride);
    for (int64_t b = begin; b < end; b++) {
        int64_t i, first;
        const int64_t rows = block_rows(a->q_tokens, b, &i, &first), u = job->first + i;
        const left q = {g->q + unit_offset(a, u, a->q_tokens, a->q_ld) + first * a->q_ld, a->q_ld};
        const left dy = {g->dy + unit_offset(a, u, a->q_tokens, g->dy_ld) + first * g->dy_ld,
                         g->dy_ld};
        float *p = job->p + i * job->matrix + first * s_ld;
        float *ds = job->ds + i * job->matrix + first * s_ld;
        const left scores = {ds, s_ld};
        float sums[BLOCK_ROWS];
        weigh(job->k, a, u, first, &q, rows, job->kt + i * job->turned_size, a->head_dim, p, s_ld,
              sums);
        multiply(job->k, rows, a->head_dim, a->k_tokens, &dy, 1, job->vt + i * job->turned_size,
                 a->head_dim, ds, s_ld);
        job->k->softmax_jacobian(p, ds, s_ld, rows, a->k_tokens, sums, a->scale);
        multiply(job->k, rows, a->k_tokens, a->head_dim, &scores, 1, job->key + i * job->tokens_k,
                 a->k_tokens, o, o_ld);
        put_rows(g->dq + unit_offset(a, u, a->q_tokens, g->dq_ld) + first * g->dq_ld, g->dq_ld, o,
                 o_ld, rows, a->head_dim);
    }
}

/** dk and dv of blocks of keys: the left factors are columns of dS and P, turned into rows. */
static void grad_key_blocks(void *ctx, int64_t begin, int64_t end, int thread)
{
    const grad_job *job = ctx;
    const aleat_attention *a = job->a;
    const aleat_attention_grad *g = job->g;
    const int64_t s_ld = padded(job->k, a->k_tokens), o_ld = padded(job->k, a->head_dim);
    const int64_t t_ld = turned_ld(job->k, a);
    float *turned = (float *)(void *)(job->scratch + (size_t)thread * job->stride);
    float *o = turned + BLOCK_ROWS * t_ld;
    const left rows_of = {turned, t_ld};
    for (int64_t b = begin; b < end; b++) {
        int64_t i, first;
        const int64_t rows = block_rows(a->k_tokens, b, &i, &first), u = job->first + i;
        const struct {
            const float *weights, *packed;
            float *out;
            int64_t out_ld;
        } turns[] = {{job->ds, job->q, g->dk, g->dk_ld}, {job->p, job->dy, g->dv, g->dv_ld}};
        for (int j = 0; j < 2; j++) {
            const float *w = turns[j].weights + i * job->matrix + first;
            for (int64_t q = 0; q < a->q_tokens; q++)
                for (int64_t r = 0; r < rows; r++)
                    turned[r * t_ld + q] = w[q * s_ld + r];
            multiply(job->k, rows, a->q_tokens, a->head_dim, &rows_of, 1,
                     turns[j].packed + i * job->tokens_q, a->q_tokens, o, o_ld);
            float *out = turns[j].out + unit_offset(a, u, a->k_tokens, turns[j].out_ld);
            put_rows(out + first * turns[j].out_ld, turns[j].out_ld, o, o_ld, rows, a->head_dim);
        }
    }
}

size_t aleat_attention_grad_scratch(const aleat_kernels *k, const aleat_attention *a, int threads)
{
    grad_job job = {.k = k, .a = a};
    return grad_layout(&job, grad_group(k, a), NULL) + (size_t)threads * grad_thread_scratch(k, a);
}

void aleat_attention_grad_run(const aleat_kernels *k, const aleat_attention *a,
                              const aleat_attention_grad *g, void *scratch, int threads)
{
    grad_job job = {.k = k, .a = a, .g = g};
    const int64_t units = a->images * a->heads, group = grad_group(k, a);
    job.scratch = (char *)scratch + grad_layout(&job, group, scratch);
    job.stride = grad_thread_scratch(k, a);
    for (job.first = 0; job.first < units; job.first += group) {
        const int64_t count = units - job.first < group ? units - job.first : group;
        aleat_parallel_for(threads, count, grad_pack_units, &job);
        aleat_parallel_for(threads, count * blocks_of(a->q_tokens), grad_query_blocks, &job);
        if (g->dk)
            aleat_parallel_for(threads, count * blocks_of(a->k_tokens), grad_key_blocks, &job);
    }
}
