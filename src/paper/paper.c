/* aleat_model_paper(): the table of items, and what happens around each. */
#include "paper/paper.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/json.h"
#include "base/rng.h"
#include "paper/rivals.h"
#include "uncertainty/estimator.h"

// Names a folder as ours.
#define MARK "paper.json"

/* ---- tables ---------------------------------------------------------------------------------- */

static const aleat_paper_item items[] = {
    {.name = "table1",
     .help = "distance of images kept by each score, against random subsets",
     .title = "Table 1: images kept by each score",
     .needs_features = true,
     .has_rivals = true,
     .columns = aleat_paper_table1_columns,
     .make = aleat_paper_table1},
    {.name = "table2",
     .help = "areas of sparsification curves of each map, by reconstruction of real images",
     .title = "Table 2: maps against errors of reconstruction",
     .columns = aleat_paper_table2_columns,
     .make = aleat_paper_table2},
    {.name = "table3",
     .help = "distance of guided images, by strength and sign, against plain ones",
     .title = "Table 3: guided sampling",
     .needs_features = true,
     .runs = aleat_paper_table3_runs,
     .columns = aleat_paper_table3_columns,
     .make = aleat_paper_table3},
    {.name = "table4",
     .help = "precision and recall of images kept by each score",
     .title = "Table 4: precision and recall of images kept by each score",
     .needs_features = true,
     .has_rivals = true,
     .columns = aleat_paper_table4_columns,
     .make = aleat_paper_table4},
    {.name = "table5",
     .help = "time of scored sampling against plain sampling",
     .title = "Table 5: time of scores",
     .columns = aleat_paper_table5_columns,
     .make = aleat_paper_table5},
    {.name = "fig3",
     .help = "distance against the share of the images that is kept",
     .title = "Figure 3: distance by the share kept",
     .needs_features = true,
     .has_rivals = true,
     .columns = aleat_paper_fig3_columns,
     .make = aleat_paper_fig3},
    {.name = "fig10",
     .help = "the images of the lowest and highest scores, with their maps",
     .title = "Figure 10: images of the lowest and highest scores",
     .needs_features = true,
     .no_reference = true,
     .has_rivals = true,
     .columns = aleat_paper_fig10_columns,
     .make = aleat_paper_fig10},
    {.name = "fig11",
     .help = "distance of kept images by copies and scored steps",
     .title = "Figure 11: distance by copies and scored steps",
     .needs_features = true,
     .has_rivals = true,
     .runs = aleat_paper_fig11_runs,
     .columns = aleat_paper_fig11_columns,
     .make = aleat_paper_fig11},
    {.name = "corruptions",
     .help = "how well each score tells damaged real images from whole ones",
     .title = "Damaged images",
     .columns = aleat_paper_corruptions_columns,
     .make = aleat_paper_corruptions},
};

#define N_ITEMS ((int)(sizeof items / sizeof *items))

const char *aleat_paper_item_name(int i, const char **help)
{
    if (i < 0 || i >= N_ITEMS)
        return NULL;
    if (help)
        *help = items[i].help;
    return items[i].name;
}

/* ---- what items share ------------------------------------------------------------------------ */

char *aleat_paper_path(const aleat_paper *paper, const char *fmt, ...)
{
    char name[256];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    return aleat_path_join(paper->folder, name);
}

aleat_status aleat_paper_tell(const aleat_paper *paper, const char *what, double done, double total,
                              aleat_error *err)
{
    const aleat_paper_options *o = &paper->options;
    if (!o->progress || o->progress(o->ctx, what, done, total))
        return ALEAT_OK;
    (void)aleat_fail(err, ALEAT_ERR_CANCELLED, "stopped at %s %.0f of %.0f", what, done, total);
    aleat_hint(err, "the same command goes on from there");
    return ALEAT_ERR_CANCELLED;
}

int64_t aleat_paper_copies(const aleat_paper *paper, const int64_t *usual, int i)
{
    const aleat_paper_options *o = &paper->options;
    if (o->n_copies > 0)
        return i < o->n_copies ? o->copies[i] : 0;
    return usual[i];
}

double aleat_metric_named(const aleat_metric_result *r, const char *name, double *low, double *high)
{
    *low = *high = NAN;
    for (int v = 0; v < r->n_values; v++)
        if (strcmp(r->values[v].name, name) == 0) {
            *low = r->values[v].low;
            *high = r->values[v].high;
            return r->values[v].value;
        }
    return NAN;
}

