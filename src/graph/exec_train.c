/* How the operations run that only training needs: dropout and the gradients of parameters. */
#include <math.h>
#include <string.h>

#include "base/parallel.h"
#include "base/rng.h"
#include "base/wide.h"
#include "graph/exec_ops.h"
#include "kernels/weight_grad.h"

static int64_t pixels(const aleat_view *v)
{
    return v->dims.h * v->dims.w;
}

static float *pixel(const aleat_view *v, int64_t image, int64_t p)
{
    return v->data + image * v->image_ld + p * v->ld;
}

/* ---- dropout ----------------------------------------------------------------------------------
 */

/** Of the 24 bits that name a copy: the dropout operation; the others are the pass. */
enum { LAYER_BITS = 12 };

/** Words of random bits for one image, two elements a word. */
static int64_t words_of(const aleat_view *v)
{
    return (pixels(v) * v->dims.c + 31) / 32 * 16;
}

size_t aleat_dropout_scratch(const aleat_step *s, const aleat_exec *exec)
{
    return (size_t)(exec->threads * words_of(&s->out)) * sizeof(uint32_t);
}

/** y = x scale where 16 bits are at least `limit`, else 0 (of NaN, NaN). */
ALEAT_WIDE static void drop(const float *x, const uint16_t *bits, int32_t limit, float scale,
                            float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * ((int32_t)bits[i] >= limit ? scale : 0.0f);
}

/** y = x / (1 - p) where 16 random bits of the image's stream are at least 2^16 p, else 0; p is
 * rounded to that. */
static void drop_images(void *ctx, int64_t begin, int64_t end, int thread)
{
    const aleat_step_job *job = ctx;
    const aleat_step *s = job->step;
    const bool dense = s->in[0].ld == s->out.dims.c && s->out.ld == s->out.dims.c;
    const int64_t rows = dense ? 1 : pixels(&s->out), n = pixels(&s->out) * s->out.dims.c / rows;
    uint32_t *words = (uint32_t *)job->exec->scratch + thread * words_of(&s->out);
    const int32_t limit = (int32_t)lround(s->node.attrs.a * 65536);
    const float scale = (float)(65536.0 / (65536 - limit));
    for (int64_t image = begin; image < end; image++) {
        const aleat_rng_key key = {.seed = job->exec->dropout_seed,
                                   .image = job->exec->dropout_images[image],
                                   .step = job->exec->dropout_step,
                                   .copy = job->exec->dropout_passes[image] << LAYER_BITS |
                                           (uint32_t)s->node.attrs.begin,
                                   .purpose = ALEAT_FOR_DROPOUT};
        aleat_rng_words(&key, words, words_of(&s->out));
        const uint16_t *bits = (const uint16_t *)words;
        for (int64_t r = 0; r < rows; r++, bits += n)
            drop(pixel(&s->in[0], image, r), bits, limit, scale, pixel(&s->out, image, r), n);
    }
}

void aleat_run_dropout(const aleat_step *s, const aleat_exec *exec)
{
    aleat_step_job job = {s, exec};
    aleat_parallel_for(exec->threads, s->images, drop_images, &job);
}

/* ---- matrix products and sums -----------------------------------------------------------------
 */

/** in: x, dy. */
static aleat_weight_grad weight_grad_of(const aleat_step *s)
{
    const aleat_conv_spec *spec = &s->node.attrs.conv;
    return (aleat_weight_grad){.images = s->images,
                               .in_h = s->in[0].dims.h,
                               .in_w = s->in[0].dims.w,
                               .out_h = s->in[1].dims.h,
                               .out_w = s->in[1].dims.w,
                               .c_in = s->in[0].dims.c,
                               .c_out = s->in[1].dims.c,
                               .kernel_h = spec->kernel_h,
                               .kernel_w = spec->kernel_w,
                               .stride = spec->stride,
                               .pad_top = spec->pad_top,
                               .pad_left = spec->pad_left,
                               .x_ld = s->in[0].ld,
                               .dy_ld = s->in[1].ld,
                               .bf16 = s->bf16};
}

