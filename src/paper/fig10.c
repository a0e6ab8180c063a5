/* Figure 10: the images of the lowest and the highest scores, above their maps. Images follow from
 * their numbers, so the few that are shown are sampled again, with maps. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/order.h"
#include "io/png_image.h"
#include "paper/pool.h"
#include "uncertainty/contact_sheet.h"
#include "uncertainty/map_image.h"

#define SHOWN 16

static const aleat_column columns[] = {
    {.key = "score", .heading = "score"},       {.key = "order", .heading = "order"},
    {.key = "rank", .heading = "rank"},         {.key = "image", .heading = "image"},
    {.key = "label", .heading = "class"},       {.key = "value", .heading = "value", .digits = 6},
    {.key = "file", .heading = "on the sheet"}, {0},
};

// The images of one sheet.
typedef struct sheet {
    aleat_run_facts facts;
    int map; // of the run
    int64_t count;
    aleat_image pictures[SHOWN];
    float *maps; // [SHOWN,map_height,map_width]
    int64_t at;
} sheet;

static aleat_status take(void *ctx, const aleat_run_images *images, aleat_error *err)
{
    sheet *s = ctx;
    const aleat_run_facts *f = &s->facts;
    const int64_t pixels = f->height * f->width * f->channels;
    const int64_t cells = f->map_height * f->map_width;
    uint8_t *copy = aleat_alloc((size_t)pixels);
    if (!copy)
        return aleat_fail_memory(err, "a picture");
    memcpy(copy, images->pixels, (size_t)pixels);
    s->pictures[s->at] = (aleat_image){f->width, f->height, (int)f->channels, copy};
    aleat_map_over_channels(s->maps + s->at * cells,
                            images->maps +
                                (int64_t)s->map * images->count * cells * f->map_channels,
                            f->map_channels, f->map_height, f->map_width);
    s->at++;
    return ALEAT_OK;
}

static aleat_status draw(const sheet *s, const char *path, const char *headline,
                         const int64_t *images, const double *values, aleat_error *err)
{
    const aleat_run_facts *f = &s->facts;
    const int64_t cells = f->map_height * f->map_width;
    aleat_contact_sheet *page = NULL;
    aleat_value_histogram *histogram = NULL;
    float *large = aleat_calloc((size_t)(f->height * f->width), sizeof *large);
    aleat_status st = large ? ALEAT_OK : aleat_fail_memory(err, "a map");
    if (!st)
        st = aleat_contact_sheet_new(&page, s->count, f->width, f->height, true, headline, err);
    if (!st)
        st = aleat_value_histogram_new(&histogram, err);
    if (!st)
        aleat_value_histogram_add(histogram, s->maps, s->count * cells);
    for (int64_t i = 0; !st && i < s->count; i++) {
        aleat_image overlay = {0};
        char caption[64];
        aleat_map_enlarge(large, f->height, f->width, s->maps + i * cells, f->map_height,
                          f->map_width);
        st =
            aleat_map_overlay(&overlay, &s->pictures[i], large, aleat_robust_scale(histogram), err);
        (void)snprintf(caption, sizeof caption, "#%" PRId64 " %.4g", images[i], values[i]);
        if (!st)
            aleat_contact_sheet_place(page, i, &s->pictures[i], &overlay, caption);
        aleat_image_clear(&overlay);
    }
    if (!st)
        st = aleat_png_write(path, aleat_contact_sheet_image(page), NULL, 0, err);
    aleat_contact_sheet_free(page);
    aleat_value_histogram_free(histogram);
    aleat_free(large);
    return st;
}

// Samples the images again and draws them.
static aleat_status make_sheet(const aleat_paper *p, aleat_run *run, const char *path,
                               const char *headline, int map, const int64_t *images,
                               const double *values, int64_t count, aleat_error *err)
{
    sheet s = {.facts = aleat_run_describe(run), .map = map, .count = count};
    s.maps = aleat_calloc(SHOWN, (size_t)(s.facts.map_height * s.facts.map_width) * sizeof(float));
    aleat_status st = s.maps ? ALEAT_OK : aleat_fail_memory(err, "maps");
    for (int64_t i = 0; !st && i < count; i++) {
        st = aleat_run_sample(run, images[i], 1, take, &s, err);
        if (!st)
            st = aleat_paper_tell(p, "images shown", (double)(i + 1), (double)count, err);
    }
    if (!st)
        st = draw(&s, path, headline, images, values, err);
    for (int64_t i = 0; i < count; i++)
        aleat_image_clear(&s.pictures[i]);
    aleat_free(s.maps);
    return st;
}

static void add_rows(aleat_paper *p, const aleat_pool *pool, int score, const char *order,
                     const char *file, const int64_t *images, const double *values, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        json_t *row = aleat_result_row(&p->result);
        aleat_row_text(&p->result, row, "score", pool->names[score]);
        aleat_row_text(&p->result, row, "order", order);
        aleat_row_count(&p->result, row, "rank", i + 1);
        aleat_row_count(&p->result, row, "image", images[i]);
        aleat_row_count(&p->result, row, "label", pool->labels[images[i]]);
        aleat_row_number(&p->result, row, "value", values[i]);
        aleat_row_text(&p->result, row, "file", file);
    }
}

static aleat_status add_score(aleat_paper *p, const aleat_pool *pool, aleat_run *run, int score,
                              int map, aleat_error *err)
{
    const double *scores = pool->scores + score * pool->n;
    const int64_t n = pool->n, count = n < SHOWN ? n : SHOWN;
    int64_t *order = aleat_calloc((size_t)n, sizeof *order), images[SHOWN];
    double values[SHOWN];
    aleat_status st =
        order && aleat_order(order, scores, n) ? ALEAT_OK : aleat_fail_memory(err, "scores");
    for (int highest = 0; !st && highest < 2; highest++) {
        char file[80], headline[120];
        for (int64_t i = 0; i < count; i++) {
            images[i] = order[highest ? n - 1 - i : i];
            values[i] = scores[images[i]];
        }
        const char *which = highest ? "highest" : "lowest";
        (void)snprintf(file, sizeof file, "fig10-%s-%s.png", pool->names[score], which);
        (void)snprintf(headline, sizeof headline, "%s %s of %" PRId64, which, pool->names[score],
                       n);
        char *path = aleat_paper_path(p, "%s", file);
        st = path ? make_sheet(p, run, path, headline, map, images, values, count, err)
                  : aleat_fail_memory(err, file);
        aleat_free(path);
        if (!st)
            add_rows(p, pool, score, which, file, images, values, count);
    }
    aleat_free(order);
    return st;
}

aleat_status aleat_paper_fig10(aleat_paper *p, aleat_error *err)
{
    const aleat_run_options options = aleat_paper_scored_run(p, "copies");
    aleat_pool pool = {0};
    aleat_run *run = NULL;
    p->result.columns = columns;
    aleat_status st = aleat_pool_make(&pool, p, &options, err);
    if (!st)
        st = aleat_run_open(&run, p->model, &options, err);
    const aleat_run_facts facts = run ? aleat_run_describe(run) : (aleat_run_facts){0};
    for (int m = 0, score = 0; !st && m < facts.n_maps; m++)
        if (!facts.map_is_error[m])
            st = add_score(p, &pool, run, score++, m, err);
    aleat_result_note(&p->result,
                      "Each sheet shows images above the map of the score they are chosen by, over "
                      "the image; colours are shared within a sheet.");
    aleat_run_close(run);
    aleat_pool_clear(&pool);
    return st;
}
