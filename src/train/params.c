#include "train/params.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "graph/init.h"

static const char *const array_names[ALEAT_PARAM_ARRAYS] = {
    [ALEAT_VALUES] = "values",
    [ALEAT_AVERAGE] = "average",
    [ALEAT_MOMENT1] = "moment1",
    [ALEAT_MOMENT2] = "moment2",
};
#define STEPS_NAME "steps"
/** Rounds to infinity, as all above it do. */
#define F16_OVERFLOW 65520.0f

void aleat_params_clear(aleat_params *params)
{
    if (!params)
        return;
    for (int64_t i = 0; params->names && i < params->count; i++)
        aleat_free(params->names[i]);
    aleat_free(params->names);
    aleat_free(params->shapes);
    aleat_free(params->offsets);
    for (int a = 0; a < ALEAT_PARAM_ARRAYS; a++)
        aleat_free(params->data[a]);
    aleat_free(params->grad);
    memset(params, 0, sizeof *params);
}

int64_t aleat_params_find(const aleat_params *params, const char *name)
{
    for (int64_t i = 0; i < params->count; i++)
        if (!strcmp(params->names[i], name))
            return i;
    return -1;
}

/** Names, shapes and offsets. */
static aleat_status list_tensors(aleat_params *p, const aleat_graph *blueprint, aleat_error *err)
{
    const int64_t most = aleat_graph_params(blueprint);
    p->names = aleat_calloc((size_t)most, sizeof *p->names);
    p->shapes = aleat_calloc((size_t)most, sizeof *p->shapes);
    p->offsets = aleat_calloc((size_t)most + 1, sizeof *p->offsets);
    if (!p->names || !p->shapes || !p->offsets)
        return aleat_fail_memory(err, "the list of tensors");
    for (aleat_param i = 0; i < most; i++) {
        aleat_shape shape;
        const char *name = aleat_graph_tensor(blueprint, i, &shape);
        int64_t size = 0;
        if (!name || aleat_params_find(p, name) >= 0)
            continue;
        p->names[p->count] = aleat_strdup(name);
        if (!p->names[p->count])
            return aleat_fail_memory(err, name);
        (void)aleat_shape_count(&shape, &size);
        p->shapes[p->count] = shape;
        p->offsets[p->count + 1] = p->offsets[p->count] + size;
        p->count++;
    }
    return ALEAT_OK;
}

static aleat_status fill_values(aleat_params *p, const aleat_graph *blueprint, uint64_t seed,
                                aleat_error *err)
{
    const size_t size = (size_t)aleat_params_size(p);
    for (int a = 0; a < ALEAT_PARAM_ARRAYS; a++)
        p->data[a] = aleat_calloc(size, sizeof(float));
    p->grad = aleat_calloc(size, sizeof(float));
    for (int a = 0; a < ALEAT_PARAM_ARRAYS; a++)
        if (!p->data[a] || !p->grad)
            return aleat_fail_memory(err, "the numbers of a network");
    for (aleat_param i = 0; i < aleat_graph_params(blueprint); i++) {
        aleat_shape shape;
        const char *name = aleat_graph_tensor(blueprint, i, &shape);
        if (name)
            aleat_graph_init(blueprint, i, seed,
                             p->data[ALEAT_VALUES] + p->offsets[aleat_params_find(p, name)]);
    }
    memcpy(p->data[ALEAT_AVERAGE], p->data[ALEAT_VALUES], size * sizeof(float));
    return ALEAT_OK;
}

aleat_status aleat_params_new(aleat_params *out, const aleat_graph *blueprint, uint64_t seed,
                              aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_params p = {0};
    aleat_status st = list_tensors(&p, blueprint, err);
    if (!st)
        st = fill_values(&p, blueprint, seed, err);
    if (st)
        aleat_params_clear(&p);
    else
        *out = p;
    return st;
}

/** The tensors of one array as named arrays over `data`, whose numbers are of `dtype`. */
static void name_arrays(const aleat_params *p, char *data, aleat_dtype dtype,
                        aleat_named_array *arrays)
{
    for (int64_t i = 0; i < p->count; i++)
        arrays[i] = (aleat_named_array){
            p->names[i], aleat_tensor_view(dtype, &p->shapes[i],
                                           data + (size_t)p->offsets[i] * aleat_dtype_size(dtype))};
}

aleat_status aleat_params_weights(const aleat_params *p, aleat_param_array which,
                                  aleat_weights **out, aleat_error *err)
{
    *out = NULL;
    aleat_named_array *arrays = aleat_alloc((size_t)p->count * sizeof *arrays);
    if (!arrays)
        return aleat_fail_memory(err, "the list of tensors");
    name_arrays(p, (char *)p->data[which], ALEAT_F32, arrays);
    const aleat_status st = aleat_weights_of_arrays(out, arrays, p->count, "training", err);
    aleat_free(arrays);
    return st;
}

