#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "cli/verbs.h"

#define MAX_REPEATS 1000

static double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

// What is timed: one evaluation, or one with its vector-Jacobian product.
typedef struct work {
    aleat_model *model;
    aleat_array x, cotangent;
    float *t;
    int32_t *labels;
    bool vjp;
} work;

static void work_clear(work *w)
{
    aleat_array_clear(&w->x);
    aleat_array_clear(&w->cotangent);
    free(w->t);
    free(w->labels);
}

// Values in [-1, 1) from a linear congruence: speed must not profit from zeros or denormals.
static void fill(aleat_array *array)
{
    uint32_t state = 1;
    for (int64_t i = 0; i < aleat_array_count(array); i++) {
        state = state * 1664525u + 1013904223u;
        array->data[i] = (float)(int32_t)state * 0x1p-31f;
    }
}

static aleat_status work_new(work *w, aleat_model *model, const aleat_cli_args *args,
                             aleat_error *err)
{
    const aleat_model_facts f = aleat_model_describe(model);
    const int64_t in[4] = {args->batch, f.channels, f.height, f.width};
    const int64_t out[4] = {args->batch, f.out_channels, f.out_height, f.out_width};
    *w = (work){.model = model, .vjp = args->vjp};
    aleat_status st = aleat_array_new(&w->x, 4, in, err);
    if (!st)
        st = aleat_array_new(&w->cotangent, 4, out, err);
    if (st)
        return st;
    fill(&w->x);
    fill(&w->cotangent);
    w->t = malloc((size_t)args->batch * sizeof *w->t);
    w->labels = f.n_classes ? calloc((size_t)args->batch, sizeof *w->labels) : NULL;
    for (int64_t i = 0; w->t && i < args->batch; i++)
        w->t[i] = 500;
    if (w->t && (w->labels || !f.n_classes))
        return ALEAT_OK;
    *err = (aleat_error){ALEAT_ERR_MEMORY, "out of memory: the batch", ""};
    return ALEAT_ERR_MEMORY;
}

static aleat_status run_once(work *w, double *seconds, aleat_error *err)
{
    aleat_array out = {0}, grad = {0};
    const double start = seconds_now();
    aleat_status st =
        aleat_model_evaluate(w->model, &w->x, w->t, w->labels, &out, w->vjp ? &w->cotangent : NULL,
                             w->vjp ? &grad : NULL, err);
    *seconds = seconds_now() - start;
    aleat_array_clear(&out);
    aleat_array_clear(&grad);
    return st;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// The first evaluation, which reads and packs the weights: a part of loading.
static aleat_status warm_up(work *w, double *seconds, aleat_error *err)
{
    work forward = *w; // the count of operations is the forward evaluation's
    forward.vjp = false;
    aleat_status st = run_once(&forward, seconds, err);
    double ignored;
    if (!st && w->vjp)
        st = run_once(w, &ignored, err);
    return st;
}

// Times repetitions; without a given number: for two seconds, at least 5. Leaves them sorted.
static aleat_status repeat(work *w, int64_t wanted, double *seconds, int *n, aleat_error *err)
{
    double spent = 0;
    aleat_status st = ALEAT_OK;
    for (*n = 0; !st && *n < MAX_REPEATS && (wanted ? *n < wanted : *n < 5 || spent < 2); ++*n) {
        if (aleat_cli_interrupted()) {
            *err = (aleat_error){ALEAT_ERR_CANCELLED, "stopped", ""};
            return ALEAT_ERR_CANCELLED;
        }
        st = run_once(w, &seconds[*n], err);
        spent += seconds[*n];
    }
    qsort(seconds, (size_t)*n, sizeof *seconds, ascending);
    return st;
}

static void tell(const aleat_cli_args *args, const aleat_model *model, double load_seconds,
                 const double *seconds, int n)
{
    const aleat_model_facts f = aleat_model_describe(model);
    const double median = n % 2 ? seconds[n / 2] : (seconds[n / 2 - 1] + seconds[n / 2]) / 2;
    const double flop = f.flop * (double)args->batch;
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    const double memory = 1024.0 * (double)usage.ru_maxrss;
    const double peak = aleat_model_peak(model);
    if (args->json) {
        aleat_cli_print_json(
            json_pack("{sfsfsfsisfsfsfsfsIsfsIsiss}", "seconds", median, "seconds_min", seconds[0],
                      "seconds_max", seconds[n - 1], "repeats", n, "flop", flop, "gflop_per_s",
                      1e-9 * flop / median, "peak_gflop_per_s", 1e-9 * peak, "share_of_peak",
                      peak > 0 ? flop / median / peak : 0, "peak_memory_bytes", (json_int_t)memory,
                      "load_seconds", load_seconds, "batch", (json_int_t)args->batch, "threads",
                      f.threads, "precision", f.precision));
        return;
    }
    (void)printf("%s: batch %lld, %s, %d threads%s\n", f.path, (long long)args->batch, f.precision,
                 f.threads, args->vjp ? ", with vector-Jacobian product" : "");
    (void)printf("  median %.4f s, %.4f to %.4f s in %d runs\n", median, seconds[0], seconds[n - 1],
                 n);
    (void)printf("  %.2f GFLOP forward: %.0f GFLOP/s, %.2f images/s\n", 1e-9 * flop,
                 1e-9 * flop / median, (double)args->batch / median);
    (void)printf("  %.2f of this machine's %.0f GFLOP/s for matrix products (convolutions count as "
                 "written)\n",
                 peak > 0 ? flop / median / peak : 0, 1e-9 * peak);
    (void)printf("  loaded and first evaluated in %.3f s, peak memory %.0f MiB\n", load_seconds,
                 memory / (1 << 20));
}

int aleat_cli_bench(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    aleat_error err = {0};
    aleat_model *model = NULL;
    work w = {0};
    double seconds[MAX_REPEATS];
    int n = 0;
    const double start = seconds_now();
    aleat_status st = aleat_cli_open(&model, args, &err);
    double load_seconds = seconds_now() - start, first = 0;
    if (!st)
        st = work_new(&w, model, args, &err);
    if (!st)
        st = warm_up(&w, &first, &err);
    load_seconds += first;
    if (!st)
        st = repeat(&w, args->repeats, seconds, &n, &err);
    if (!st)
        tell(args, model, load_seconds, seconds, n);
    work_clear(&w);
    aleat_model_close(model);
    return aleat_cli_exit(verb, st, &err);
}
