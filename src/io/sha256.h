/* SHA-256 (FIPS 180-4): names the exact files that a run was made with. */
#ifndef ALEAT_IO_SHA256_H
#define ALEAT_IO_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "aleat/status.h"

/** Room for a digest as 64 hexadecimal digits and the final zero. */
#define ALEAT_SHA256_TEXT 65

/** Digest of `len` bytes as text. */
void aleat_sha256(char out[ALEAT_SHA256_TEXT], const void *data, size_t len);
/** Digest of a file. Reads it once: about a second for 300 MB. */
ALEAT_MUST_USE aleat_status aleat_sha256_file(char out[ALEAT_SHA256_TEXT], const char *path,
                                              aleat_error *err);

#endif
