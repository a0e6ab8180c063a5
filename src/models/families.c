#include "models/families.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/error.h"
#include "nn/layers.h"

const char *const aleat_single_file_parts[] = {
    "first_stage_model.*", "vae.*",  "cond_stage_model.*", "conditioner.*",    "text_encoders.*",
    "model_ema.*",         "betas",  "alphas_cumprod*",    "sqrt_*",           "log_one_minus_*",
    "posterior_*",         "logvar", "lvlb_weights",       "model_sampling.*", "denoiser.sigmas",
    "cond_stage_model_*",  NULL,
};

aleat_status aleat_model_choose_size(aleat_dims *dims, const aleat_model_options *options,
                                     int64_t unit, const char *file, const char *missing,
                                     aleat_error *err)
{
    dims->h = options->height ? options->height : dims->h;
    dims->w = options->width ? options->width : dims->w;
    if (!dims->h || !dims->w) {
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: %s: the network takes images of any size",
                         file, missing);
        aleat_hint(err,
                   "say which: in the configuration, or by --height H --width W where the verb "
                   "has them");
        return ALEAT_ERR_ARGUMENT;
    }
    if (dims->h < 1 || dims->w < 1 || dims->h % unit || dims->w % unit) {
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                         "%s: images of %lld x %lld do not fit the network, height and width must "
                         "be multiples of %lld",
                         file, (long long)dims->h, (long long)dims->w, (long long)unit);
        const int64_t h = (dims->h + unit - 1) / unit * unit,
                      w = (dims->w + unit - 1) / unit * unit;
        if (h > 0 && w > 0)
            aleat_hint(err, "the next larger size is %lld x %lld", (long long)h, (long long)w);
        return ALEAT_ERR_ARGUMENT;
    }
    return ALEAT_OK;
}

aleat_status aleat_model_choose_dropout(double *dropout, const aleat_model_options *options,
                                        aleat_error *err)
{
    if (!(options->dropout >= 0 && options->dropout < 1))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "dropout %g is not in [0, 1)", options->dropout);
    if (options->dropout > 0)
        *dropout = options->dropout;
    return ALEAT_OK;
}

static aleat_weight *find(aleat_weights *weights, const char *fmt, va_list args)
{
    char name[ALEAT_NAME_SIZE];
    const int len = vsnprintf(name, sizeof name, fmt, args);
    return len > 0 && (size_t)len < sizeof name ? aleat_weights_find(weights, name) : NULL;
}

bool aleat_inspect_has(aleat_weights *weights, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const aleat_weight *weight = find(weights, fmt, args);
    va_end(args);
    return weight != NULL;
}

int64_t aleat_inspect_dim(aleat_weights *weights, int axis, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const aleat_weight *weight = find(weights, fmt, args);
    va_end(args);
    if (!weight || axis >= weight->shape.n_dims)
        return 0;
    const int64_t size = weight->shape.dim[axis];
    return size >= 1 && size <= ALEAT_INSPECT_MAX ? size : 0;
}
