/* Figure 10: the images of the lowest and the highest scores, above their maps. Images follow from
 * their numbers, so the few that are shown are sampled again, each once, with all maps. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/order.h"
#include "io/png_image.h"
#include "paper/rivals.h"
#include "uncertainty/contact_sheet.h"
#include "uncertainty/map_image.h"

#define SHOWN 16

const aleat_column aleat_paper_fig10_columns[] = {
    {.key = "estimator", .heading = "estimator"},
    {.key = "score", .heading = "score"},
    {.key = "order", .heading = "order"},
    {.key = "rank", .heading = "rank"},
    {.key = "image", .heading = "image"},
    {.key = "label", .heading = "class"},
    {.key = "value", .heading = "value", .digits = 6},
    {.key = "file", .heading = "on the sheet"},
    {.key = "remark", .heading = "remark"},
    {0},
};

// Images that sheets show, sampled again.
typedef struct shown {
    aleat_run_facts facts;
    int64_t images[2 * SHOWN * ALEAT_POOL_SCORES]; // ascending
    int64_t count, at;
    aleat_image *pictures; // [count]
    float *maps;           // [count,n_maps,map_height,map_width]
} shown;

// The images of one sheet.
typedef struct sheet {
    const aleat_pool *pool;
    int score;
    bool highest;
    int map; // of the run; negative: the score has none
    int64_t count, images[SHOWN];
    double values[SHOWN];
} sheet;

static float *map_of(const shown *s, int64_t i, int map)
{
    const int64_t cells = s->facts.map_height * s->facts.map_width;
    return s->maps + (i * s->facts.n_maps + map) * cells;
}

static aleat_status take(void *ctx, const aleat_run_images *images, aleat_error *err)
{
    shown *s = ctx;
    const aleat_run_facts *f = &s->facts;
    const int64_t bytes = f->height * f->width * f->channels;
    const int64_t elements = f->map_channels * f->map_height * f->map_width;
    for (int64_t j = 0; j < images->count; j++, s->at++) {
        uint8_t *copy = aleat_alloc((size_t)bytes);
        if (!copy)
            return aleat_fail_memory(err, "a picture");
        memcpy(copy, images->pixels + j * bytes, (size_t)bytes);
        s->pictures[s->at] = (aleat_image){f->width, f->height, (int)f->channels, copy};
        for (int m = 0; m < f->n_maps; m++)
            aleat_map_over_channels(map_of(s, s->at, m),
                                    images->maps + (m * images->count + j) * elements,
                                    f->map_channels, f->map_height, f->map_width);
    }
    return ALEAT_OK;
}

// Where an image is among those shown.
static int64_t find(const shown *s, int64_t image)
{
    int64_t i = 0;
    while (i < s->count && s->images[i] != image)
        i++;
    return i;
}

static int ascending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// The run's map that score number `score` of the pool is the sum of.
static int map_of_score(const aleat_run_facts *f, const aleat_pool *pool, int score)
{
    for (int m = 0; m < f->n_maps; m++)
        if (strcmp(f->maps[m], pool->names[score]) == 0)
            return m;
    return -1;
}

// Samples what any of the sheets shows.
static aleat_status sample(shown *s, const aleat_paper *p, sheet *sheets, int n_sheets,
                           aleat_error *err)
{
    const aleat_run_options options = aleat_paper_scored_run(p, sheets[0].pool->estimator);
    aleat_run *run = NULL;
    for (int k = 0; k < n_sheets; k++)
        for (int64_t i = 0; i < sheets[k].count; i++)
            if (find(s, sheets[k].images[i]) == s->count)
                s->images[s->count++] = sheets[k].images[i];
    qsort(s->images, (size_t)s->count, sizeof *s->images, ascending);
    aleat_status st = aleat_run_open(&run, p->model, &options, err);
    if (st)
        return st;
    s->facts = aleat_run_describe(run);
    const int64_t cells = s->facts.n_maps * s->facts.map_height * s->facts.map_width;
    s->pictures = aleat_calloc((size_t)s->count, sizeof *s->pictures);
    s->maps = aleat_calloc((size_t)s->count, (size_t)(cells ? cells : 1) * sizeof *s->maps);
    if (!s->pictures || !s->maps)
        st = aleat_fail_memory(err, "pictures and maps");
    if (!st)
        st = aleat_run_sample_chosen(run, s->images, s->count, take, s, err);
    for (int k = 0; k < n_sheets; k++) // names are the run's
        sheets[k].map = map_of_score(&s->facts, sheets[k].pool, sheets[k].score);
    aleat_run_close(run);
    return st;
}

static void shown_clear(shown *s)
{
    for (int64_t i = 0; s->pictures && i < s->count; i++)
        aleat_image_clear(&s->pictures[i]);
    aleat_free(s->pictures);
    aleat_free(s->maps);
}

static const char *order_of(const sheet *s)
{
    return s->highest ? "highest" : "lowest";
}

static void name_sheet(char *out, size_t size, const sheet *s)
{
    (void)snprintf(out, size, "fig10-%s-%s.png", s->pool->names[s->score], order_of(s));
}

static aleat_status draw(const shown *all, const sheet *s, const char *path, aleat_error *err)
{
    const aleat_run_facts *f = &all->facts;
    const bool mapped = s->map >= 0;
    char headline[120];
    aleat_contact_sheet *page = NULL;
    aleat_value_histogram *histogram = NULL;
    float *large = aleat_calloc((size_t)(f->height * f->width), sizeof *large);
    aleat_status st = large ? ALEAT_OK : aleat_fail_memory(err, "a map");
    (void)snprintf(headline, sizeof headline, "%s %s of %" PRId64, order_of(s),
                   s->pool->names[s->score], s->pool->n);
    if (!st)
        st = aleat_contact_sheet_new(&page, s->count, f->width, f->height, mapped, headline, err);
    if (!st)
        st = aleat_value_histogram_new(&histogram, err);
    for (int64_t i = 0; !st && mapped && i < s->count; i++)
        aleat_value_histogram_add(histogram, map_of(all, find(all, s->images[i]), s->map),
                                  f->map_height * f->map_width);
    for (int64_t i = 0; !st && i < s->count; i++) {
        const int64_t at = find(all, s->images[i]);
        aleat_image overlay = {0};
        char caption[64];
        if (mapped) {
            aleat_map_enlarge(large, f->height, f->width, map_of(all, at, s->map), f->map_height,
                              f->map_width);
            st = aleat_map_overlay(&overlay, &all->pictures[at], large,
                                   aleat_robust_scale(histogram), err);
        }
        (void)snprintf(caption, sizeof caption, "#%" PRId64 " %.4g", s->images[i], s->values[i]);
        if (!st)
            aleat_contact_sheet_place(page, i, &all->pictures[at], mapped ? &overlay : NULL,
                                      caption);
        aleat_image_clear(&overlay);
    }
    if (!st)
        st = aleat_png_write(path, aleat_contact_sheet_image(page), NULL, 0, err);
    aleat_contact_sheet_free(page);
    aleat_value_histogram_free(histogram);
    aleat_free(large);
    return st;
}

static void add_rows(aleat_paper *p, const sheet *s)
{
    char file[80];
    name_sheet(file, sizeof file, s);
    for (int64_t i = 0; i < s->count; i++) {
        json_t *row = aleat_result_row(&p->result);
        aleat_row_text(&p->result, row, "estimator", s->pool->estimator);
        aleat_row_text(&p->result, row, "score", s->pool->names[s->score]);
        aleat_row_text(&p->result, row, "order", order_of(s));
        aleat_row_count(&p->result, row, "rank", i + 1);
        aleat_row_count(&p->result, row, "image", s->images[i]);
        aleat_row_count(&p->result, row, "label", s->pool->labels[s->images[i]]);
        aleat_row_number(&p->result, row, "value", s->values[i]);
        aleat_row_text(&p->result, row, "file", file);
    }
}

// Which images the two sheets of a score show.
static aleat_status choose(sheet *sheets, const aleat_pool *pool, int score, aleat_error *err)
{
    const double *scores = pool->scores + score * pool->n;
    const int64_t n = pool->n, count = n < SHOWN ? n : SHOWN;
    int64_t *order = aleat_calloc((size_t)n, sizeof *order);
    const aleat_status st =
        order && aleat_order(order, scores, n) ? ALEAT_OK : aleat_fail_memory(err, "scores");
    for (int highest = 0; !st && highest < 2; highest++) {
        sheet *s = &sheets[highest];
        *s = (sheet){.pool = pool, .score = score, .highest = highest, .map = -1, .count = count};
        for (int64_t i = 0; i < count; i++) {
            s->images[i] = order[highest ? n - 1 - i : i];
            s->values[i] = scores[s->images[i]];
        }
    }
    aleat_free(order);
    return st;
}

static aleat_status add_pool(void *ctx, const aleat_pool *pool, bool first, aleat_error *err)
{
    aleat_paper *p = ctx;
    shown all = {0};
    int n = 0;
    sheet *sheets = aleat_calloc(2 * ALEAT_POOL_SCORES, sizeof *sheets);
    aleat_status st = sheets ? ALEAT_OK : aleat_fail_memory(err, "sheets");
    (void)first;
    for (int s = 0; !st && s < pool->n_scores; s++)
        if (aleat_pool_tells(pool, s, false)) {
            st = choose(sheets + n, pool, s, err);
            n += 2;
        }
    if (!st && n)
        st = sample(&all, p, sheets, n, err);
    for (int k = 0; !st && k < n; k++) {
        char file[80];
        name_sheet(file, sizeof file, &sheets[k]);
        char *path = aleat_paper_path(p, "%s", file);
        st = path ? draw(&all, &sheets[k], path, err) : aleat_fail_memory(err, file);
        aleat_free(path);
        if (!st)
            add_rows(p, &sheets[k]);
    }
    shown_clear(&all);
    aleat_free(sheets);
    return st;
}

aleat_status aleat_paper_fig10(aleat_paper *p, aleat_error *err)
{
    const aleat_status st = aleat_paper_each_pool(p, add_pool, p, err);
    aleat_result_note(&p->result,
                      "Each sheet shows images above the map of the score they are chosen by, over "
                      "the image; colours are shared within a sheet. A score without a map has the "
                      "images alone.");
    return st;
}
