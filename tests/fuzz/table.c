/* What is read back of runs and caches: tables of scores, and statistics of features (.npz). */
#include <stdlib.h>

#include "fuzz.h"
#include "io/score_table.h"
#include "metrics/moments.h"

static void read_table(const char *path)
{
    aleat_score_table *table;
    aleat_error err = {0};
    bool more = true;
    if (aleat_score_table_open(&table, path, &err))
        return;
    double *row = calloc((size_t)aleat_score_table_columns(table), sizeof *row);
    while (row && more && !aleat_score_table_next(table, row, &more, &err)) {
    }
    free(row);
    aleat_score_table_free(table);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = aleat_fuzz_file(data, size);
    aleat_gaussian statistics = {0};
    read_table(path);
    if (!aleat_gaussian_read(&statistics, path, NULL))
        aleat_gaussian_clear(&statistics);
    return 0;
}
