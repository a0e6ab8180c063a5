/*
 * Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3", SC 2011). A number is a pure function of its key and its index, so what an image is
 * made of does not depend on batch size, order, threads or machine.
 */
#ifndef ALEAT_BASE_RNG_H
#define ALEAT_BASE_RNG_H

#include <stdint.h>

/** What a stream is for. Streams of different purposes never meet. */
typedef enum aleat_purpose {
    ALEAT_FOR_INITIAL, /**< x_T */
    ALEAT_FOR_STEP,    /**< the noise that a stochastic sampler adds */
    ALEAT_FOR_COPY,    /**< the re-noising of Algorithm 1 */
    ALEAT_FOR_DATA,    /**< noising of given images */
    ALEAT_FOR_LABEL,   /**< labels drawn at random */
    ALEAT_FOR_DROPOUT,
    ALEAT_FOR_TRAINING,
    ALEAT_FOR_SUBSET,    /**< random baselines: permutations, bootstraps */
    ALEAT_FOR_SIGNS,     /**< directions drawn at random: guidance, probes of a Jacobian */
    ALEAT_FOR_LATENT,    /**< the sampled latent of an image */
    ALEAT_FOR_POSTERIOR, /**< predictions and states drawn from a posterior */
    ALEAT_FOR_WEIGHTS    /**< weights drawn from one */
} aleat_purpose;

/** Names one stream. The same key always gives the same numbers. */
typedef struct aleat_rng_key {
    uint64_t seed;
    uint32_t image; /**< number of the image in the run, not its row in a batch */
    uint32_t step;  /**< sampler step, or 0 */
    uint32_t copy;  /**< copy of Algorithm 1, or 0; below 2^24 */
    aleat_purpose purpose;
} aleat_rng_key;

/** Philox 4x32-10: the four words of block `counter` under `key`. */
void aleat_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2]);

/**
 * out[j] = standard normal number `first + j` of the stream, j < count; first must be a multiple of
 * 4. Box-Muller in double from two 32-bit uniforms, rounded to f32, so |value| < 6.8. Uses no libm:
 * the bits are the same on every machine with IEEE arithmetic.
 */
void aleat_rng_normals(const aleat_rng_key *key, int64_t first, float *out, int64_t count);

/** out[j] = number `j` of the stream, uniform on [0, 1) in steps of 2^-24. */
void aleat_rng_uniforms(const aleat_rng_key *key, float *out, int64_t count);

/** out[j] = number `j` of the stream as 32 random bits. */
void aleat_rng_words(const aleat_rng_key *key, uint32_t *out, int64_t count);

/** Number `index` of the stream as 64 random bits. */
uint64_t aleat_rng_bits(const aleat_rng_key *key, int64_t index);

/** Number `index` of the stream, uniform on 0 .. n-1; n > 0. Bias below n / 2^64. */
uint64_t aleat_rng_below(const aleat_rng_key *key, int64_t index, uint64_t n);

/** out = a random permutation of 0 .. n-1 (Fisher-Yates). */
void aleat_rng_permutation(const aleat_rng_key *key, int64_t *out, int64_t n);

/**
 * log, sin and cos as aleat_rng_normals() computes them, for tests: natural logarithm of
 * (word + 1/2) / 2^32, and the sine and cosine of 2 pi word / 2^32. Absolute error below 1e-13
 * (logarithm: relative).
 */
double aleat_rng_log(uint32_t word);
void aleat_rng_sincos(uint32_t word, double *sine, double *cosine);

#endif
