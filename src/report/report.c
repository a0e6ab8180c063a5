/*
 * aleat_report_write(): what of a run goes into its page, in which order, until the page is full.
 *
 * Images are taken in the order of report/choice.h. First the gallery, atlas by atlas: pictures as
 * PNG and the shown map in 8 bits. Then maps as float32, image by image, for the detail view; then
 * the maps and the predictions of x0 of each step. Each part has a share of the bytes and leaves to
 * the next what it does not use.
 */
#include "aleat/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "aleat/aleat.h"
#include "base/alloc.h"
#include "base/error.h"
#include "io/image_convert.h"
#include "report/choice.h"
#include "report/curves.h"
#include "report/page.h"
#include "report/source.h"

#define DEFAULT_BYTES 20000000
#define LEAST_BYTES   200000
#define TABLE_SHARE   0.40 // of the page, for the scores
#define GALLERY_SHARE 0.45 // of what the scores leave
#define SUMS_SHARE    0.75 // of the same, gallery included
#define ATLAS_PIXELS  (1 << 19)
#define DETAIL_JSON   96 // bytes that an image's entry takes at most for each of its maps
#define MAX_SETTINGS  (1 << 20)

typedef struct writer {
    aleat_source run, other; // other: n == 0 unless the page compares
    const aleat_report_options *options;
    aleat_page page;
    int64_t cap; // bytes that data may reach
    int64_t *order;
    int64_t n_rows, n_pictures, n_details;
    json_t *data, *atlases, *details; // atlases and details: borrowed from data
    float *row;                       // [C,H,W]
    float *steps;                     // [S,C,H,W]
    float *pixels;                    // [H,W]
    uint8_t *scratch;                 // [H,W,C]
    float *ranges;                    // [n,2] of the 8-bit maps
    aleat_value_histogram *histogram; // of the steps' maps that are in the page, one map at a time
} writer;

static int64_t image_size(const aleat_source *s)
{
    return s->channels * s->height * s->width;
}

static aleat_status add(json_t *object, const char *key, json_t *value, aleat_error *err)
{
    return json_object_set_new(object, key, value) ? aleat_fail_memory(err, key) : ALEAT_OK;
}

/* ---- settings -------------------------------------------------------------------------------- */

// What run.json tells of a run, and what is known of it besides.
static aleat_status describe(json_t *to, const aleat_source *s, aleat_error *err)
{
    static const char *const copied[] = {"settings", "command", "class_names", "this_session",
                                         "guidance"};
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++) {
        json_t *value = json_object_get(s->json.root, copied[i]);
        bytes += value ? json_dumpb(value, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY) : 0;
        if (value && json_object_set(to, copied[i], value))
            return aleat_fail_memory(err, copied[i]);
    }
    if (bytes > MAX_SETTINGS)
        return aleat_fail(err, ALEAT_ERR_FORMAT,
                          "%s/run.json: %zu bytes of settings are not those of a run", s->path,
                          bytes);
    return add(to, "name", aleat_page_string(s->name), err);
}

static aleat_status fail_compare(const writer *w, const char *what, aleat_error *err)
{
    const aleat_status st =
        aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s and %s cannot be compared image by image: other %s",
                   w->run.path, w->other.path, what);
    aleat_hint(err, "generate both with the same -n, --seed, --labels and --rng");
    return st;
}

// The same image in both must begin with the same noise and label.
static aleat_status check_comparable(const writer *w, aleat_error *err)
{
    static const char *const same[] = {"seed", "rng", "initial_sha256"};
    const aleat_source *a = &w->run, *b = &w->other;
    if (a->n != b->n)
        return fail_compare(w, "numbers of images", err);
    if (a->channels != b->channels || a->height != b->height || a->width != b->width)
        return fail_compare(w, "image sizes", err);
    if (memcmp(a->labels, b->labels, (size_t)a->n * sizeof *a->labels) != 0)
        return fail_compare(w, "labels", err);
    if (memcmp(a->numbers, b->numbers, (size_t)a->n * sizeof *a->numbers) != 0)
        return fail_compare(w, "image numbers", err);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        json_t *x = json_object_get(a->settings, same[i]);
        json_t *y = json_object_get(b->settings, same[i]);
        if (x != y && !json_equal(x, y))
            return fail_compare(w, same[i], err);
    }
    return ALEAT_OK;
}

