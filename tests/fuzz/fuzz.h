/*
 * What a fuzz target is: a function of bytes that must neither crash, leak nor run away. Targets
 * are built with libFuzzer under clang and with driver.c otherwise.
 */
#ifndef ALEAT_TESTS_FUZZ_H
#define ALEAT_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/** Feeds one input to the reader under test; returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/**
 * The bytes as a file in memory, for readers that take a path. The path stays valid until the next
 * call, which reuses the file. Aborts if the system refuses.
 */
const char *aleat_fuzz_file(const uint8_t *data, size_t size);

#endif
