#include "paper/pool.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "io/file.h"
#include "io/json.h"
#include "uncertainty/estimator.h"

// A shard has about as many pixels as 500 images of 32 x 32, so that a kill costs minutes.
#define SHARD_PIXELS (500 * 32 * 32)
#define SHARD_LEAST  16
// M where the options say nothing (run.h).
#define USUAL_COPIES 5

/* ---- a shard --------------------------------------------------------------------------------- */

enum { FEATURES, SUMS, SIGNALS, CHANGES, LABELS, EVALUATIONS, N_ARRAYS };

static const struct {
    const char *name;
    aleat_dtype dtype;
} shard_arrays[N_ARRAYS] = {{"features", ALEAT_F32}, {"sums", ALEAT_F64},
                            {"signals", ALEAT_F64},  {"changes", ALEAT_F64},
                            {"labels", ALEAT_I64},   {"evaluations", ALEAT_I64}};

// What makes or reads a pool.
typedef struct maker {
    const aleat_paper *paper;
    aleat_pool *pool;
    aleat_run *run;
    aleat_run_facts facts;
    int n_estimators;         // of the run
    bool own[ALEAT_RUN_MAPS]; // its maps that are the pool's scores
    char *folder;
    int64_t size, n_shards;        // images in a shard
    int64_t width[N_ARRAYS];       // numbers of an image; 0: this run has no such array
    int64_t first, count;          // of the shard being made
    aleat_tensor arrays[N_ARRAYS]; // [count,width]
    aleat_tensor pixels;           // [count,H,W,C]
    double cost;                   // of an image, as aleat_paper_work has it
    double begun;                  // clock at the start of the shard
} maker;

static void clear_shard(maker *m)
{
    for (int a = 0; a < N_ARRAYS; a++)
        aleat_tensor_clear(&m->arrays[a]);
    aleat_tensor_clear(&m->pixels);
}

static void set_widths(maker *m)
{
    m->width[FEATURES] = aleat_features_describe(m->paper->network).dim;
    m->width[SUMS] = m->facts.n_maps * m->facts.n_score_steps;
    m->width[SIGNALS] = m->facts.n_signals;
    m->width[CHANGES] = m->facts.n_guide_steps;
    m->width[LABELS] = 1;
    m->width[EVALUATIONS] = 2;
}

static char *shard_path(const maker *m, const char *kind, int64_t i)
{
    return aleat_asprintf("%s/%s-%06" PRId64 ".npz", m->folder, kind, i);
}

static aleat_status begin_shard(maker *m, int64_t i, aleat_error *err)
{
    const int64_t rest = m->pool->n - i * m->size;
    m->first = i * m->size;
    m->count = rest < m->size ? rest : m->size;
    clear_shard(m);
    const aleat_shape picture =
        aleat_shape_of(4, m->count, m->facts.height, m->facts.width, m->facts.channels);
    aleat_status st = aleat_tensor_new(&m->pixels, ALEAT_U8, &picture, err);
    for (int a = 0; !st && a < N_ARRAYS; a++) {
        const aleat_shape shape = aleat_shape_of(2, m->count, m->width[a]);
        if (m->width[a])
            st = aleat_tensor_new(&m->arrays[a], shard_arrays[a].dtype, &shape, err);
    }
    return st;
}

static aleat_status take_images(void *ctx, const aleat_run_images *images, aleat_error *err)
{
    (void)err;
    const maker *m = ctx;
    const int64_t at = images->first - m->first, steps = m->facts.n_score_steps;
    const int64_t bytes = m->facts.height * m->facts.width * m->facts.channels;
    double *sums = m->arrays[SUMS].data;
    int64_t *evaluations = m->arrays[EVALUATIONS].data;
    memcpy((uint8_t *)m->pixels.data + at * bytes, images->pixels, (size_t)(images->count * bytes));
    memcpy((int64_t *)m->arrays[LABELS].data + at, images->labels,
           (size_t)images->count * sizeof(int64_t));
    for (int64_t j = 0; j < images->count; j++) {
        for (int s = 0; sums && s < m->facts.n_maps; s++)
            memcpy(sums + (at + j) * m->width[SUMS] + s * steps,
                   images->sums + (s * images->count + j) * steps, (size_t)steps * sizeof *sums);
        evaluations[2 * (at + j)] = images->evaluations;
        evaluations[2 * (at + j) + 1] = images->extra_evaluations;
    }
    if (m->width[SIGNALS])
        memcpy((double *)m->arrays[SIGNALS].data + at * m->width[SIGNALS], images->signals,
               (size_t)(images->count * m->width[SIGNALS]) * sizeof(double));
    if (m->width[CHANGES])
        memcpy((double *)m->arrays[CHANGES].data + at * m->width[CHANGES], images->changes,
               (size_t)(images->count * m->width[CHANGES]) * sizeof(double));
    return ALEAT_OK;
}

