#include "base/rng.h"

#include <assert.h>
#include <math.h>
#include <string.h>

#include "base/wide.h"

// Constants of Salmon et al., table 2 and section 4.3: the multipliers and the Weyl increments.
#define MULTIPLIER_0 0xD2511F53u
#define MULTIPLIER_1 0xCD9E8D57u
#define WEYL_0       0x9E3779B9u
#define WEYL_1       0xBB67AE85u
#define ROUNDS       10

// Counters of one pass of the loops below: long enough to fill vector registers, short enough for
// the first-level cache.
#define LANES 64

static inline void philox_round(uint32_t *c0, uint32_t *c1, uint32_t *c2, uint32_t *c3, uint32_t k0,
                                uint32_t k1)
{
    const uint64_t p0 = (uint64_t)MULTIPLIER_0 * *c0, p1 = (uint64_t)MULTIPLIER_1 * *c2;
    *c0 = (uint32_t)(p1 >> 32) ^ *c1 ^ k0;
    *c1 = (uint32_t)p1;
    *c2 = (uint32_t)(p0 >> 32) ^ *c3 ^ k1;
    *c3 = (uint32_t)p0;
}

void aleat_philox(uint32_t out[4], const uint32_t counter[4], const uint32_t key[2])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (uint32_t r = 0; r < ROUNDS; r++)
        philox_round(&c0, &c1, &c2, &c3, key[0] + r * WEYL_0, key[1] + r * WEYL_1);
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

__extension__ typedef unsigned __int128 wide_product;

// Where a stream lives in Philox's space: the seed is the key; the counter is the block index, the
// image, the step, and purpose and copy in one word.
static void stream_block(const aleat_rng_key *key, int64_t block, uint32_t counter[4],
                         uint32_t words[2])
{
    assert(block >= 0 && block <= UINT32_MAX && key->copy < 1u << 24);
    counter[0] = (uint32_t)block;
    counter[1] = key->image;
    counter[2] = key->step;
    counter[3] = (uint32_t)key->purpose << 24 | key->copy;
    words[0] = (uint32_t)key->seed;
    words[1] = (uint32_t)(key->seed >> 32);
}

// words[w][j] = word w of block `block + j`. Round by round: compilers find the vectors of this
// loop, not those of one block after the other.
ALEAT_WIDE static void many_blocks(const aleat_rng_key *key, int64_t block,
                                   uint32_t words[4][LANES])
{
    uint32_t counter[4], seed[2];
    stream_block(key, block, counter, seed);
    for (uint32_t j = 0; j < LANES; j++) {
        words[0][j] = counter[0] + j;
        for (int w = 1; w < 4; w++)
            words[w][j] = counter[w];
    }
    for (uint32_t r = 0; r < ROUNDS; r++)
        for (int j = 0; j < LANES; j++)
            philox_round(&words[0][j], &words[1][j], &words[2][j], &words[3][j],
                         seed[0] + r * WEYL_0, seed[1] + r * WEYL_1);
}

// The same in the order of the stream: out[4j + w] = words[w][j].
ALEAT_WIDE static void in_order(uint32_t words[4][LANES], uint32_t out[4 * LANES])
{
    for (int j = 0; j < LANES; j++)
        for (int w = 0; w < 4; w++)
            out[4 * j + w] = words[w][j];
}

// ln u for u = (word + 1/2) / 2^32: u = 2^e m with m in [sqrt(1/2), sqrt(2)), and
// ln m = 2 atanh((m - 1) / (m + 1)), whose series is cut where the next term is below 2e-15.
static inline double log_of(uint32_t word)
{
    const double u = ((double)word + 0.5) * 0x1p-32;
    uint64_t bits;
    memcpy(&bits, &u, sizeof bits);
    // Adding the distance from sqrt(1/2) to 1 carries into the exponent just when m >= sqrt(1/2).
    const uint64_t shifted = bits + (0x3ff0000000000000u - 0x3fe6a09e667f3bcdu);
    const double exponent = (double)(int32_t)((int32_t)(shifted >> 52) - 0x3ff);
    const uint64_t mantissa = (shifted & 0x000fffffffffffffu) + 0x3fe6a09e667f3bcdu;
    double m;
    memcpy(&m, &mantissa, sizeof m);
    const double s = (m - 1.0) / (m + 1.0), q = s * s;
    double p = 1.0 / 17;
    p = p * q + 1.0 / 15;
    p = p * q + 1.0 / 13;
    p = p * q + 1.0 / 11;
    p = p * q + 1.0 / 9;
    p = p * q + 1.0 / 7;
    p = p * q + 1.0 / 5;
    p = p * q + 1.0 / 3;
    p = p * q + 1.0;
    return exponent * 0.693147180559945309417 + 2.0 * s * p;
}

