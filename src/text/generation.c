#include "text/generation.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <jansson.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/png_image.h"
#include "text/buffer.h"

void aleat_generation_clear(aleat_generation *g)
{
    if (!g)
        return;
    aleat_free(g->prompt);
    aleat_free(g->negative);
    for (int i = 0; i < g->n_fields; i++) {
        aleat_free(g->fields[i].key);
        aleat_free(g->fields[i].value);
    }
    aleat_free(g->fields);
    memset(g, 0, sizeof *g);
}

const char *aleat_generation_get(const aleat_generation *g, const char *key)
{
    for (int i = 0; i < g->n_fields; i++)
        if (!strcmp(g->fields[i].key, key))
            return g->fields[i].value;
    return NULL;
}

static char *copy_of(const char *text, size_t len)
{
    char *copy = aleat_alloc(len + 1);
    if (copy) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

/** Appends a field; takes over both, also when it fails. */
static aleat_status add_owned(aleat_generation *g, char *key, char *value, aleat_error *err)
{
    enum { MOST = 1000 };
    const size_t size = (size_t)g->n_fields * sizeof *g->fields;
    aleat_generation_field *grown = NULL;
    if (key && value && g->n_fields < MOST)
        grown = aleat_realloc(g->fields, size, size + sizeof *grown);
    if (!grown) {
        aleat_free(key);
        aleat_free(value);
        return g->n_fields == MOST
                   ? aleat_fail(err, ALEAT_ERR_FORMAT, "more than %d settings", MOST)
                   : aleat_fail_memory(err, "the settings of an image");
    }
    g->fields = grown;
    g->fields[g->n_fields++] = (aleat_generation_field){key, value};
    return ALEAT_OK;
}

aleat_status aleat_generation_add(aleat_generation *g, const char *key, const char *value,
                                  aleat_error *err)
{
    return add_owned(g, aleat_strdup(key), aleat_strdup(value), err);
}

/* ---- A1111's form ---------------------------------------------------------------------------- */

/** A piece of a text. */
typedef struct span {
    const char *at;
    size_t len;
} span;

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static span trimmed(span s)
{
    for (; s.len && is_space(s.at[0]); s.at++)
        s.len--;
    while (s.len && is_space(s.at[s.len - 1]))
        s.len--;
    return s;
}

/** The text of a JSON string, or the piece as it is if it is none. */
static char *unquoted(span value)
{
    if (value.len >= 2 && value.at[0] == '"' && value.at[value.len - 1] == '"') {
        json_t *json = json_loadb(value.at, value.len, JSON_DECODE_ANY, NULL);
        const bool string = json_is_string(json);
        char *text = string ? aleat_strdup(json_string_value(json)) : NULL;
        json_decref(json);
        if (string)
            return text;
    }
    return copy_of(value.at, value.len);
}

/** Calls `each` for every "Key: value" of a line; returns how many there are, -1 without memory. */
static int for_pairs(span line, aleat_status (*each)(void *ctx, span key, span value), void *ctx)
{
    static const char pattern[] =
        "\\s*(\\w[\\w \\-/]+):\\s*(\"(?:\\\\.|[^\\\\\"])+\"|[^,]*)(?:,|$)";
    int code, count = 0, found = 0;
    PCRE2_SIZE error_at;
    pcre2_code *pair = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                     PCRE2_UTF | PCRE2_UCP, &code, &error_at, NULL);
    pcre2_match_data *match = pair ? pcre2_match_data_create(3, NULL) : NULL;
    if (!match)
        count = -1;
    for (size_t at = 0; match && at < line.len && count >= 0;) {
        found = pcre2_match(pair, (PCRE2_SPTR)line.at, line.len, at, 0, match, NULL);
        if (found < 0) // no more, or not UTF-8
            break;
        const PCRE2_SIZE *o = pcre2_get_ovector_pointer(match);
        count++;
        if (each &&
            each(ctx, (span){line.at + o[2], o[3] - o[2]}, (span){line.at + o[4], o[5] - o[4]}))
            count = -1;
        at = o[1];
    }
    pcre2_match_data_free(match);
    pcre2_code_free(pair);
    return count;
}

/** Where pairs go, and why one did not. */
typedef struct pair_sink {
    aleat_generation *to;
    aleat_error *err;
    aleat_status st;
} pair_sink;

static aleat_status add_pair(void *ctx, span key, span value)
{
    pair_sink *sink = ctx;
    sink->st = add_owned(sink->to, copy_of(key.at, key.len), unquoted(value), sink->err);
    return sink->st;
}

/** The last line of a text, which becomes shorter by it. */
static span take_last_line(span *text)
{
    size_t begin = text->len;
    while (begin && text->at[begin - 1] != '\n')
        begin--;
    const span line = {text->at + begin, text->len - begin};
    text->len = begin ? begin - 1 : 0;
    return line;
}

