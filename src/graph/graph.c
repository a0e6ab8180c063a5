/* Building: storage of nodes and parameters, sticky errors. The operations are in build.c. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "graph/node.h"

aleat_graph *aleat_graph_new(aleat_weights *weights)
{
    aleat_graph *graph = aleat_calloc(1, sizeof *graph);
    if (graph)
        graph->weights = weights;
    return graph;
}

void aleat_graph_free(aleat_graph *graph)
{
    if (!graph)
        return;
    for (int64_t i = 0; i < graph->n_params; i++) {
        aleat_free(graph->params[i].name);
        aleat_free(graph->params[i].parts);
        aleat_free(graph->params[i].order);
    }
    aleat_free(graph->params);
    aleat_free(graph->nodes);
    aleat_free(graph);
}

aleat_status aleat_graph_check(const aleat_graph *graph, aleat_error *err)
{
    if (!graph)
        return aleat_fail_memory(err, "a graph");
    if (graph->error.status && err)
        *err = graph->error;
    return graph->error.status;
}

aleat_value aleat_graph_fail(aleat_graph *graph, aleat_status status, const char *fmt, ...)
{
    if (!graph || graph->error.status)
        return ALEAT_NO_VALUE;
    char message[ALEAT_ERROR_TEXT];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    (void)aleat_fail(&graph->error, status, "%s", message);
    return ALEAT_NO_VALUE;
}

/** Makes room for one more item in a growing array. */
static bool grow(void **items, int64_t count, int64_t *capacity, size_t size)
{
    if (count < *capacity)
        return true;
    const int64_t wanted = *capacity ? 2 * *capacity : 64;
    void *larger = aleat_realloc(*items, (size_t)*capacity * size, (size_t)wanted * size);
    if (!larger)
        return false;
    *items = larger;
    *capacity = wanted;
    return true;
}

aleat_value aleat_graph_add(aleat_graph *graph, const aleat_node *node)
{
    if (!graph || graph->error.status)
        return ALEAT_NO_VALUE;
    for (int i = 0; i < node->n_in; i++)
        if (node->in[i] < 0 || node->in[i] >= graph->n_nodes)
            return aleat_graph_fail(graph, ALEAT_ERR_ARGUMENT, "%s: input %d does not exist",
                                    aleat_op_name(node->op), i);
    if (!grow((void **)&graph->nodes, graph->n_nodes, &graph->cap_nodes, sizeof *graph->nodes))
        return aleat_graph_fail(graph, ALEAT_ERR_MEMORY, "out of memory: graph nodes");
    graph->nodes[graph->n_nodes] = *node;
    return (aleat_value)graph->n_nodes++;
}

aleat_dims aleat_graph_dims(const aleat_graph *graph, aleat_value x)
{
    if (!graph || x < 0 || x >= graph->n_nodes)
        return (aleat_dims){0};
    return graph->nodes[x].dims;
}

double aleat_graph_dropout(const aleat_graph *graph)
{
    double most = 0;
    for (int64_t v = 0; v < graph->n_nodes; v++)
        if (graph->nodes[v].op == ALEAT_OP_DROPOUT)
            most = fmax(most, graph->nodes[v].attrs.a);
    return most;
}

aleat_value aleat_graph_input(aleat_graph *graph, const char *name, aleat_dims dims)
{
    return aleat_graph_add(graph, &(aleat_node){.op = ALEAT_OP_INPUT, .dims = dims, .name = name});
}

aleat_value aleat_graph_condition(aleat_graph *graph, const char *name, aleat_dims dims)
{
    return aleat_graph_add(
        graph, &(aleat_node){.op = ALEAT_OP_INPUT, .dims = dims, .name = name, .condition = true});
}

void aleat_graph_output(aleat_graph *graph, const char *name, aleat_value x)
{
    if (!graph || graph->error.status)
        return;
    const int most = (int)(sizeof graph->outputs / sizeof *graph->outputs);
    if (x < 0 || x >= graph->n_nodes || graph->n_outputs == most) {
        (void)aleat_graph_fail(graph, ALEAT_ERR_ARGUMENT, "output '%s' cannot be added", name);
        return;
    }
    graph->outputs[graph->n_outputs++] = (aleat_graph_output_info){.name = name, .value = x};
}

