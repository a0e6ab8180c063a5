#include "api/threshold.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/json.h"
#include "io/npy.h"
#include "samplers/prediction.h"
#include "uncertainty/estimator.h"

// Values of all images that are held at once.
#define BLOCK_VALUES ((int64_t)16 << 20)
#define KIND         "aleat thresholds"

// What U depends on, beside the noise and the labels.
static const char *const keys[] = {"weights_sha256", "config_sha256", "time_scale",  "time_offset",
                                   "precision",      "channels",      "height",      "width",
                                   "plan_sha256",    "cfg_scale",     "map_variant", "copies",
                                   "copies_clip"};
#define N_KEYS (sizeof keys / sizeof *keys)

/* ---- settings -------------------------------------------------------------------------------- */

// Hashes tell nobody what differs.
static const char *meaning_of(const char *key)
{
    static const char *const meanings[][2] = {
        {"weights_sha256", "other weights"},
        {"config_sha256", "another configuration of the network"},
        {"plan_sha256", "another sampler, number of steps or noise schedule"},
    };
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (!strcmp(meanings[i][0], key))
            return meanings[i][1];
    return NULL;
}

// ALEAT_OK if all keys have the same value, or none, in both.
static aleat_status compare(const char *path, const json_t *there, const json_t *here,
                            aleat_error *err)
{
    for (size_t i = 0; i < N_KEYS; i++) {
        const json_t *a = json_object_get(there, keys[i]), *b = json_object_get(here, keys[i]);
        if (a == b || json_equal(a, b))
            continue;
        if (meaning_of(keys[i]))
            return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: is of %s ('%s')", path,
                              meaning_of(keys[i]), keys[i]);
        char x[200], y[200];
        aleat_json_text(a, x, sizeof x);
        aleat_json_text(b, y, sizeof y);
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: its '%s' is %s, here it is %s", path,
                          keys[i], x, y);
    }
    return ALEAT_OK;
}

static json_t *chosen(const json_t *settings)
{
    json_t *o = json_object();
    for (size_t i = 0; o && i < N_KEYS; i++)
        if (json_object_get(settings, keys[i]) &&
            json_object_set(o, keys[i], json_object_get(settings, keys[i]))) {
            json_decref(o);
            o = NULL;
        }
    return o;
}

/* ---- making -----------------------------------------------------------------------------------
 */

// A run whose maps are read.
typedef struct source {
    char *path, *maps_path;
    aleat_json json;
    json_t *settings;   // of json
    aleat_npy_map maps; // [N,steps,C,H,W]
} source;

static void source_clear(source *s)
{
    aleat_npy_map_close(&s->maps);
    aleat_json_clear(&s->json);
    aleat_free(s->path);
    aleat_free(s->maps_path);
}

// The runs of one file.
typedef struct making {
    source *runs;
    int n_runs;
    const char *statistic;
    int64_t images, steps, count, first_step;
    float *block; // [elements of a block, images]
    aleat_tensor values, numbers;
} making;

static aleat_status check_source(const source *s, aleat_error *err)
{
    const aleat_tensor *a = &s->maps.array;
    if (json_object_get(s->settings, "guide_steps"))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: a guided run; thresholds are of unguided ones", s->path);
    if (a->dtype == ALEAT_F32 && a->shape.n_dims == 5 && a->shape.dim[0] > 0 && a->shape.dim[1] > 0)
        return ALEAT_OK;
    char text[128];
    return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: is %s %s, not f32 of [N,steps,C,H,W]",
                      s->maps_path, aleat_dtype_name(a->dtype),
                      aleat_shape_text(&a->shape, text, sizeof text));
}

static aleat_status source_open(source *s, const char *run, const char *statistic, aleat_error *err)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%s-steps.npy", statistic);
    s->path = aleat_path_join(run, "run.json");
    s->maps_path = aleat_path_join(run, name);
    if (!s->path || !s->maps_path)
        return aleat_fail_memory(err, run);
    aleat_status st = aleat_json_load_object(&s->json, &s->settings, s->path, "settings", err);
    if (st)
        return st;
    if (!aleat_is_file(s->maps_path)) {
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: this run has not kept its steps' maps of %s",
                         run, statistic);
        aleat_hint(err, "make it with --maps all --score-steps 0:STEPS");
        return ALEAT_ERR_ARGUMENT;
    }
    st = aleat_npy_map_open(&s->maps, s->maps_path, err);
    return st ? st : check_source(s, err);
}

// Number of the first scored step, from "a:b", which has as many steps as the maps.
static aleat_status read_window(const source *s, int64_t *first, aleat_error *err)
{
    long long begin, end;
    const char *text = json_string_value(json_object_get(s->settings, "score_steps"));
    if (!text || sscanf(text, "%lld:%lld", &begin, &end) != 2 || begin < 0 ||
        end - begin != s->maps.array.shape.dim[1])
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: 'score_steps' does not fit %s", s->path,
                          s->maps_path);
    *first = begin;
    return ALEAT_OK;
}

