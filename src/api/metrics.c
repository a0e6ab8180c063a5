#include "aleat/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/parallel.h"
#include "io/npy.h"
#include "metrics/metric.h"

/* ---- statistics ------------------------------------------------------------------------------ */

// [N,D], not empty, finite.
static aleat_status check_vectors(const aleat_array *x, const char *what, aleat_error *err)
{
    if (x->n_dims != 2 || x->dim[0] < 1 || x->dim[1] < 1)
        return aleat_fail(err, ALEAT_ERR_SHAPE, "%s: an array of %d axes, expected vectors [N,D]",
                          what, x->n_dims);
    const int64_t count = aleat_array_count(x);
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(x->data[i]))
            return aleat_fail(err, ALEAT_ERR_NUMERIC,
                              "%s: number %" PRId64 " of vector %" PRId64 " is not finite", what,
                              i % x->dim[1], i / x->dim[1]);
    return ALEAT_OK;
}

aleat_status aleat_feature_statistics_of(aleat_feature_statistics **out,
                                         const aleat_array *features, int threads, aleat_error *err)
{
    *out = NULL;
    aleat_status st = check_vectors(features, "features", err);
    if (st)
        return st;
    aleat_feature_statistics *s = aleat_calloc(1, sizeof *s);
    if (!s)
        return aleat_fail_memory(err, "statistics");
    st = aleat_gaussian_of(&s->gaussian, features->data, features->dim[0], features->dim[1],
                           threads, err);
    if (st)
        aleat_free(s);
    else
        *out = s;
    return st;
}

aleat_status aleat_feature_statistics_read(aleat_feature_statistics **out, const char *path,
                                           aleat_error *err)
{
    *out = NULL;
    aleat_feature_statistics *s = aleat_calloc(1, sizeof *s);
    if (!s)
        return aleat_fail_memory(err, path);
    aleat_status st = aleat_gaussian_read(&s->gaussian, path, err);
    if (st)
        aleat_free(s);
    else
        *out = s;
    return st;
}

aleat_status aleat_feature_statistics_write(const char *path,
                                            const aleat_feature_statistics *statistics,
                                            aleat_error *err)
{
    return aleat_gaussian_write(path, &statistics->gaussian, err);
}

void aleat_feature_statistics_free(aleat_feature_statistics *statistics)
{
    if (!statistics)
        return;
    aleat_gaussian_clear(&statistics->gaussian);
    aleat_free(statistics);
}

/* ---- metrics --------------------------------------------------------------------------------- */

bool aleat_metric_at(int i, aleat_metric_facts *out)
{
    const aleat_metric *metric = aleat_metric_line(i);
    if (metric)
        *out = metric->facts;
    return metric != NULL;
}

bool aleat_metric_find(const char *name, aleat_metric_facts *out)
{
    const aleat_metric *metric = aleat_metric_of(name);
    if (metric)
        *out = metric->facts;
    return metric != NULL;
}

static int64_t or_default(int64_t value, int64_t fallback)
{
    return value ? value : fallback;
}

static aleat_status fill_options(aleat_metric_options *o, aleat_error *err)
{
    o->neighbours = or_default(o->neighbours, 3);
    o->density_neighbours = or_default(o->density_neighbours, 5);
    o->intervals = or_default(o->intervals, 50);
    o->bins = or_default(o->bins, 10);
    o->splits = or_default(o->splits, 10);
    o->subsets = or_default(o->subsets, 100);
    o->subset_size = or_default(o->subset_size, 1000);
    o->threads = o->threads > 0 ? o->threads : aleat_cpu_count();
    if (!(o->confidence > 0))
        o->confidence = 0.95;
    if (o->neighbours < 1 || o->density_neighbours < 1 || o->intervals < 1 || o->bins < 1 ||
        o->splits < 1 || o->subsets < 1 || o->subset_size < 2 || o->draws < 0 ||
        !(o->confidence < 1))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "an option of a metric is out of range");
    return ALEAT_OK;
}

// One side of a metric of sets.
static aleat_status check_side(const aleat_metric_facts *f, const aleat_array *x,
                               const aleat_feature_statistics *statistics, const char *name,
                               aleat_error *err)
{
    if (x)
        return check_vectors(x, name, err);
    if (!statistics)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s needs two sets, %s is missing", f->name,
                          name);
    if (!f->statistics)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s needs the features themselves, %s is only their statistics", f->name,
                          name);
    return ALEAT_OK;
}

