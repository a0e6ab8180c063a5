#include "denoiser/condition.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

aleat_status aleat_condition_rows_reserve(aleat_condition_rows *rows, int64_t n, aleat_error *err)
{
    if (n <= rows->capacity)
        return ALEAT_OK;
    aleat_condition_rows_clear(rows);
    rows->labels = aleat_calloc((size_t)n, sizeof *rows->labels);
    rows->texts = aleat_calloc((size_t)n, sizeof *rows->texts);
    rows->negatives = aleat_calloc((size_t)n, sizeof *rows->negatives);
    if (!rows->labels || !rows->texts || !rows->negatives)
        return aleat_fail_memory(err, "conditions of a batch");
    rows->capacity = n;
    return ALEAT_OK;
}

void aleat_condition_rows_clear(aleat_condition_rows *rows)
{
    aleat_free(rows->labels);
    aleat_free(rows->texts);
    aleat_free(rows->negatives);
    memset(rows, 0, sizeof *rows);
}