// The images in the layout that ADM's evaluator reads; before the shard, which stands for both.
static aleat_status keep_images(const maker *m, int64_t i, aleat_error *err)
{
    char *path = shard_path(m, "images", i);
    const aleat_shape row = aleat_shape_of(1, m->count);
    const aleat_named_array arrays[] = {
        {"arr_0", m->pixels},
        {"arr_1", aleat_tensor_view(ALEAT_I64, &row, m->arrays[LABELS].data)}};
    const aleat_status st =
        path ? aleat_npz_write(path, arrays, 2, false, err) : aleat_fail_memory(err, m->folder);
    aleat_free(path);
    return st;
}

static aleat_status write_shard(const maker *m, int64_t i, aleat_error *err)
{
    aleat_named_array arrays[N_ARRAYS];
    int n = 0;
    for (int a = 0; a < N_ARRAYS; a++)
        if (m->width[a])
            arrays[n++] = (aleat_named_array){shard_arrays[a].name, m->arrays[a]};
    char *path = shard_path(m, "shard", i);
    const aleat_status st =
        path ? aleat_npz_write(path, arrays, n, false, err) : aleat_fail_memory(err, m->folder);
    aleat_free(path);
    return st;
}

// Of `made` images of the shard, which may be a fraction.
static void tell_work(const maker *m, double made)
{
    const aleat_paper *p = m->paper;
    if (!p->work)
        return;
    aleat_paper_work now = *p->work;
    now.images_made += made;
    now.cost_made += made * m->cost;
    now.seconds += aleat_clock() - m->begun;
    p->options.work(p->options.ctx, &now);
}

static bool on_progress(void *ctx, double done, double total)
{
    const maker *m = ctx;
    const aleat_paper_options *o = &m->paper->options;
    tell_work(m, done - (double)m->first);
    return !o->progress || o->progress(o->ctx, "images", done, total);
}

static aleat_status make_shard(maker *m, int64_t i, aleat_error *err)
{
    aleat_status st = begin_shard(m, i, err);
    m->begun = aleat_clock();
    if (!st)
        st = aleat_run_sample(m->run, m->first, m->count, take_images, m, err);
    const aleat_images images = {.n = m->count,
                                 .height = m->facts.height,
                                 .width = m->facts.width,
                                 .channels = m->facts.channels,
                                 .bytes = m->pixels.data};
    if (!st)
        st = aleat_features_run(m->paper->network, &images, m->arrays[FEATURES].data, NULL, err);
    if (!st && m->paper->options.keep_images)
        st = keep_images(m, i, err);
    if (!st)
        st = write_shard(m, i, err);
    if (m->paper->work) {
        m->paper->work->images_made += (double)m->count;
        m->paper->work->cost_made += (double)m->count * m->cost;
        m->paper->work->seconds += aleat_clock() - m->begun;
    }
    return st;
}

// Array `which` of shard i, checked; it may have more rows than are needed, of a larger pool.
static aleat_status read_array(aleat_tensor *out, const maker *m, int64_t i, int which,
                               int64_t rows, aleat_error *err)
{
    char *path = shard_path(m, "shard", i);
    aleat_status st = path ? aleat_npz_read(out, path, shard_arrays[which].name, err)
                           : aleat_fail_memory(err, m->folder);
    if (!st && (out->dtype != shard_arrays[which].dtype || out->shape.n_dims != 2 ||
                out->shape.dim[1] != m->width[which] || out->shape.dim[0] < rows)) {
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: '%s' is not what such a run leaves", path,
                        shard_arrays[which].name);
        aleat_hint(err, "remove the file; the same command makes it anew");
        aleat_tensor_clear(out);
    }
    aleat_free(path);
    return st;
}

