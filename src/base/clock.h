/* Wall time for progress and benchmarks; nothing that decides a result may read it. */
#ifndef ALEAT_BASE_CLOCK_H
#define ALEAT_BASE_CLOCK_H

/** Seconds since an arbitrary moment, monotonic. */
double aleat_clock(void);

#endif
