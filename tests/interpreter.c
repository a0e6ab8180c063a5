#include "interpreter.h"

#include "numbers.h"

#include "graph/node.h"

struct interpreter {
    const aleat_graph *graph;
    int64_t images;
    double **values; // one a node
};

// A node at work: where its inputs are, how large, and its parameters.
typedef struct work {
    const aleat_node *node;
    int64_t images, pixels; // of the result
    const double *in[ALEAT_NODE_INPUTS];
    aleat_dims dims[ALEAT_NODE_INPUTS];
    float *param[ALEAT_NODE_PARAMS];
    double *out;
} work;

static int64_t size_of(aleat_dims d)
{
    return d.h * d.w * d.c;
}

static const double *row_of(const work *w, int i, int64_t image, int64_t p)
{
    return w->in[i] + image * size_of(w->dims[i]) + p * w->dims[i].c;
}

/* ---- operations on one pixel ----------------------------------------------------------------- */

static void conv(const work *w, int64_t image, int64_t p, double *y)
{
    const aleat_conv_spec *s = &w->node->attrs.conv;
    const aleat_dims in = w->dims[0], out = w->node->dims;
    for (int64_t o = 0; o < out.c; o++)
        y[o] = w->param[1] ? (double)w->param[1][o] : 0;
    for (int64_t t = 0; t < s->kernel_h * s->kernel_w; t++) {
        const int64_t iy = p / out.w * s->stride + t / s->kernel_w - s->pad_top;
        const int64_t ix = p % out.w * s->stride + t % s->kernel_w - s->pad_left;
        if (iy < 0 || ix < 0 || iy >= in.h || ix >= in.w)
            continue;
        const double *x = row_of(w, 0, image, iy * in.w + ix);
        for (int64_t o = 0; o < out.c; o++)
            for (int64_t i = 0; i < in.c; i++)
                y[o] += x[i] * (double)w->param[0][(o * in.c + i) * s->kernel_h * s->kernel_w + t];
    }
}

static void elementwise(const work *w, int64_t image, int64_t p, double *y)
{
    const aleat_attrs *a = &w->node->attrs;
    const aleat_fn act = (aleat_fn)a->act;
    const double *x = row_of(w, 0, image, p);
    const bool vector = w->node->n_in > 1 && w->dims[1].h * w->dims[1].w == 1;
    const double *z = w->node->n_in > 1 ? row_of(w, 1, image, vector ? 0 : p) : NULL;
    const int64_t n = w->node->dims.c;
    for (int64_t c = 0; c < n; c++)
        switch (w->node->op) {
        case ALEAT_OP_ACTIVATION: y[c] = function_of(act, x[c]); break;
        case ALEAT_OP_ADD: y[c] = x[c] + z[c]; break;
        case ALEAT_OP_MULTIPLY: y[c] = x[c] * z[c]; break;
        case ALEAT_OP_AFFINE: y[c] = a->a * x[c] + a->b; break;
        case ALEAT_OP_DIVIDE: y[c] = x[c] / z[0]; break;
        case ALEAT_OP_SCALE_SHIFT: y[c] = function_of(act, x[c] * (1 + z[c]) + z[n + c]); break;
        default: y[c] = x[c]; break; // dropout outside training
        }
}

static void layernorm(const work *w, int64_t image, int64_t p, double *y)
{
    const double *x = row_of(w, 0, image, p);
    const int64_t n = w->node->dims.c / w->node->attrs.heads;
    for (int64_t head = 0; head < w->node->attrs.heads; head++, x += n, y += n) {
        double mean = 0, var = 0;
        for (int64_t c = 0; c < n && !w->node->attrs.rms; c++)
            mean += x[c] / (double)n;
        for (int64_t c = 0; c < n; c++)
            var += (x[c] - mean) * (x[c] - mean) / (double)n;
        for (int64_t c = 0; c < n; c++)
            y[c] = (x[c] - mean) / sqrt(var + w->node->attrs.eps) *
                       (w->param[0] ? (double)w->param[0][c] : 1) +
                   (w->param[1] ? (double)w->param[1][c] : 0);
    }
}

static void rope_angles(const work *w, int64_t image, int64_t p, double *y)
{
    (void)image;
    const aleat_rope_spec *s = &w->node->attrs.rope;
    const int64_t at = p - s->first;
    const double position[3] = {0, at < 0 ? 0 : (double)(at / s->w),
                                at < 0 ? 0 : (double)(at % s->w)};
    for (int axis = 0; axis < 3; axis++)
        for (int64_t i = 0; i < s->axes[axis] / 2; i++) {
            const double angle =
                position[axis] / pow(s->theta, 2.0 * (double)i / (double)s->axes[axis]);
            *y++ = cos(angle);
            *y++ = sin(angle);
        }
}