/** stable-diffusion.cpp's newer files end in ", SDCPP: {json}", which says it all again. */
static span without_json_tail(span line)
{
    static const char mark[] = ", SDCPP: {";
    const char *tail = memmem(line.at, line.len, mark, sizeof mark - 1);
    if (tail)
        line.len = (size_t)(tail - line.at);
    return line;
}

/** Lines before "Negative prompt:" are the prompt, the rest is the negative one. */
static void split_prompts(span text, aleat_buffer *prompt, aleat_buffer *negative)
{
    static const char mark[] = "Negative prompt:";
    const size_t mark_len = sizeof mark - 1;
    aleat_buffer *to = prompt;
    while (text.len) {
        const char *end = memchr(text.at, '\n', text.len);
        const size_t len = end ? (size_t)(end - text.at) : text.len;
        span line = trimmed((span){text.at, len});
        if (line.len >= mark_len && !memcmp(line.at, mark, mark_len)) {
            to = negative;
            line = trimmed((span){line.at + mark_len, line.len - mark_len});
        }
        if (to->len)
            aleat_buffer_add(to, "\n", 1);
        aleat_buffer_add(to, line.at, line.len);
        text.at += len + (end != NULL);
        text.len -= len + (end != NULL);
    }
}

aleat_status aleat_generation_parse(aleat_generation *out, const char *parameters, aleat_error *err)
{
    enum { LEAST_PAIRS = 3 };
    memset(out, 0, sizeof *out);
    span text = trimmed((span){parameters, strlen(parameters)}), whole = text;
    const span line = without_json_tail(take_last_line(&text));
    aleat_buffer prompt = {0}, negative = {0};
    pair_sink sink = {.to = out, .err = err};
    int pairs = for_pairs(line, NULL, NULL);
    if (pairs >= LEAST_PAIRS)
        pairs = for_pairs(line, add_pair, &sink);
    else
        text = whole;
    split_prompts(text, &prompt, &negative);
    out->prompt = aleat_buffer_take(&prompt);
    out->negative = aleat_buffer_take(&negative);
    const char *version = aleat_generation_get(out, "Version");
    out->source = version && !strncmp(version, "stable-diffusion.cpp", 20) ? "sdcpp" : "a1111";
    if (pairs >= 0 && out->prompt && out->negative)
        return ALEAT_OK;
    aleat_generation_clear(out);
    return sink.st ? sink.st : aleat_fail_memory(err, "the settings of an image");
}

/** A value as A1111 quotes it. */
static void put_value(aleat_buffer *out, const char *value)
{
    if (!strpbrk(value, ",:\n") && value[0] != '"') {
        aleat_buffer_add(out, value, strlen(value));
        return;
    }
    json_t *text = json_string(value);
    char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    out->failed = out->failed || !quoted;
    if (quoted)
        aleat_buffer_add(out, quoted, strlen(quoted));
    free(quoted);
    json_decref(text);
}

static void put_text(aleat_buffer *out, const char *text)
{
    aleat_buffer_add(out, text, strlen(text));
}

char *aleat_generation_write(const aleat_generation *g)
{
    aleat_buffer out = {0};
    put_text(&out, g->prompt ? g->prompt : "");
    if (g->negative && *g->negative) {
        put_text(&out, "\nNegative prompt: ");
        put_text(&out, g->negative);
    }
    for (int i = 0; i < g->n_fields; i++) {
        put_text(&out, i ? ", " : "\n");
        put_text(&out, g->fields[i].key);
        put_text(&out, ": ");
        put_value(&out, g->fields[i].value);
    }
    return aleat_buffer_take(&out);
}

/* ---- ComfyUI's graph ------------------------------------------------------------------------- */

/**
 * Python's JSON as jansson takes it: NaN and Infinity become null, and whole numbers that do not
 * fit into 63 bits (seeds are 64-bit) become strings.
 */
static void plain_json(aleat_buffer *out, const char *text)
{
    enum { LONGEST = 18 }; // digits that always fit
    bool inside = false;
    for (const char *c = text; *c;) {
        const size_t digits = inside ? 0 : strspn(c, "0123456789");
        const char *after = c + digits;
        const bool number_goes_on = c > text && strchr("0123456789.eE+-", c[-1]);
        if (digits > LONGEST && !number_goes_on && !strchr(".eE", *after ? *after : ' ')) {
            aleat_buffer_add(out, "\"", 1);
            aleat_buffer_add(out, c, digits);
            aleat_buffer_add(out, "\"", 1);
            c = after;
        } else if (digits) {
            aleat_buffer_add(out, c, digits);
            c = after;
        } else if (!inside && (!strncmp(c, "NaN", 3) || !strncmp(c, "Infinity", 8))) {
            out->len -= out->len && out->data[out->len - 1] == '-';
            aleat_buffer_add(out, "null", 4);
            c += *c == 'N' ? 3 : 8;
        } else {
            const size_t n = inside && *c == '\\' && c[1] ? 2 : 1;
            inside = *c == '"' ? !inside : inside;
            aleat_buffer_add(out, c, n);
            c += n;
        }
    }
}

