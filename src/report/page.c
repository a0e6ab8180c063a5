#include "report/page.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/inflate.h"

// The bundle of web/, as tools/embed-file writes it: with a final 0.
static const unsigned char shell[] = {
#include "report/page.inc"
};
#define TITLE "<!--title-->"
#define DATA  "<!--data-->"

static aleat_status put(aleat_page *page, const void *data, size_t len, aleat_error *err)
{
    const aleat_status st = aleat_atomic_write(&page->file, data, len, err);
    page->bytes += (int64_t)len;
    return st;
}

static aleat_status put_text(aleat_page *page, const char *text, aleat_error *err)
{
    return put(page, text, strlen(text), err);
}

// Text outside of <script>.
static aleat_status put_escaped(aleat_page *page, const char *text, aleat_error *err)
{
    static const struct {
        char c;
        const char *entity;
    } entities[] = {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}};
    aleat_status st = ALEAT_OK;
    for (; !st && *text; text++) {
        const char *entity = NULL;
        for (size_t i = 0; i < sizeof entities / sizeof *entities; i++)
            if (entities[i].c == *text)
                entity = entities[i].entity;
        st = entity ? put_text(page, entity, err) : put(page, text, 1, err);
    }
    return st;
}

static const char *marker(const char *text)
{
    const char *at = strstr((const char *)shell, text);
    assert(at); // tools/bundle-web checks that both are there
    return at;
}

aleat_status aleat_page_open(aleat_page *page, const char *path, const char *title,
                             aleat_error *err)
{
    const char *begin = (const char *)shell, *name = marker(TITLE), *data = marker(DATA);
    *page = (aleat_page){0};
    aleat_status st = aleat_atomic_open(&page->file, path, err);
    if (!st)
        st = put(page, begin, (size_t)(name - begin), err);
    if (!st)
        st = put_escaped(page, title, err);
    name += strlen(TITLE);
    if (!st)
        st = put(page, name, (size_t)(data - name), err);
    return st;
}

int64_t aleat_page_rest(void)
{
    return (int64_t)strlen(marker(DATA) + strlen(DATA));
}

aleat_status aleat_page_commit(aleat_page *page, aleat_error *err)
{
    const aleat_status st = put_text(page, marker(DATA) + strlen(DATA), err);
    return st ? st : aleat_atomic_commit(&page->file, err);
}

void aleat_page_abandon(aleat_page *page)
{
    aleat_atomic_abandon(&page->file);
}

/* ---- blocks ---------------------------------------------------------------------------------- */

static void encode_base64(char *dst, const unsigned char *src, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        const size_t have = len - i < 3 ? len - i : 3;
        const uint32_t word = (uint32_t)src[i] << 16 | (have > 1 ? (uint32_t)src[i + 1] << 8 : 0) |
                              (have > 2 ? src[i + 2] : 0);
        *dst++ = digits[word >> 18];
        *dst++ = digits[word >> 12 & 63];
        *dst++ = have > 1 ? digits[word >> 6 & 63] : '=';
        *dst++ = have > 2 ? digits[word & 63] : '=';
    }
}

static aleat_status put_element(aleat_page *page, const char *type, const char *id,
                                const char *content, size_t len, aleat_error *err)
{
    char *tag = aleat_asprintf("<script type=\"%s\" id=\"%s\">", type, id);
    aleat_status st = tag ? put_text(page, tag, err) : aleat_fail_memory(err, id);
    if (!st)
        st = put(page, content, len, err);
    if (!st)
        st = put_text(page, "</script>\n", err);
    aleat_free(tag);
    return st;
}

aleat_status aleat_page_block(aleat_page *page, const char *id, const void *data, size_t len,
                              int64_t cap, bool *fits, aleat_error *err)
{
    const size_t coded = (len + 2) / 3 * 4, element = 80 + strlen(id);
    *fits = page->bytes + (int64_t)(coded + element) <= cap;
    if (!*fits)
        return ALEAT_OK;
    char *text = aleat_alloc(coded);
    if (!text)
        return aleat_fail_memory(err, id);
    encode_base64(text, data, len);
    const aleat_status st = put_element(page, "application/octet-stream", id, text, coded, err);
    aleat_free(text);
    return st;
}

// dst[b, i] = byte b of number i.
static void split_bytes(unsigned char *dst, const unsigned char *src, size_t count, size_t size)
{
    for (size_t b = 0; b < size; b++)
        for (size_t i = 0; i < count; i++)
            dst[b * count + i] = src[i * size + b];
}

aleat_status aleat_page_numbers(aleat_page *page, const char *id, const void *data, size_t count,
                                size_t size, int64_t cap, bool *fits, aleat_error *err)
{
    *fits = false;
    size_t len;
    z_stream z = {.zalloc = aleat_zlib_alloc, .zfree = aleat_zlib_free};
    unsigned char *split = NULL, *packed = NULL;
    aleat_status st = ALEAT_ERR_MEMORY;
    if (!aleat_size_mul(count, size, &len) || len > UINT32_MAX || deflateInit(&z, 6) != Z_OK) {
        st = aleat_fail_memory(err, id);
        goto done;
    }
    const size_t bound = deflateBound(&z, len);
    split = aleat_alloc(len);
    packed = aleat_alloc(bound);
    if (!split || !packed) {
        st = aleat_fail_memory(err, id);
        goto done;
    }
    split_bytes(split, data, count, size);
    z.next_in = split;
    z.avail_in = (uInt)len;
    z.next_out = packed;
    z.avail_out = (uInt)bound;
    (void)deflate(&z, Z_FINISH); // the bound leaves it no way to fail
    st = aleat_page_block(page, id, packed, z.total_out, cap, fits, err);
done:
    (void)deflateEnd(&z);
    aleat_free(split);
    aleat_free(packed);
    return st;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

aleat_status aleat_page_json(aleat_page *page, const char *id, const json_t *value,
                             aleat_error *err)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(17));
    aleat_status st = text ? ALEAT_OK : aleat_fail_memory(err, id);
    char *tag = aleat_asprintf("<script type=\"application/json\" id=\"%s\">", id);
    if (!st)
        st = tag ? put_text(page, tag, err) : aleat_fail_memory(err, id);
    // In JSON '<' stands in strings only, where it may be written by its number: so neither
    // "</script" nor "<!--" comes up.
    for (const char *at = text, *next; !st && *at; at = next) {
        next = at + strcspn(at, "<");
        st = put(page, at, (size_t)(next - at), err);
        if (!st && *next == '<') {
            st = put_text(page, "\\u003c", err);
            next++;
        }
    }
    if (!st)
        st = put_text(page, "</script>\n", err);
    aleat_free(tag);
    free(text);
    return st;
}

json_t *aleat_page_string(const char *text)
{
    json_t *value = json_string(text);
    if (value)
        return value;
    char *ascii = aleat_strdup(text);
    for (char *at = ascii; at && *at; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    value = ascii ? json_string(ascii) : NULL;
    aleat_free(ascii);
    return value;
}

json_t *aleat_page_number(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}
