/* Table 5 (and 6): time of scored sampling over that of plain sampling, taking turns. */
#include <math.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "paper/points.h"

// M's that one table compares at most.
#define MOST_COPIES 16
// Images before the first timing of a kind, which then has its plan and its weights packed.
#define WARM_UP 16

const aleat_column aleat_paper_table5_columns[] = {
    {.key = "copies", .heading = "M"},
    {.key = "evaluations", .heading = "evaluations"},
    {.key = "images", .heading = "images"},
    {.key = "seconds", .heading = "seconds (median)", .digits = 4},
    {.key = "ratio", .heading = "time over plain", .digits = 4, .interval = true},
    {.key = "evaluation_ratio", .heading = "evaluations over plain", .digits = 4},
    {.key = "published", .heading = "published time over plain", .digits = 4},
    {0},
};

// One way to sample: plain, or scored by M copies.
typedef struct kind {
    int64_t copies; // 0: plain
    aleat_run *run;
    int64_t evaluations;
    double *seconds; // [repeats]
} kind;

static aleat_status count(void *ctx, const aleat_run_images *images, aleat_error *err)
{
    (void)err;
    *(int64_t *)ctx = images->evaluations + images->extra_evaluations;
    return ALEAT_OK;
}

static aleat_status open_kind(kind *k, const aleat_paper *p, int64_t copies, aleat_error *err)
{
    aleat_run_options run = p->options.run;
    const int64_t n = run.n < WARM_UP ? run.n : WARM_UP;
    run.uncertainty = copies > 0;
    run.copies = copies;
    k->copies = copies;
    k->seconds = aleat_calloc((size_t)p->options.repeats, sizeof *k->seconds);
    aleat_status st = k->seconds ? aleat_run_open(&k->run, p->model, &run, err)
                                 : aleat_fail_memory(err, "timings");
    return st ? st : aleat_run_sample(k->run, 0, n, count, &k->evaluations, err);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *sorted, int64_t n)
{
    return 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]);
}

static aleat_status measure(kind *kinds, int n_kinds, const aleat_paper *p, aleat_error *err)
{
    const aleat_paper_options *o = &p->options;
    aleat_status st = ALEAT_OK;
    for (int64_t r = 0; !st && r < o->repeats; r++)
        for (int k = 0; !st && k < n_kinds; k++) {
            const double start = aleat_clock();
            st = aleat_run_sample(kinds[k].run, 0, o->run.n, count, &kinds[k].evaluations, err);
            kinds[k].seconds[r] = aleat_clock() - start;
            if (!st)
                st = aleat_paper_tell(p, "timings", (double)(r * n_kinds + k + 1),
                                      (double)(o->repeats * n_kinds), err);
        }
    return st;
}

static aleat_status add_row(aleat_paper *p, const kind *k, const kind *plain, aleat_points *points,
                            aleat_error *err)
{
    const int64_t n = p->options.repeats;
    const aleat_published *published = aleat_paper_published(p);
    double *ratio = aleat_calloc((size_t)n, 2 * sizeof *ratio), *seconds = ratio + n;
    if (!ratio)
        return aleat_fail_memory(err, "timings");
    for (int64_t r = 0; r < n; r++) {
        ratio[r] = k->seconds[r] / plain->seconds[r];
        seconds[r] = k->seconds[r];
    }
    qsort(ratio, (size_t)n, sizeof *ratio, ascending);
    qsort(seconds, (size_t)n, sizeof *seconds, ascending);
    json_t *row = aleat_result_row(&p->result);
    aleat_row_count(&p->result, row, "copies", k->copies);
    aleat_row_count(&p->result, row, "evaluations", k->evaluations);
    aleat_row_count(&p->result, row, "images", p->options.run.n);
    aleat_row_number(&p->result, row, "seconds", median(seconds, n));
    if (k != plain) {
        aleat_row_interval(&p->result, row, "ratio", median(ratio, n), ratio[0], ratio[n - 1]);
        aleat_row_number(&p->result, row, "evaluation_ratio",
                         (double)k->evaluations / (double)plain->evaluations);
        aleat_points_add(points, "median and range of pairs", (double)k->copies, median(ratio, n),
                         ratio[0], ratio[n - 1]);
    }
    if (published && (k->copies == 5 || k->copies == 20))
        aleat_row_number(&p->result, row, "published",
                         k->copies == 5 ? published->scored_5 / published->plain_5
                                        : published->scored_20 / published->plain_20);
    aleat_free(ratio);
    return ALEAT_OK;
}

aleat_status aleat_paper_table5(aleat_paper *p, aleat_error *err)
{
    static const int64_t usual[] = {5, 20, 0};
    kind kinds[MOST_COPIES + 1] = {{0}};
    aleat_points points = {0};
    int n = 0;
    aleat_status st = open_kind(&kinds[n++], p, 0, err);
    for (int64_t copies; !st && n <= MOST_COPIES && (copies = aleat_paper_copies(p, usual, n - 1));
         n++)
        st = open_kind(&kinds[n], p, copies, err);
    if (!st)
        st = measure(kinds, n, p, err);
    for (int k = 0; !st && k < n; k++)
        st = add_row(p, &kinds[k], &kinds[0], &points, err);
    aleat_result_note(&p->result,
                      "M = 0: plain sampling. Each scored sampling is timed beside a plain one of "
                      "the same images; told are the median of the pairs' ratios and, in brackets, "
                      "the least and the largest. The first images are not timed.");
    const aleat_plot plot = {.title = "Time of scores",
                             .x = {.label = "copies"},
                             .y = {.label = "time over plain sampling"}};
    if (!st)
        st = aleat_points_plot(&points, p->folder, "table5", &plot, NULL, NULL, err);
    aleat_points_clear(&points);
    for (int k = 0; k <= MOST_COPIES; k++) {
        aleat_run_close(kinds[k].run);
        aleat_free(kinds[k].seconds);
    }
    return st;
}
