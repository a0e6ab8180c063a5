/* Behind the public aleat_model: what the other files of this layer need of it. */
#ifndef ALEAT_API_MODEL_STATE_H
#define ALEAT_API_MODEL_STATE_H

#include "aleat/model.h"
#include "denoiser/cfg.h"
#include "denoiser/network.h"
#include "models/model.h"

struct aleat_model {
    char *path;
    aleat_model_files files;
    aleat_denoiser denoiser;
    aleat_precision precision;
    int64_t n_parameters;
    int32_t null_class; /**< what aleat_model_cfg() gave the unconditional half */
};

/** The precision of that name; f32 for NULL. */
ALEAT_MUST_USE aleat_status aleat_find_precision(aleat_precision *out, const char *name,
                                                 aleat_error *err);
/**
 * Classifier-free guidance of scale w around the model's denoiser; borrows the model. *out stays
 * empty (ops NULL) if `scale` is 0 or 1, which both stand for none. ALEAT_ERR_UNSUPPORTED: the
 * model has no class that means "no label".
 */
ALEAT_MUST_USE aleat_status aleat_model_cfg(aleat_denoiser *out, aleat_model *model, double scale,
                                            aleat_error *err);

#endif
