/*
 * What a network predicts, turned into what samplers and estimators use: the noise and x0 of a
 * state x = alpha x0 + sigma n. The one place where the conventions eps, x0 and v meet.
 */
#ifndef ALEAT_SAMPLERS_PREDICTION_H
#define ALEAT_SAMPLERS_PREDICTION_H

#include <stdint.h>

#include "samplers/config.h"

/** eps = raw_weight * raw + x_weight * x at a level: linear for every kind of prediction. */
typedef struct aleat_eps_weights {
    double raw, x;
} aleat_eps_weights;
aleat_eps_weights aleat_eps_weights_of(aleat_prediction prediction, double alpha, double sigma);

/**
 * eps[j] and x0[j], j < count, of a state x and a raw output. Any of eps, x0 may be NULL; eps may
 * be raw. Unclipped.
 */
void aleat_predict(aleat_prediction prediction, double alpha, double sigma, const float *x,
                   const float *raw, float *eps, float *x0, int64_t count);
/** What a network should have put out: target[j] of x0 and eps; it may be either of them. */
void aleat_prediction_target(aleat_prediction prediction, double alpha, double sigma,
                             const float *x0, const float *eps, float *target, int64_t count);
/** x0 = (x - sigma eps) / alpha. */
void aleat_x0_of_eps(double alpha, double sigma, const float *x, const float *eps, float *x0,
                     int64_t count);
/** eps = (x - alpha x0) / sigma. */
void aleat_eps_of_x0(double alpha, double sigma, const float *x, const float *x0, float *eps,
                     int64_t count);

/** Does this clip change anything? */
static inline bool aleat_clip_active(const aleat_clip *clip)
{
    return clip->clamp || clip->dynamic;
}
/**
 * Clips the x0 of one image in place. Dynamic thresholding needs `scratch`, [count]: it takes the
 * quantile of |x0| by linear interpolation, as torch.quantile does.
 */
void aleat_clip_x0(const aleat_clip *clip, float *x0, int64_t count, float *scratch);

/**
 * The quantile of values[count], 0 <= q <= 1, by linear interpolation between the ranks around
 * q (count - 1) (torch.quantile, numpy's default). Reorders `values`; expected time O(count).
 */
double aleat_quantile(float *values, int64_t count, double q);

#endif