/* ---- parameters ------------------------------------------------------------------------------ */

/** Takes over what `info` owns, also when it fails. */
static aleat_param add_param(aleat_graph *graph, const aleat_param_info *info)
{
    if (!grow((void **)&graph->params, graph->n_params, &graph->cap_params,
              sizeof *graph->params)) {
        aleat_free(info->parts);
        aleat_free(info->order);
        return aleat_graph_fail(graph, ALEAT_ERR_MEMORY, "out of memory: graph parameters");
    }
    graph->params[graph->n_params] = *info;
    return (aleat_param)graph->n_params++;
}

static aleat_param add_tensor(aleat_graph *graph, const char *name, const aleat_shape *shape,
                              aleat_weight *weight)
{
    char *copy = aleat_strdup(name);
    if (!copy)
        return aleat_graph_fail(graph, ALEAT_ERR_MEMORY, "out of memory: a tensor's name");
    const aleat_param param =
        add_param(graph, &(aleat_param_info){.name = copy, .weight = weight, .shape = *shape});
    if (param == ALEAT_NO_PARAM)
        aleat_free(copy);
    return param;
}

bool aleat_graph_has(const aleat_graph *graph, const char *name)
{
    return graph && graph->weights && aleat_weights_find(graph->weights, name);
}

aleat_param aleat_graph_param(aleat_graph *graph, const char *name, const aleat_shape *shape)
{
    if (!graph || graph->error.status)
        return ALEAT_NO_PARAM;
    if (!graph->weights)
        return add_tensor(graph, name, shape, NULL);
    char have[128], want[128];
    aleat_shape_text(shape, want, sizeof want);
    const char *path = aleat_weights_path(graph->weights);
    aleat_weight *weight = aleat_weights_find(graph->weights, name);
    if (!weight)
        return aleat_graph_fail(graph, ALEAT_ERR_FORMAT,
                                "%s: tensor '%s' of shape %s is missing; the config needs it", path,
                                name, want);
    if (!aleat_shape_equal(&weight->shape, shape))
        return aleat_graph_fail(graph, ALEAT_ERR_SHAPE,
                                "%s: tensor '%s' is %s, the config needs %s", path, name,
                                aleat_shape_text(&weight->shape, have, sizeof have), want);
    weight->used = true;
    return add_tensor(graph, name, shape, weight);
}

int64_t aleat_graph_params(const aleat_graph *graph)
{
    return graph->n_params;
}

const char *aleat_graph_tensor(const aleat_graph *graph, aleat_param param, aleat_shape *shape)
{
    *shape = graph->params[param].shape;
    return graph->params[param].name;
}

aleat_param aleat_graph_param_stack(aleat_graph *graph, const aleat_param *parts, int count)
{
    if (!graph || graph->error.status)
        return ALEAT_NO_PARAM;
    aleat_param_info info = {.n_parts = count};
    for (int i = 0; i < count; i++) {
        if (parts[i] < 0 || parts[i] >= graph->n_params)
            return aleat_graph_fail(graph, ALEAT_ERR_ARGUMENT, "a stack of a missing parameter");
        const aleat_shape *shape = &graph->params[parts[i]].shape;
        if (i == 0)
            info.shape = *shape;
        else
            info.shape.dim[0] += shape->dim[0];
    }
    info.parts = aleat_alloc((size_t)count * sizeof *parts);
    if (!info.parts)
        return aleat_graph_fail(graph, ALEAT_ERR_MEMORY, "out of memory: a parameter stack");
    memcpy(info.parts, parts, (size_t)count * sizeof *parts);
    return add_param(graph, &info);
}

static void drop_leading_ones(aleat_shape *shape)
{
    while (shape->n_dims > 1 && shape->dim[0] == 1) {
        shape->n_dims--;
        memmove(shape->dim, shape->dim + 1, (size_t)shape->n_dims * sizeof *shape->dim);
    }
}