/** The node that an input leads to ([id, output]); NULL if it is a value. */
static const json_t *linked(const json_t *graph, const json_t *node, const char *input)
{
    const json_t *link = json_object_get(json_object_get(node, "inputs"), input);
    const char *id = json_is_array(link) ? json_string_value(json_array_get(link, 0)) : NULL;
    return id ? json_object_get(graph, id) : NULL;
}

/** Follows inputs of one name from node to node until one has `wanted` as a value. */
static const json_t *find_up(const json_t *graph, const json_t *node, const char *input,
                             const char *wanted)
{
    enum { LONGEST_PATH = 100 }; // graphs of hostile files may turn in circles
    for (int i = 0; node && i < LONGEST_PATH; i++) {
        const json_t *value = json_object_get(json_object_get(node, "inputs"), wanted);
        if (value && !json_is_array(value))
            return value;
        const json_t *next = linked(graph, node, json_is_array(value) ? wanted : input);
        node = next;
    }
    return NULL;
}

/** A value as text, in new memory; NULL if there is none (or no memory). */
static char *value_text(const json_t *value)
{
    if (json_is_string(value))
        return aleat_strdup(json_string_value(value));
    char *text = value ? json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(15)) : NULL;
    char *copy = text ? aleat_strdup(text) : NULL;
    free(text);
    return copy;
}

static const json_t *find_sampler(const json_t *graph)
{
    const char *id;
    json_t *node;
    json_object_foreach((json_t *)(uintptr_t)graph, id, node)
    {
        const char *type = json_string_value(json_object_get(node, "class_type"));
        if (type && !strncmp(type, "KSampler", 8) && linked(graph, node, "positive"))
            return node;
    }
    return NULL;
}

static aleat_status add_value(aleat_generation *out, const char *key, const json_t *value,
                              aleat_error *err)
{
    if (!value || json_is_null(value))
        return ALEAT_OK;
    return add_owned(out, aleat_strdup(key), value_text(value), err);
}

static aleat_status read_sampler(aleat_generation *out, const json_t *graph, const json_t *sampler,
                                 aleat_error *err)
{
    static const char *const settings[] = {"seed",         "noise_seed", "steps",  "cfg",
                                           "sampler_name", "scheduler",  "denoise"};
    const json_t *positive =
        find_up(graph, linked(graph, sampler, "positive"), "conditioning", "text");
    const json_t *negative =
        find_up(graph, linked(graph, sampler, "negative"), "conditioning", "text");
    out->prompt = value_text(positive);
    out->negative = value_text(negative);
    aleat_status st = (positive && !out->prompt) || (negative && !out->negative)
                          ? aleat_fail_memory(err, "the prompts of an image")
                          : ALEAT_OK;
    for (size_t i = 0; i < sizeof settings / sizeof *settings && !st; i++) {
        const json_t *value = json_object_get(json_object_get(sampler, "inputs"), settings[i]);
        if (json_is_array(value)) // comes from a node of its own
            value = find_up(graph, linked(graph, sampler, settings[i]), "value", "value");
        st = add_value(out, settings[i], value, err);
    }
    if (!st)
        st = add_value(out, "ckpt_name", find_up(graph, sampler, "model", "ckpt_name"), err);
    const json_t *latent = linked(graph, sampler, "latent_image");
    if (!st)
        st = add_value(out, "width", find_up(graph, latent, "samples", "width"), err);
    return st ? st : add_value(out, "height", find_up(graph, latent, "samples", "height"), err);
}

aleat_status aleat_generation_parse_comfyui(aleat_generation *out, const char *prompt,
                                            aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_buffer text = {0};
    json_error_t where;
    plain_json(&text, prompt);
    if (text.failed) {
        aleat_buffer_clear(&text);
        return aleat_fail_memory(err, "the settings of an image");
    }
    json_t *graph = json_loadb(text.data ? text.data : "", text.len, 0, &where);
    aleat_buffer_clear(&text);
    const json_t *sampler = find_sampler(graph);
    aleat_status st = ALEAT_OK;
    if (!graph)
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "the graph of an image: %s", where.text);
    else if (!sampler)
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "the graph of an image has no sampler");
    else
        st = read_sampler(out, graph, sampler, err);
    json_decref(graph);
    if (st)
        aleat_generation_clear(out);
    else
        out->source = "comfyui";
    return st;
}

aleat_status aleat_generation_read(aleat_generation *out, const char *png_path, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    char *text;
    aleat_status st = aleat_png_read_text(&text, png_path, "parameters", err);
    if (st)
        return st;
    if (text) {
        st = aleat_generation_parse(out, text, err);
    } else {
        st = aleat_png_read_text(&text, png_path, "prompt", err);
        if (!st && text)
            st = aleat_generation_parse_comfyui(out, text, err);
    }
    aleat_free(text);
    if (st && st != ALEAT_ERR_IO)
        aleat_error_in(err, "%s", png_path);
    return st;
}
