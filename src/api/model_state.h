/* Behind the public aleat_model: what the other files of this layer need of it. */
#ifndef ALEAT_API_MODEL_STATE_H
#define ALEAT_API_MODEL_STATE_H

#include "aleat/model.h"
#include "denoiser/network.h"
#include "models/model.h"

struct aleat_model {
    char *path;
    aleat_model_files files;
    aleat_denoiser denoiser;
    aleat_precision precision;
    int64_t n_parameters;
};

/** A tensor as callers see it. */
aleat_tensor_facts aleat_weight_facts(const aleat_weight *weight);
/** The precision called `name`; NULL: f32. */
ALEAT_MUST_USE aleat_status aleat_precision_find(aleat_precision *out, const char *name,
                                                 aleat_error *err);
/** ALEAT_ERR_UNSUPPORTED, with a hint, unless the model is a denoiser. */
ALEAT_MUST_USE aleat_status aleat_model_check_denoiser(const aleat_model *model, aleat_error *err);

#endif