// Is shard i there with all images of it that are needed?
static aleat_status has_shard(bool *out, const maker *m, int64_t i, aleat_error *err)
{
    const int64_t rest = m->pool->n - i * m->size, rows = rest < m->size ? rest : m->size;
    char *path = shard_path(m, "shard", i), *images = shard_path(m, "images", i);
    aleat_npy_reader *reader = NULL;
    aleat_status st = path && images ? ALEAT_OK : aleat_fail_memory(err, m->folder);
    *out = !st && aleat_is_file(path) && (!m->paper->options.keep_images || aleat_is_file(images));
    if (*out)
        st = aleat_npy_reader_open(&reader, path, "labels", err);
    if (*out && !st)
        *out = aleat_npy_reader_shape(reader)->dim[0] >= rows;
    aleat_npy_reader_free(reader);
    aleat_free(path);
    aleat_free(images);
    return st;
}

/* ---- the folder ------------------------------------------------------------------------------ */

// All that decides the content of shards but for how many there are.
static json_t *pool_settings(const maker *m)
{
    const aleat_paper *p = m->paper;
    json_t *o = json_loads(m->facts.settings, 0, NULL);
    if (o && p->own_labels &&
        (json_object_del(o, "labels") & json_object_del(o, "labels_sha256")) == 0 &&
        json_object_set_new(o, "labels", json_string("uniform"))) { // more of them go on
        json_decref(o);
        return NULL;
    }
    if (!o || json_object_del(o, "images") ||
        json_object_set_new(o, "features", json_string(p->reference.network)) ||
        json_object_set_new(o, "shard", json_integer(m->size))) {
        json_decref(o);
        return NULL;
    }
    return o;
}

// pool.json tells the settings; one that tells others is not ours to go on with.
static aleat_status check_settings(const maker *m, json_t *settings, aleat_error *err)
{
    char *path = aleat_path_join(m->folder, "pool.json");
    aleat_json there = {0};
    aleat_status st = path ? ALEAT_OK : aleat_fail_memory(err, m->folder);
    if (!st && aleat_is_file(path)) {
        st = aleat_json_load(&there, path, err);
        if (!st && !json_equal(there.root, settings))
            st =
                aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: tells other settings than its name", path);
    } else if (!st) {
        st = aleat_json_write(path, settings, err);
    }
    aleat_json_clear(&there);
    aleat_free(path);
    return st;
}

static aleat_status open_folder(maker *m, aleat_error *err)
{
    char hash[ALEAT_SHA256_TEXT];
    json_t *settings = pool_settings(m);
    char *text = settings ? json_dumps(settings, JSON_REAL_PRECISION(17) | JSON_SORT_KEYS) : NULL;
    aleat_status st = text ? ALEAT_OK : aleat_fail_memory(err, "a pool of images");
    if (!st) {
        aleat_sha256(hash, text, strlen(text));
        m->folder = aleat_paper_path(m->paper, "pools/%.12s", hash);
        st = m->folder ? aleat_make_dirs(m->folder, err) : aleat_fail_memory(err, "a pool");
    }
    if (!st)
        st = check_settings(m, settings, err);
    free(text);
    json_decref(settings);
    return st;
}

/* ---- from shards to the pool ----------------------------------------------------------------- */

// Whether map s of the run is the pool's: a score, and its estimator's.
static bool is_own(const maker *m, int s)
{
    unsigned set;
    return !m->facts.map_is_error[s] && !aleat_estimators_parse(&set, m->pool->estimator, NULL) &&
           set & ALEAT_ESTIMATOR_BIT(aleat_map_statistic(m->facts.maps[s])->kind);
}

