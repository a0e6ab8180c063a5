#include "base/order.h"

#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"

typedef struct ranked {
    double value;
    int64_t at;
} ranked;

static int by_value(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (isnan(x->value) != isnan(y->value))
        return isnan(x->value) ? 1 : -1;
    if (x->value < y->value || x->value > y->value)
        return x->value < y->value ? -1 : 1;
    return (x->at > y->at) - (x->at < y->at);
}

bool aleat_order(int64_t *order, const double *values, int64_t n)
{
    ranked *all = aleat_calloc((size_t)n, sizeof *all);
    if (!all)
        return false;
    for (int64_t i = 0; i < n; i++)
        all[i] = (ranked){values[i], i};
    qsort(all, (size_t)n, sizeof *all, by_value);
    for (int64_t i = 0; i < n; i++)
        order[i] = all[i].at;
    aleat_free(all);
    return true;
}