static aleat_status open_all(making *m, const char *const *runs, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    for (int i = 0; !st && i < m->n_runs; i++) {
        source *s = &m->runs[i];
        int64_t first = 0;
        st = source_open(s, runs[i], m->statistic, err);
        if (!st)
            st = read_window(s, &first, err);
        if (!st)
            st = compare(s->path, s->settings, m->runs[0].settings, err);
        const aleat_shape *shape = &s->maps.array.shape, *want = &m->runs[0].maps.array.shape;
        if (!st && (first != (i ? m->first_step : first) ||
                    memcmp(shape->dim + 1, want->dim + 1, 4 * sizeof *want->dim) != 0))
            st = aleat_fail(err, ALEAT_ERR_ARGUMENT,
                            "%s: its scored steps are not those of the first run", s->path);
        m->first_step = first;
        m->images += st ? 0 : shape->dim[0];
    }
    const aleat_shape *shape = &m->runs[0].maps.array.shape;
    m->steps = st ? 0 : shape->dim[1];
    m->count = st ? 0 : shape->dim[2] * shape->dim[3] * shape->dim[4];
    return st;
}

// Values of elements [begin, begin + n) at scored step k: [n,images].
static void gather(const making *m, int64_t k, int64_t begin, int64_t n)
{
    int64_t image = 0;
    for (int r = 0; r < m->n_runs; r++) {
        const aleat_tensor *maps = &m->runs[r].maps.array;
        for (int64_t i = 0; i < maps->shape.dim[0]; i++, image++) {
            const float *from = aleat_tensor_f32(maps) + (i * m->steps + k) * m->count + begin;
            for (int64_t j = 0; j < n; j++)
                m->block[j * m->images + image] = from[j];
        }
    }
}

static aleat_status fill(making *m, double percentile, aleat_error *err)
{
    int64_t width = BLOCK_VALUES / m->images;
    width = width < 1 ? 1 : width > m->count ? m->count : width;
    const int64_t *dim = m->runs[0].maps.array.shape.dim;
    const aleat_shape shape = aleat_shape_of(4, dim[1], dim[2], dim[3], dim[4]);
    const aleat_shape one = aleat_shape_of(1, m->steps);
    m->block = aleat_calloc((size_t)width * (size_t)m->images, sizeof *m->block);
    if (!m->block)
        return aleat_fail_memory(err, "thresholds");
    aleat_status st = aleat_tensor_new(&m->values, ALEAT_F32, &shape, err);
    if (!st)
        st = aleat_tensor_new(&m->numbers, ALEAT_I64, &one, err);
    for (int64_t k = 0; !st && k < m->steps; k++) {
        ((int64_t *)m->numbers.data)[k] = m->first_step + k;
        for (int64_t begin = 0; begin < m->count; begin += width) {
            const int64_t n = m->count - begin < width ? m->count - begin : width;
            gather(m, k, begin, n);
            for (int64_t j = 0; j < n; j++)
                aleat_tensor_f32(&m->values)[k * m->count + begin + j] =
                    (float)aleat_quantile(m->block + j * m->images, m->images, percentile);
        }
    }
    return st;
}

