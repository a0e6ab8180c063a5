#include "base/rng_torch.h"

#include <assert.h>
#include <math.h>

#define PI 3.14159265358979323846

// mt19937: Matsumoto and Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998).
enum { WORDS = 624, MIDDLE = 397 };

void aleat_torch_seed(aleat_torch_rng *rng, uint64_t seed)
{
    rng->state[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < WORDS; i++)
        rng->state[i] = 1812433253u * (rng->state[i - 1] ^ rng->state[i - 1] >> 30) + i;
    rng->used = WORDS;
    rng->has_cached = false;
    rng->cached = 0;
}

static void next_state(aleat_torch_rng *rng)
{
    uint32_t *s = rng->state;
    for (int i = 0; i < WORDS; i++) {
        const uint32_t y = (s[i] & 0x80000000u) | (s[(i + 1) % WORDS] & 0x7fffffffu);
        s[i] = s[(i + MIDDLE) % WORDS] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    rng->used = 0;
}

uint32_t aleat_torch_u32(aleat_torch_rng *rng)
{
    if (rng->used == WORDS)
        next_state(rng);
    uint32_t y = rng->state[rng->used++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

uint64_t aleat_torch_u64(aleat_torch_rng *rng)
{
    const uint64_t high = aleat_torch_u32(rng);
    return high << 32 | aleat_torch_u32(rng);
}

void aleat_torch_rand_f32(aleat_torch_rng *rng, float *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (float)(aleat_torch_u32(rng) & 0xffffffu) * 0x1p-24f;
}

void aleat_torch_rand_f64(aleat_torch_rng *rng, double *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = (double)(aleat_torch_u64(rng) & ((UINT64_C(1) << 53) - 1)) * 0x1p-53;
}

static double scalar_normal(aleat_torch_rng *rng)
{
    if (rng->has_cached) {
        rng->has_cached = false;
        return rng->cached;
    }
    double u[2];
    aleat_torch_rand_f64(rng, u, 2);
    const double radius = sqrt(-2.0 * log1p(-u[1])), angle = 2.0 * PI * u[0];
    rng->cached = radius * sin(angle);
    rng->has_cached = true;
    return radius * cos(angle);
}

// A block of 16 uniforms becomes 16 normals, in the arithmetic of its type: element j < 8 gives the
// radius, element 8 + j the angle.
static void block_f32(float d[16])
{
    for (int j = 0; j < 8; j++) {
        const float radius = sqrtf(-2.0f * logf(1.0f - d[j]));
        const float angle = 2.0f * (float)PI * d[8 + j];
        d[j] = radius * cosf(angle);
        d[8 + j] = radius * sinf(angle);
    }
}

static void block_f64(double d[16])
{
    for (int j = 0; j < 8; j++) {
        const double radius = sqrt(-2.0 * log(1.0 - d[j])), angle = 2.0 * PI * d[8 + j];
        d[j] = radius * cos(angle);
        d[8 + j] = radius * sin(angle);
    }
}

// NOLINTBEGIN(bugprone-macro-parentheses): a type cannot have them
// First all uniforms, then the full blocks; the last 16 are drawn and transformed anew if the
// length is no multiple of 16.
#define DEFINE_RANDN(suffix, type)                                                                 \
    void aleat_torch_randn_##suffix(aleat_torch_rng *rng, type *out, int64_t n)                    \
    {                                                                                              \
        if (n < 16) {                                                                              \
            for (int64_t i = 0; i < n; i++)                                                        \
                out[i] = (type)scalar_normal(rng);                                                 \
            return;                                                                                \
        }                                                                                          \
        aleat_torch_rand_##suffix(rng, out, n);                                                    \
        for (int64_t i = 0; i + 16 <= n; i += 16)                                                  \
            block_##suffix(out + i);                                                               \
        if (n % 16) {                                                                              \
            aleat_torch_rand_##suffix(rng, out + n - 16, 16);                                      \
            block_##suffix(out + n - 16);                                                          \
        }                                                                                          \
    }
DEFINE_RANDN(f32, float)
DEFINE_RANDN(f64, double)
// NOLINTEND(bugprone-macro-parentheses)

void aleat_torch_randint(aleat_torch_rng *rng, int64_t low, int64_t high, int64_t *out, int64_t n)
{
    assert(low < high);
    const uint64_t range = (uint64_t)high - (uint64_t)low;
    for (int64_t i = 0; i < n; i++) {
        const uint64_t bits =
            range >= UINT64_C(1) << 32 ? aleat_torch_u64(rng) : aleat_torch_u32(rng);
        out[i] = (int64_t)((uint64_t)low + bits % range);
    }
}

void aleat_torch_randperm(aleat_torch_rng *rng, int64_t *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        out[i] = i;
    for (int64_t i = 0; i + 1 < n; i++) {
        const int64_t j = i + aleat_torch_u32(rng) % (n - i);
        const int64_t kept = out[i];
        out[i] = out[j];
        out[j] = kept;
    }
}
