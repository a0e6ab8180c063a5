#include "graph/init.h"

#include <math.h>

#include "base/rng.h"
#include "graph/node.h"

/** FNV-1a, 32 bits: names the stream of a tensor. */
static uint32_t hash_of(const char *name)
{
    uint32_t h = 2166136261u;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 16777619u;
    return h;
}

/** Is `param` the parameter `whole` or one of what it is made of? */
static bool is_part(const aleat_graph *graph, aleat_param param, aleat_param whole)
{
    if (whole == ALEAT_NO_PARAM || param == whole)
        return whole != ALEAT_NO_PARAM;
    const aleat_param_info *info = &graph->params[whole];
    for (int i = 0; i < info->n_parts; i++)
        if (is_part(graph, param, info->parts[i]))
            return true;
    return false;
}

/** The first operation that takes the tensor, and as which of its parameters. */
static const aleat_node *user_of(const aleat_graph *graph, aleat_param tensor, int *slot)
{
    for (aleat_value v = 0; v < graph->n_nodes; v++) {
        const aleat_node *node = aleat_graph_node(graph, v);
        for (*slot = 0; *slot < ALEAT_NODE_PARAMS && node->op != ALEAT_OP_INPUT; (*slot)++)
            if (is_part(graph, tensor, node->param[*slot]))
                return node;
    }
    return NULL;
}

static void fill_uniform(const aleat_rng_key *key, float *dst, int64_t count, double bound)
{
    aleat_rng_uniforms(key, dst, count);
    for (int64_t i = 0; i < count; i++)
        dst[i] = (float)((2 * (double)dst[i] - 1) * bound);
}

static void fill_normal(const aleat_rng_key *key, float *dst, int64_t count, double sd)
{
    aleat_rng_normals(key, 0, dst, count);
    for (int64_t i = 0; i < count; i++)
        dst[i] = (float)((double)dst[i] * sd);
}

void aleat_graph_init(const aleat_graph *graph, aleat_param tensor, uint64_t seed, float *dst)
{
    int slot = 0;
    const int64_t count = aleat_param_count(graph, tensor);
    const aleat_node *node = user_of(graph, tensor, &slot);
    const aleat_rng_key key = {.seed = seed,
                               .image = hash_of(graph->params[tensor].name),
                               .copy = 2,
                               .purpose = ALEAT_FOR_TRAINING};
    switch (node ? node->op : ALEAT_OP_COUNT) {
    case ALEAT_OP_CONV: {
        const aleat_conv_spec *s = &node->attrs.conv;
        const int64_t c_in = aleat_graph_dims(graph, node->in[0]).c;
        fill_uniform(&key, dst, count, 1 / sqrt((double)(c_in * s->kernel_h * s->kernel_w)));
        break;
    }
    case ALEAT_OP_GROUPNORM:
    case ALEAT_OP_LAYERNORM:
        for (int64_t i = 0; i < count; i++)
            dst[i] = slot == 0 ? 1.0f : 0.0f;
        break;
    case ALEAT_OP_EMBEDDING:
    case ALEAT_OP_FOURIER: fill_normal(&key, dst, count, 1); break;
    default: fill_normal(&key, dst, count, 0.02); break;
    }
}