aleat_param aleat_graph_param_rows(aleat_graph *graph, aleat_param param, const int32_t *order,
                                   int64_t count)
{
    if (!graph || graph->error.status)
        return ALEAT_NO_PARAM;
    if (param < 0 || param >= graph->n_params)
        return aleat_graph_fail(graph, ALEAT_ERR_ARGUMENT, "rows of a missing parameter");
    aleat_param_info info = {.shape = graph->params[param].shape, .n_parts = 1};
    drop_leading_ones(&info.shape);
    for (int64_t i = 0; i < count; i++)
        if (order[i] < 0 || order[i] >= info.shape.dim[0])
            return aleat_graph_fail(graph, ALEAT_ERR_ARGUMENT, "row %d of a parameter with %lld",
                                    order[i], (long long)info.shape.dim[0]);
    info.shape.dim[0] = count;
    info.parts = aleat_alloc(sizeof param);
    info.order = aleat_alloc((size_t)count * sizeof *order);
    if (!info.parts || !info.order) {
        aleat_free(info.parts);
        aleat_free(info.order);
        return aleat_graph_fail(graph, ALEAT_ERR_MEMORY, "out of memory: a parameter's row order");
    }
    info.parts[0] = param;
    memcpy(info.order, order, (size_t)count * sizeof *order);
    return add_param(graph, &info);
}

aleat_param aleat_graph_param_transpose(aleat_graph *graph, aleat_param param)
{
    if (!graph || graph->error.status)
        return ALEAT_NO_PARAM;
    if (param < 0 || param >= graph->n_params || graph->params[param].shape.n_dims != 2)
        return aleat_graph_fail(graph, ALEAT_ERR_ARGUMENT,
                                "only a parameter with two axes can be transposed");
    const int64_t *dim = graph->params[param].shape.dim;
    aleat_param_info info = {
        .shape = aleat_shape_of(2, dim[1], dim[0]), .n_parts = 1, .transposed = true};
    info.parts = aleat_alloc(sizeof param);
    if (!info.parts)
        return aleat_graph_fail(graph, ALEAT_ERR_MEMORY, "out of memory: a transposed parameter");
    info.parts[0] = param;
    return add_param(graph, &info);
}

/** Parameters made of a layer's weight and a batch norm's vectors of its c outputs. */
static aleat_param add_fold(aleat_graph *graph, aleat_param_fold fold, const aleat_param *parts,
                            int count, double eps)
{
    if (!graph || graph->error.status)
        return ALEAT_NO_PARAM;
    for (int i = 0; i < count; i++)
        if (parts[i] < 0 || parts[i] >= graph->n_params ||
            (i > 0 && aleat_param_count(graph, parts[i]) != graph->params[parts[0]].shape.dim[0]))
            return aleat_graph_fail(graph, ALEAT_ERR_SHAPE,
                                    "a batch norm does not fit the layer before it");
    aleat_param_info info = {.shape = graph->params[parts[0]].shape,
                             .parts = aleat_alloc((size_t)count * sizeof *parts),
                             .n_parts = count,
                             .fold = fold,
                             .eps = eps};
    if (!info.parts)
        return aleat_graph_fail(graph, ALEAT_ERR_MEMORY, "out of memory: a folded parameter");
    memcpy(info.parts, parts, (size_t)count * sizeof *parts);
    return add_param(graph, &info);
}

aleat_param aleat_graph_param_fold_weight(aleat_graph *graph, aleat_param weight,
                                          const aleat_batchnorm *norm)
{
    const aleat_param parts[] = {weight, norm->gamma, norm->var};
    return add_fold(graph, ALEAT_FOLD_WEIGHT, parts, 3, norm->eps);
}

aleat_param aleat_graph_param_fold_bias(aleat_graph *graph, const aleat_batchnorm *norm)
{
    const aleat_param parts[] = {norm->beta, norm->gamma, norm->var, norm->mean};
    return add_fold(graph, ALEAT_FOLD_BIAS, parts, 4, norm->eps);
}

int64_t aleat_param_count(const aleat_graph *graph, aleat_param param)
{
    int64_t count = 0;
    (void)aleat_shape_count(&graph->params[param].shape, &count);
    return count;
}

