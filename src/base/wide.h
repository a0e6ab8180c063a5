/* Loops in plain C, compiled for several instruction sets. */
#ifndef ALEAT_BASE_WIDE_H
#define ALEAT_BASE_WIDE_H

/*
 * ALEAT_WIDE before a static function: the compiler makes versions of it for wider vectors, and the
 * best one is taken at run time. They differ in speed only, since every operation is correctly
 * rounded and none may be fused (-ffp-contract=off).
 */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__SANITIZE_ADDRESS__)
#define ALEAT_WIDE __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define ALEAT_WIDE
#endif

#endif