static aleat_status write_file(const making *m, const char *path, double percentile,
                               aleat_error *err)
{
    json_t *header =
        json_pack("{sssssfsIso}", "kind", KIND, "statistic", m->statistic, "percentile", percentile,
                  "images", (json_int_t)m->images, "settings", chosen(m->runs[0].settings));
    char *text = header ? json_dumps(header, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    aleat_status st = ALEAT_OK;
    if (text) {
        const aleat_shape length = aleat_shape_of(1, (int64_t)strlen(text));
        const aleat_named_array arrays[] = {
            {"threshold", m->values},
            {"steps", m->numbers},
            {"header", aleat_tensor_view(ALEAT_U8, &length, text)},
        };
        st = aleat_npz_write(path, arrays, 3, false, err);
    } else {
        st = aleat_fail_memory(err, path);
    }
    free(text);
    json_decref(header);
    return st;
}

aleat_status aleat_threshold_make(const char *out, const char *const *runs, int n_runs,
                                  const char *statistic, double percentile,
                                  aleat_threshold_facts *facts, aleat_error *err)
{
    if (n_runs < 1 || !(percentile >= 0 && percentile <= 1))
        return aleat_fail(
            err, ALEAT_ERR_ARGUMENT,
            "thresholds at percentile %g of %d runs: between 0 and 1, of at least one", percentile,
            n_runs);
    const aleat_statistic *map = aleat_statistic_find(statistic ? statistic : "eps-var");
    if (!map)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no statistic '%s'", statistic);
    making m = {.n_runs = n_runs, .statistic = map->name};
    m.runs = aleat_calloc((size_t)n_runs, sizeof *m.runs);
    aleat_status st = m.runs ? open_all(&m, runs, err) : aleat_fail_memory(err, "runs");
    if (!st)
        st = fill(&m, percentile, err);
    if (!st)
        st = write_file(&m, out, percentile, err);
    if (!st && facts)
        *facts = (aleat_threshold_facts){.images = m.images, .steps = m.steps};
    for (int i = 0; m.runs && i < n_runs; i++)
        source_clear(&m.runs[i]);
    aleat_free(m.runs);
    aleat_free(m.block);
    aleat_tensor_clear(&m.values);
    aleat_tensor_clear(&m.numbers);
    return st;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

// The arrays by themselves: types and shapes as they are written.
static aleat_status read_arrays(aleat_threshold *t, aleat_json *header, const char *path,
                                aleat_error *err)
{
    aleat_tensor text = {0};
    aleat_status st = aleat_npz_read(&t->values, path, "threshold", err);
    if (!st)
        st = aleat_npz_read(&t->steps, path, "steps", err);
    if (!st)
        st = aleat_npz_read(&text, path, "header", err);
    if (!st && (t->values.dtype != ALEAT_F32 || t->values.shape.n_dims != 4 ||
                t->steps.dtype != ALEAT_I64 || t->steps.shape.n_dims != 1 ||
                t->steps.shape.dim[0] != t->values.shape.dim[0] || text.dtype != ALEAT_U8))
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: is no file of thresholds", path);
    if (!st)
        st = aleat_json_parse(header, text.data, (size_t)aleat_tensor_count(&text), path, err);
    aleat_tensor_clear(&text);
    return st;
}

static aleat_status check_header(const aleat_threshold *t, const aleat_json *header,
                                 const char *path, const json_t *settings, const char *statistic,
                                 aleat_error *err)
{
    const json_t *root = header->root, *there = json_object_get(root, "settings");
    const char *kind = json_string_value(json_object_get(root, "kind"));
    const char *name = json_string_value(json_object_get(root, "statistic"));
    if (!kind || strcmp(kind, KIND) != 0 || !name || !json_is_object(there))
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: is no file of thresholds", path);
    if (strcmp(name, statistic) != 0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: holds thresholds of %s, guidance is by %s",
                          path, name, statistic);
    const aleat_status st = compare(path, there, settings, err);
    if (st)
        return st;
    const int64_t *dim = t->values.shape.dim;
    const char *const sides[] = {"channels", "height", "width"};
    for (int i = 0; i < 3; i++)
        if (dim[i + 1] != json_integer_value(json_object_get(settings, sides[i])))
            return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: the array does not fit its header", path);
    const int64_t count = aleat_tensor_count(&t->values);
    for (int64_t i = 0; i < count; i++) // nothing is above what is no number
        if (isnan(aleat_tensor_f32(&t->values)[i]))
            return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: threshold %lld is not a number", path,
                              (long long)i);
    return ALEAT_OK;
}

aleat_status aleat_threshold_open(aleat_threshold *out, const char *path, const json_t *settings,
                                  const char *statistic, aleat_window guided, int n_outer,
                                  aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_json header = {0};
    aleat_status st = read_arrays(out, &header, path, err);
    if (!st)
        st = check_header(out, &header, path, settings, statistic, err);
    out->by_step = st ? NULL : aleat_calloc((size_t)n_outer, sizeof *out->by_step);
    if (!st && !out->by_step)
        st = aleat_fail_memory(err, path);
    const int64_t n = st ? 0 : out->steps.shape.dim[0];
    const int64_t count = n ? aleat_tensor_count(&out->values) / n : 0;
    for (int64_t k = 0; k < n; k++) {
        const int64_t step = ((const int64_t *)out->steps.data)[k];
        if (step >= 0 && step < n_outer)
            out->by_step[step] = aleat_tensor_f32(&out->values) + k * count;
    }
    for (int step = guided.begin; !st && step < guided.end; step++)
        if (!out->by_step[step]) {
            st = aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: has no threshold of step %d", path, step);
            aleat_hint(err, "guide other steps, or make it from runs that score all steps");
        }
    aleat_json_clear(&header);
    if (st)
        aleat_threshold_clear(out);
    return st;
}

void aleat_threshold_clear(aleat_threshold *t)
{
    aleat_tensor_clear(&t->values);
    aleat_tensor_clear(&t->steps);
    aleat_free(t->by_step);
    memset(t, 0, sizeof *t);
}
