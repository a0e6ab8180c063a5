/* What the parts of the diffusion task share. */
#ifndef ALEAT_TRAIN_DIFFUSION_H
#define ALEAT_TRAIN_DIFFUSION_H

#include "train/task.h"

/** Where in the schedule an image is noised to. */
typedef struct aleat_noising {
    int64_t t;
    double alpha, sigma;
} aleat_noising;

/** Step `t` = u * train_steps, u in [0, 1). */
aleat_noising aleat_noising_of(const aleat_problem *problem, double u);
/** x0 becomes alpha x0 + sigma eps, and eps what the network should say of it. */
void aleat_noise_and_target(const aleat_problem *problem, const aleat_noising *at, float *x,
                            float *eps, int64_t count);

aleat_status aleat_diffusion_validate(const aleat_problem *problem, const aleat_trained *trained,
                                      const aleat_dataset *held_out, aleat_validation *out,
                                      aleat_error *err);
aleat_status aleat_diffusion_picture(const aleat_problem *problem, const aleat_trained *trained,
                                     const char *path, aleat_error *err);

#endif
