/* The loss of one batch and its gradient. */
#ifndef ALEAT_TRAIN_LEARNER_H
#define ALEAT_TRAIN_LEARNER_H

#include "train/task.h"

typedef struct aleat_learner aleat_learner;

/**
 * A network on `params`, whose values it reads, with its gradient, for batches of `batch` images.
 * Everything is borrowed. ALEAT_ERR_SHAPE if the images do not fit.
 */
ALEAT_MUST_USE aleat_status aleat_learner_new(aleat_learner **out, const char *config_path,
                                              aleat_params *params, const aleat_problem *problem,
                                              int64_t batch, aleat_error *err);
void aleat_learner_free(aleat_learner *learner);

/**
 * Mean over the batch of the task's loss into *loss, its gradient into params->grad. Images go by
 * in a new order each epoch.
 */
ALEAT_MUST_USE aleat_status aleat_learner_gradient(aleat_learner *learner, int64_t step,
                                                   double *loss, aleat_error *err);
/** Brings the network up to date with params' values. */
ALEAT_MUST_USE aleat_status aleat_learner_refresh(aleat_learner *learner, aleat_error *err);

#endif
