/*
 * The table of metrics: what each is called, takes and computes. A new metric is a function of
 * arrays in a file of its own and a line in the table.
 */
#ifndef ALEAT_METRICS_METRIC_H
#define ALEAT_METRICS_METRIC_H

#include "aleat/metrics.h"
#include "metrics/moments.h"

struct aleat_feature_statistics {
    aleat_gaussian gaussian;
};

/** One computation, inputs checked and defaults filled in. */
typedef struct aleat_metric_task {
    const aleat_metric_inputs *inputs;
    aleat_metric_options options;
    bool resampled; /**< only the values are wanted, neither curve nor warnings nor tests */
} aleat_metric_task;

typedef struct aleat_metric {
    aleat_metric_facts facts;
    aleat_status (*compute)(aleat_metric_result *out, const aleat_metric_task *task,
                            aleat_error *err);
    /** Of metrics of pairs that share work between resamples (NULL: pairs are gathered and computed
     * anew): what they share, the values of units rows [count], from several threads, and the end
     * of it. */
    aleat_status (*prepare)(void **state, const aleat_metric_task *task, aleat_error *err);
    aleat_status (*resample)(aleat_metric_result *out, const void *state,
                             const aleat_metric_task *task, const int64_t *rows, int64_t count,
                             aleat_error *err);
    void (*release)(void *state);
} aleat_metric;

/** The i-th line, or NULL. */
const aleat_metric *aleat_metric_line(int i);
/** The line of that name, or of that other name; NULL if there is none. */
const aleat_metric *aleat_metric_of(const char *name);

/** Adds a line to the warnings. */
void aleat_metric_warn(aleat_metric_result *out, const char *fmt, ...) ALEAT_PRINTF(2, 3);

/** Intervals for the values of `out`, which the task gave, from options.draws resamples. */
ALEAT_MUST_USE aleat_status aleat_metric_intervals(aleat_metric_result *out,
                                                   const aleat_metric *metric,
                                                   const aleat_metric_task *task, aleat_error *err);

#endif
