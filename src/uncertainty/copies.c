#include "uncertainty/copies.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "samplers/prediction.h"

aleat_noisy_state aleat_noisy_state_of(const aleat_evaluation *e)
{
    return (aleat_noisy_state){.n = e->n,
                               .height = e->height,
                               .width = e->width,
                               .images = e->images,
                               .step = (uint32_t)e->index,
                               .alpha = e->step->alpha,
                               .sigma = e->step->sigma,
                               .t_network = e->t_network,
                               .condition = e->condition,
                               .x = e->x,
                               .eps = e->eps,
                               .x0 = e->x0,
                               .clip = &e->plan->clip};
}

aleat_status aleat_copies_init(aleat_copies *c, const aleat_denoiser *denoiser,
                               aleat_prediction prediction, int per_image, int64_t max_rows,
                               int64_t height, int64_t width, aleat_error *err)
{
    const int64_t count = denoiser->info.channels * height * width;
    const int64_t out_count = denoiser->info.out_channels * height * width;
    size_t elements, outputs;
    memset(c, 0, sizeof *c);
    if (per_image < 2 || per_image >= 1 << 24 || max_rows < 1 ||
        !aleat_size_mul((size_t)max_rows, (size_t)count, &elements) ||
        !aleat_size_mul((size_t)max_rows, (size_t)out_count, &outputs))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%d copies of a state, %lld at a time: at least 2 and 1 are needed",
                          per_image, (long long)max_rows);
    *c = (aleat_copies){.denoiser = denoiser,
                        .prediction = prediction,
                        .per_image = per_image,
                        .max_rows = max_rows,
                        .count = count,
                        .out_count = out_count,
                        .x = aleat_calloc(elements, sizeof(float)),
                        .z = aleat_calloc(elements, sizeof(float)),
                        .eps = aleat_calloc(elements, sizeof(float)),
                        .raw = aleat_calloc(outputs, sizeof(float)),
                        .t = aleat_calloc((size_t)max_rows, sizeof(float)),
                        .images = aleat_calloc((size_t)max_rows, sizeof(uint32_t)),
                        .passes = aleat_calloc((size_t)max_rows, sizeof(uint32_t))};
    aleat_status st = c->x && c->z && c->eps && c->raw && c->t && c->images && c->passes
                          ? ALEAT_OK
                          : aleat_fail_memory(err, "copies of the state");
    if (!st)
        st = aleat_condition_rows_reserve(&c->conditions, max_rows, err);
    if (st)
        aleat_copies_clear(c);
    return st;
}

void aleat_copies_clear(aleat_copies *c)
{
    if (!c)
        return;
    aleat_free(c->x);
    aleat_free(c->z);
    aleat_free(c->eps);
    aleat_free(c->raw);
    aleat_free(c->t);
    aleat_free(c->images);
    aleat_free(c->passes);
    aleat_condition_rows_clear(&c->conditions);
    memset(c, 0, sizeof *c);
}

bool aleat_copies_clipped(const aleat_noisy_state *state, aleat_clip_mode clip)
{
    return clip == ALEAT_CLIP_ON || (clip == ALEAT_CLIP_AUTO && aleat_clip_active(state->clip));
}

static void renoise(const aleat_noisy_state *state, aleat_clip_mode clip, int64_t at,
                    const float *z, float *out, int64_t count)
{
    const double alpha = state->alpha, sigma = state->sigma;
    if (state->base) {
        for (int64_t j = 0; j < count; j++)
            out[j] = (float)(state->base_scale * (double)state->base[at + j] +
                             state->noise_scale * (double)z[j]);
        return;
    }
    if (!aleat_copies_clipped(state, clip)) {
        for (int64_t j = 0; j < count; j++)
            out[j] = (float)((double)state->x[at + j] +
                             sigma * ((double)z[j] - (double)state->eps[at + j]));
        return;
    }
    const bool clamp_here =
        !aleat_clip_active(state->clip); // asked for, though the sampler does not
    for (int64_t j = 0; j < count; j++) {
        double x0 = (double)state->x0[at + j];
        if (clamp_here)
            x0 = x0 < -1 ? -1 : x0 > 1 ? 1 : x0;
        out[j] = (float)(alpha * x0 + sigma * (double)z[j]);
    }
}

// Row r sees the state itself, by a network of its own.
static void drop(aleat_copies *c, const aleat_noisy_state *state, int64_t image, uint32_t pass,
                 int64_t r)
{
    memcpy(c->x + r * c->count, state->x + image * c->count, (size_t)c->count * sizeof *c->x);
    memset(c->z + r * c->count, 0, (size_t)c->count * sizeof *c->z);
    c->images[r] = state->images[image];
    c->passes[r] = pass;
}

aleat_status aleat_copies_make(aleat_copies *c, const aleat_noisy_state *state,
                               aleat_clip_mode clip, const aleat_noise_source *noise, int64_t begin,
                               int64_t rows, aleat_error *err)
{
    for (int64_t r = 0; r < rows; r++) {
        const int64_t image = (begin + r) / c->per_image;
        const aleat_rng_key key = {.image = state->images[image],
                                   .step = state->step,
                                   .copy = (uint32_t)((begin + r) % c->per_image),
                                   .purpose = ALEAT_FOR_COPY};
        float *z = c->z + r * c->count;
        if (c->kind == ALEAT_COPY_DROPPED) {
            drop(c, state, image, key.copy, r);
        } else {
            const aleat_status st = aleat_noise_fill(noise, &key, z, c->count, err);
            if (st)
                return st;
            renoise(state, clip, image * c->count, z, c->x + r * c->count, c->count);
        }
        c->t[r] = state->t_network;
        aleat_condition_rows_set(&c->conditions, r, &state->condition, image);
    }
    c->dropout = (aleat_dropout){noise->seed, state->step, c->images, c->passes};
    return ALEAT_OK;
}

aleat_batch aleat_copies_batch(const aleat_copies *c, const aleat_noisy_state *state, int64_t rows)
{
    return (aleat_batch){.n = rows,
                         .height = state->height,
                         .width = state->width,
                         .x = c->x,
                         .t = c->t,
                         .condition = aleat_condition_rows_view(&c->conditions, &state->condition),
                         .dropout = c->kind == ALEAT_COPY_DROPPED ? &c->dropout : NULL};
}

aleat_status aleat_copies_evaluate(aleat_copies *c, const aleat_noisy_state *state, int64_t rows,
                                   bool keep, aleat_error *err)
{
    const aleat_denoiser *d = c->denoiser;
    const aleat_batch batch = aleat_copies_batch(c, state, rows);
    const aleat_status st = keep ? d->ops->forward_keep(d->self, &batch, c->raw, err)
                                 : aleat_denoiser_predict(d, &batch, c->raw, err);
    for (int64_t r = 0; !st && r < rows; r++)
        aleat_predict(c->prediction, state->alpha, state->sigma, c->x + r * c->count,
                      c->raw + r * c->out_count, c->eps + r * c->count, NULL, c->count);
    return st;
}
