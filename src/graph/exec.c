/* How every operation runs: reads the step's views, calls kernels. Reverse-mode operations are in
 * exec_grad.c, those of forward mode in exec_jvp.c. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/parallel.h"
#include "graph/exec_ops.h"
#include "kernels/attention.h"
#include "kernels/norm.h"

static int64_t pixels(const aleat_view *v)
{
    return v->dims.h * v->dims.w;
}

static float *pixel(const aleat_view *v, int64_t image, int64_t p)
{
    return v->data + image * v->image_ld + p * v->ld;
}

/* ---- row by row -------------------------------------------------------------------------------
 */

typedef struct row_job {
    const aleat_step *step;
    const aleat_exec *exec;
    void (*row)(const aleat_step *step, const aleat_exec *exec, int64_t image, int64_t p);
} row_job;

static void rows_of_range(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const row_job *job = ctx;
    const int64_t n = pixels(&job->step->out);
    for (int64_t r = begin; r < end; r++)
        job->row(job->step, job->exec, r / n, r % n);
}

void aleat_exec_rows(const aleat_step *step, const aleat_exec *exec, aleat_exec_row_fn *row)
{
    row_job job = {step, exec, row};
    aleat_parallel_for(exec->threads, step->images * pixels(&step->out), rows_of_range, &job);
}

/** One row of y = act(scale (src + add)) through the epilogue kernel. */
static void finish_row(const aleat_exec *exec, const aleat_view *out, int64_t image, int64_t p,
                       const float *src, const float *add, double scale, aleat_activation act)
{
    const aleat_block block = {.dst = pixel(out, image, p), .rows = 1, .n = out->dims.c};
    const aleat_epilogue e = {.residual = add, .scale = (float)scale, .act = (aleat_fn)act};
    exec->k->finish(&block, src, 0, &e);
}

static void add_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    const int64_t other = pixels(&s->in[1]) == 1 ? 0 : p;
    finish_row(exec, &s->out, image, p, pixel(&s->in[0], image, p), pixel(&s->in[1], image, other),
               1, ALEAT_ACT_NONE);
}

static void run_add(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, add_row);
}

static void multiply_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    const float *a = pixel(&s->in[0], image, p);
    const float *b = pixel(&s->in[1], image, pixels(&s->in[1]) == 1 ? 0 : p);
    float *y = pixel(&s->out, image, p);
    for (int64_t c = 0; c < s->out.dims.c; c++)
        y[c] = a[c] * b[c];
}

static void run_multiply(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, multiply_row);
}

static void affine_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    const float a = (float)s->node.attrs.a, b = (float)s->node.attrs.b;
    const float *x = pixel(&s->in[0], image, p);
    float *y = pixel(&s->out, image, p);
    for (int64_t c = 0; c < s->out.dims.c; c++)
        y[c] = a * x[c] + b;
}

static void run_affine(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, affine_row);
}

static void divide_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    const float divisor = *pixel(&s->in[1], image, 0);
    const float *x = pixel(&s->in[0], image, p);
    float *y = pixel(&s->out, image, p);
    for (int64_t c = 0; c < s->out.dims.c; c++)
        y[c] = x[c] / divisor;
}

static void run_divide(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, divide_row);
}

static void activation_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    exec->k->map(pixel(&s->in[0], image, p), pixel(&s->out, image, p), s->out.dims.c,
                 (aleat_fn)s->act);
}

static void run_activation(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, activation_row);
}

static void scale_shift_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    const float *x = pixel(&s->in[0], image, p), *ss = pixel(&s->in[1], image, 0);
    float *y = pixel(&s->out, image, p);
    const int64_t n = s->out.dims.c;
    for (int64_t c = 0; c < n; c++)
        y[c] = x[c] * (1.0f + ss[c]) + ss[n + c];
    exec->k->map(y, y, n, (aleat_fn)s->act);
}

static void run_scale_shift(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, scale_shift_row);
}

