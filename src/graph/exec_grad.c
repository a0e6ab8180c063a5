/* How the operations of reverse mode run. Each has the forward's inputs first, then the cotangent.
 */
#include <string.h>

#include "base/parallel.h"
#include "graph/exec_ops.h"

static int64_t pixels(const aleat_view *v)
{
    return v->dims.h * v->dims.w;
}

static float *pixel(const aleat_view *v, int64_t image, int64_t p)
{
    return v->data + image * v->image_ld + p * v->ld;
}

/** in: x, dy. */
static void activation_grad_row(const aleat_step *s, const aleat_exec *exec, int64_t image,
                                int64_t p)
{
    exec->k->map_grad(pixel(&s->in[0], image, p), pixel(&s->in[1], image, p),
                      pixel(&s->out, image, p), s->out.dims.c, (aleat_fn)s->act);
}

void aleat_run_activation_grad(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, activation_grad_row);
}

/** in: x, dy, and the moments that the norm left, or, if it is modulated, the scale_shift. */
void aleat_run_groupnorm_grad(const aleat_step *s, const aleat_exec *exec)
{
    const aleat_groupnorm g = aleat_step_groupnorm(s);
    const float *moments = g.scale_shift ? NULL : s->in[2].data;
    aleat_groupnorm_grad(exec->k, &g, s->in[0].data, moments, s->in[1].data, s->in[1].ld,
                         s->out.data, s->side.data, exec->scratch, exec->threads);
}

aleat_layernorm_rows aleat_step_layernorm(const aleat_step *s)
{
    return (aleat_layernorm_rows){.rows = s->images * pixels(&s->out),
                                  .c = s->out.dims.c,
                                  .x = s->in[0].data,
                                  .t = s->in[1].data,
                                  .y = s->out.data,
                                  .x_ld = s->in[0].ld,
                                  .t_ld = s->in[1].ld,
                                  .y_ld = s->out.ld,
                                  .eps = (float)s->node.attrs.eps,
                                  .centre = !s->node.attrs.rms};
}

/** in: x and a cotangent, or a tangent; the heads of a pixel are the rows. */
void aleat_headnorm_jacobian_row(const aleat_step *s, const aleat_exec *exec, int64_t image,
                                 int64_t p)
{
    const int64_t heads = s->node.attrs.heads, width = s->out.dims.c / heads;
    const bool reverse = s->node.op == ALEAT_OP_LAYERNORM_GRAD;
    exec->k->normalize_rows_jacobian(pixel(&s->in[0], image, p), width, pixel(&s->in[1], image, p),
                                     width, pixel(&s->out, image, p), width, heads, width,
                                     reverse ? s->param[0] : NULL, reverse ? NULL : s->param[0],
                                     (float)s->node.attrs.eps, !s->node.attrs.rms);
}

/** in: x, dy. */
void aleat_run_layernorm_grad(const aleat_step *s, const aleat_exec *exec)
{
    if (s->node.attrs.heads > 1) {
        aleat_exec_rows(s, exec, aleat_headnorm_jacobian_row);
        return;
    }
    const aleat_layernorm_rows r = aleat_step_layernorm(s);
    aleat_layernorm_jacobian(exec->k, &r, s->param[0], NULL, exec->threads);
    if (s->side.data)
        aleat_layernorm_param_grad(s, exec);
}

/** in: x, scale_shift, dy. Leaves g = act'(x (1 + scale) + shift) dy in the row of dx. */
static float *scale_shift_inner(const aleat_step *s, const aleat_exec *exec, int64_t image,
                                int64_t p)
{
    const float *x = pixel(&s->in[0], image, p), *ss = pixel(&s->in[1], image, 0);
    float *dx = pixel(&s->out, image, p);
    const int64_t n = s->out.dims.c;
    for (int64_t c = 0; c < n; c++)
        dx[c] = x[c] * (1.0f + ss[c]) + ss[n + c];
    exec->k->map_grad(dx, pixel(&s->in[2], image, p), dx, n, (aleat_fn)s->act);
    return dx;
}

/** side: [d scale | d shift] of the image = sums over its pixels of g x and of g. */
static void scale_shift_grad_images(void *ctx, int64_t begin, int64_t end, int thread)
{
    (void)thread;
    const aleat_step_job *job = ctx;
    const aleat_step *s = job->step;
    const int64_t n = s->out.dims.c;
    for (int64_t image = begin; image < end; image++) {
        const float *ss = pixel(&s->in[1], image, 0);
        float *side = s->side.data ? pixel(&s->side, image, 0) : NULL;
        if (side)
            memset(side, 0, (size_t)(2 * n) * sizeof *side);
        for (int64_t p = 0; p < pixels(&s->out); p++) {
            const float *x = pixel(&s->in[0], image, p);
            float *dx = scale_shift_inner(s, job->exec, image, p);
            for (int64_t c = 0; c < n && side; c++) {
                side[c] += dx[c] * x[c];
                side[n + c] += dx[c];
            }
            for (int64_t c = 0; c < n; c++)
                dx[c] *= 1.0f + ss[c];
        }
    }
}

void aleat_run_scale_shift_grad(const aleat_step *s, const aleat_exec *exec)
{
    aleat_step_job job = {s, exec};
    aleat_parallel_for(exec->threads, s->images, scale_shift_grad_images, &job);
}

size_t aleat_attention_grad_step_scratch(const aleat_step *s, const aleat_exec *exec)
{
    const aleat_attention a = aleat_step_attention(s);
    return aleat_attention_grad_scratch(exec->k, &a, exec->threads);
}