static void rope(const work *w, int64_t image, int64_t p, double *y)
{
    const double *x = row_of(w, 0, image, p), *angle = row_of(w, 1, image, p);
    for (int64_t c = 0; c < w->node->dims.c; c++) {
        const int64_t pair = c % w->dims[1].c / 2 * 2;
        y[c] = c % 2 ? x[c] * angle[pair] + x[c - 1] * angle[pair + 1]
                     : x[c] * angle[pair] - x[c + 1] * angle[pair + 1];
    }
}

static void groupnorm(const work *w, int64_t image, int64_t p, double *y)
{
    const int64_t n = w->node->dims.c, width = n / w->node->attrs.groups;
    const double count = (double)(w->pixels * width);
    for (int64_t c = 0; c < n; c++) {
        double mean = 0, var = 0;
        for (int64_t i = 0; i < w->pixels * width; i++)
            mean += row_of(w, 0, image, i / width)[c / width * width + i % width] / count;
        for (int64_t i = 0; i < w->pixels * width; i++)
            var += pow(row_of(w, 0, image, i / width)[c / width * width + i % width] - mean, 2) /
                   count;
        const double z = (row_of(w, 0, image, p)[c] - mean) / sqrt(var + w->node->attrs.eps);
        y[c] = function_of((aleat_fn)w->node->attrs.act,
                           z * (w->param[0] ? (double)w->param[0][c] : 1) +
                               (w->param[1] ? (double)w->param[1][c] : 0));
    }
}

static void attention(const work *w, int64_t image, int64_t p, double *y)
{
    const int64_t n = w->node->dims.c, dim = n / w->node->attrs.heads;
    const int64_t tokens = w->dims[1].h * w->dims[1].w;
    const double *q = row_of(w, 0, image, p);
    for (int64_t head = 0; head < n; head += dim) {
        double total = 0;
        for (int64_t c = head; c < head + dim; c++)
            y[c] = 0;
        for (int64_t t = 0; t < tokens; t++) {
            const double *k = row_of(w, 1, image, t), *v = row_of(w, 2, image, t);
            double score = 0;
            for (int64_t c = head; c < head + dim; c++)
                score += q[c] * k[c];
            score *= w->node->attrs.a;
            if (w->param[0]) // by head and distance
                score +=
                    (double)
                        w->param[0][head / dim * (w->pixels + tokens - 1) + t - p + w->pixels - 1];
            const double weight = w->node->attrs.causal && t > p ? 0 : exp(score);
            total += weight;
            for (int64_t c = head; c < head + dim; c++)
                y[c] += weight * v[c];
        }
        for (int64_t c = head; c < head + dim; c++)
            y[c] /= total;
    }
}

// Operations that copy rows, or parts of rows, from elsewhere.
static void copies(const work *w, int64_t image, int64_t p, double *y)
{
    const aleat_dims in = w->dims[0], out = w->node->dims;
    const int64_t begin = w->node->attrs.begin, first = in.h * in.w;
    const int64_t oy = p / out.w, ox = p % out.w, f = w->node->attrs.factor;
    const double *x = NULL;
    switch (w->node->op) {
    case ALEAT_OP_SLICE: x = row_of(w, 0, image, p) + begin; break;
    case ALEAT_OP_SLICE_TOKENS: x = row_of(w, 0, image, begin + p); break;
    case ALEAT_OP_CONCAT_TOKENS:
        x = p < first ? row_of(w, 0, image, p) : row_of(w, 1, image, p - first);
        break;
    case ALEAT_OP_UPSAMPLE:
        x = row_of(w, 0, image, oy * in.h / out.h * in.w + ox * in.w / out.w);
        break;
    case ALEAT_OP_UNPATCHIFY:
        x = row_of(w, 0, image, oy / f * in.w + ox / f) + (oy % f * f + ox % f) * out.c;
        break;
    default: fail_msg("the interpreter does not know '%s'", aleat_op_name(w->node->op));
    }
    memcpy(y, x, (size_t)out.c * sizeof *y);
}

static void embedding(const work *w, int64_t image, int64_t p, double *y)
{
    for (int64_t c = 0; c < w->node->dims.c; c++)
        y[c] = (double)w->param[0][(int64_t)*row_of(w, 0, image, p) * w->node->dims.c + c];
}

static void concat(const work *w, int64_t image, int64_t p, double *y)
{
    memcpy(y, row_of(w, 0, image, p), (size_t)w->dims[0].c * sizeof *y);
    memcpy(y + w->dims[0].c, row_of(w, 1, image, p), (size_t)w->dims[1].c * sizeof *y);
}