// The two graphs were built by the same code, so their parameters come in the same order, though a
// checkpoint may call them by older names.
aleat_status aleat_params_take(aleat_params *p, const aleat_graph *blueprint,
                               const aleat_graph *trained, aleat_weights *weights, aleat_error *err)
{
    bool same = aleat_graph_params(blueprint) == aleat_graph_params(trained);
    for (aleat_param i = 0; same && i < aleat_graph_params(blueprint); i++) {
        aleat_shape shape, trained_shape;
        const char *name = aleat_graph_tensor(blueprint, i, &shape);
        const char *trained_name = aleat_graph_tensor(trained, i, &trained_shape);
        same = !name == !trained_name && (!name || aleat_shape_equal(&shape, &trained_shape));
        if (!same || !name)
            continue;
        const int64_t offset = p->offsets[aleat_params_find(p, name)];
        aleat_weight_to_f32(aleat_weights_find(weights, trained_name),
                            p->data[ALEAT_VALUES] + offset);
    }
    if (!same)
        return aleat_fail(err, ALEAT_ERR_SHAPE, "%s: not the weights of a network of this kind",
                          aleat_weights_path(weights));
    memcpy(p->data[ALEAT_AVERAGE], p->data[ALEAT_VALUES],
           (size_t)aleat_params_size(p) * sizeof(float));
    return ALEAT_OK;
}

/* ---- files ----------------------------------------------------------------------------------- */

/** One flat tensor an array: the order of tensors is the blueprint's, and so is checked by size. */
aleat_status aleat_params_save(const aleat_params *p, int64_t steps, const char *path,
                               aleat_error *err)
{
    const aleat_shape flat = aleat_shape_of(1, aleat_params_size(p)),
                      one = aleat_shape_of(1, (int64_t)1);
    aleat_named_array arrays[ALEAT_PARAM_ARRAYS + 1];
    for (int a = 0; a < ALEAT_PARAM_ARRAYS; a++)
        arrays[a] =
            (aleat_named_array){array_names[a], aleat_tensor_view(ALEAT_F32, &flat, p->data[a])};
    arrays[ALEAT_PARAM_ARRAYS] =
        (aleat_named_array){STEPS_NAME, aleat_tensor_view(ALEAT_I64, &one, &steps)};
    return aleat_safetensors_write(path, arrays, ALEAT_PARAM_ARRAYS + 1, err);
}

/** The tensor `name` of a checkpoint, which must be `count` numbers of `dtype`. */
static aleat_status find_array(aleat_weights *weights, const char *name, aleat_dtype dtype,
                               int64_t count, const aleat_weight **out, aleat_error *err)
{
    int64_t have = -1;
    *out = aleat_weights_find(weights, name);
    if (*out)
        (void)aleat_shape_count(&(*out)->shape, &have);
    if (*out && have == count && (*out)->dtype == dtype)
        return ALEAT_OK;
    return aleat_fail(
        err, ALEAT_ERR_FORMAT,
        "%s: '%s' is not %lld numbers of type %s: this is no checkpoint of a training "
        "with this configuration",
        aleat_weights_path(weights), name, (long long)count, aleat_dtype_name(dtype));
}

static aleat_status read_steps(aleat_weights *weights, int64_t *steps, aleat_error *err)
{
    const aleat_weight *count = NULL;
    const aleat_status st = find_array(weights, STEPS_NAME, ALEAT_I64, 1, &count, err);
    if (st)
        return st;
    memcpy(steps, count->data, sizeof *steps);
    return *steps >= 0 ? ALEAT_OK
                       : aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' is %lld",
                                    aleat_weights_path(weights), STEPS_NAME, (long long)*steps);
}

aleat_status aleat_params_saved_steps(int64_t *steps, const char *path, aleat_error *err)
{
    aleat_weights *weights = NULL;
    aleat_status st = aleat_weights_open(&weights, path, err);
    if (!st)
        st = read_steps(weights, steps, err);
    aleat_weights_free(weights);
    return st;
}

aleat_status aleat_params_load(aleat_params *p, int64_t *steps, const char *path, aleat_error *err)
{
    aleat_weights *weights = NULL;
    const aleat_weight *found[ALEAT_PARAM_ARRAYS];
    aleat_status st = aleat_weights_open(&weights, path, err);
    for (int a = 0; a < ALEAT_PARAM_ARRAYS && !st; a++)
        st = find_array(weights, array_names[a], ALEAT_F32, aleat_params_size(p), &found[a], err);
    if (!st)
        st = read_steps(weights, steps, err);
    for (int a = 0; a < ALEAT_PARAM_ARRAYS && !st; a++)
        aleat_weight_to_f32(found[a], p->data[a]);
    aleat_weights_free(weights);
    return st;
}

aleat_status aleat_params_export(const aleat_params *p, aleat_param_array which, aleat_dtype dtype,
                                 const char *path, aleat_error *err)
{
    const int64_t size = aleat_params_size(p);
    aleat_named_array *arrays = aleat_alloc((size_t)p->count * sizeof *arrays);
    uint16_t *half = aleat_alloc((size_t)size * sizeof *half);
    aleat_status st = ALEAT_OK;
    if (!arrays || !half) {
        st = aleat_fail_memory(err, path);
        goto done;
    }
    for (int64_t i = 0; i < size && dtype == ALEAT_F16; i++)
        if (fabsf(p->data[which][i]) >= F16_OVERFLOW) {
            st = aleat_fail(err, ALEAT_ERR_NUMERIC, "%s: a weight of %g is too large for f16", path,
                            (double)p->data[which][i]);
            aleat_hint(err, "write the model with --dtype bf16 or f32");
            goto done;
        }
    for (int64_t i = 0; i < size && dtype != ALEAT_F32; i++)
        half[i] = dtype == ALEAT_F16 ? aleat_f32_to_f16(p->data[which][i])
                                     : aleat_f32_to_bf16(p->data[which][i]);
    name_arrays(p, dtype == ALEAT_F32 ? (char *)p->data[which] : (char *)half, dtype, arrays);
    st = aleat_safetensors_write(path, arrays, p->count, err);
done:
    aleat_free(arrays);
    aleat_free(half);
    return st;
}
