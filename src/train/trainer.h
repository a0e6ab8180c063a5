/* The loop of training, and everything around it: what is read, what is written. */
#ifndef ALEAT_TRAIN_TRAINER_H
#define ALEAT_TRAIN_TRAINER_H

#include "train/settings.h"

/** Steps of the diffusion that networks are trained for. */
#define ALEAT_TRAIN_TIMES 1000

/** aleat_train() (aleat/train.h) with the names looked up. */
ALEAT_MUST_USE aleat_status aleat_trainer_run(const aleat_train_spec *spec,
                                              aleat_train_result *result, aleat_error *err);

#endif