const aleat_published *aleat_paper_published(const aleat_paper *paper)
{
    const char *sampler = paper->options.run.sampling.sampler;
    return aleat_published_of(paper->model, sampler && strncmp(sampler, "dpm", 3) == 0);
}

int64_t aleat_paper_keep(const aleat_paper *paper)
{
    const aleat_paper_options *o = &paper->options;
    // 5/6 of 60,000 are 50,000, whatever the rounding of the share
    return (int64_t)((double)o->run.n * o->keep + 1e-6);
}

void aleat_paper_note_subsets(aleat_paper *p)
{
    const aleat_paper_options *o = &p->options;
    aleat_result_note(&p->result,
                      "Random: mean of %" PRId64 " random subsets, and the %g %% range of "
                      "their distances. Other intervals (%g %%) are from %" PRId64
                      " random halves of the pool, the real images fixed; 'less random' is the "
                      "difference to the mean of the random subsets, its interval from the same "
                      "halves of the set and of a random subset.",
                      o->subsets, 100 * o->confidence, 100 * o->confidence, o->draws);
    aleat_result_note(&p->result,
                      "Both orders are told: which one keeps the better images is a question to "
                      "the numbers. The paper's text keeps the highest eps-var, its program the "
                      "lowest.");
}

void aleat_paper_note_classes(aleat_paper *p)
{
    aleat_result_note(&p->result,
                      "Within classes: the same share of each class is kept, by its own scores, "
                      "and of the random subsets as well. Of all images at once, a score also "
                      "changes the mix of classes, which the distance punishes.");
}

/* ---- options --------------------------------------------------------------------------------- */

// Drawn uniformly from the classes that mean something; each follows from its image's number, so
// that more images go on with the same ones.
static aleat_status draw_labels(aleat_paper *p, aleat_error *err)
{
    aleat_run_options *run = &p->options.run;
    const aleat_model_facts f = aleat_model_describe(p->model);
    const bool has_null = f.null_class >= 0 && f.null_class < f.n_classes && f.n_classes > 1;
    if (run->labels || !f.n_classes)
        return ALEAT_OK;
    p->own_labels = aleat_calloc((size_t)run->n, sizeof *p->own_labels);
    if (!p->own_labels)
        return aleat_fail_memory(err, "labels");
    const aleat_rng_key key = {.seed = run->seed, .purpose = ALEAT_FOR_LABEL};
    for (int64_t i = 0; i < run->n; i++) {
        const uint64_t kinds = (uint64_t)f.n_classes - has_null;
        const int64_t kind = (int64_t)aleat_rng_below(&key, i, kinds);
        p->own_labels[i] = (int32_t)(has_null && kind >= f.null_class ? kind + 1 : kind);
    }
    run->labels = p->own_labels;
    aleat_result_note(&p->result, "Classes are drawn uniformly by the seed.");
    return ALEAT_OK;
}

static aleat_status fill_options(aleat_paper_options *o, const aleat_paper_item *item,
                                 aleat_error *err)
{
    o->split = o->split ? o->split : "test";
    o->keep = o->keep > 0 ? o->keep : 5.0 / 6;
    o->subsets = o->subsets ? o->subsets : 20;
    o->draws = o->draws ? o->draws : 100;
    o->confidence = o->confidence > 0 ? o->confidence : 0.95;
    o->repeats = o->repeats ? o->repeats : 5;
    if (!(o->run.percentile > 0))
        o->run.percentile = 0.95;
    if (!(o->keep < 1) || o->subsets < 2 || o->draws < 2 || !(o->confidence < 1) || o->repeats < 1)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "the share that is kept and the confidence lie between 0 and 1; random "
                          "subsets and resamples are 2 at least");
    if (o->run.n < 4)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%" PRId64 " images: nothing can be kept of fewer than 4", o->run.n);
    if (item->needs_features && (!o->data || !o->network))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s needs real images (--data) and a feature network (--network)",
                          item->name);
    o->run.uncertainty = o->run.guide = false;
    o->run.progress = NULL;
    unsigned set;
    return aleat_estimators_parse(&set, o->estimators, err);
}

/* ---- the folder ------------------------------------------------------------------------------ */

