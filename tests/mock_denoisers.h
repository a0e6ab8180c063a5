/* Networks that are formulas: exact denoisers of data with a known density. */
#ifndef ALEAT_TESTS_MOCK_DENOISERS_H
#define ALEAT_TESTS_MOCK_DENOISERS_H

#include <stdbool.h>
#include <stdint.h>

#include "denoiser/denoiser.h"
#include "samplers/config.h"

/** Signal level from the time that the network is told. */
typedef enum mock_clock {
    MOCK_FIXED,     /**< always abar[0] */
    MOCK_LOG_SIGMA, /**< table over whole steps, log(sigma / alpha) linear between them */
    MOCK_LEVELS     /**< a list of times and levels: free of what f32 does to fractions of t */
} mock_clock;

/**
 * Data ~ sum_k weight_k N(mean_k, S_k), S_k isotropic with deviation spread_k, or, for a single
 * component, `covariance` [size,size]. All borrowed.
 */
typedef struct mock_data {
    int64_t channels, height, width; /**< size = their product */
    int components;
    const double *weight, *spread, *mean; /**< [K], [K], [K,size] */
    const double *covariance;             /**< [size,size], or NULL */
    mock_clock clock;
    const double *abar; /**< [n_abar] */
    int n_abar;
    const double *level_t, *level_alpha, *level_sigma; /**< [n_levels] */
    int n_levels;
    aleat_prediction output;
    bool learned; /**< a second half of output channels: 0.25 in every element */
} mock_data;

/** A denoiser with gradients (eps output only); ends with aleat_denoiser_destroy(). */
aleat_denoiser mock_denoiser(const mock_data *data);
/** The formula itself in double, for one image: out[size]. */
void mock_predict(const mock_data *data, double t, const double *x, double *out);
/** Evaluations of images by it so far, and rows of the largest batch. */
int64_t mock_rows(const aleat_denoiser *denoiser);
int64_t mock_largest_batch(const aleat_denoiser *denoiser);

#endif
