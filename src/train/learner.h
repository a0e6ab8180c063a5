/* The diffusion loss of one batch and its gradient. */
#ifndef ALEAT_TRAIN_LEARNER_H
#define ALEAT_TRAIN_LEARNER_H

#include "graph/plan.h"
#include "models/model.h"
#include "train/dataset.h"
#include "train/params.h"

typedef struct aleat_learner aleat_learner;

typedef struct aleat_learner_options {
    uint64_t seed;
    int64_t batch;
    double label_drop;
    bool flip;
    int threads;
    aleat_precision precision;
} aleat_learner_options;

/**
 * A network on `params`, whose values it reads, with its gradient. `abar` [train_steps] is the
 * noise schedule. All but the options is borrowed. ALEAT_ERR_SHAPE if the images do not fit.
 */
ALEAT_MUST_USE aleat_status aleat_learner_new(aleat_learner **out, const char *config_path,
                                              aleat_params *params, const aleat_dataset *data,
                                              const double *abar, int64_t train_steps,
                                              const aleat_learner_options *options,
                                              aleat_error *err);
void aleat_learner_free(aleat_learner *learner);

/**
 * Mean over the batch and all pixels of (eps_theta(x_t, t, y) - eps)^2 into *loss, its gradient
 * into params->grad. Images go by in a new order each epoch; t is uniform. Source: Ho et al. 2020,
 * eq. 14.
 */
ALEAT_MUST_USE aleat_status aleat_learner_gradient(aleat_learner *learner, int64_t step,
                                                   double *loss, aleat_error *err);
/** Brings the network up to date with params' values. */
ALEAT_MUST_USE aleat_status aleat_learner_refresh(aleat_learner *learner, aleat_error *err);

#endif