static void concat_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    float *y = pixel(&s->out, image, p);
    const int64_t a = s->in[0].dims.c, b = s->in[1].dims.c;
    memcpy(y, pixel(&s->in[0], image, p), (size_t)a * sizeof *y);
    memcpy(y + a, pixel(&s->in[1], image, p), (size_t)b * sizeof *y);
}

static void run_concat(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, concat_row);
}

static void copy_row(const aleat_step *s, int64_t image, int64_t p, const float *src)
{
    memcpy(pixel(&s->out, image, p), src, (size_t)s->out.dims.c * sizeof *src);
}

static void concat_tokens_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    const int64_t first = pixels(&s->in[0]);
    copy_row(s, image, p,
             p < first ? pixel(&s->in[0], image, p) : pixel(&s->in[1], image, p - first));
}

static void run_concat_tokens(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, concat_tokens_row);
}

/** Only where a caller wants the slice: elsewhere it is a view. */
static void slice_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    copy_row(s, image, p, pixel(&s->in[0], image, p) + s->node.attrs.begin);
}

static void run_slice(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, slice_row);
}

static void slice_tokens_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    copy_row(s, image, p, pixel(&s->in[0], image, s->node.attrs.begin + p));
}

static void run_slice_tokens(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, slice_tokens_row);
}

/* ---- resampling -------------------------------------------------------------------------------
 */

static void upsample_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    const aleat_dims from = s->in[0].dims, to = s->out.dims;
    const int64_t y = p / to.w * from.h / to.h, x = p % to.w * from.w / to.w;
    copy_row(s, image, p, pixel(&s->in[0], image, y * from.w + x));
}

static void run_upsample(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, upsample_row);
}

static void pool_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    const aleat_conv_spec *w = &s->node.attrs.conv;
    const aleat_dims from = s->in[0].dims;
    const int64_t top = p / s->out.dims.w * w->stride - w->pad_top, bottom = top + w->kernel_h;
    const int64_t left = p % s->out.dims.w * w->stride - w->pad_left, right = left + w->kernel_w;
    const int64_t y = top < 0 ? 0 : top, x = left < 0 ? 0 : left;
    exec->k->pool(pixel(&s->in[0], image, y * from.w + x), from.w * s->in[0].ld, s->in[0].ld,
                  (bottom < from.h ? bottom : from.h) - y, (right < from.w ? right : from.w) - x,
                  s->out.dims.c, s->node.op == ALEAT_OP_MAXPOOL, pixel(&s->out, image, p));
}

static void run_pool(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, pool_row);
}

static void unpatchify_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    const int64_t f = s->node.attrs.factor, c = s->out.dims.c;
    const int64_t y = p / s->out.dims.w, x = p % s->out.dims.w;
    const float *patch = pixel(&s->in[0], image, y / f * s->in[0].dims.w + x / f);
    copy_row(s, image, p, patch + (y % f * f + x % f) * c);
}

static void run_unpatchify(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, unpatchify_row);
}

/* ---- conditioning -----------------------------------------------------------------------------
 */

static void embedding_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    const int64_t label = (int64_t)*pixel(&s->in[0], image, p);
    if (s->table)
        aleat_weight_row_to_f32(s->table, label, pixel(&s->out, image, p));
    else
        copy_row(s, image, p, s->param[0] + label * s->out.dims.c);
}

static void run_embedding(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, embedding_row);
}

/** Angles are formed in f32, as by the programs that trained the networks: at t = 1000 the last bit
 * of an angle is 6e-5, which a network's output shows. */
static void run_sinusoid(const aleat_step *s, const aleat_exec *exec)
{
    (void)exec;
    const aleat_sinusoid_spec *spec = &s->node.attrs.sinusoid;
    const int64_t half = spec->dim / 2;
    const float log_period = (float)-log(spec->max_period);
    for (int64_t image = 0; image < s->images; image++) {
        const float t = *pixel(&s->in[0], image, 0) * (float)spec->scale;
        float *y = pixel(&s->out, image, 0);
        for (int64_t i = 0; i < half; i++) {
            const float exponent = log_period * (float)i / (float)((double)half - spec->freq_shift);
            const double angle = (double)(t * (float)exp((double)exponent));
            y[i] = (float)(spec->cos_first ? cos(angle) : sin(angle));
            y[half + i] = (float)(spec->cos_first ? sin(angle) : cos(angle));
        }
        for (int64_t i = 2 * half; i < spec->dim; i++)
            y[i] = 0;
    }
}

