/* Reference arrays and mock networks' numbers for tests: tests/data, or the larger optional cases
 * under $ALEAT_SHARED/ref. Failing to read is a test failure. */
#ifndef ALEAT_TESTS_REFERENCE_H
#define ALEAT_TESTS_REFERENCE_H

#include <stdbool.h>
#include <stdint.h>

/** An array of a .npy file, as double whatever its type (integers up to 2^53 stay exact). */
typedef struct reference {
    double *data;
    int64_t count;
    int64_t dim[8];
    int n_dims;
} reference;

/** tests/data/<printf path> */
reference reference_load(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** $ALEAT_SHARED/ref/<printf path> */
reference reference_load_shared(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** Is $ALEAT_SHARED/ref there? If not, says that the test is skipped. */
bool reference_shared_there(void);
void reference_free(reference *r);
/** Path of tests/data/<printf path> in static storage. */
const char *reference_path(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/** The array as floats, in new memory (free). */
float *reference_f32(const reference *r);

/** max |a - b| / max |b| over count elements. */
double max_error(const float *a, const double *b, int64_t count);
double max_error_f64(const double *a, const double *b, int64_t count);

#endif