static aleat_status check_pairs(const aleat_metric_facts *f, const aleat_metric_inputs *in,
                                aleat_error *err)
{
    if (!in->x || !in->y || in->n < 1)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s needs two arrays: %s and %s", f->name, f->x,
                          f->y);
    if (in->images < 0 || (in->images > 0 && in->n % in->images != 0))
        return aleat_fail(err, ALEAT_ERR_SHAPE,
                          "%" PRId64 " pairs cannot belong to %" PRId64 " images", in->n,
                          in->images);
    for (int64_t i = 0; i < in->n; i++)
        if (!isfinite(in->x[i]) || !isfinite(in->y[i]))
            return aleat_fail(err, ALEAT_ERR_NUMERIC, "%s: value %" PRId64 " is not finite",
                              isfinite(in->x[i]) ? f->y : f->x, i);
    return ALEAT_OK;
}

static aleat_status check_inputs(const aleat_metric_facts *f, const aleat_metric_inputs *in,
                                 aleat_error *err)
{
    if (f->takes == ALEAT_TAKES_PAIRS)
        return check_pairs(f, in, err);
    aleat_status st = check_side(f, in->a, in->a_statistics, "a", err);
    if (f->takes == ALEAT_TAKES_LOGITS)
        return st;
    if (!st)
        st = check_side(f, in->b, in->b_statistics, "b", err);
    if (!st && in->a && in->b && in->a->dim[1] != in->b->dim[1])
        st =
            aleat_fail(err, ALEAT_ERR_SHAPE,
                       "vectors of %" PRId64 " numbers cannot be compared with vectors of %" PRId64,
                       in->a->dim[1], in->b->dim[1]);
    for (int side = 0; !st && side < 2; side++) {
        const aleat_array *x = side ? in->b : in->a;
        if (x && x->dim[0] < 2)
            st = aleat_fail(err, ALEAT_ERR_ARGUMENT,
                            "%s: one vector is not a set; at least 2 are "
                            "needed",
                            side ? "b" : "a");
    }
    return st;
}

// The value that the name asks for comes first: "aurg" is another name of "ause".
static void put_first(aleat_metric_result *out, const char *name)
{
    for (int i = 1; i < out->n_values; i++)
        if (!strcmp(out->values[i].name, name)) {
            const aleat_metric_value asked = out->values[i];
            memmove(out->values + 1, out->values, (size_t)i * sizeof asked);
            out->values[0] = asked;
        }
}

aleat_status aleat_metric_evaluate(aleat_metric_result *out, const char *name,
                                   const aleat_metric_inputs *inputs,
                                   const aleat_metric_options *options, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    const aleat_metric *metric = aleat_metric_of(name);
    if (!metric)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no metric '%s'", name);
    aleat_metric_task task = {.inputs = inputs};
    if (options)
        task.options = *options;
    aleat_status st = fill_options(&task.options, err);
    if (!st)
        st = check_inputs(&metric->facts, inputs, err);
    if (!st)
        st = metric->compute(out, &task, err);
    if (!st && task.options.draws)
        st = aleat_metric_intervals(out, metric, &task, err);
    if (st)
        aleat_metric_result_clear(out);
    else
        put_first(out, name);
    return st;
}

void aleat_metric_result_clear(aleat_metric_result *result)
{
    if (!result)
        return;
    aleat_free(result->curve);
    memset(result, 0, sizeof *result);
}

aleat_status aleat_values_read(double **out, aleat_array *shape, const char *path, aleat_error *err)
{
    aleat_tensor array;
    *out = NULL;
    *shape = (aleat_array){0};
    aleat_status st = aleat_npy_read(&array, path, err);
    if (st)
        return st;
    const int64_t n = aleat_tensor_count(&array);
    shape->n_dims = array.shape.n_dims;
    for (int i = 0; i < shape->n_dims; i++)
        shape->dim[i] = array.shape.dim[i];
    *out = malloc((size_t)n * sizeof **out + 1); // the caller has no other free()
    if (*out)
        aleat_convert_to_f64(*out, array.data, array.dtype, n);
    else
        st = aleat_fail_memory(err, path);
    aleat_tensor_clear(&array);
    return st;
}