static void run_fourier(const aleat_step *s, const aleat_exec *exec)
{
    (void)exec;
    const int64_t half = s->out.dims.c / 2;
    for (int64_t image = 0; image < s->images; image++) {
        const double t = log((double)*pixel(&s->in[0], image, 0));
        float *y = pixel(&s->out, image, 0);
        for (int64_t i = 0; i < half; i++) {
            const double angle = 2 * 3.14159265358979323846 * t * (double)s->param[0][i];
            y[i] = (float)sin(angle);
            y[half + i] = (float)cos(angle);
        }
    }
}

/* ---- the heavy ones ---------------------------------------------------------------------------
 */

aleat_conv_geometry aleat_step_geometry(const aleat_step *s)
{
    const aleat_conv_spec *spec = &s->node.attrs.conv;
    aleat_conv_geometry g = {.images = s->images,
                             .in_h = s->in[0].dims.h,
                             .in_w = s->in[0].dims.w,
                             .out_h = s->out.dims.h,
                             .out_w = s->out.dims.w,
                             .stride = spec->stride,
                             .pad_top = spec->pad_top,
                             .pad_left = spec->pad_left,
                             .upsample = s->upsample,
                             .dilate = 1,
                             .x_ld = s->in[0].ld,
                             .y_ld = s->out.ld};
    if (s->node.attrs.adjoint) { // pad' = kernel - 1 - pad, stride becomes dilation
        g.dilate = spec->stride;
        g.stride = 1;
        g.pad_top = spec->kernel_h - 1 - spec->pad_top;
        g.pad_left = spec->kernel_w - 1 - spec->pad_left;
    }
    return g;
}

static size_t conv_scratch(const aleat_step *s, const aleat_exec *exec)
{
    const aleat_conv_geometry g = aleat_step_geometry(s);
    return aleat_conv_scratch(exec->k, s->packed, &g, exec->threads);
}

static void run_conv(const aleat_step *s, const aleat_exec *exec)
{
    const aleat_conv_geometry g = aleat_step_geometry(s);
    const aleat_epilogue e = {.bias = s->param[1],
                              .vec = s->vec.data,
                              .vec_ld = s->vec.image_ld,
                              .residual = s->residual.data,
                              .residual_ld = s->residual.ld,
                              .scale = (float)s->scale,
                              .act = (aleat_fn)s->act};
    aleat_conv_run(exec->k, s->packed, &g, s->in[0].data, s->out.data, &e, exec->scratch,
                   exec->threads);
}

aleat_groupnorm aleat_step_groupnorm(const aleat_step *s)
{
    // a gradient has the scale_shift or the moments there, and these are more
    const bool own =
        s->node.op == ALEAT_OP_GROUPNORM_GRAD && s->in[2].dims.c == 2 * s->in[0].dims.c;
    const aleat_view *scale_shift = own ? &s->in[2] : &s->scale_shift;
    return (aleat_groupnorm){.images = s->images,
                             .rows = pixels(&s->in[0]),
                             .c = s->in[0].dims.c,
                             .groups = s->node.attrs.groups,
                             .x_ld = s->in[0].ld,
                             .y_ld = s->out.ld,
                             .eps = s->node.attrs.eps,
                             .gamma = s->param[0],
                             .beta = s->param[1],
                             .scale_shift = scale_shift->data,
                             .ss_ld = scale_shift->image_ld,
                             .act = (aleat_fn)s->act};
}

static size_t groupnorm_scratch(const aleat_step *s, const aleat_exec *exec)
{
    (void)exec;
    const aleat_groupnorm g = aleat_step_groupnorm(s);
    return aleat_groupnorm_scratch(&g);
}