// The quadrant is taken off in integers, exactly; on the remaining |angle| <= pi/4 the Taylor
// series are cut where the next term is below 2e-14.
static inline void sincos_of(uint32_t word, double *sine, double *cosine)
{
    const uint32_t quadrant = (word + (1u << 29)) >> 30;
    const double x =
        (double)(int32_t)(word - (quadrant << 30)) * (6.283185307179586476925 * 0x1p-32);
    const double q = x * x;
    double s = 1.0 / 6227020800.0;
    s = s * q - 1.0 / 39916800.0;
    s = s * q + 1.0 / 362880.0;
    s = s * q - 1.0 / 5040.0;
    s = s * q + 1.0 / 120.0;
    s = s * q - 1.0 / 6.0;
    s = s * q * x + x;
    double c = -1.0 / 87178291200.0;
    c = c * q + 1.0 / 479001600.0;
    c = c * q - 1.0 / 3628800.0;
    c = c * q + 1.0 / 40320.0;
    c = c * q - 1.0 / 720.0;
    c = c * q + 1.0 / 24.0;
    c = c * q - 0.5;
    c = c * q + 1.0;
    const double swapped_s = quadrant & 1 ? c : s, swapped_c = quadrant & 1 ? s : c;
    *sine = quadrant & 2 ? -swapped_s : swapped_s;
    *cosine = (quadrant + 1) & 2 ? -swapped_c : swapped_c;
}

double aleat_rng_log(uint32_t word)
{
    return log_of(word);
}

void aleat_rng_sincos(uint32_t word, double *sine, double *cosine)
{
    sincos_of(word, sine, cosine);
}

// out[4j + 2h], out[4j + 2h + 1] = Box-Muller of words 2h and 2h+1 of block j.
ALEAT_WIDE static void box_muller(uint32_t words[4][LANES], float out[4 * LANES])
{
    for (int half = 0; half < 4; half += 2) {
        for (int j = 0; j < LANES; j++) {
            double sine, cosine;
            const double radius = sqrt(-2.0 * log_of(words[half][j]));
            sincos_of(words[half + 1][j], &sine, &cosine);
            out[4 * j + half] = (float)(radius * cosine);
            out[4 * j + half + 1] = (float)(radius * sine);
        }
    }
}

void aleat_rng_normals(const aleat_rng_key *key, int64_t first, float *out, int64_t count)
{
    assert(first >= 0 && first % 4 == 0);
    uint32_t words[4][LANES];
    float normals[4 * LANES];
    for (int64_t done = 0; done < count; done += 4 * LANES) {
        const int64_t rest = count - done;
        many_blocks(key, (first + done) / 4, words);
        box_muller(words, normals);
        memcpy(out + done, normals, (size_t)(rest < 4 * LANES ? rest : 4 * LANES) * sizeof *out);
    }
}

void aleat_rng_uniforms(const aleat_rng_key *key, float *out, int64_t count)
{
    uint32_t words[4][LANES];
    for (int64_t done = 0; done < count; done += 4 * LANES) {
        const int64_t rest = count - done, here = rest < 4 * LANES ? rest : 4 * LANES;
        many_blocks(key, done / 4, words);
        for (int64_t j = 0; j < here; j++)
            out[done + j] = (float)(words[j % 4][j / 4] >> 8) * 0x1p-24f;
    }
}

void aleat_rng_words(const aleat_rng_key *key, uint32_t *out, int64_t count)
{
    uint32_t words[4][LANES], last[4 * LANES];
    for (int64_t done = 0; done < count; done += 4 * LANES) {
        const int64_t rest = count - done;
        many_blocks(key, done / 4, words);
        in_order(words, rest < 4 * LANES ? last : out + done);
        if (rest < 4 * LANES)
            memcpy(out + done, last, (size_t)rest * sizeof *out);
    }
}

uint64_t aleat_rng_bits(const aleat_rng_key *key, int64_t index)
{
    uint32_t counter[4], seed[2], words[4];
    stream_block(key, index / 2, counter, seed);
    aleat_philox(words, counter, seed);
    const int half = index % 2 ? 2 : 0;
    return (uint64_t)words[half] << 32 | words[half + 1];
}

uint64_t aleat_rng_below(const aleat_rng_key *key, int64_t index, uint64_t n)
{
    assert(n > 0);
    return (uint64_t)((wide_product)aleat_rng_bits(key, index) * n >> 64);
}

void aleat_rng_permutation(const aleat_rng_key *key, int64_t *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = i;
    for (int64_t i = 0; i + 1 < n; i++) {
        const int64_t j = i + (int64_t)aleat_rng_below(key, i, (uint64_t)(n - i));
        const int64_t kept = out[i];
        out[i] = out[j];
        out[j] = kept;
    }
}