static aleat_status is_empty(bool *out, const char *folder, aleat_error *err)
{
    DIR *dir = opendir(folder);
    *out = true;
    if (!dir)
        return errno == ENOENT ? ALEAT_OK : aleat_fail_errno(err, "cannot open", folder);
    for (const struct dirent *e; (e = readdir(dir));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            *out = false;
    (void)closedir(dir);
    return ALEAT_OK;
}

aleat_status aleat_paper_check_folder(const char *folder, aleat_error *err)
{
    char *mark = aleat_path_join(folder, MARK);
    aleat_status st = mark ? ALEAT_OK : aleat_fail_memory(err, folder);
    if (!st && !aleat_is_file(mark)) {
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: holds no tables and figures (there is no %s)",
                        folder, MARK);
        aleat_hint(err, "the folder that 'aleat paper ITEM MODEL .. -o OUT' writes is meant");
    }
    aleat_free(mark);
    return st;
}

// Keeps other processes out until the descriptor is closed, which a killed process's is.
static aleat_status lock_folder(aleat_paper *p, const char *mark, aleat_error *err)
{
    p->lock = open(mark, O_RDONLY | O_CLOEXEC);
    if (p->lock < 0)
        return aleat_fail_errno(err, "cannot open", mark);
    if (flock(p->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return ALEAT_OK; // a file system without locks is used without them
    (void)aleat_fail(err, ALEAT_ERR_IO, "%s: another process makes tables and figures there",
                     p->folder);
    aleat_hint(err, "wait for it, or give another folder");
    return ALEAT_ERR_IO;
}

// Makes the folder, or sees that it is ours, and that nobody else is at work in it.
static aleat_status open_folder(aleat_paper *p, aleat_error *err)
{
    bool empty;
    char *mark = aleat_paper_path(p, MARK);
    json_t *text = json_pack("{sssi}", "what", "tables and figures of aleat paper", "format", 1);
    aleat_status st = mark && text ? ALEAT_OK : aleat_fail_memory(err, p->folder);
    if (!st && !aleat_is_file(mark)) {
        st = is_empty(&empty, p->folder, err);
        if (!st && !empty) {
            st = aleat_fail(err, ALEAT_ERR_ARGUMENT,
                            "%s: holds something else than tables and figures", p->folder);
            aleat_hint(err, "give a new folder, or an empty one");
        }
        if (!st)
            st = aleat_make_dirs(p->folder, err);
        if (!st)
            st = aleat_json_write(mark, text, err);
    }
    if (!st)
        st = lock_folder(p, mark, err);
    json_decref(text);
    aleat_free(mark);
    return st;
}

/* ---- settings of the result ------------------------------------------------------------------ */

static aleat_status tell_settings(aleat_paper *p, aleat_error *err)
{
    const aleat_paper_options *o = &p->options;
    const aleat_run_options run = aleat_paper_scored_run(p, aleat_estimator_name(0, NULL));
    aleat_run *opened = NULL;
    aleat_status st = aleat_run_open(&opened, p->model, &run, err);
    if (st)
        return st;
    json_t *s = json_loads(aleat_run_describe(opened).settings, 0, NULL);
    json_t *own = json_pack("{sfsIsIsf}", "keep", o->keep, "subsets", (json_int_t)o->subsets,
                            "draws", (json_int_t)o->draws, "confidence", o->confidence);
    aleat_run_close(opened);
    p->result.settings = s;
    if (!s || !own || json_object_update(s, own))
        st = aleat_fail_memory(err, "settings");
    json_decref(own);
    if (st || !p->network)
        return st;
    const aleat_features_facts f = aleat_features_describe(p->network);
    if (json_object_set_new(s, "feature_family", json_string(f.family)) ||
        json_object_set_new(s, "feature_layer", json_string(f.layer)) ||
        json_object_set_new(s, "features_sha256", json_string(p->reference.network)) ||
        json_object_set_new(s, "feature_dim", json_integer(f.dim)))
        return aleat_fail_memory(err, "settings");
    if (!p->reference.features.data)
        return ALEAT_OK;
    if (json_object_set_new(s, "real_images", json_integer(p->reference.features.dim[0])) ||
        json_object_set_new(s, "split", json_string(o->split)))
        return aleat_fail_memory(err, "settings");
    aleat_result_note(&p->result,
                      "Features of %" PRId64 " numbers: layer %s of a network of family %s. "
                      "Real images: %" PRId64 ", split '%s'.",
                      f.dim, f.layer, f.family, p->reference.features.dim[0], o->split);
    return ALEAT_OK;
}

/* ---- an item --------------------------------------------------------------------------------- */

static aleat_status open_features(aleat_paper *p, bool reference, aleat_error *err)
{
    const aleat_paper_options *o = &p->options;
    const aleat_features_options how = {
        .layer = o->layer, .preparation = o->preparation, .threads = o->threads};
    aleat_status st = aleat_features_open(&p->network, o->network, &how, err);
    if (!st)
        aleat_reference_name(&p->reference, p->network);
    return st || !reference ? st : aleat_reference_make(&p->reference, p, err);
}

/* ---- how much there is to do ----------------------------------------------------------------- */

// What runs add to the work.
typedef struct plan {
    const aleat_paper *paper;
    aleat_paper_work *work;
} plan;

// What cannot be done is no work; the item itself says why.
static aleat_status add_work(void *ctx, const aleat_run_options *run, const char *estimator,
                             aleat_error *err)
{
    const plan *at = ctx;
    (void)estimator;
    const aleat_status st = aleat_pool_add_work(at->work, at->paper, run, err);
    return st == ALEAT_ERR_UNSUPPORTED ? ALEAT_OK : st;
}

static aleat_status add_estimator(const plan *at, const aleat_paper_item *item, const char *name,
                                  aleat_error *err)
{
    if (!aleat_paper_wants(at->paper, name) || aleat_paper_follows(at->paper, name) ||
        (!aleat_estimator_is_local(name) && !at->paper->laplace))
        return ALEAT_OK;
    if (item->runs)
        return item->runs(at->paper, name, add_work, (void *)at, err);
    const aleat_run_options run = aleat_paper_pool_run(at->paper, name);
    return add_work((void *)at, &run, name, err);
}

// Fills *work and hangs it on the paper, if anybody asks and there is something to make.
static aleat_status plan_work(aleat_paper *p, const aleat_paper_item *item, aleat_paper_work *work,
                              aleat_error *err)
{
    plan at = {p, work};
    const char *name;
    aleat_status st = ALEAT_OK;
    if (!p->options.work)
        return ALEAT_OK;
    if (!item->has_rivals && item->runs)
        st = item->runs(p, NULL, add_work, &at, err);
    for (int e = 0; !st && item->has_rivals && (name = aleat_estimator_name(e, NULL)); e++)
        st = add_estimator(&at, item, name, err);
    if (st || !work->images)
        return st;
    p->work = work;
    p->options.work(p->options.ctx, work);
    return ALEAT_OK;
}

static aleat_status make_item(aleat_paper *p, const aleat_paper_item *item, aleat_error *err)
{
    aleat_paper_work work = {0};
    p->result.columns = item->columns;
    aleat_status st = open_folder(p, err);
    if (!st && item->needs_features)
        st = open_features(p, !item->no_reference, err);
    if (!st)
        st = draw_labels(p, err);
    if (!st)
        st = tell_settings(p, err);
    if (!st && item->has_rivals)
        st = aleat_paper_share(p, err);
    if (!st && item->has_rivals)
        st = aleat_paper_fit(p, err);
    if (!st)
        st = plan_work(p, item, &work, err);
    if (!st)
        st = item->make(p, err);
    p->work = NULL;
    const aleat_published *published = aleat_paper_published(p);
    if (published)
        aleat_result_note(&p->result, "Published: arXiv 2412.00205, %s.", published->model);
    if (!st)
        st = aleat_result_write(&p->result, p->folder, item->name, item->title,
                                p->options.run.command, err);
    return st;
}

aleat_status aleat_model_paper(aleat_model *model, const char *name, const char *folder,
                               const aleat_paper_options *options, aleat_error *err)
{
    const aleat_paper_item *item = NULL;
    for (int i = 0; i < N_ITEMS; i++)
        if (strcmp(items[i].name, name) == 0)
            item = &items[i];
    if (!item)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no table or figure '%s'", name);
    aleat_paper p = {
        .model = model, .options = *options, .folder = aleat_strdup(folder), .lock = -1};
    aleat_status st =
        p.folder ? fill_options(&p.options, item, err) : aleat_fail_memory(err, folder);
    if (!st)
        st = make_item(&p, item, err);
    aleat_features_close(p.network);
    aleat_reference_clear(&p.reference);
    aleat_result_clear(&p.result);
    aleat_free(p.laplace);
    aleat_free(p.own_labels);
    aleat_free(p.folder);
    if (p.lock >= 0)
        (void)close(p.lock);
    return st;
}
