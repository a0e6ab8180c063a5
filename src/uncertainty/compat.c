#include "uncertainty/compat.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/names.h"

static const struct {
    const char *name; // "alpha=step-index"; the part behind "=" is N where a number is wanted
    size_t field;
    int value;
    const char *help;
} switches[] = {
    {"alpha=step-index", offsetof(aleat_compat, step_index), 1,
     "noise copies to abar of the evaluation's number, not of its training step"},
    {"perturb=next", offsetof(aleat_compat, from_next), 1,
     "copies of the next state, with the noise of one training step (scoring; DDIM, eta 0)"},
    {"dpm-target=x0", offsetof(aleat_compat, x0_as_eps), 1,
     "take the predicted x0 for the predicted noise (scoring)"},
    {"units=score", offsetof(aleat_compat, score_units), 1,
     "maps of the noise in units of the score: divided by sigma (its square)"},
    {"wrt=input", offsetof(aleat_compat, wrt), ALEAT_WRT_INPUT,
     "gradient with respect to x, the predicted noise held"},
    {"wrt=input+sum-eps", offsetof(aleat_compat, wrt), ALEAT_WRT_INPUT_AND_SUM,
     "the same plus the gradient of the sum of the predicted noise"},
    {"side=lower", offsetof(aleat_compat, lower), 1,
     "move the elements below the threshold, not those above"},
    {"mode=multiplicative", offsetof(aleat_compat, update), ALEAT_UPDATE_PRODUCT,
     "predicted noise times gradient, where the mask is"},
    {"mode=random-sign", offsetof(aleat_compat, update), ALEAT_UPDATE_RANDOM_SIGN,
     "move by the uncertainty itself, with a random sign"},
    {"mode=posterior", offsetof(aleat_compat, update), ALEAT_UPDATE_POSTERIOR,
     "the mean of the copies' noise under a Gaussian prior, where the mask is"},
    {"mode=posterior-published", offsetof(aleat_compat, update), ALEAT_UPDATE_POSTERIOR_PUBLISHED,
     "the same as published for Stable Diffusion: the noise itself in place of the copies' sum"},
    {"batch-mean=N", offsetof(aleat_compat, batch_mean), 0,
     "average the gradient over a batch of N: the strength of that batch"},
};
#define N_SWITCHES ((int)(sizeof switches / sizeof *switches))

const char *aleat_compat_name(int i, const char **help)
{
    return ALEAT_NAME_AT(switches, i, help);
}

static bool takes_number(const char *name)
{
    return strcmp(strchr(name, '=') + 1, "N") == 0;
}

// Sets the switch that the first n letters of text spell; false if there is none.
static bool set(aleat_compat *out, const char *text, size_t n)
{
    for (int i = 0; i < N_SWITCHES; i++) {
        const char *name = switches[i].name;
        char *field = (char *)out + switches[i].field;
        if (!takes_number(name) && strlen(name) == n && memcmp(name, text, n) == 0) {
            *(int *)(void *)field = switches[i].value;
            return true;
        }
        const size_t key = strlen(name) - 1; // up to "="
        if (!takes_number(name) || n <= key || memcmp(name, text, key) != 0)
            continue;
        char *end;
        const double value = strtod(text + key, &end);
        *(double *)(void *)field = value;
        return end == text + n && value >= 1 && isfinite(value);
    }
    return false;
}

aleat_status aleat_compat_parse(aleat_compat *out, const char *text, aleat_error *err)
{
    *out = (aleat_compat){0};
    while (text && *text) {
        const size_t n = strcspn(text, ",");
        if (!set(out, text, n)) {
            (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                             "there is no variant '%.*s' of the published code", (int)n, text);
            aleat_hint(err, "one or more of %s, %s, %s ... (see the help), with commas",
                       switches[0].name, switches[1].name, switches[2].name);
            return ALEAT_ERR_ARGUMENT;
        }
        text += n + (text[n] == ',');
    }
    return ALEAT_OK;
}

bool aleat_compat_moves_copies(const aleat_compat *c)
{
    return c->step_index || c->from_next || c->x0_as_eps;
}

const char *aleat_compat_map_variant(const aleat_compat *c, char *buf, size_t size)
{
    (void)snprintf(buf, size, "%s%s%s%s", c->step_index ? ",step-index" : "",
                   c->from_next ? ",next" : "", c->x0_as_eps ? ",x0-as-eps" : "",
                   c->score_units ? ",score-units" : "");
    if (buf[0]) // without the first comma
        memmove(buf, buf + 1, strlen(buf));
    return buf;
}

void aleat_compat_options(const aleat_compat *c, aleat_estimator_options *estimator,
                          aleat_guide_options *guidance)
{
    if (estimator) {
        estimator->score_units = c->score_units;
        if (aleat_compat_moves_copies(c))
            estimator->clip = ALEAT_CLIP_OFF;
    }
    if (guidance) {
        guidance->wrt = (aleat_guide_wrt)c->wrt;
        guidance->update = (aleat_guide_update)c->update;
        guidance->lower = c->lower;
        guidance->divisor = c->batch_mean > 0 ? c->batch_mean : 1;
        if (aleat_compat_moves_copies(c))
            guidance->clip = ALEAT_CLIP_OFF;
    }
}

// x' of a step that looks at nothing but this evaluation; false if it is not of that kind.
static bool next_state(const aleat_evaluation *e, float *next)
{
    const aleat_sampling_step *s = e->step;
    bool plain = s->c_base == 0 && s->c_noise == 0 && !s->learned && !e->plan->eps_from_clipped;
    for (int j = 1; j < ALEAT_PLAN_HISTORY; j++)
        plain &= s->c_x0[j] == 0 && s->c_eps[j] == 0;
    for (int64_t j = 0; plain && j < e->n * e->count; j++)
        next[j] = (float)(s->c_x * (double)e->x[j] + s->c_x0[0] * (double)e->x0[j] +
                          s->c_eps[0] * (double)e->eps[j]);
    return plain;
}

void aleat_compat_target(const aleat_compat *c, aleat_noisy_state *state)
{
    if (c->x0_as_eps)
        state->eps = state->x0;
}

aleat_status aleat_compat_state(const aleat_compat *c, const aleat_evaluation *e,
                                aleat_noisy_state *state, float *next, aleat_error *err)
{
    const double *abar = e->plan->alphas_cumprod;
    if (c->step_index) {
        state->alpha = sqrt(abar[e->index]);
        state->sigma = sqrt(1 - abar[e->index]);
    }
    aleat_compat_target(c, state);
    if (!c->from_next)
        return ALEAT_OK;
    if (!next_state(e, next))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "perturb=next is for samplers that look at one evaluation and add no "
                          "noise: ddim with eta 0");
    const int t = (int)e->step->t;
    const double beta = 1 - abar[t] / (t > 0 ? abar[t - 1] : 1);
    state->base = next;
    state->base_scale = sqrt(1 - beta);
    state->noise_scale = sqrt(beta);
    return ALEAT_OK;
}