/** Rows of a tensor, one after the other, in the parameter's order. */
static void gather_rows(const aleat_param_info *info, const aleat_weight *tensor, int64_t row,
                        float *dst)
{
    aleat_weight rows = *tensor;
    while (rows.shape.n_dims > info->shape.n_dims) { // leading axes of length 1
        rows.shape.n_dims--;
        memmove(rows.shape.dim, rows.shape.dim + 1,
                (size_t)rows.shape.n_dims * sizeof *rows.shape.dim);
        memmove(rows.stride, rows.stride + 1, (size_t)rows.shape.n_dims * sizeof *rows.stride);
    }
    for (int64_t i = 0; i < info->shape.dim[0]; i++)
        aleat_weight_row_to_f32(&rows, info->order[i], dst + i * row);
}

/** The same of a stack that has been loaded. */
static void gather_loaded_rows(const aleat_param_info *info, const float *all, int64_t row,
                               float *dst)
{
    for (int64_t i = 0; i < info->shape.dim[0]; i++)
        memcpy(dst + i * row, all + info->order[i] * row, (size_t)row * sizeof *dst);
}

static void transpose(const aleat_param_info *info, const float *all, float *dst)
{
    const int64_t rows = info->shape.dim[0], columns = info->shape.dim[1];
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            dst[i * columns + j] = all[j * rows + i];
}

/** Loads the layer's part into dst and folds the norm into it. */
static bool load_folded(const aleat_graph *graph, const aleat_param_info *info, float *dst)
{
    const int64_t rows = info->shape.dim[0];
    const int64_t row = aleat_param_count(graph, info->parts[0]) / (rows ? rows : 1);
    float *norm = aleat_alloc((size_t)(3 * rows) * sizeof *norm); // gamma, var, mean
    bool loaded = norm && aleat_param_load(graph, info->parts[0], dst);
    for (int i = 1; loaded && i < info->n_parts; i++)
        loaded = aleat_param_load(graph, info->parts[i], norm + (i - 1) * rows);
    for (int64_t o = 0; loaded && o < rows; o++) {
        const double factor = (double)norm[o] / sqrt((double)norm[rows + o] + info->eps);
        if (info->fold == ALEAT_FOLD_BIAS)
            dst[o] = (float)((double)dst[o] - (double)norm[2 * rows + o] * factor);
        else
            for (int64_t i = o * row; i < (o + 1) * row; i++)
                dst[i] = (float)((double)dst[i] * factor);
    }
    aleat_free(norm);
    return loaded;
}

bool aleat_param_load(const aleat_graph *graph, aleat_param param, float *dst)
{
    const aleat_param_info *info = &graph->params[param];
    if (info->weight) {
        aleat_weight_to_f32(info->weight, dst);
        return true;
    }
    if (info->fold)
        return load_folded(graph, info, dst);
    if (!info->order && !info->transposed) {
        for (int i = 0; i < info->n_parts; i++) {
            if (!aleat_param_load(graph, info->parts[i], dst))
                return false;
            dst += aleat_param_count(graph, info->parts[i]);
        }
        return true;
    }
    // A reordering is of one plain tensor, or of a stack, which is loaded whole first.
    const aleat_param source = info->parts[0];
    const int64_t row =
        aleat_param_count(graph, param) / (info->shape.dim[0] ? info->shape.dim[0] : 1);
    if (info->order && graph->params[source].weight) {
        gather_rows(info, graph->params[source].weight, row, dst);
        return true;
    }
    float *all = aleat_alloc((size_t)aleat_param_count(graph, source) * sizeof *all);
    const bool loaded = all && aleat_param_load(graph, source, all);
    if (loaded && info->order)
        gather_loaded_rows(info, all, row, dst);
    else if (loaded)
        transpose(info, all, dst);
    aleat_free(all);
    return loaded;
}

void aleat_param_forget(const aleat_graph *graph, aleat_param param)
{
    const aleat_param_info *info = &graph->params[param];
    if (info->weight)
        aleat_weight_forget(info->weight);
    for (int i = 0; i < info->n_parts; i++)
        aleat_param_forget(graph, info->parts[i]);
}