size_t aleat_conv_weight_grad_scratch(const aleat_step *s, const aleat_exec *exec)
{
    const aleat_weight_grad g = weight_grad_of(s);
    return aleat_weight_grad_scratch(exec->k, &g, exec->threads);
}

void aleat_run_conv_weight_grad(const aleat_step *s, const aleat_exec *exec)
{
    const aleat_weight_grad g = weight_grad_of(s);
    aleat_weight_grad_run(exec->k, &g, s->in[0].data, s->in[1].data, s->out.data, s->side.data,
                          exec->scratch, exec->threads);
}

size_t aleat_sum_pixels_scratch(const aleat_step *s, const aleat_exec *exec)
{
    (void)exec;
    return aleat_sum_rows_scratch(pixels(&s->in[0]), s->in[0].dims.c);
}

void aleat_run_sum_pixels(const aleat_step *s, const aleat_exec *exec)
{
    for (int64_t image = 0; image < s->images; image++)
        aleat_sum_rows(exec->k, pixel(&s->in[0], image, 0), s->in[0].ld, pixels(&s->in[0]),
                       s->in[0].dims.c, pixel(&s->out, image, 0), exec->scratch, exec->threads);
}

/** in: one array an image; out: their sum, in the order of the images. */
static void sum_images_row(const aleat_step *s, int64_t p)
{
    const int64_t c = s->in[0].dims.c;
    for (int64_t i = 0; i < c; i++) {
        double sum = 0;
        for (int64_t image = 0; image < s->images; image++)
            sum += (double)pixel(&s->in[0], image, p)[i];
        s->out.data[p * c + i] = (float)sum;
    }
}

void aleat_run_sum_images(const aleat_step *s, const aleat_exec *exec)
{
    (void)exec;
    for (int64_t p = 0; p < pixels(&s->in[0]); p++)
        sum_images_row(s, p);
}

/** in: labels, dy; out: the table's rows, each the sum of dy over the places that chose it. */
void aleat_run_embedding_grad(const aleat_step *s, const aleat_exec *exec)
{
    (void)exec;
    const int64_t c = s->in[1].dims.c;
    memset(s->out.data, 0, (size_t)s->out.dims.c * sizeof(float));
    for (int64_t r = 0; r < s->images * pixels(&s->in[1]); r++) {
        const int64_t image = r / pixels(&s->in[1]), p = r % pixels(&s->in[1]);
        float *row = s->out.data + (int64_t)*pixel(&s->in[0], image, p) * c;
        const float *dy = pixel(&s->in[1], image, p);
        for (int64_t i = 0; i < c; i++)
            row[i] += dy[i];
    }
}

/* ---- second results ---------------------------------------------------------------------------
 */

static void layernorm_param_grad_of(const aleat_step *s, int64_t image)
{
    const int64_t n = s->out.dims.c;
    float *dgamma = pixel(&s->side, image, 0), *dbeta = dgamma + n;
    memset(dgamma, 0, (size_t)(2 * n) * sizeof *dgamma);
    for (int64_t r = 0; r < pixels(&s->out); r++) {
        const float *x = pixel(&s->in[0], image, r), *dy = pixel(&s->in[1], image, r);
        double mean = 0, var = 0;
        for (int64_t c = 0; c < n && !s->node.attrs.rms; c++)
            mean += (double)x[c];
        mean /= (double)n;
        for (int64_t c = 0; c < n; c++)
            var += ((double)x[c] - mean) * ((double)x[c] - mean);
        const double inv = 1 / sqrt(var / (double)n + s->node.attrs.eps);
        for (int64_t c = 0; c < n; c++) {
            dgamma[c] += dy[c] * (float)(((double)x[c] - mean) * inv);
            dbeta[c] += dy[c];
        }
    }
}

static void layernorm_param_grad_images(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const aleat_step_job *job = ctx;
    for (int64_t image = begin; image < end; image++)
        layernorm_param_grad_of(job->step, image);
}

/** side: [dgamma | dbeta] of each image = sums of dy times the normalised row, and of dy. */
void aleat_layernorm_param_grad(const aleat_step *s, const aleat_exec *exec)
{
    aleat_step_job job = {s, exec};
    aleat_parallel_for(exec->threads, s->images, layernorm_param_grad_images, &job);
}
