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

/** The precision of that name, f32 for NULL. ALEAT_ERR_ARGUMENT: there is none. */
ALEAT_MUST_USE aleat_status aleat_find_precision(aleat_precision *out, const char *name,
                                                 aleat_error *err);

#endif
