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

// What is timed: one evaluation or decoding, or one with its vector-Jacobian product; or texts
// being encoded.
typedef struct work {
    aleat_model *model;
    aleat_vae *vae;               // one of the two
    aleat_prompt_options prompts; // for the model; count 0: its network
    aleat_open_options open;      // how the encoders are opened
    double flop;                  // that texts took
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
    free((void *)w->prompts.prompts);
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

static aleat_status encoding_new(work *w, aleat_model *model, const aleat_cli_args *args,
                                 aleat_error *err)
{
    const char **texts = malloc((size_t)args->batch * sizeof *texts);
    if (!texts)
        return aleat_cli_fail(err, ALEAT_ERR_MEMORY, "out of memory: texts");
    for (int64_t i = 0; i < args->batch; i++)
        texts[i] = "a photograph of an astronaut riding a horse";
    *w = (work){.model = model,
                .open = aleat_cli_open_options(args),
                .prompts = {.prompts = texts,
                            .count = args->batch,
                            .cfg_scale = 1, // no negative ones
                            .encoders = aleat_cli_encoders(args),
                            .no_t5 = args->no_t5}};
    return ALEAT_OK;
}

static aleat_status encode_once(work *w, double *seconds, aleat_error *err)
{
    aleat_prompts out;
    const double start = seconds_now();
    const aleat_status st = aleat_encode_prompts(&out, w->model, &w->open, &w->prompts, err);
    *seconds = seconds_now() - start;
    w->flop = out.flop;
    aleat_prompts_clear(&out);
    return st;
}

static aleat_status run_once(work *w, double *seconds, aleat_error *err)
{
    if (w->prompts.count)
        return encode_once(w, seconds, err);
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

// A part that was timed. Strings are static.
typedef struct result {
    const char *name, *precision;
    int threads;
    double flop, peak; // of one image; a second, of this machine (0: unknown)
    double load_seconds;
    timing t;
} result;

static double peak_memory(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return 1024.0 * (double)usage.ru_maxrss;
}

static json_t *result_json(const aleat_cli_args *args, const result *r)
{
    const double *seconds = r->t.seconds, median = median_of(seconds, r->t.n);
    const double flop = r->flop * (double)args->batch;
    return json_pack("{sfsfsfsfsisfsfsfsfsIsfsIsiss}", "seconds", median, "seconds_min", seconds[0],
                     "seconds_max", seconds[r->t.n - 1], "processor_seconds",
                     r->t.processor / r->t.n, "repeats", r->t.n, "flop", flop, "gflop_per_s",
                     1e-9 * flop / median, "peak_gflop_per_s", 1e-9 * r->peak, "share_of_peak",
                     r->peak > 0 ? flop / median / r->peak : 0, "peak_memory_bytes",
                     (json_int_t)peak_memory(), "load_seconds", r->load_seconds, "batch",
                     (json_int_t)args->batch, "threads", r->threads, "precision", r->precision);
}

static void tell(const aleat_cli_args *args, const result *r)
{
    if (args->json) {
        aleat_cli_print_json(result_json(args, r));
        return;
    }
    const double *seconds = r->t.seconds, median = median_of(seconds, r->t.n);
    const double flop = r->flop * (double)args->batch;
    (void)printf("%s: %s, batch %lld, %s, %d threads%s\n", args->operand, r->name,
                 (long long)args->batch, r->precision, r->threads,
                 args->vjp ? ", with vector-Jacobian product" : "");
    (void)printf("  median %.4f s, %.4f to %.4f s in %d runs, %.4f s of processors in the mean\n",
                 median, seconds[0], seconds[r->t.n - 1], r->t.n, r->t.processor / r->t.n);
    (void)printf("  %.2f GFLOP forward: %.0f GFLOP/s, %.2f images/s\n", 1e-9 * flop,
                 1e-9 * flop / median, (double)args->batch / median);
    if (r->peak > 0)
        (void)printf("  %.2f of this machine's %.0f GFLOP/s for matrix products (convolutions "
                     "count as written)\n",
                     flop / median / r->peak, 1e-9 * r->peak);
    (void)printf("  loaded and first evaluated in %.3f s, peak memory %.0f MiB\n", r->load_seconds,
                 peak_memory() / (1 << 20));
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

static aleat_status bench_work(result *r, work *w, const aleat_cli_args *args, aleat_error *err)
{
    double first = 0;
    r->precision = aleat_precision_name(args->precision, NULL);
    aleat_status st = warm_up(w, &first, err);
    if (!st)
        st = repeat(w, args->repeats, &r->t, err);
    r->load_seconds += first;
    return st;
}

// load_seconds: of opening the model.
static aleat_status bench_network(result *r, aleat_model *model, const aleat_cli_args *args,
                                  double load_seconds, aleat_error *err)
{
    work w = {0};
    *r = (result){.name = "network", .load_seconds = load_seconds};
    aleat_status st = work_new(&w, model, args, err);
    if (!st)
        st = bench_work(r, &w, args, err);
    const aleat_model_facts f = aleat_model_describe(model);
    r->threads = f.threads;
    r->flop = f.flop;
    r->peak = st ? 0 : aleat_model_peak(model);
    work_clear(&w);
    return st;
}

static aleat_status bench_text(result *r, aleat_model *model, const aleat_cli_args *args,
                               aleat_error *err)
{
    work w = {0};
    *r = (result){.name = "text encoders", .threads = aleat_model_describe(model).threads};
    aleat_status st = encoding_new(&w, model, args, err);
    if (!st)
        st = bench_work(r, &w, args, err);
    r->flop = w.flop / (double)args->batch;
    r->peak = st ? 0 : aleat_model_peak(model);
    work_clear(&w);
    return st;
}

static aleat_status bench_decoder(result *r, const aleat_cli_args *args, aleat_error *err)
{
    work w = {0};
    aleat_vae *vae = NULL;
    const double start = seconds_now();
    aleat_status st = aleat_cli_open_vae(&vae, args, err);
    *r = (result){
        .name = "decoder", .threads = (int)args->threads, .load_seconds = seconds_now() - start};
    if (!st)
        st = decoding_new(&w, vae, args, err);
    if (!st)
        st = bench_work(r, &w, args, err);
    if (!st)
        r->flop = aleat_vae_describe(vae).flop;
    work_clear(&w);
    aleat_vae_close(vae);
    return st;
}

/* ---- an image -------------------------------------------------------------------------------- */

enum { TEXT, NETWORK, DECODER, PARTS };

static void tell_image(const aleat_cli_args *args, const result results[PARTS])
{
    static const char *const keys[] = {"text", "network", "decoder"};
    const double times[] = {1, (double)args->evaluations, 1};
    double seconds[PARTS], all = 0;
    for (int i = 0; i < PARTS; i++) {
        seconds[i] =
            times[i] * median_of(results[i].t.seconds, results[i].t.n) / (double)args->batch;
        all += seconds[i];
    }
    if (args->json) {
        json_t *o =
            json_pack("{sIsf}", "evaluations", (json_int_t)args->evaluations, "image_seconds", all);
        for (int i = 0; o && i < PARTS; i++) {
            json_t *part = result_json(args, &results[i]);
            (void)json_object_set_new(part, "image_seconds", json_real(seconds[i]));
            (void)json_object_set_new(o, keys[i], part);
        }
        aleat_cli_print_json(o);
        return;
    }
    for (int i = 0; i < PARTS; i++)
        tell(args, &results[i]);
    (void)printf("an image of %lld evaluations, %lld at once: %.3f s\n",
                 (long long)args->evaluations, (long long)args->batch, all);
    for (int i = 0; i < PARTS; i++)
        (void)printf("  %-13s %8.3f s %5.1f %%\n", results[i].name, seconds[i],
                     100 * seconds[i] / all);
}

static aleat_status bench_image(aleat_model *model, const aleat_cli_args *args, double load_seconds,
                                aleat_error *err)
{
    const aleat_model_facts f = aleat_model_describe(model);
    aleat_cli_args decoding = *args; // of what the network makes
    decoding.height = f.height;
    decoding.width = f.width;
    decoding.threads = f.threads;
    if (!args->decoder)
        decoding.decoder = args->operand;
    result *results = calloc(PARTS, sizeof *results);
    if (!results)
        return aleat_cli_fail(err, ALEAT_ERR_MEMORY, "out of memory: timing");
    aleat_status st = bench_text(&results[TEXT], model, args, err);
    if (!st)
        st = bench_network(&results[NETWORK], model, args, load_seconds, err);
    if (!st)
        st = bench_decoder(&results[DECODER], &decoding, err);
    if (!st)
        tell_image(args, results);
    free(results);
    return st;
}

/* ---- the verb -------------------------------------------------------------------------------- */

static bool fits_together(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    const bool network = args->part == ALEAT_CLI_NETWORK, text = args->part == ALEAT_CLI_ENCODERS;
    if (args->guide && !network)
        aleat_cli_complain(verb->name, "--guide is of the network, not of other parts");
    else if (args->vjp && (text || args->part == ALEAT_CLI_ALL))
        aleat_cli_complain(verb->name, "--vjp is of the network or of the decoder");
    else if (args->decoder && args->part != ALEAT_CLI_ALL)
        aleat_cli_complain(verb->name, "--decoder is of use with --part all only: --part decoder "
                                       "times the autoencoder that is named first");
    else
        return true;
    return false;
}

static aleat_status bench_model(const aleat_cli_args *args, aleat_error *err)
{
    aleat_model *model = NULL;
    result r;
    aleat_cli_args opened = *args;
    if (args->guide)
        opened.batch = 0; // the network cuts the copies' batch as it does in a run
    const double start = seconds_now();
    aleat_status st = aleat_cli_open(&model, &opened, err);
    const double load_seconds = seconds_now() - start;
    if (st)
        return st;
    if (args->guide) {
        st = bench_guided(model, args, err);
    } else if (args->part == ALEAT_CLI_ALL) {
        st = bench_image(model, args, load_seconds, err);
    } else {
        st = args->part == ALEAT_CLI_ENCODERS ? bench_text(&r, model, args, err)
                                              : bench_network(&r, model, args, load_seconds, err);
        if (!st)
            tell(args, &r);
    }
    aleat_model_close(model);
    return st;
}

int aleat_cli_bench(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    if (!fits_together(verb, args))
        return ALEAT_EXIT_USAGE;
    aleat_error err = {0};
    result r;
    aleat_status st;
    if (args->part == ALEAT_CLI_DECODER) {
        aleat_cli_args opened = *args;
        opened.decoder = args->operand;
        st = bench_decoder(&r, &opened, &err);
        if (!st)
            tell(args, &r);
    } else {
        st = bench_model(args, &err);
    }
    return aleat_cli_exit(verb, st, &err);
}