static void run_groupnorm(const aleat_step *s, const aleat_exec *exec)
{
    const aleat_groupnorm g = aleat_step_groupnorm(s);
    aleat_groupnorm_run(exec->k, &g, s->in[0].data, s->out.data, s->side.data, exec->scratch,
                        exec->threads);
}

/** Of one pixel: its heads are the rows. */
static void headnorm_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    const int64_t heads = s->node.attrs.heads, width = s->out.dims.c / heads;
    exec->k->normalize_rows(pixel(&s->in[0], image, p), width, pixel(&s->out, image, p), width,
                            heads, width, s->param[0], s->param[1], (float)s->node.attrs.eps,
                            !s->node.attrs.rms);
}

static void run_layernorm(const aleat_step *s, const aleat_exec *exec)
{
    if (s->node.attrs.heads > 1) {
        aleat_exec_rows(s, exec, headnorm_row);
        return;
    }
    aleat_layernorm_run(exec->k, s->images * pixels(&s->out), s->out.dims.c, s->in[0].data,
                        s->in[0].ld, s->out.data, s->out.ld, s->param[0], s->param[1],
                        (float)s->node.attrs.eps, !s->node.attrs.rms, exec->threads);
}

aleat_attention aleat_step_attention(const aleat_step *s)
{
    return (aleat_attention){.images = s->images,
                             .heads = s->node.attrs.heads,
                             .head_dim = s->in[0].dims.c / s->node.attrs.heads,
                             .q_tokens = pixels(&s->in[0]),
                             .k_tokens = pixels(&s->in[1]),
                             .q_ld = s->in[0].ld,
                             .k_ld = s->in[1].ld,
                             .v_ld = s->in[2].ld,
                             .y_ld = s->out.ld,
                             .scale = (float)s->node.attrs.a,
                             .causal = s->node.attrs.causal,
                             .bias = s->param[0]};
}

static size_t attention_scratch(const aleat_step *s, const aleat_exec *exec)
{
    const aleat_attention a = aleat_step_attention(s);
    return aleat_attention_scratch(exec->k, &a, exec->threads);
}

static void run_attention(const aleat_step *s, const aleat_exec *exec)
{
    const aleat_attention a = aleat_step_attention(s);
    aleat_attention_run(exec->k, &a, s->in[0].data, s->in[1].data, s->in[2].data, s->out.data,
                        exec->scratch, exec->threads);
}

/* ---- rotary embedding -------------------------------------------------------------------------
 */

/** Positions of token p on the three axes. */
static void rope_position(const aleat_rope_spec *spec, int64_t p, double position[3])
{
    const int64_t image = p - spec->first;
    position[0] = 0;
    position[1] = image < 0 ? 0 : (double)(image / spec->w);
    position[2] = image < 0 ? 0 : (double)(image % spec->w);
}

static void rope_angles_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    const aleat_rope_spec *spec = &s->node.attrs.rope;
    float *y = pixel(&s->out, image, p);
    double position[3];
    rope_position(spec, p, position);
    for (int axis = 0; axis < 3; axis++)
        for (int64_t i = 0; i < spec->axes[axis]; i += 2) {
            const double turn = pow(spec->theta, -(double)i / (double)spec->axes[axis]);
            *y++ = (float)cos(position[axis] * turn);
            *y++ = (float)sin(position[axis] * turn);
        }
}

static void run_rope_angles(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, rope_angles_row);
}

static void rope_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    const float *x = pixel(&s->in[0], image, p), *angle = pixel(&s->in[1], image, p);
    const float way = s->node.attrs.adjoint ? -1.0f : 1.0f;
    const int64_t width = s->in[1].dims.c;
    float *y = pixel(&s->out, image, p);
    for (int64_t head = 0; head < s->out.dims.c; head += width)
        for (int64_t i = 0; i < width; i += 2) {
            const float a = x[head + i], b = x[head + i + 1];
            const float c = angle[i], sine = way * angle[i + 1];
            y[head + i] = a * c - b * sine;
            y[head + i + 1] = b * c + a * sine;
        }
}

static void run_rope(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, rope_row);
}