static aleat_status name_scores(maker *m, aleat_error *err)
{
    aleat_pool *p = m->pool;
    for (int s = 0; s < m->facts.n_maps; s++)
        if ((m->own[s] = is_own(m, s)))
            (void)snprintf(p->names[p->n_scores++], sizeof p->names[0], "%s", m->facts.maps[s]);
    p->n_maps = p->n_scores;
    for (int s = 0; s < m->facts.n_signals; s++)
        (void)snprintf(p->names[p->n_scores++], sizeof p->names[0], "%s", m->facts.signals[s]);
    const size_t n = (size_t)p->n;
    p->n_steps = m->facts.n_score_steps;
    p->first_step = p->n_steps ? m->facts.score_steps[0] : 0;
    p->n_guided = m->facts.n_guide_steps;
    p->scores = aleat_calloc((size_t)p->n_scores, n * sizeof *p->scores);
    p->sums = aleat_calloc((size_t)(p->n_maps * p->n_steps), n * sizeof *p->sums);
    p->changes = aleat_calloc((size_t)p->n_guided, n * sizeof *p->changes);
    p->labels = aleat_calloc(n, sizeof *p->labels);
    return p->scores && p->sums && p->changes && p->labels ? ALEAT_OK
                                                           : aleat_fail_memory(err, "scores");
}

// Image `row` of a shard becomes image `i` of the pool.
static void take_scores(const maker *m, const aleat_tensor *arrays, int64_t row, int64_t i)
{
    aleat_pool *p = m->pool;
    const int64_t *evaluations = arrays[EVALUATIONS].data;
    const double *sums = arrays[SUMS].data, *signals = arrays[SIGNALS].data;
    for (int s = 0, map = 0; s < m->facts.n_maps; s++) {
        if (!m->own[s])
            continue;
        for (int64_t k = 0; k < p->n_steps; k++) {
            const double sum = sums[row * m->width[SUMS] + s * p->n_steps + k];
            p->sums[(i * p->n_maps + map) * p->n_steps + k] = sum;
            p->scores[map * p->n + i] += sum;
        }
        map++;
    }
    for (int s = 0; s < m->facts.n_signals; s++)
        p->scores[(p->n_maps + s) * p->n + i] = signals[row * m->width[SIGNALS] + s];
    if (p->n_guided)
        memcpy(p->changes + i * p->n_guided,
               (const double *)arrays[CHANGES].data + row * p->n_guided,
               (size_t)p->n_guided * sizeof *p->changes);
    p->labels[i] = ((const int64_t *)arrays[LABELS].data)[row];
    p->evaluations = evaluations[2 * row];
    p->extra = evaluations[2 * row + 1] / m->n_estimators; // which all take as many
}

static aleat_status read_shard(const maker *m, int64_t i, aleat_npy_stream *features,
                               aleat_error *err)
{
    aleat_tensor arrays[N_ARRAYS] = {0};
    const int64_t first = i * m->size, rest = m->pool->n - first;
    const int64_t rows = rest < m->size ? rest : m->size;
    aleat_status st = ALEAT_OK;
    for (int a = 0; !st && a < N_ARRAYS; a++)
        if (m->width[a] && (a != FEATURES || features))
            st = read_array(&arrays[a], m, i, a, rows, err);
    for (int64_t row = 0; !st && row < rows; row++)
        take_scores(m, arrays, row, first + row);
    if (!st && features)
        st = aleat_npy_stream_rows(features, first, rows, arrays[FEATURES].data, err);
    for (int a = 0; a < N_ARRAYS; a++)
        aleat_tensor_clear(&arrays[a]);
    return st;
}

// The features of all shards in one array, which is read in place from then on.
static aleat_status map_features(const maker *m, const char *path, bool *there, aleat_error *err)
{
    const aleat_shape want = aleat_shape_of(2, m->pool->n, m->width[FEATURES]);
    aleat_npy_map *map = &m->pool->features;
    *there = false;
    if (!aleat_is_file(path))
        return ALEAT_OK;
    const aleat_status st = aleat_npy_map_open(map, path, err);
    *there = !st && map->array.dtype == ALEAT_F32 && aleat_shape_equal(&map->array.shape, &want);
    if (!*there && !st)
        aleat_npy_map_close(map);
    return st;
}