/** in: q, k, v, dy; out: [dq | dk | dv] on the channel axis, or dq and, if somebody wants it, a
 * second result [dk | dv]. */
void aleat_run_attention_grad(const aleat_step *s, const aleat_exec *exec)
{
    const aleat_attention a = aleat_step_attention(s);
    const int64_t c = s->in[0].dims.c;
    const bool joint = s->out.dims.c == 3 * c;
    const aleat_view *kv = joint ? &s->out : &s->side;
    float *dk = joint ? kv->data + c : kv->data;
    const aleat_attention_grad g = {.q = s->in[0].data,
                                    .k = s->in[1].data,
                                    .v = s->in[2].data,
                                    .dy = s->in[3].data,
                                    .dq = s->out.data,
                                    .dk = dk,
                                    .dv = dk ? dk + c : NULL,
                                    .dy_ld = s->in[3].ld,
                                    .dq_ld = s->out.ld,
                                    .dk_ld = kv->ld,
                                    .dv_ld = kv->ld};
    aleat_attention_grad_run(exec->k, &a, &g, exec->scratch, exec->threads);
}

static void pad_channels_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    float *y = pixel(&s->out, image, p);
    memset(y, 0, (size_t)s->out.dims.c * sizeof *y);
    memcpy(y + s->node.attrs.begin, pixel(&s->in[0], image, p),
           (size_t)s->in[0].dims.c * sizeof *y);
}

void aleat_run_pad_channels(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, pad_channels_row);
}

static void pad_tokens_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    float *y = pixel(&s->out, image, p);
    const int64_t from = p - s->node.attrs.begin;
    if (from < 0 || from >= pixels(&s->in[0]))
        memset(y, 0, (size_t)s->out.dims.c * sizeof *y);
    else
        memcpy(y, pixel(&s->in[0], image, from), (size_t)s->out.dims.c * sizeof *y);
}

void aleat_run_pad_tokens(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, pad_tokens_row);
}

/** Adjoint of nearest-neighbour enlargement: sums over the pixels that copied this one. */
static void sumpool_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    const aleat_dims from = s->in[0].dims, to = s->out.dims;
    float *y = pixel(&s->out, image, p);
    memset(y, 0, (size_t)to.c * sizeof *y);
    const int64_t oy = p / to.w, ox = p % to.w;
    for (int64_t iy = (oy * from.h + to.h - 1) / to.h; iy < from.h && iy * to.h / from.h == oy;
         iy++)
        for (int64_t ix = (ox * from.w + to.w - 1) / to.w; ix < from.w && ix * to.w / from.w == ox;
             ix++) {
            const float *x = pixel(&s->in[0], image, iy * from.w + ix);
            for (int64_t c = 0; c < to.c; c++)
                y[c] += x[c];
        }
}

void aleat_run_sumpool(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, sumpool_row);
}

/** First and one past the last position o of a window of `kernel` pixels that covers pixel i. */
static void covering(int64_t i, int64_t kernel, int64_t stride, int64_t pad, int64_t count,
                     int64_t *begin, int64_t *end)
{
    const int64_t last = (i + pad) / stride, before = i + pad - kernel;
    *begin = before < 0 ? 0 : before / stride + 1;
    *end = last < count ? last + 1 : count;
}

/** Pixels inside an image side of a window at position o. */
static int64_t inside(int64_t o, int64_t kernel, int64_t stride, int64_t pad, int64_t size)
{
    const int64_t begin = o * stride - pad, end = begin + kernel;
    return (end < size ? end : size) - (begin < 0 ? 0 : begin);
}

/** Adjoint of the mean over windows: each window gives its pixels equal shares. */
static void avgpool_grad_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    const aleat_conv_spec *w = &s->node.attrs.conv;
    const aleat_dims from = s->in[0].dims, to = s->out.dims;
    float *y = pixel(&s->out, image, p);
    int64_t top, bottom, left, right;
    memset(y, 0, (size_t)to.c * sizeof *y);
    covering(p / to.w, w->kernel_h, w->stride, w->pad_top, from.h, &top, &bottom);
    covering(p % to.w, w->kernel_w, w->stride, w->pad_left, from.w, &left, &right);
    for (int64_t oy = top; oy < bottom; oy++)
        for (int64_t ox = left; ox < right; ox++) {
            const float *x = pixel(&s->in[0], image, oy * from.w + ox);
            const float share =
                1.0f / (float)(inside(oy, w->kernel_h, w->stride, w->pad_top, to.h) *
                               inside(ox, w->kernel_w, w->stride, w->pad_left, to.w));
            for (int64_t c = 0; c < to.c; c++)
                y[c] += share * x[c];
        }
}

void aleat_run_avgpool_grad(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, avgpool_grad_row);
}

static void patchify_row(const aleat_step *s, const aleat_exec *exec, int64_t image, int64_t p)
{
    (void)exec;
    const int64_t f = s->node.attrs.factor, c = s->in[0].dims.c;
    const int64_t y0 = p / s->out.dims.w * f, x0 = p % s->out.dims.w * f;
    float *y = pixel(&s->out, image, p);
    for (int64_t i = 0; i < f * f; i++)
        memcpy(y + i * c, pixel(&s->in[0], image, (y0 + i / f) * s->in[0].dims.w + x0 + i % f),
               (size_t)c * sizeof *y);
}

void aleat_run_patchify(const aleat_step *s, const aleat_exec *exec)
{
    aleat_exec_rows(s, exec, patchify_row);
}
