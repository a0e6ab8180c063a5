#include <stdlib.h>
#include <time.h>

#include "cli/verbs.h"

// A network at work on a set, and what comes out.
typedef struct work {
    aleat_features *net;
    aleat_image_set *set;
    aleat_images images;
    aleat_array features, logits; // without data if nobody asked
    double seconds;
} work;

static void work_clear(work *w)
{
    aleat_array_clear(&w->features);
    aleat_array_clear(&w->logits);
    aleat_image_set_close(w->set);
    aleat_features_close(w->net);
}

static aleat_status work_open(work *w, const aleat_cli_args *args, aleat_error *err)
{
    const aleat_features_options options = {.layer = args->layer,
                                            .preparation = args->preparation,
                                            .precision =
                                                aleat_precision_name(args->precision, NULL),
                                            .threads = (int)args->threads,
                                            .batch = args->batch};
    aleat_status st = aleat_features_open(&w->net, args->operand, &options, err);
    if (!st)
        st = aleat_image_set_open(&w->set, args->image_set, args->split, err);
    if (st)
        return st;
    w->images = aleat_image_set_images(w->set);
    const aleat_features_facts facts = aleat_features_describe(w->net);
    const int64_t dims[2][2] = {{w->images.n, facts.dim}, {w->images.n, facts.classes}};
    if (args->out)
        st = aleat_array_new(&w->features, 2, dims[0], err);
    if (!st && (args->logits || aleat_image_set_labels(w->set)))
        st = aleat_array_new(&w->logits, 2, dims[1], err);
    return st;
}

// In pieces, so that progress shows and Ctrl-C is heard; a multiple of the batch loses nothing.
static aleat_status work_run(work *w, const aleat_cli_args *args, aleat_cli_progress *progress,
                             aleat_error *err)
{
    struct timespec begin, end;
    aleat_status st = ALEAT_OK;
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int64_t first = 0, count; !st && first < w->images.n; first += count) {
        count = w->images.n - first < args->batch ? w->images.n - first : args->batch;
        if (aleat_cli_interrupted())
            return aleat_cli_fail(err, ALEAT_ERR_CANCELLED, "stopped");
        const aleat_images part = aleat_images_slice(&w->images, first, count);
        st = aleat_features_run(
            w->net, &part, w->features.data ? w->features.data + first * w->features.dim[1] : NULL,
            w->logits.data ? w->logits.data + first * w->logits.dim[1] : NULL, err);
        aleat_cli_progress_show(progress, (double)(first + count), (double)w->images.n);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    w->seconds = (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
    return st;
}

// The share of the images that the largest logit classifies as their label says.
static double accuracy(const work *w, const int32_t *labels)
{
    const int64_t classes = w->logits.dim[1];
    int64_t right = 0;
    for (int64_t i = 0; i < w->images.n; i++) {
        const float *logit = w->logits.data + i * classes;
        int64_t best = 0;
        for (int64_t c = 1; c < classes; c++)
            best = logit[c] > logit[best] ? c : best;
        right += best == labels[i];
    }
    return (double)right / (double)w->images.n;
}

static void tell(const aleat_cli_verb *verb, const aleat_cli_args *args, const work *w)
{
    const aleat_features_facts f = aleat_features_describe(w->net);
    const int32_t *labels = aleat_image_set_labels(w->set);
    if (args->json) {
        json_t *o =
            json_pack("{ss*ss*sIsIsIsssssssssf}", "out", args->out, "logits", args->logits,
                      "images", (json_int_t)w->images.n, "dim", (json_int_t)f.dim, "classes",
                      (json_int_t)f.classes, "family", f.family, "layer", f.layer, "preparation",
                      f.preparation, "precision", f.precision, "seconds", w->seconds);
        if (o && labels)
            (void)json_object_set_new(o, "accuracy", json_real(accuracy(w, labels)));
        aleat_cli_print_json(o);
        return;
    }
    if (args->quiet)
        return;
    (void)fprintf(stderr, "aleat: %s: %lld images, %lld features each, in %.2f s\n", verb->name,
                  (long long)w->images.n, (long long)f.dim, w->seconds);
    if (labels)
        (void)fprintf(stderr, "aleat: %s: accuracy %.4f\n", verb->name, accuracy(w, labels));
}

int aleat_cli_features(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    if (!args->out && !args->logits) {
        aleat_cli_complain(verb->name, "nothing to write: give --out, --logits, or both");
        return ALEAT_EXIT_USAGE;
    }
    aleat_error err = {0};
    work w = {0};
    aleat_cli_progress progress = aleat_cli_progress_new(verb->name, "images", args->quiet);
    aleat_cli_catch_interrupts();
    aleat_status st = work_open(&w, args, &err);
    if (!st)
        st = work_run(&w, args, &progress, &err);
    aleat_cli_progress_clear(&progress);
    if (!st && args->out)
        st = aleat_array_write(args->out, &w.features, &err);
    if (!st && args->logits)
        st = aleat_array_write(args->logits, &w.logits, &err);
    if (!st)
        tell(verb, args, &w);
    work_clear(&w);
    return aleat_cli_exit(verb, st, &err);
}