static json_t *map_json(const aleat_source *s, int m)
{
    const aleat_source_map *map = &s->maps[m];
    const aleat_statistic *t = map->statistic;
    // Maps that are the sample variance of something over the copies: their error for normal values
    const bool is_variance = t && t->quantity != ALEAT_QUANTITY_PRODUCT && !t->is_error &&
                             t->noise_power + t->signal_power == 2 && strstr(t->name, "-var");
    return json_pack("{soso ss* ss* sbsbsb so? s[oo]}", "name", aleat_page_string(map->name),
                     "file", aleat_page_string(map->file), "description", t ? t->description : NULL,
                     "unit", t && t->signal_power == 2 ? "squared pixels" : NULL,
                     "low_is_uncertain", t && t->low_is_uncertain, "is_error", t && t->is_error,
                     "is_variance", is_variance, "error",
                     map->error >= 0 ? json_integer(map->error) : json_null(), "scale",
                     aleat_page_number(map->scale.low), aleat_page_number(map->scale.high));
}

static json_t *maps_json(const aleat_source *s)
{
    json_t *list = json_array();
    for (int m = 0; list && m < s->n_maps; m++)
        if (json_array_append_new(list, map_json(s, m))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

// The colour scale as one string of hexadecimal digits, so that it has one source.
static json_t *colours_json(void)
{
    char text[256 * 6 + 1];
    for (int i = 0; i < 256; i++) {
        const aleat_rgb c = aleat_map_colour((float)i, (aleat_colour_scale){0, 255});
        (void)snprintf(text + (size_t)i * 6, 7, "%02x%02x%02x", c.r, c.g, c.b);
    }
    return json_string(text);
}

static aleat_status begin_data(writer *w, aleat_error *err)
{
    const aleat_source *s = &w->run;
    w->data = json_object();
    if (!w->data)
        return aleat_fail_memory(err, "the page");
    aleat_status st = add(w->data, "aleat", json_string(aleat_version()), err);
    if (!st)
        st = add(w->data, "images", json_integer(s->n), err);
    if (!st)
        st = add(w->data, "size",
                 json_pack("[IIIi]", (json_int_t)s->channels, (json_int_t)s->height,
                           (json_int_t)s->width, aleat_source_picture_channels(s)),
                 err);
    if (!st)
        st = add(w->data, "colours", colours_json(), err);
    if (!st)
        st = add(w->data, "maps", maps_json(s), err);
    if (!st)
        st = add(w->data, "shown", json_integer(s->shown), err);
    if (!st)
        st = add(w->data, "map_steps",
                 json_pack("[II]", (json_int_t)s->first_step, (json_int_t)s->n_steps), err);
    if (!st)
        st = add(w->data, "x0_steps", json_integer(s->n_x0), err);
    if (!st)
        st = describe(w->data, s, err);
    if (!st && w->options->compare) {
        json_t *other = json_object();
        st = add(w->data, "other", other, err);
        if (!st)
            st = describe(other, &w->other, err);
        if (!st)
            st = add(other, "maps", maps_json(&w->other), err);
    }
    json_t *curves = NULL;
    if (!st)
        st = aleat_curves(&curves, s, err);
    return st ? st : add(w->data, "curves", curves, err);
}

/* ---- scores ---------------------------------------------------------------------------------- */

static aleat_status fail_full(const writer *w, const char *what, aleat_error *err)
{
    const aleat_status st =
        aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "%s: %s do not fit a page of %lld bytes",
                   w->run.path, what, (long long)w->options->max_bytes);
    aleat_hint(err, "allow a larger page, as in --max-size 50");
    return st;
}

static int by_place(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

// values[i] of the images in `rows`, as a block.
static aleat_status put_column(writer *w, const char *id, const double *values, const int64_t *rows,
                               double *buffer, aleat_error *err)
{
    bool fits;
    for (int64_t i = 0; i < w->n_rows; i++)
        buffer[i] = values[rows[i]];
    const aleat_status st = aleat_page_numbers(&w->page, id, buffer, (size_t)w->n_rows,
                                               sizeof *buffer, w->cap, &fits, err);
    return !st && !fits ? fail_full(w, "its scores", err) : st;
}

// Numbers, labels and scores of w->n_rows images: all, or the first of the order.
static aleat_status put_table(writer *w, aleat_error *err)
{
    const aleat_source *s = &w->run;
    const double columns = 3 + s->n_scores; // with numbers, labels and places
    const double room = TABLE_SHARE * (double)(w->cap - w->page.bytes) * 3 / 4;
    const int64_t most = (int64_t)(room / (columns * sizeof(double)));
    w->n_rows = s->n < most ? s->n : most;
    json_t *names = json_array();
    double *buffer = aleat_calloc((size_t)w->n_rows, sizeof *buffer);
    double *labels = aleat_calloc((size_t)s->n, sizeof *labels);
    int64_t *rows = aleat_calloc((size_t)w->n_rows, sizeof *rows);
    aleat_status st =
        names && buffer && labels && rows ? ALEAT_OK : aleat_fail_memory(err, "scores");
    if (st)
        goto done;
    for (int64_t i = 0; i < s->n; i++)
        labels[i] = (double)s->labels[i];
    memcpy(rows, w->order, (size_t)w->n_rows * sizeof *rows);
    qsort(rows, (size_t)w->n_rows, sizeof *rows, by_place);
    st = put_column(w, "t-number", s->numbers, rows, buffer, err);
    if (!st)
        st = put_column(w, "t-label", labels, rows, buffer, err);
    for (int64_t i = 0; i < s->n; i++)
        labels[i] = (double)i;
    if (!st)
        st = put_column(w, "t-place", labels, rows, buffer, err);
    for (int k = 0; !st && k < s->n_scores; k++) {
        char id[32];
        (void)snprintf(id, sizeof id, "t-%d", k);
        st = put_column(w, id, s->scores[k].values, rows, buffer, err);
        if (!st && json_array_append_new(names, aleat_page_string(s->scores[k].name)))
            st = aleat_fail_memory(err, "scores");
    }
    if (!st)
        st = add(w->data, "rows", json_integer(w->n_rows), err);
    if (!st && json_object_set(w->data, "scores", names))
        st = aleat_fail_memory(err, "scores");
done:
    json_decref(names);
    aleat_free(buffer);
    aleat_free(labels);
    aleat_free(rows);
    return st;
}

/* ---- the gallery ----------------------------------------------------------------------------- */

// Where image k of an atlas of `columns` columns is; its upper left corner in pixels.
static void paste(aleat_image *atlas, const uint8_t *picture, int64_t k, int64_t columns,
                  int64_t width, int64_t height)
{
    const int64_t c = atlas->channels, x = k % columns * width, y = k / columns * height;
    for (int64_t row = 0; row < height; row++)
        memcpy(atlas->pixels + ((y + row) * atlas->width + x) * c, picture + row * width * c,
               (size_t)(width * c));
}

static aleat_status atlas_new(aleat_image *out, int64_t count, int64_t columns, int channels,
                              const aleat_source *s, aleat_error *err)
{
    const int64_t rows = (count + columns - 1) / columns;
    *out = (aleat_image){columns * s->width, rows * s->height, channels, NULL};
    out->pixels = aleat_calloc((size_t)(out->width * out->height), (size_t)channels);
    return out->pixels ? ALEAT_OK : aleat_fail_memory(err, "an atlas");
}

static aleat_status put_atlas(writer *w, const char *id, const aleat_image *atlas, int64_t cap,
                              bool *fits, aleat_error *err)
{
    unsigned char *png = NULL;
    size_t len = 0;
    aleat_status st = aleat_png_encode(&png, &len, atlas, err);
    if (!st)
        st = aleat_page_block(&w->page, id, png, len, cap, fits, err);
    aleat_free(png);
    return st;
}

/*
 * A map in 8 bits, within its own range: 0 is range[0], 254 is range[1], 255 is what is no finite
 * number.
 */
static void quantise(uint8_t *dst, float range[2], const float *pixels, int64_t n)
{
    range[0] = INFINITY;
    range[1] = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(pixels[i])) {
            range[0] = fminf(range[0], pixels[i]);
            range[1] = fmaxf(range[1], pixels[i]);
        }
    if (!(range[0] <= range[1]))
        range[0] = range[1] = 0;
    const double width = (double)range[1] - (double)range[0];
    for (int64_t i = 0; i < n; i++) {
        const double p = width > 0 ? ((double)pixels[i] - (double)range[0]) / width : 0;
        dst[i] = isfinite(pixels[i]) ? (uint8_t)lround(p * 254) : 255;
    }
}

static aleat_status fill_pictures(writer *w, aleat_image *atlas, const aleat_source *s,
                                  int64_t count, int64_t columns, uint8_t *picture,
                                  aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    for (int64_t k = 0; !st && k < count; k++) {
        st = aleat_source_picture(s, w->order[w->n_pictures + k], picture, w->scratch, err);
        paste(atlas, picture, k, columns, s->width, s->height);
    }
    return st;
}

static aleat_status fill_maps(writer *w, aleat_image *atlas, int64_t count, int64_t columns,
                              uint8_t *picture, aleat_error *err)
{
    const aleat_source *s = &w->run;
    aleat_status st = ALEAT_OK;
    for (int64_t k = 0; !st && k < count; k++) {
        const int64_t at = w->n_pictures + k;
        st = aleat_npy_reader_rows(s->maps[s->shown].sum, w->order[at], 1, ALEAT_F32, w->row, err);
        aleat_map_over_channels(w->pixels, w->row, s->channels, s->height, s->width);
        quantise(picture, w->ranges + 2 * at, w->pixels, s->height * s->width);
        paste(atlas, picture, k, columns, s->width, s->height);
    }
    return st;
}

// One atlas of each kind for the next `count` images; nothing of it counts if one does not fit.
static aleat_status put_gallery_part(writer *w, int64_t count, int64_t cap, bool *fits,
                                     aleat_error *err)
{
    enum { PICTURES, MAPS, OTHERS, N_KINDS };
    const aleat_source *s = &w->run;
    const bool wanted[N_KINDS] = {true, s->shown >= 0, w->options->compare != NULL};
    const int channels[N_KINDS] = {aleat_source_picture_channels(s), 1,
                                   aleat_source_picture_channels(s)};
    const int64_t side = (int64_t)ceil(sqrt((double)count));
    const int64_t number = (int64_t)json_array_size(w->atlases);
    uint8_t *picture = aleat_calloc((size_t)(s->height * s->width), 3);
    aleat_status st = picture ? ALEAT_OK : aleat_fail_memory(err, "a picture");
    *fits = true;
    for (int kind = 0; !st && *fits && kind < N_KINDS; kind++) {
        if (!wanted[kind])
            continue;
        aleat_image atlas;
        char id[32];
        (void)snprintf(id, sizeof id, "%c-%lld", "pmo"[kind], (long long)number);
        st = atlas_new(&atlas, count, side, channels[kind], s, err);
        if (!st)
            st = kind == MAPS ? fill_maps(w, &atlas, count, side, picture, err)
                              : fill_pictures(w, &atlas, kind == OTHERS ? &w->other : s, count,
                                              side, picture, err);
        if (!st)
            st = put_atlas(w, id, &atlas, cap, fits, err);
        aleat_image_clear(&atlas);
    }
    if (!st && *fits &&
        json_array_append_new(w->atlases, json_pack("[II]", (json_int_t)count, (json_int_t)side)))
        st = aleat_fail_memory(err, "an atlas");
    if (!st && *fits)
        w->n_pictures += count;
    aleat_free(picture);
    return st;
}

static aleat_status put_gallery(writer *w, int64_t cap, aleat_error *err)
{
    const aleat_source *s = &w->run;
    int64_t part = ATLAS_PIXELS / (s->height * s->width);
    part = part < 1 ? 1 : part;
    bool fits = true;
    aleat_status st = ALEAT_OK;
    while (!st && w->n_pictures < w->n_rows && part > 0) {
        const int64_t left = w->n_rows - w->n_pictures;
        st = put_gallery_part(w, left < part ? left : part, cap, &fits, err);
        if (!fits) // smaller parts fill the rest of the room
            part /= 4;
    }
    if (!st && w->n_pictures == 0 && s->n > 0)
        return fail_full(w, "its images", err);
    double *places = aleat_calloc((size_t)w->n_pictures, sizeof *places);
    if (!st && !places)
        st = aleat_fail_memory(err, "places");
    for (int64_t i = 0; !st && i < w->n_pictures; i++)
        places[i] = (double)w->order[i];
    if (!st)
        st = aleat_page_numbers(&w->page, "g-place", places, (size_t)w->n_pictures, sizeof *places,
                                w->cap, &fits, err);
    if (!st && fits && s->shown >= 0)
        st = aleat_page_numbers(&w->page, "g-range", w->ranges, 2 * (size_t)w->n_pictures,
                                sizeof *w->ranges, w->cap, &fits, err);
    if (!st && !fits)
        st = fail_full(w, "the places of its images", err);
    aleat_free(places);
    return st;
}

/* ---- details --------------------------------------------------------------------------------- */

// The k-th map in the order in which pages want them: the shown one, its error, the others.
static int wanted_map(const aleat_source *s, int k)
{
    const int error = s->shown >= 0 ? s->maps[s->shown].error : -1;
    if (k == 0)
        return s->shown;
    if (error >= 0 && k-- == 1)
        return error;
    for (int m = 0; m < s->n_maps; m++)
        if (m != s->shown && m != error && --k == 0)
            return m;
    return -1;
}

// rows [i, i+1) of an array as a float block; the id goes to `list` if it fits.
static aleat_status put_array(writer *w, const aleat_npy_reader *array, int64_t i, float *buffer,
                              int64_t count, const char *kind, int m, json_t *list, int64_t cap,
                              bool *fits, aleat_error *err)
{
    char id[64];
    (void)snprintf(id, sizeof id, "%s-%lld-%d", kind, (long long)i, m);
    aleat_status st = aleat_npy_reader_rows(array, i, 1, ALEAT_F32, buffer, err);
    if (!st)
        st =
            aleat_page_numbers(&w->page, id, buffer, (size_t)count, sizeof *buffer, cap, fits, err);
    if (!st && *fits && json_array_append_new(list, json_integer(m)))
        st = aleat_fail_memory(err, id);
    return st;
}

// An image's maps, summed: {"place", "sums": [maps], "others": [maps], "steps": [maps], "x0"}.
static aleat_status put_sums(writer *w, int64_t i, int64_t cap, bool *fits, aleat_error *err)
{
    const aleat_source *s = &w->run;
    json_t *sums = json_array(), *others = json_array();
    json_t *entry = json_pack("{sI so so s[] sb}", "place", (json_int_t)i, "sums", sums, "others",
                              others, "steps", "x0", 0);
    aleat_status st = entry ? ALEAT_OK : aleat_fail_memory(err, "details");
    for (int k = 0; !st && *fits && k < s->n_maps; k++) {
        const int m = wanted_map(s, k);
        st = put_array(w, s->maps[m].sum, i, w->row, image_size(s), "s", m, sums, cap, fits, err);
    }
    for (int m = 0; !st && *fits && m < w->other.n_maps; m++)
        if (m == w->other.shown)
            st = put_array(w, w->other.maps[m].sum, i, w->row, image_size(s), "u", m, others, cap,
                           fits, err);
    if (!st && json_array_size(sums) > 0) {
        w->n_details++;
        w->cap -= DETAIL_JSON * (int64_t)(1 + json_array_size(sums));
        if (json_array_append(w->details, entry))
            st = aleat_fail_memory(err, "details");
    }
    json_decref(entry);
    return st;
}

// The predictions of x0 as one atlas of pictures, in the steps' order.
static aleat_status put_x0(writer *w, int64_t i, int64_t cap, bool *fits, aleat_error *err)
{
    const aleat_source *s = &w->run;
    const int64_t plane = s->height * s->width, size = image_size(s);
    const int kept = aleat_source_picture_channels(s);
    const int64_t side = (int64_t)ceil(sqrt((double)s->n_x0));
    aleat_image atlas = {0};
    char id[32];
    (void)snprintf(id, sizeof id, "x-%lld", (long long)i);
    uint8_t *picture = aleat_calloc((size_t)plane, (size_t)kept);
    aleat_status st = picture ? atlas_new(&atlas, s->n_x0, side, kept, s, err)
                              : aleat_fail_memory(err, "a picture");
    if (!st)
        st = aleat_npy_reader_rows(s->x0, i, 1, ALEAT_F32, w->steps, err);
    for (int64_t k = 0; !st && k < s->n_x0; k++) {
        for (int64_t p = 0; p < plane; p++)
            for (int c = 0; c < kept; c++)
                picture[p * kept + c] = aleat_pixel_of_float(w->steps[k * size + c * plane + p]);
        paste(&atlas, picture, k, side, s->width, s->height);
    }
    if (!st)
        st = put_atlas(w, id, &atlas, cap, fits, err);
    aleat_image_clear(&atlas);
    aleat_free(picture);
    return st;
}

// What an image of the details has of each step.
static aleat_status put_steps(writer *w, json_t *entry, int64_t cap, bool *fits, aleat_error *err)
{
    const aleat_source *s = &w->run;
    const int64_t i = json_integer_value(json_object_get(entry, "place"));
    json_t *list = json_object_get(entry, "steps");
    aleat_status st = ALEAT_OK;
    if (s->x0) {
        st = put_x0(w, i, cap, fits, err);
        if (!st && *fits)
            st = add(entry, "x0", json_true(), err);
    }
    for (int k = 0; !st && *fits && k < s->n_maps; k++) {
        const int m = wanted_map(s, k);
        if (s->maps[m].steps)
            st = put_array(w, s->maps[m].steps, i, w->steps, s->n_steps * image_size(s), "k", m,
                           list, cap, fits, err);
    }
    return st;
}

// One scale for all steps of a map, from the images whose steps are in the page.
static aleat_status put_step_scales(writer *w, aleat_error *err)
{
    const aleat_source *s = &w->run;
    const int64_t plane = s->height * s->width, size = image_size(s);
    json_t *scales = json_array();
    aleat_status st = scales ? ALEAT_OK : aleat_fail_memory(err, "scales");
    for (int m = 0; !st && m < s->n_maps; m++) {
        aleat_value_histogram_free(w->histogram);
        st = aleat_value_histogram_new(&w->histogram, err);
        for (size_t d = 0; !st && s->maps[m].steps && d < json_array_size(w->details); d++) {
            const json_t *entry = json_array_get(w->details, d);
            if (json_array_size(json_object_get(entry, "steps")) == 0)
                continue;
            const int64_t i = json_integer_value(json_object_get(entry, "place"));
            st = aleat_npy_reader_rows(s->maps[m].steps, i, 1, ALEAT_F32, w->steps, err);
            for (int64_t k = 0; !st && k < s->n_steps; k++) {
                aleat_map_over_channels(w->pixels, w->steps + k * size, s->channels, s->height,
                                        s->width);
                aleat_value_histogram_add(w->histogram, w->pixels, plane);
            }
        }
        const aleat_colour_scale scale =
            st ? (aleat_colour_scale){0, 1} : aleat_robust_scale(w->histogram);
        if (!st && json_array_append_new(scales, json_pack("[oo]", aleat_page_number(scale.low),
                                                           aleat_page_number(scale.high))))
            st = aleat_fail_memory(err, "scales");
    }
    if (!st && json_object_set(w->data, "step_scales", scales))
        st = aleat_fail_memory(err, "scales");
    json_decref(scales);
    return st;
}

static aleat_status put_details(writer *w, int64_t sums_cap, aleat_error *err)
{
    bool fits = true;
    aleat_status st = ALEAT_OK;
    if (w->run.n_steps == 0 && w->run.n_x0 == 0)
        sums_cap = w->cap;
    for (int64_t k = 0; !st && fits && w->run.n_maps && k < w->n_pictures; k++)
        st = put_sums(w, w->order[k], sums_cap < w->cap ? sums_cap : w->cap, &fits, err);
    fits = true;
    for (size_t d = 0; !st && fits && d < json_array_size(w->details); d++)
        st = put_steps(w, json_array_get(w->details, d), w->cap, &fits, err);
    return st ? st : put_step_scales(w, err);
}

/* ---- the whole ------------------------------------------------------------------------------- */

static aleat_status make_buffers(writer *w, aleat_error *err)
{
    const aleat_source *s = &w->run;
    const size_t size = (size_t)image_size(s);
    const int64_t steps = s->n_steps > s->n_x0 ? s->n_steps : s->n_x0;
    size_t all;
    if (!aleat_size_mul(size, (size_t)(steps ? steps : 1), &all))
        return aleat_fail_memory(err, "steps");
    w->order = aleat_calloc((size_t)s->n, sizeof *w->order);
    w->row = aleat_calloc(size, sizeof *w->row);
    w->steps = aleat_calloc(all, sizeof *w->steps);
    w->pixels = aleat_calloc((size_t)(s->height * s->width), sizeof *w->pixels);
    w->scratch = aleat_calloc(size, 1);
    w->ranges = aleat_calloc((size_t)s->n, 2 * sizeof *w->ranges);
    return w->order && w->row && w->steps && w->pixels && w->scratch && w->ranges
               ? ALEAT_OK
               : aleat_fail_memory(err, "a page");
}

static aleat_status choose(writer *w, aleat_error *err)
{
    const aleat_source *s = &w->run;
    const double **scores = aleat_calloc((size_t)s->n_scores, sizeof *scores);
    if (!scores)
        return aleat_fail_memory(err, "scores");
    for (int k = 0; k < s->n_scores; k++)
        scores[k] = s->scores[k].values;
    const aleat_status st =
        aleat_choose_images(w->order, scores, s->n_scores, s->n, w->options->seed, err);
    aleat_free(scores);
    return st;
}

static aleat_status put_data(writer *w, aleat_error *err)
{
    const int64_t fixed =
        (int64_t)json_dumpb(w->data, NULL, 0, JSON_COMPACT | JSON_ENSURE_ASCII) * 5 / 4 + 4096;
    w->cap = w->options->max_bytes - aleat_page_rest() - fixed;
    aleat_status st = w->cap > w->page.bytes ? ALEAT_OK : fail_full(w, "its settings", err);
    if (!st)
        st = put_table(w, err);
    const int64_t begin = w->page.bytes, room = w->cap - begin;
    if (!st)
        st = add(w->data, "atlases", w->atlases = json_array(), err);
    if (!st)
        st = add(w->data, "details", w->details = json_array(), err);
    if (!st)
        st = put_gallery(w, begin + (int64_t)(GALLERY_SHARE * (double)room), err);
    if (!st)
        st = put_details(w, begin + (int64_t)(SUMS_SHARE * (double)room), err);
    return st ? st : aleat_page_json(&w->page, "run", w->data, err);
}

static void writer_clear(writer *w)
{
    aleat_page_abandon(&w->page);
    aleat_source_clear(&w->run);
    aleat_source_clear(&w->other);
    json_decref(w->data);
    aleat_free(w->order);
    aleat_free(w->row);
    aleat_free(w->steps);
    aleat_free(w->pixels);
    aleat_free(w->scratch);
    aleat_free(w->ranges);
    aleat_value_histogram_free(w->histogram);
}

static aleat_status make_page(writer *w, const char *run, const char *path, aleat_error *err)
{
    aleat_status st = aleat_source_open(&w->run, run, err);
    if (!st && w->options->compare)
        st = aleat_source_open(&w->other, w->options->compare, err);
    if (!st && w->options->compare)
        st = check_comparable(w, err);
    if (!st)
        st = make_buffers(w, err);
    if (!st)
        st = choose(w, err);
    if (!st)
        st = begin_data(w, err);
    if (!st)
        st = aleat_page_open(&w->page, path, w->run.name, err);
    if (!st)
        st = put_data(w, err);
    return st ? st : aleat_page_commit(&w->page, err);
}

aleat_status aleat_report_write(const char *run, const char *path,
                                const aleat_report_options *options, aleat_report_result *result,
                                aleat_error *err)
{
    aleat_report_options full = options ? *options : (aleat_report_options){0};
    full.max_bytes = full.max_bytes ? full.max_bytes : DEFAULT_BYTES;
    if (full.max_bytes < LEAST_BYTES)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "a page of %lld bytes: at least %d are needed",
                          (long long)full.max_bytes, LEAST_BYTES);
    writer w = {.options = &full};
    char *inside = path ? NULL : aleat_path_join(run, "report.html");
    aleat_status st = path || inside ? make_page(&w, run, path ? path : inside, err)
                                     : aleat_fail_memory(err, run);
    if (!st && result)
        *result = (aleat_report_result){w.run.n, w.n_rows, w.n_pictures, w.n_details, w.page.bytes};
    writer_clear(&w);
    aleat_free(inside);
    return st;
}
