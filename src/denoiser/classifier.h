/*
 * The pull of a classifier of noisy images on a sampling run.
 * Source: Dhariwal and Nichol 2021, "Diffusion models beat GANs on image synthesis", section 4.
 */
#ifndef ALEAT_DENOISER_CLASSIFIER_H
#define ALEAT_DENOISER_CLASSIFIER_H

#include "denoiser/denoiser.h"

/** For batches of up to max_n images; the classifier, a network whose output is [n,classes] logits,
 * is borrowed and must outlive it. */
typedef struct aleat_classifier_pull aleat_classifier_pull;

/** ALEAT_ERR_UNSUPPORTED: the network has no gradients. */
ALEAT_MUST_USE aleat_status aleat_classifier_pull_new(aleat_classifier_pull **out,
                                                      const aleat_denoiser *classifier,
                                                      double scale, int64_t max_n,
                                                      aleat_error *err);
/** Accepts NULL. */
void aleat_classifier_pull_free(aleat_classifier_pull *pull);

/**
 * gradient [n,C,H,W] = scale d log p(label | x, t) / dx of each image of `in`, whose labels are
 * classes of the classifier. One evaluation and one vector-Jacobian product; allocates nothing.
 * The gradient is a number for whoever differentiates further: second derivatives are not taken.
 */
ALEAT_MUST_USE aleat_status aleat_classifier_pull_run(aleat_classifier_pull *pull,
                                                      const aleat_batch *in, float *gradient,
                                                      aleat_error *err);

#endif