const aleat_op_exec *aleat_op_exec_of(aleat_op op)
{
    static const aleat_op_exec table[ALEAT_OP_COUNT] = {
        [ALEAT_OP_CONV] = {run_conv, conv_scratch},
        [ALEAT_OP_ACTIVATION] = {run_activation, NULL},
        [ALEAT_OP_GROUPNORM] = {run_groupnorm, groupnorm_scratch},
        [ALEAT_OP_LAYERNORM] = {run_layernorm, NULL},
        [ALEAT_OP_ADD] = {run_add, NULL},
        [ALEAT_OP_MULTIPLY] = {run_multiply, NULL},
        [ALEAT_OP_AFFINE] = {run_affine, NULL},
        [ALEAT_OP_DIVIDE] = {run_divide, NULL},
        [ALEAT_OP_SCALE_SHIFT] = {run_scale_shift, NULL},
        [ALEAT_OP_CONCAT] = {run_concat, NULL},
        [ALEAT_OP_CONCAT_TOKENS] = {run_concat_tokens, NULL},
        [ALEAT_OP_SLICE_TOKENS] = {run_slice_tokens, NULL},
        [ALEAT_OP_SLICE] = {run_slice, NULL},
        [ALEAT_OP_AVGPOOL] = {run_pool, NULL},
        [ALEAT_OP_MAXPOOL] = {run_pool, NULL},
        [ALEAT_OP_UPSAMPLE] = {run_upsample, NULL},
        [ALEAT_OP_UNPATCHIFY] = {run_unpatchify, NULL},
        [ALEAT_OP_ATTENTION] = {run_attention, attention_scratch},
        [ALEAT_OP_ROPE_ANGLES] = {run_rope_angles, NULL},
        [ALEAT_OP_ROPE] = {run_rope, NULL},
        [ALEAT_OP_EMBEDDING] = {run_embedding, NULL},
        [ALEAT_OP_SINUSOID] = {run_sinusoid, NULL},
        [ALEAT_OP_FOURIER] = {run_fourier, NULL},
        [ALEAT_OP_ACTIVATION_GRAD] = {aleat_run_activation_grad, NULL},
        [ALEAT_OP_GROUPNORM_GRAD] = {aleat_run_groupnorm_grad, groupnorm_scratch},
        [ALEAT_OP_LAYERNORM_GRAD] = {aleat_run_layernorm_grad, NULL},
        [ALEAT_OP_SCALE_SHIFT_GRAD] = {aleat_run_scale_shift_grad, NULL},
        [ALEAT_OP_ATTENTION_GRAD] = {aleat_run_attention_grad, aleat_attention_grad_step_scratch},
        [ALEAT_OP_PAD_CHANNELS] = {aleat_run_pad_channels, NULL},
        [ALEAT_OP_PAD_TOKENS] = {aleat_run_pad_tokens, NULL},
        [ALEAT_OP_SUMPOOL] = {aleat_run_sumpool, NULL},
        [ALEAT_OP_AVGPOOL_GRAD] = {aleat_run_avgpool_grad, NULL},
        [ALEAT_OP_PATCHIFY] = {aleat_run_patchify, NULL},
        [ALEAT_OP_GROUPNORM_JVP] = {aleat_run_groupnorm_jvp, groupnorm_scratch},
        [ALEAT_OP_LAYERNORM_JVP] = {aleat_run_layernorm_jvp, NULL},
        [ALEAT_OP_ATTENTION_JVP] = {aleat_run_attention_jvp, aleat_attention_jvp_step_scratch},
        [ALEAT_OP_DROPOUT] = {aleat_run_dropout, aleat_dropout_scratch},
        [ALEAT_OP_CONV_WEIGHT_GRAD] = {aleat_run_conv_weight_grad, aleat_conv_weight_grad_scratch},
        [ALEAT_OP_EMBEDDING_GRAD] = {aleat_run_embedding_grad, NULL},
        [ALEAT_OP_SUM_PIXELS] = {aleat_run_sum_pixels, aleat_sum_pixels_scratch},
        [ALEAT_OP_SUM_IMAGES] = {aleat_run_sum_images, NULL},
    };
    return &table[op];
}
