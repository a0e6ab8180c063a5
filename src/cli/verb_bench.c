#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "cli/verbs.h"

#define MAX_REPEATS 1000
#define STEP        500 // of training: what the network is told
#define LATENTS     64  // that are decoded, in each direction, unless told

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double seconds_now(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

// What is timed: one evaluation or decoding, or one with its vector-Jacobian product.
typedef struct work {
    aleat_model *model;
    aleat_vae *vae; // one of the two
    aleat_array x, cotangent;
    float *t;
    int32_t *labels;
    aleat_cli_texts texts;
    bool vjp;
} work;

static void work_clear(work *w)
{
    aleat_array_clear(&w->x);
    aleat_array_clear(&w->cotangent);
    aleat_cli_texts_clear(&w->texts);
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
    if (!st)
        st = aleat_cli_texts_made_up(&w->texts, model, err);
    if (st)
        return st;
    fill(&w->x);
    fill(&w->cotangent);
    w->t = malloc((size_t)args->batch * sizeof *w->t);
    w->labels = f.n_classes ? calloc((size_t)args->batch, sizeof *w->labels) : NULL;
    for (int64_t i = 0; w->t && i < args->batch; i++)
        w->t[i] = STEP;
    if (w->t && (w->labels || !f.n_classes))
        return ALEAT_OK;
    return aleat_cli_fail(err, ALEAT_ERR_MEMORY, "out of memory: the batch");
}

static aleat_status decoding_new(work *w, aleat_vae *vae, const aleat_cli_args *args,
                                 aleat_error *err)
{
    const aleat_vae_facts f = aleat_vae_describe(vae);
    const int64_t h = args->height ? args->height : LATENTS, v = args->width ? args->width : h;
    const int64_t in[4] = {args->batch, f.latent_channels, h, v};
    const int64_t out[4] = {args->batch, f.image_channels, h * f.factor, v * f.factor};
    *w = (work){.vae = vae, .vjp = args->vjp};
    aleat_status st = aleat_array_new(&w->x, 4, in, err);
    if (!st)
        st = aleat_array_new(&w->cotangent, 4, out, err);
    if (st)
        return st;
    fill(&w->x);
    fill(&w->cotangent);
    return ALEAT_OK;
}

static aleat_status run_once(work *w, double *seconds, aleat_error *err)
{
    aleat_array out = {0}, grad = {0};
    const aleat_array *cotangent = w->vjp ? &w->cotangent : NULL;
    aleat_array *to = w->vjp ? &grad : NULL;
    const double start = seconds_now();
    aleat_status st = w->vae ? aleat_vae_decode(w->vae, &w->x, &out, cotangent, to, err)
                             : aleat_model_evaluate(w->model, &w->x, w->t, w->labels,
                                                    &w->texts.view, &out, cotangent, to, err);
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

// The seconds of each repetition, sorted, and what all took of the processors.
typedef struct timing {
    double seconds[MAX_REPEATS], processor;
    int n;
} timing;

// Times repetitions; without a given number: for two seconds, at least 5.
static aleat_status repeat(work *w, int64_t wanted, timing *t, aleat_error *err)
{
    double spent = 0, *seconds = t->seconds;
    int *n = &t->n;
    const double processor = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    aleat_status st = ALEAT_OK;
    for (*n = 0; !st && *n < MAX_REPEATS && (wanted ? *n < wanted : *n < 5 || spent < 2); ++*n) {
        if (aleat_cli_interrupted())
            return aleat_cli_fail(err, ALEAT_ERR_CANCELLED, "stopped");
        st = run_once(w, &seconds[*n], err);
        spent += seconds[*n];
    }
    t->processor = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - processor;
    qsort(seconds, (size_t)*n, sizeof *seconds, ascending);
    return st;
}

// Of sorted values.
static double median_of(const double *values, int n)
{
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

// Of the model or the autoencoder that was timed.
typedef struct facts {
    const char *path, *precision;
    int threads;
    double flop, peak; // of one image; a second, of this machine
} facts;

static void tell(const aleat_cli_args *args, const facts *f, double load_seconds, const timing *t)
{
    const double *seconds = t->seconds;
    const int n = t->n;
    const double median = median_of(seconds, n), processor = t->processor / n;
    const double flop = f->flop * (double)args->batch, peak = f->peak;
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    const double memory = 1024.0 * (double)usage.ru_maxrss;
    if (args->json) {
        aleat_cli_print_json(json_pack(
            "{sfsfsfsfsisfsfsfsfsIsfsIsiss}", "seconds", median, "seconds_min", seconds[0],
            "seconds_max", seconds[n - 1], "processor_seconds", processor, "repeats", n, "flop",
            flop, "gflop_per_s", 1e-9 * flop / median, "peak_gflop_per_s", 1e-9 * peak,
            "share_of_peak", peak > 0 ? flop / median / peak : 0, "peak_memory_bytes",
            (json_int_t)memory, "load_seconds", load_seconds, "batch", (json_int_t)args->batch,
            "threads", f->threads, "precision", f->precision));
        return;
    }
    (void)printf("%s: batch %lld, %s, %d threads%s\n", f->path, (long long)args->batch,
                 f->precision, f->threads, args->vjp ? ", with vector-Jacobian product" : "");
    (void)printf("  median %.4f s, %.4f to %.4f s in %d runs, %.4f s of processors in the mean\n",
                 median, seconds[0], seconds[n - 1], n, processor);
    (void)printf("  %.2f GFLOP forward: %.0f GFLOP/s, %.2f images/s\n", 1e-9 * flop,
                 1e-9 * flop / median, (double)args->batch / median);
    if (peak > 0)
        (void)printf("  %.2f of this machine's %.0f GFLOP/s for matrix products (convolutions "
                     "count as written)\n",
                     flop / median / peak, 1e-9 * peak);
    (void)printf("  loaded and first evaluated in %.3f s, peak memory %.0f MiB\n", load_seconds,
                 memory / (1 << 20));
}

/* ---- a guided step --------------------------------------------------------------------------- */

// A guided step takes what its forward evaluations alone take, and its gradient.
typedef struct guided {
    work state, copies;                             // the evaluations by themselves
    double step[MAX_REPEATS], forward[MAX_REPEATS]; // seconds
    int n;
} guided;

static aleat_status time_step(guided *g, const aleat_cli_args *args, double *seconds,
                              aleat_error *err)
{
    aleat_uncertainty u = {0};
    const aleat_uncertainty_options options = {
        .copies = args->copies, .schedule = args->schedule, .texts = &g->state.texts.view};
    const double start = seconds_now();
    const aleat_status st = aleat_model_uncertainty(g->state.model, &g->state.x, STEP,
                                                    g->state.labels, &options, 1, &u, err);
    *seconds = seconds_now() - start;
    aleat_uncertainty_clear(&u);
    return st;
}

static aleat_status time_forwards(guided *g, double *seconds, aleat_error *err)
{
    double state = 0, copies = 0;
    aleat_status st = run_once(&g->state, &state, err);
    if (!st)
        st = run_once(&g->copies, &copies, err);
    *seconds = state + copies;
    return st;
}

// One after the other, so that both see the same machine; the first of each plans and is not told.
static aleat_status repeat_guided(guided *g, const aleat_cli_args *args, aleat_error *err)
{
    const int64_t wanted = args->repeats ? args->repeats : 7;
    aleat_status st = ALEAT_OK;
    for (int k = -1; !st && k < wanted; k++) {
        double step = 0, forward = 0;
        if (aleat_cli_interrupted())
            return aleat_cli_fail(err, ALEAT_ERR_CANCELLED, "stopped");
        st = time_step(g, args, &step, err);
        if (!st)
            st = time_forwards(g, &forward, err);
        if (k >= 0) {
            g->step[k] = step;
            g->forward[k] = forward;
            g->n = k + 1;
        }
    }
    qsort(g->step, (size_t)g->n, sizeof *g->step, ascending);
    qsort(g->forward, (size_t)g->n, sizeof *g->forward, ascending);
    return st;
}

static void tell_guided(const aleat_cli_args *args, const aleat_model *model, const guided *g)
{
    const aleat_model_facts f = aleat_model_describe(model);
    const double step = median_of(g->step, g->n), forward = median_of(g->forward, g->n);
    if (args->json) {
        aleat_cli_print_json(json_pack(
            "{sfsfsfsfsfsfsfsisIsIsiss}", "seconds", step, "seconds_min", g->step[0], "seconds_max",
            g->step[g->n - 1], "forward_seconds", forward, "forward_seconds_min", g->forward[0],
            "forward_seconds_max", g->forward[g->n - 1], "ratio", step / forward, "repeats", g->n,
            "batch", (json_int_t)args->batch, "copies", (json_int_t)args->copies, "threads",
            f.threads, "precision", f.precision));
        return;
    }
    (void)printf("%s: batch %lld, %lld copies, %s, %d threads\n", f.path, (long long)args->batch,
                 (long long)args->copies, f.precision, f.threads);
    (void)printf("  guided step      median %.4f s, %.4f to %.4f s in %d runs\n", step, g->step[0],
                 g->step[g->n - 1], g->n);
    (void)printf("  evaluations only median %.4f s, %.4f to %.4f s\n", forward, g->forward[0],
                 g->forward[g->n - 1]);
    (void)printf("  ratio %.3f\n", step / forward);
}

static aleat_status bench_guided(aleat_model *model, const aleat_cli_args *args, aleat_error *err)
{
    guided *g = calloc(1, sizeof *g);
    if (!g)
        return aleat_cli_fail(err, ALEAT_ERR_MEMORY, "out of memory: timing");
    aleat_cli_args copies = *args;
    copies.batch = args->batch * args->copies;
    aleat_status st = work_new(&g->state, model, args, err);
    if (!st)
        st = work_new(&g->copies, model, &copies, err);
    g->state.vjp = g->copies.vjp = false;
    if (!st)
        st = repeat_guided(g, args, err);
    if (!st)
        tell_guided(args, model, g);
    work_clear(&g->state);
    work_clear(&g->copies);
    free(g);
    return st;
}

static aleat_status bench_work(work *w, timing *t, double *load_seconds, const aleat_cli_args *args,
                               aleat_error *err)
{
    double first = 0;
    aleat_status st = warm_up(w, &first, err);
    if (!st)
        st = repeat(w, args->repeats, t, err);
    *load_seconds += first;
    return st;
}

static aleat_status bench_network(aleat_model *model, const aleat_cli_args *args,
                                  double load_seconds, aleat_error *err)
{
    work w = {0};
    timing t = {0};
    aleat_status st = work_new(&w, model, args, err);
    if (!st)
        st = bench_work(&w, &t, &load_seconds, args, err);
    if (!st) {
        const aleat_model_facts f = aleat_model_describe(model);
        tell(args, &(facts){f.path, f.precision, f.threads, f.flop, aleat_model_peak(model)},
             load_seconds, &t);
    }
    work_clear(&w);
    return st;
}

static aleat_status bench_decoder(const aleat_cli_args *args, aleat_error *err)
{
    work w = {0};
    timing t = {0};
    aleat_vae *vae = NULL;
    const double start = seconds_now();
    aleat_status st = aleat_cli_open_vae(&vae, args, err);
    double load_seconds = seconds_now() - start;
    if (!st)
        st = decoding_new(&w, vae, args, err);
    if (!st)
        st = bench_work(&w, &t, &load_seconds, args, err);
    if (!st) {
        const aleat_vae_facts f = aleat_vae_describe(vae);
        tell(args,
             &(facts){f.path, aleat_precision_name(args->precision, NULL), (int)args->threads,
                      f.flop, 0},
             load_seconds, &t);
    }
    work_clear(&w);
    aleat_vae_close(vae);
    return st;
}

int aleat_cli_bench(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    aleat_error err = {0};
    aleat_model *model = NULL;
    const double start = seconds_now();
    aleat_cli_args opened = *args;
    if (args->part == ALEAT_CLI_DECODER) {
        if (args->guide) {
            aleat_cli_complain(verb->name, "--guide is of the network, not of the decoder");
            return ALEAT_EXIT_USAGE;
        }
        opened.decoder = args->operand;
        return aleat_cli_exit(verb, bench_decoder(&opened, &err), &err);
    }
    if (args->guide)
        opened.batch = 0; // the network cuts the copies' batch as it does in a run
    aleat_status st = aleat_cli_open(&model, &opened, &err);
    const double load_seconds = seconds_now() - start;
    if (!st)
        st = args->guide ? bench_guided(model, args, &err)
                         : bench_network(model, args, load_seconds, &err);
    aleat_model_close(model);
    return aleat_cli_exit(verb, st, &err);
}
