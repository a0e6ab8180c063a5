/*
 * The numbers that PyTorch's CPU generator gives, so that a seed means the same image here as
 * there. Integers and scalar normals are exact; normals drawn 16 or more at a time differ by at
 * most 2e-6 in f32 (PyTorch's own vector and scalar builds differ by as much) and 1e-14 in f64.
 */
#ifndef ALEAT_BASE_RNG_TORCH_H
#define ALEAT_BASE_RNG_TORCH_H

#include <stdbool.h>
#include <stdint.h>

/** One stream: mt19937 and the second half of the last scalar normal. Plain data, copyable. */
typedef struct aleat_torch_rng {
    uint32_t state[624];
    int used; /**< words of the state already given out */
    bool has_cached;
    double cached;
} aleat_torch_rng;

/** torch.manual_seed(seed): only the low 32 bits count. */
void aleat_torch_seed(aleat_torch_rng *rng, uint64_t seed);
/** The next 32 or 64 random bits; 64 take two words, the first one high. */
uint32_t aleat_torch_u32(aleat_torch_rng *rng);
uint64_t aleat_torch_u64(aleat_torch_rng *rng);

/** torch.rand(n) */
void aleat_torch_rand_f32(aleat_torch_rng *rng, float *out, int64_t n);
void aleat_torch_rand_f64(aleat_torch_rng *rng, double *out, int64_t n);
/**
 * torch.randn(n); only the number of elements matters, not the shape. Below 16 elements the values
 * are made one by one in double and the unused second half of a pair is kept for the next such
 * call; from 16 on they are made in blocks, which neither read nor clear what is kept.
 */
void aleat_torch_randn_f32(aleat_torch_rng *rng, float *out, int64_t n);
void aleat_torch_randn_f64(aleat_torch_rng *rng, double *out, int64_t n);
/** torch.randint(low, high, (n,)); low < high. */
void aleat_torch_randint(aleat_torch_rng *rng, int64_t low, int64_t high, int64_t *out, int64_t n);
/** torch.randperm(n) */
void aleat_torch_randperm(aleat_torch_rng *rng, int64_t *out, int64_t n);

#endif