static aleat_status gather(maker *m, aleat_error *err)
{
    const aleat_shape shape = aleat_shape_of(2, m->pool->n, m->width[FEATURES]);
    aleat_npy_stream *stream = NULL;
    bool there = false;
    char *path = aleat_path_join(m->folder, "features.npy");
    aleat_status st = path ? name_scores(m, err) : aleat_fail_memory(err, m->folder);
    if (!st)
        st = map_features(m, path, &there, err);
    if (!st && !there)
        st = aleat_npy_stream_open(&stream, path, ALEAT_F32, &shape, err);
    for (int64_t i = 0; !st && i < m->n_shards; i++)
        st = read_shard(m, i, stream, err);
    if (!st && stream)
        st = aleat_npy_stream_commit(stream, err);
    aleat_npy_stream_free(stream);
    if (!st && !there)
        st = map_features(m, path, &there, err);
    if (!st && !there)
        st = aleat_fail(err, ALEAT_ERR_IO, "%s: changed while it was read", path);
    aleat_free(path);
    return st;
}

/* ---- making ---------------------------------------------------------------------------------- */

// Products with the Jacobian at each guided step: one for each copy.
static int64_t products(const aleat_run_options *run)
{
    return run->copies ? run->copies : USUAL_COPIES;
}

static aleat_status open_run(maker *m, const aleat_run_options *run, aleat_error *err)
{
    aleat_run_options options = *run;
    unsigned set;
    options.progress = on_progress;
    options.ctx = m;
    aleat_status st = aleat_estimators_parse(&set, run->estimator, err);
    m->n_estimators = st ? 1 : __builtin_popcount(set);
    if (!st)
        st = aleat_run_open(&m->run, m->paper->model, &options, err);
    if (st)
        return st;
    m->facts = aleat_run_describe(m->run);
    if (!options.decoder && m->facts.channels != 1 && m->facts.channels != 3) {
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                         "the model makes latents of %" PRId64 " channels, which are no images",
                         m->facts.channels);
        aleat_hint(err, "--decoder makes images of them");
        return ALEAT_ERR_ARGUMENT;
    }
    const int64_t size = SHARD_PIXELS / (m->facts.height * m->facts.width);
    m->size = size < SHARD_LEAST ? SHARD_LEAST : size;
    if (m->paper->options.shard > 0)
        m->size = m->paper->options.shard;
    m->n_shards = (options.n + m->size - 1) / m->size;
    m->cost = (double)(m->facts.evaluations + 2 * m->facts.n_guide_steps * products(&options));
    set_widths(m);
    return ALEAT_OK;
}

aleat_status aleat_pool_add_work(aleat_paper_work *work, const aleat_paper *paper,
                                 const aleat_run_options *run, aleat_error *err)
{
    aleat_pool pool = {.n = run->n};
    maker m = {.paper = paper, .pool = &pool};
    aleat_status st = open_run(&m, run, err);
    if (!st)
        st = open_folder(&m, err);
    for (int64_t i = 0; !st && i < m.n_shards; i++) {
        const int64_t rest = run->n - i * m.size, count = rest < m.size ? rest : m.size;
        bool there = false;
        st = has_shard(&there, &m, i, err);
        if (!st && !there) {
            work->images += count;
            work->cost += (double)count * m.cost;
        }
    }
    aleat_run_close(m.run);
    aleat_free(m.folder);
    return st;
}

aleat_status aleat_pool_make(aleat_pool *out, const aleat_paper *paper,
                             const aleat_run_options *run, const char *estimator, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    out->n = run->n;
    out->estimator = estimator ? estimator : aleat_estimator_name(0, NULL);
    maker m = {.paper = paper, .pool = out};
    aleat_status st = open_run(&m, run, err);
    if (!st)
        st = open_folder(&m, err);
    for (int64_t i = 0; !st && i < m.n_shards; i++) {
        bool there = false;
        st = has_shard(&there, &m, i, err);
        if (!st && !there)
            st = make_shard(&m, i, err);
    }
    clear_shard(&m);
    if (!st)
        st = gather(&m, err);
    aleat_run_close(m.run);
    aleat_free(m.folder);
    if (st)
        aleat_pool_clear(out);
    return st;
}

void aleat_pool_clear(aleat_pool *pool)
{
    if (!pool)
        return;
    aleat_free(pool->scores);
    aleat_free(pool->sums);
    aleat_free(pool->changes);
    aleat_free(pool->labels);
    aleat_npy_map_close(&pool->features);
    memset(pool, 0, sizeof *pool);
}

const float *aleat_pool_features(const aleat_pool *pool)
{
    return pool->features.array.data;
}

int64_t aleat_pool_dim(const aleat_pool *pool)
{
    return pool->features.array.shape.dim[1];
}
