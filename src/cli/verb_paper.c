#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

// Instead of an item: what several of them come to.
#define SUMMARY "summary"
// Numbers in a list on the command line.
#define MOST_NUMBERS 64

typedef struct numbers {
    double value[MOST_NUMBERS];
    int64_t whole[MOST_NUMBERS];
    int64_t count;
} numbers;

// "0.3,1" in [low, high].
static bool read_numbers(numbers *out, const aleat_cli_verb *verb, const char *option,
                         const char *text, double low, double high)
{
    out->count = 0;
    for (const char *at = text; at && *at; at = *at ? at + 1 : at) {
        char *end;
        const double value = strtod(at, &end);
        if (end == at || (*end && *end != ',') || !(value >= low) || !(value <= high) ||
            out->count == MOST_NUMBERS) {
            aleat_cli_complain(verb->name,
                               "--%s: '%s' is no list of up to %d numbers from %g to %g", option,
                               text, MOST_NUMBERS, low, high);
            return false;
        }
        out->value[out->count] = value;
        out->whole[out->count++] = (int64_t)value;
        at = end;
    }
    return true;
}

// Seconds of work after which its rate says something.
#define FIRST_ESTIMATE 20.0

// What is on the progress line.
typedef struct watch {
    aleat_cli_progress progress;
    const char *what;
    double last;    // what was done of it when it was shown last
    double left;    // seconds that making images still takes; 0: unknown
    bool estimated; // has the estimate been told where no line is drawn?
    bool quiet;
} watch;

static bool on_progress(void *ctx, const char *what, double done, double total)
{
    watch *w = ctx;
    if (w->what != what || done < w->last) { // the next set of images begins anew
        w->progress.unit = what;
        w->progress.started = false;
        w->what = what;
    }
    w->last = done;
    w->progress.left = strcmp(what, "images") == 0 ? w->left : 0;
    aleat_cli_progress_show(&w->progress, done, total);
    return !aleat_cli_interrupted();
}

// How much there is to do, and how long it takes: at first the former, then on the progress line
// or, where that is not drawn, once.
static void on_work(void *ctx, const aleat_paper_work *work)
{
    watch *w = ctx;
    char left[32];
    if (work->cost_made > 0)
        w->left = work->seconds * (work->cost - work->cost_made) / work->cost_made;
    if (w->quiet)
        return;
    if (!(work->images_made > 0) && !(work->seconds > 0))
        (void)fprintf(stderr,
                      "aleat: paper: %" PRId64 " images to make, %.3g evaluations of the network\n",
                      work->images, work->cost);
    if (w->estimated || w->progress.visible || work->seconds < FIRST_ESTIMATE || !(w->left > 0))
        return;
    aleat_cli_time_text(left, sizeof left, w->left);
    (void)fprintf(stderr, "aleat: paper: %.3g images/s, all in about %s\n",
                  work->images_made / work->seconds, left);
    w->estimated = true;
}

static aleat_paper_options options_of(const aleat_cli_args *args, const numbers *copies,
                                      const numbers *strengths)
{
    return (aleat_paper_options){
        .data = args->image_set,
        .split = args->split,
        .network = args->network,
        .layer = args->layer,
        .preparation = args->preparation,
        .estimators = args->estimators,
        .laplace_images = args->laplace_images,
        .run = {.n = args->n,
                .sampling = aleat_cli_sampling(args),
                .seed = args->seed,
                .batch = args->batch,
                .score_steps = {args->score_steps.begin, args->score_steps.end},
                .copies = copies->count ? copies->whole[0] : 0,
                .cfg_scale = args->cfg_scale,
                .guide_steps = {args->guide_steps.begin, args->guide_steps.end},
                .percentile = args->percentile},
        .keep = args->keep_share,
        .subsets = args->subsets,
        .draws = args->bootstrap,
        .confidence = args->confidence,
        .strengths = strengths->value,
        .n_strengths = strengths->count,
        .control = args->control,
        .copies = copies->whole,
        .n_copies = copies->count,
        .repeats = args->repeats,
        .shard = args->shard,
        .keep_images = args->keep_images,
        .threads = (int)args->threads,
        .progress = on_progress,
        .work = on_work,
    };
}

