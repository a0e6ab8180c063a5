/* SHA-256 (FIPS 180-4): names the exact files and arrays that a run was made with. */
#ifndef ALEAT_IO_SHA256_H
#define ALEAT_IO_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "io/file.h"

/** Room for a digest as 64 hexadecimal digits and the final zero. */
#define ALEAT_SHA256_TEXT 65

/** A digest being computed piece by piece. */
typedef struct aleat_sha256_state {
    void (*add_block)(uint32_t h[8], const unsigned char *block); /**< as this processor can */
    uint32_t h[8];
    unsigned char block[64]; /**< the last `total % 64` bytes, which wait for more */
    uint64_t total;
} aleat_sha256_state;

void aleat_sha256_begin(aleat_sha256_state *state);
void aleat_sha256_add(aleat_sha256_state *state, const void *data, size_t len);
/** Adds a mapped file in pieces, whose pages are let go again: resident memory does not grow with
 * it. */
void aleat_sha256_add_mapped(aleat_sha256_state *state, const aleat_mapping *file);
/** Writes the digest as text; the state must begin anew before it is used again. */
void aleat_sha256_end(aleat_sha256_state *state, char out[ALEAT_SHA256_TEXT]);

/** Digest of `len` bytes as text. Cost: 0.8 s for 1 GB with the processor's SHA instructions, some
 * 5 s without. */
void aleat_sha256(char out[ALEAT_SHA256_TEXT], const void *data, size_t len);
/** Digest of a file, read in pieces: resident memory does not grow with it. */
ALEAT_MUST_USE aleat_status aleat_sha256_file(char out[ALEAT_SHA256_TEXT], const char *path,
                                              aleat_error *err);

#endif
