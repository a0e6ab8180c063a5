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

/**
 * Classifier-free guidance of scale w around the model's denoiser; borrows the model. *out stays
 * empty (ops NULL) if `scale` is 0 or 1, which both stand for none. `negative`: the text of the
 * unconditional half, for models of texts; borrowed. ALEAT_ERR_UNSUPPORTED: the model has no class
 * that means "no label".
 */
ALEAT_MUST_USE aleat_status aleat_model_cfg(aleat_denoiser *out, aleat_model *model, double scale,
                                            const aleat_text *const *negative, aleat_error *err);
/** A tensor as callers see it. */
aleat_tensor_facts aleat_weight_facts(const aleat_weight *weight);
/** The precision called `name`; NULL: f32. */
ALEAT_MUST_USE aleat_status aleat_precision_find(aleat_precision *out, const char *name,
                                                 aleat_error *err);
/** What the files of a model do not say, from the public options. */
aleat_model_options aleat_model_wanted(const aleat_open_options *options);
/** ALEAT_ERR_UNSUPPORTED, with a hint, unless the model is a denoiser. */
ALEAT_MUST_USE aleat_status aleat_model_check_denoiser(const aleat_model *model, aleat_error *err);

#endif