static aleat_status make(const aleat_cli_verb *verb, const aleat_cli_args *args,
                         aleat_paper_options *options, aleat_error *err)
{
    aleat_model *model = NULL;
    aleat_vae *decoder = NULL;
    int32_t *labels = NULL;
    aleat_cli_args opened = *args;
    opened.operand = args->more_operands[0];
    opened.batch = 0;
    aleat_status st = aleat_cli_open(&model, &opened, err);
    if (!st && args->labels) // else they are drawn
        st = aleat_cli_labels(&labels, "labels", args->labels, args->n, model, NULL, err);
    if (!st && args->decoder)
        st = aleat_cli_open_vae(&decoder, args, err);
    char *command = aleat_cli_command_line(verb, args);
    options->run.labels = labels;
    options->run.decoder = decoder;
    options->run.command = command;
    if (!st)
        st = aleat_model_paper(model, args->operand, args->out, options, err);
    free(command);
    free(labels);
    aleat_vae_close(decoder);
    aleat_model_close(model);
    return st;
}

static bool is_item(const char *name)
{
    const char *item;
    for (int i = 0; (item = aleat_paper_item_name(i, NULL)); i++)
        if (strcmp(item, name) == 0)
            return true;
    return false;
}

const char *aleat_cli_paper_choice(int i, const char **help)
{
    int n_items = 0;
    while (aleat_paper_item_name(n_items, NULL))
        n_items++;
    if (i != n_items)
        return aleat_paper_item_name(i, help);
    if (help)
        *help = "one document about the folders OUT.. of items; no model";
    return SUMMARY;
}

// What was written, on stdout, too.
static void show(const char *path)
{
    char block[4096];
    size_t n;
    FILE *file = fopen(path, "rb");
    while (file && (n = fread(block, 1, sizeof block, file)) > 0)
        (void)fwrite(block, 1, n, stdout);
    if (file)
        (void)fclose(file);
}

// The document goes to -o, or into the first folder and to stdout.
static int summarise(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    char path[4096];
    aleat_error err = {0};
    if (args->n_more < 1) {
        aleat_cli_complain(verb->name, "%s needs the folders that items were written to", SUMMARY);
        return ALEAT_EXIT_USAGE;
    }
    (void)snprintf(path, sizeof path, "%s/%s.md", args->more_operands[0], SUMMARY);
    const aleat_status st =
        aleat_paper_summary(args->more_operands, args->n_more, args->out ? args->out : path, &err);
    if (!st && !args->out && !args->quiet)
        show(path);
    return aleat_cli_exit(verb, st, &err);
}

int aleat_cli_paper(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    numbers copies, strengths;
    if (strcmp(args->operand, SUMMARY) == 0)
        return summarise(verb, args);
    if (args->n_more != 1 || !is_item(args->operand)) {
        if (args->n_more == 1)
            aleat_cli_complain(verb->name, "there is no '%s'", args->operand);
        else
            aleat_cli_complain(verb->name, "needs a table or figure, and a model");
        aleat_cli_advise("'aleat paper --help' lists what there is");
        return ALEAT_EXIT_USAGE;
    }
    if (!args->out) {
        aleat_cli_complain(verb->name, "needs --out OUT, the folder to write");
        return ALEAT_EXIT_USAGE;
    }
    if (!read_numbers(&copies, verb, "copies", args->copies_list, 2, 65536) ||
        !read_numbers(&strengths, verb, "strengths", args->strengths, 0, 1e9) ||
        !aleat_cli_check_cfg(verb, args))
        return ALEAT_EXIT_USAGE;
    aleat_error err = {0};
    watch w = {.progress = aleat_cli_progress_new(verb->name, "images", args->quiet),
               .quiet = args->quiet};
    aleat_paper_options options = options_of(args, &copies, &strengths);
    options.ctx = &w;
    aleat_cli_catch_interrupts();
    const aleat_status st = make(verb, args, &options, &err);
    aleat_cli_progress_clear(&w.progress);
    if (!st && (!args->quiet || args->json)) {
        char path[4096];
        (void)snprintf(path, sizeof path, "%s/%s.%s", args->out, args->operand,
                       args->json ? "json" : "md");
        show(path);
    }
    return aleat_cli_exit(verb, st, &err);
}
