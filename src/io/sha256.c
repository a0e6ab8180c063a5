#include "io/sha256.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "io/file.h"

// The first 32 bits of the fractions of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2).
static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int n)
{
    return x >> n | x << (32 - n);
}

static uint32_t load_big_endian(const unsigned char *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

// The rounds move the eight words by one place; here the places turn around the words instead.
static void add_block_c(uint32_t h[8], const unsigned char *block)
{
    uint32_t w[64], v[8];
    for (int i = 0; i < 16; i++)
        w[i] = load_big_endian(block + 4 * i);
    for (int i = 16; i < 64; i++) {
        const uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[i - 7] +
               (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    memcpy(v, h, sizeof v);
    for (int i = 0; i < 64; i += 8)
        for (int j = 0; j < 8; j++) {
            const uint32_t a = v[(8 - j) & 7], b = v[(9 - j) & 7], c = v[(10 - j) & 7];
            const uint32_t e = v[(12 - j) & 7], f = v[(13 - j) & 7], g = v[(14 - j) & 7];
            const uint32_t t1 = v[(15 - j) & 7] + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) +
                                ((e & f) ^ (~e & g)) + k[i + j] + w[i + j];
            const uint32_t t2 =
                (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            v[(11 - j) & 7] += t1;
            v[(15 - j) & 7] = t1 + t2;
        }
    for (int i = 0; i < 8; i++)
        h[i] += v[i];
}

typedef void add_block_fn(uint32_t h[8], const unsigned char *block);

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

static bool has_sha(void)
{
    unsigned a, b, c, d;
    const bool ssse3_sse41 = __get_cpuid(1, &a, &b, &c, &d) && (c & bit_SSSE3) && (c & bit_SSE4_1);
    return ssse3_sse41 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

// The instructions do two rounds on the words A B E F and C D G H, and half of the schedule each.
__attribute__((target("sha,ssse3,sse4.1"))) static void add_block_sha(uint32_t h[8],
                                                                      const unsigned char *block)
{
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    const __m128i dcba = _mm_loadu_si128((const __m128i *)h);
    const __m128i hgfe = _mm_loadu_si128((const __m128i *)(h + 4));
    const __m128i cdab = _mm_shuffle_epi32(dcba, 0xb1), efgh = _mm_shuffle_epi32(hgfe, 0x1b);
    const __m128i abef_in = _mm_alignr_epi8(cdab, efgh, 8);
    const __m128i cdgh_in = _mm_blend_epi16(efgh, cdab, 0xf0);
    __m128i abef = abef_in, cdgh = cdgh_in, w[16];
    for (int i = 0; i < 4; i++)
        w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(block + 16 * i)), big_endian);
    for (int i = 4; i < 16; i++) {
        const __m128i seven_back = _mm_alignr_epi8(w[i - 1], w[i - 2], 4);
        const __m128i half = _mm_add_epi32(_mm_sha256msg1_epu32(w[i - 4], w[i - 3]), seven_back);
        w[i] = _mm_sha256msg2_epu32(half, w[i - 1]);
    }
    for (int i = 0; i < 16; i++) {
        const __m128i wk = _mm_add_epi32(w[i], _mm_loadu_si128((const __m128i *)(k + 4 * i)));
        cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
        abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0e));
    }
    abef = _mm_add_epi32(abef, abef_in);
    cdgh = _mm_add_epi32(cdgh, cdgh_in);
    const __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)h, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(h + 4), _mm_alignr_epi8(dchg, feba, 8));
}

static add_block_fn *choose_add_block(void)
{
    return has_sha() && aleat_cpu_isa() != ALEAT_ISA_C ? add_block_sha : add_block_c;
}

#else

static add_block_fn *choose_add_block(void)
{
    return add_block_c;
}

#endif

void aleat_sha256_begin(aleat_sha256_state *state)
{
    // The first 32 bits of the fractions of the square roots of the first 8 primes.
    *state = (aleat_sha256_state){.add_block = choose_add_block(),
                                  .h = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f,
                                        0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void aleat_sha256_add(aleat_sha256_state *state, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    const size_t waiting = (size_t)(state->total % 64);
    state->total += len;
    if (waiting > 0 && len >= 64 - waiting) {
        memcpy(state->block + waiting, bytes, 64 - waiting);
        state->add_block(state->h, state->block);
        bytes += 64 - waiting;
        len -= 64 - waiting;
    } else if (waiting > 0) {
        if (len)
            memcpy(state->block + waiting, bytes, len);
        return;
    }
    for (; len >= 64; bytes += 64, len -= 64)
        state->add_block(state->h, bytes);
    if (len)
        memcpy(state->block, bytes, len);
}

void aleat_sha256_end(aleat_sha256_state *state, char out[ALEAT_SHA256_TEXT])
{
    // A one bit, zeros up to 8 bytes before the end of a block, the length in bits.
    unsigned char tail[72] = {0x80};
    const uint64_t bits = state->total * 8;
    const size_t zeros = (size_t)((119 - state->total % 64) % 64);
    for (int i = 0; i < 8; i++)
        tail[1 + zeros + (size_t)i] = (unsigned char)(bits >> (56 - 8 * i));
    aleat_sha256_add(state, tail, 1 + zeros + 8);
    for (int i = 0; i < 8; i++)
        (void)snprintf(out + 8 * i, 9, "%08x", state->h[i]);
}

void aleat_sha256(char out[ALEAT_SHA256_TEXT], const void *data, size_t len)
{
    aleat_sha256_state state;
    aleat_sha256_begin(&state);
    aleat_sha256_add(&state, data, len);
    aleat_sha256_end(&state, out);
}

void aleat_sha256_add_mapped(aleat_sha256_state *state, const aleat_mapping *file)
{
    enum { PIECE = 4 << 20 };
    for (size_t at = 0; at < file->len; at += PIECE) {
        const size_t len = file->len - at < PIECE ? file->len - at : PIECE;
        aleat_sha256_add(state, file->data + at, len);
        aleat_mapping_forget(file->data + at, len);
    }
}

aleat_status aleat_sha256_file(char out[ALEAT_SHA256_TEXT], const char *path, aleat_error *err)
{
    aleat_mapping map;
    aleat_sha256_state state;
    const aleat_status st = aleat_mapping_open(&map, path, err);
    if (st)
        return st;
    aleat_sha256_begin(&state);
    aleat_sha256_add_mapped(&state, &map);
    aleat_sha256_end(&state, out);
    aleat_mapping_close(&map);
    return ALEAT_OK;
}
