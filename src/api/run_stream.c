/* A run without a folder: its images go to the caller, batch by batch. */
#include "aleat/run.h"

#include <inttypes.h>
#include <stdlib.h>

#include "api/runner.h"
#include "base/alloc.h"
#include "base/error.h"

aleat_status aleat_run_open(aleat_run **out, aleat_model *model, const aleat_run_options *options,
                            aleat_error *err)
{
    *out = NULL;
    if (options->trajectory || options->keep_step_maps || options->keep_x0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "trajectories, x0 and maps of single steps are kept in folders only");
    aleat_run *run = aleat_calloc(1, sizeof *run);
    if (!run)
        return aleat_fail_memory(err, "a run");
    run->options = *options;
    aleat_status st = aleat_run_prepare(run, model, NULL, err);
    run->settings_text = st ? NULL : json_dumps(run->settings, JSON_REAL_PRECISION(17));
    if (!st && !run->settings_text)
        st = aleat_fail_memory(err, "settings of the run");
    if (st)
        aleat_run_close(run);
    else
        *out = run;
    return st;
}

void aleat_run_close(aleat_run *run)
{
    if (!run)
        return;
    aleat_run_reset(run);
    aleat_free(run);
}

aleat_run_facts aleat_run_describe(const aleat_run *run)
{
    const aleat_run_shape *s = &run->shape;
    aleat_run_facts facts = {.settings = run->settings_text,
                             .n = s->n,
                             .channels = s->image_channels,
                             .height = s->image_height,
                             .width = s->image_width,
                             .map_channels = s->channels,
                             .map_height = s->height,
                             .map_width = s->width,
                             .n_maps = s->n_maps,
                             .n_signals = s->n_signals,
                             .n_score_steps = s->n_score_steps,
                             .score_steps = run->steps,
                             .n_guide_steps = s->n_guide_steps,
                             .evaluations = aleat_run_planned_evaluations(&run->job)};
    for (int m = 0; m < s->n_maps; m++) {
        facts.maps[m] = s->maps[m].name;
        facts.map_is_error[m] = s->maps[m].is_error;
    }
    for (int k = 0; k < s->n_signals; k++)
        facts.signals[k] = s->signals[k];
    return facts;
}

static aleat_status give_batch(const aleat_run *run, aleat_run_take *take, void *ctx,
                               aleat_error *err)
{
    const aleat_runner *r = &run->r;
    const aleat_shard *shard = &run->shard;
    const aleat_run_images images = {.first = shard->first,
                                     .count = shard->count,
                                     .pixels = shard->images,
                                     .states = shard->trajectory,
                                     .labels = shard->labels,
                                     .maps = shard->maps,
                                     .sums = shard->sums,
                                     .signals = shard->signals,
                                     .changes = shard->changes,
                                     .evaluations = aleat_runner_evaluations(r),
                                     .extra_evaluations = aleat_runner_extra(r)};
    return take(ctx, &images, err);
}

// The batch of `rows` images from place `at`, or of those in r->chosen.
static aleat_status make_batch(aleat_run *run, int64_t at, int64_t rows, aleat_run_take *take,
                               void *ctx, aleat_error *err)
{
    aleat_runner *r = &run->r;
    r->shard = &run->shard;
    r->row = 0;
    r->rows = rows;
    aleat_shard_clear(run->arrays);
    aleat_status st = r->sampler ? ALEAT_OK : aleat_runner_make(r, err);
    if (!st)
        st = aleat_shard_new(&run->shard, run->arrays, &run->shape, at, rows, err);
    if (!st)
        st = aleat_runner_batch(r, err);
    return st ? st : give_batch(run, take, ctx, err);
}

aleat_status aleat_run_sample(aleat_run *run, int64_t first, int64_t count, aleat_run_take *take,
                              void *ctx, aleat_error *err)
{
    if (first < 0 || count < 1 || first > run->shape.n - count)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "images %" PRId64 " to %" PRId64 " of a run of %" PRId64, first,
                          first + count - 1, run->shape.n);
    aleat_status st = ALEAT_OK;
    run->r.done = first;
    for (int64_t at = first; !st && at < first + count; at += run->r.rows) {
        const int64_t rest = first + count - at;
        st = make_batch(run, at, rest < run->job.batch ? rest : run->job.batch, take, ctx, err);
    }
    return st;
}

aleat_status aleat_run_sample_chosen(aleat_run *run, const int64_t *images, int64_t count,
                                     aleat_run_take *take, void *ctx, aleat_error *err)
{
    // noise that is given, or made as torch does, is that of neighbours
    const bool alone = run->job.torch || run->job.initial.data;
    const int64_t most = alone ? 1 : run->job.batch;
    aleat_status st = ALEAT_OK;
    for (int64_t i = 0; i < count; i++)
        if (images[i] < 0 || images[i] >= run->shape.n)
            return aleat_fail(err, ALEAT_ERR_ARGUMENT, "image %" PRId64 " of a run of %" PRId64,
                              images[i], run->shape.n);
    run->r.done = 0;
    for (int64_t i = 0; !st && i < count; i += run->r.rows) {
        run->r.chosen = images + i;
        st = make_batch(run, images[i], count - i < most ? count - i : most, take, ctx, err);
    }
    run->r.chosen = NULL;
    return st;
}