static void pool(const work *w, int64_t image, int64_t p, double *y)
{
    const aleat_conv_spec *s = &w->node->attrs.conv;
    const aleat_dims in = w->dims[0], out = w->node->dims;
    for (int64_t c = 0; c < out.c; c++) {
        double sum = 0, max = -INFINITY, count = 0;
        for (int64_t t = 0; t < s->kernel_h * s->kernel_w; t++) {
            const int64_t iy = p / out.w * s->stride + t / s->kernel_w - s->pad_top;
            const int64_t ix = p % out.w * s->stride + t % s->kernel_w - s->pad_left;
            if (iy < 0 || ix < 0 || iy >= in.h || ix >= in.w)
                continue;
            const double x = row_of(w, 0, image, iy * in.w + ix)[c];
            sum += x;
            max = fmax(max, x);
            count++;
        }
        y[c] = w->node->op == ALEAT_OP_MAXPOOL ? max : sum / count;
    }
}

static void pad_channels(const work *w, int64_t image, int64_t p, double *y)
{
    for (int64_t c = 0; c < w->node->dims.c; c++)
        y[c] = 0;
    memcpy(y + w->node->attrs.begin, row_of(w, 0, image, p), (size_t)w->dims[0].c * sizeof *y);
}

/* ---- the whole ------------------------------------------------------------------------------- */

interpreter *interpreter_new(const aleat_graph *graph, int64_t images)
{
    interpreter *in = aleat_calloc(1, sizeof *in);
    assert_non_null(in);
    in->graph = graph;
    in->images = images;
    in->values = aleat_calloc((size_t)graph->n_nodes, sizeof *in->values);
    assert_non_null(in->values);
    for (int64_t v = 0; v < graph->n_nodes; v++)
        in->values[v] = doubles(images * size_of(graph->nodes[v].dims));
    return in;
}

void interpreter_free(interpreter *in)
{
    for (int64_t v = 0; v < in->graph->n_nodes; v++)
        aleat_free(in->values[v]);
    aleat_free(in->values);
    aleat_free(in);
}

double *interpreter_value(interpreter *in, aleat_value v)
{
    return in->values[v];
}

static void run_node(const work *w)
{
    static void (*const pixel_of[ALEAT_OP_COUNT])(const work *, int64_t, int64_t, double *) = {
        [ALEAT_OP_CONV] = conv,
        [ALEAT_OP_GROUPNORM] = groupnorm,
        [ALEAT_OP_LAYERNORM] = layernorm,
        [ALEAT_OP_ACTIVATION] = elementwise,
        [ALEAT_OP_ADD] = elementwise,
        [ALEAT_OP_AFFINE] = elementwise,
        [ALEAT_OP_DIVIDE] = elementwise,
        [ALEAT_OP_SCALE_SHIFT] = elementwise,
        [ALEAT_OP_DROPOUT] = elementwise,
        [ALEAT_OP_ATTENTION] = attention,
        [ALEAT_OP_CONCAT] = concat,
        [ALEAT_OP_AVGPOOL] = pool,
        [ALEAT_OP_MAXPOOL] = pool,
        [ALEAT_OP_PAD_CHANNELS] = pad_channels,
        [ALEAT_OP_MULTIPLY] = elementwise,
        [ALEAT_OP_EMBEDDING] = embedding,
        [ALEAT_OP_ROPE_ANGLES] = rope_angles,
        [ALEAT_OP_ROPE] = rope,
    };
    for (int64_t i = 0; i < w->images * w->pixels; i++) {
        double *y = w->out + i * w->node->dims.c;
        if (pixel_of[w->node->op])
            pixel_of[w->node->op](w, i / w->pixels, i % w->pixels, y);
        else
            copies(w, i / w->pixels, i % w->pixels, y);
    }
}

void interpreter_run(interpreter *in)
{
    for (int64_t v = 0; v < in->graph->n_nodes; v++) {
        const aleat_node *node = &in->graph->nodes[v];
        work w = {.node = node,
                  .images = in->images,
                  .pixels = node->dims.h * node->dims.w,
                  .out = in->values[v]};
        if (node->op == ALEAT_OP_INPUT)
            continue;
        for (int i = 0; i < node->n_in; i++) {
            w.in[i] = in->values[node->in[i]];
            w.dims[i] = in->graph->nodes[node->in[i]].dims;
        }
        for (int i = 0; i < ALEAT_NODE_PARAMS; i++)
            if (node->param[i] != ALEAT_NO_PARAM) {
                w.param[i] = floats(aleat_param_count(in->graph, node->param[i]), 0);
                assert_true(aleat_param_load(in->graph, node->param[i], w.param[i]));
            }
        if (node->op == ALEAT_OP_CONSTANT)
            for (int64_t i = 0; i < in->images * size_of(node->dims); i++)
                w.out[i] = (double)w.param[0][i % size_of(node->dims)];
        else
            run_node(&w);
        for (int i = 0; i < ALEAT_NODE_PARAMS; i++)
            aleat_free(w.param[i]);
    }
}
