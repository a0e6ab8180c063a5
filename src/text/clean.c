#include "text/clean.h"

#include <string.h>
#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/ustring.h>

#include "base/alloc.h"
#include "base/error.h"

/** UTF-16, as ICU takes it; out of memory is sticky. */
typedef struct wide {
    UChar *at;
    int32_t len, cap;
    bool failed;
} wide;

static void wide_clear(wide *w)
{
    aleat_free(w->at);
    memset(w, 0, sizeof *w);
}

static bool wide_reserve(wide *w, int32_t cap)
{
    if (cap > w->cap && !w->failed) {
        UChar *grown = aleat_realloc(w->at, (size_t)w->cap * sizeof *grown,
                                     ((size_t)cap + (size_t)cap / 2) * sizeof *grown);
        w->failed = !grown;
        if (grown) {
            w->at = grown;
            w->cap = cap + cap / 2;
        }
    }
    return !w->failed;
}

static void put(wide *w, UChar32 code)
{
    if (!wide_reserve(w, w->len + 2))
        return;
    UBool error = 0;
    U16_APPEND(w->at, w->len, w->cap, code, error);
    (void)error; // there is room, and every code comes from well-formed text or from our tables
}

/** Sizes of ICU's calls: they fill dst if it is large enough, else say how large it must be. */
typedef int32_t transform(UChar *dst, int32_t cap, const UChar *src, int32_t len, UErrorCode *code);

static int32_t lower(UChar *dst, int32_t cap, const UChar *src, int32_t len, UErrorCode *code)
{
    return u_strToLower(dst, cap, src, len, "", code);
}

static int32_t compose(UChar *dst, int32_t cap, const UChar *src, int32_t len, UErrorCode *code)
{
    const UNormalizer2 *nfc = unorm2_getNFCInstance(code);
    return unorm2_normalize(nfc, src, len, dst, cap, code);
}

/** dst = f(src). */
static void apply(wide *dst, const wide *src, transform *f)
{
    dst->failed = dst->failed || src->failed;
    dst->len = 0;
    if (src->len == 0 || !wide_reserve(dst, src->len + 16))
        return; // ICU refuses a text without memory, which an empty one may be
    for (int attempt = 0; attempt < 2; attempt++) {
        UErrorCode code = U_ZERO_ERROR;
        dst->len = f(dst->at, dst->cap, src->at, src->len, &code);
        if (code == U_BUFFER_OVERFLOW_ERROR) {
            if (!wide_reserve(dst, dst->len + 1))
                return;
            continue;
        }
        dst->failed = U_FAILURE(code); // what remains is want of memory
        return;
    }
}

/* ---- characters ------------------------------------------------------------------------------ */

/** Windows-1252 where it differs from Latin-1; its five holes stay what they are. */
static UChar32 windows_1252(UChar32 c)
{
    static const uint16_t table[32] = {
        0x20ac, 0x0081, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
        0x2039, 0x0152, 0x008d, 0x017d, 0x008f, 0x0090, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
        0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x009d, 0x017e, 0x0178,
    };
    return c >= 0x80 && c < 0xa0 ? table[c - 0x80] : c;
}

typedef struct ligature {
    uint16_t code;
    uint16_t parts[3];
} ligature;

static const ligature ligatures[] = {
    {0x0132, {'I', 'J'}},      {0x0133, {'i', 'j'}},      {0x0149, {0x02bc, 'n'}},
    {0x01c4, {'D', 0x017d}},   {0x01c5, {'D', 0x017e}},   {0x01c6, {'d', 0x017e}},
    {0x01c7, {'L', 'J'}},      {0x01c8, {'L', 'j'}},      {0x01c9, {'l', 'j'}},
    {0x01ca, {'N', 'J'}},      {0x01cb, {'N', 'j'}},      {0x01cc, {'n', 'j'}},
    {0x01f1, {'D', 'Z'}},      {0x01f2, {'D', 'z'}},      {0x01f3, {'d', 'z'}},
    {0xfb00, {'f', 'f'}},      {0xfb01, {'f', 'i'}},      {0xfb02, {'f', 'l'}},
    {0xfb03, {'f', 'f', 'i'}}, {0xfb04, {'f', 'f', 'l'}}, {0xfb05, {0x017f, 't'}},
    {0xfb06, {'s', 't'}},
};

static const ligature *ligature_of(UChar32 c)
{
    for (size_t i = 0; i < sizeof ligatures / sizeof *ligatures; i++)
        if (ligatures[i].code == c)
            return &ligatures[i];
    return NULL;
}

/** Straight quotes and plain line feeds. */
static UChar32 plain(UChar32 c)
{
    if (c >= 0x201c && c <= 0x201f)
        return '"';
    if (c == 0x02bc || (c >= 0x2018 && c <= 0x201b))
        return '\'';
    return c == 0x2028 || c == 0x2029 ? '\n' : c;
}

/** A full or half width form as it is normally written: its NFKC. */
static void put_width(wide *out, UChar32 c)
{
    UErrorCode code = U_ZERO_ERROR;
    UChar from[2] = {(UChar)c, 0}, to[8];
    const UNormalizer2 *nfkc = unorm2_getNFKCInstance(&code);
    const int32_t n = unorm2_normalize(nfkc, from, 1, to, 8, &code);
    out->failed = out->failed || U_FAILURE(code);
    for (int32_t i = 0; i < n && !out->failed; i++)
        put(out, plain(to[i]));
}

static void put_fixed(wide *out, UChar32 c)
{
    c = windows_1252(c);
    const ligature *parts = ligature_of(c);
    if (parts)
        for (int i = 0; i < 3 && parts->parts[i]; i++)
            put(out, plain(parts->parts[i]));
    else if (c >= 0xff01 && c < 0xfff0)
        put_width(out, c);
    else
        put(out, c == 0x3000 ? ' ' : plain(c));
}

static void fix_characters(wide *out, const wide *in)
{
    for (int32_t i = 0; i < in->len && !out->failed;) {
        UChar32 c;
        U16_NEXT(in->at, i, in->len, c);
        if (c == '\r') {
            i += i < in->len && in->at[i] == '\n';
            c = '\n';
        }
        put_fixed(out, c);
    }
}

static bool is_unwanted_control(UChar32 c)
{
    return c < 0x09 || c == 0x0b || (c >= 0x0e && c < 0x20) || c == 0x7f ||
           (c >= 0x206a && c < 0x2070) || c == 0xfeff || (c >= 0xfff9 && c < 0xfffd);
}

/** The end of a terminal's escape sequence "ESC [ digits and semicolons letter" at `from`, or
 * `from`. */
static int32_t escape_end(const wide *in, int32_t from)
{
    int32_t i = from;
    UChar32 c = 0;
    if (in->len - i < 3 || in->at[i] != 0x1b || in->at[i + 1] != '[')
        return from;
    for (i += 2; i < in->len;) {
        U16_NEXT(in->at, i, in->len, c);
        if (c != ';' && !u_isdigit(c))
            break;
    }
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ? i : from;
}

static void drop_controls(wide *out, const wide *in)
{
    for (int32_t i = 0; i < in->len && !out->failed;) {
        const int32_t end = escape_end(in, i);
        UChar32 c;
        if (end > i) {
            i = end;
            continue;
        }
        U16_NEXT(in->at, i, in->len, c);
        if (!is_unwanted_control(c))
            put(out, c);
    }
}

/* ---- character references -------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint16_t code;
} references[] = {
    {"amp", '&'},       {"AMP", '&'},      {"lt", '<'},       {"LT", '<'},       {"gt", '>'},
    {"GT", '>'},        {"quot", '"'},     {"QUOT", '"'},     {"apos", '\''},    {"nbsp", 0xa0},
    {"hellip", 0x2026}, {"ndash", 0x2013}, {"mdash", 0x2014}, {"lsquo", 0x2018}, {"rsquo", 0x2019},
    {"ldquo", 0x201c},  {"rdquo", 0x201d}, {"copy", 0xa9},    {"reg", 0xae},     {"trade", 0x2122},
    {"deg", 0xb0},      {"times", 0xd7},   {"middot", 0xb7},  {"bull", 0x2022},  {"laquo", 0xab},
    {"raquo", 0xbb},    {"frac12", 0xbd},  {"sup2", 0xb2},    {"sup3", 0xb3},    {"euro", 0x20ac},
};

/** "#233" or "#xe9" as browsers read it; -1 if it is no number. 0x110000: it stands for nothing. */
static UChar32 numeric_reference(const char *name)
{
    const bool hex = name[1] == 'x' || name[1] == 'X';
    const char *digit = name + 1 + hex;
    UChar32 code = 0;
    if (!*digit)
        return -1;
    for (; *digit; digit++) {
        const int value = u_digit((unsigned char)*digit, hex ? 16 : 10);
        if (value < 0)
            return -1;
        code = code > 0x110000 ? code : code * (hex ? 16 : 10) + value;
    }
    if (code == 0 || code > 0x10ffff || U_IS_SURROGATE(code))
        return 0xfffd;
    code = windows_1252(code);
    const bool nothing = code < 0x09 || code == 0x0b || (code >= 0x0e && code < 0x20) ||
                         code == 0x7f || U_IS_UNICODE_NONCHAR(code);
    return nothing ? 0x110000 : code;
}

static UChar32 reference_of(const char *name)
{
    if (name[0] == '#')
        return numeric_reference(name);
    for (size_t i = 0; i < sizeof references / sizeof *references; i++)
        if (!strcmp(references[i].name, name))
            return references[i].code;
    return -1;
}

static bool is_alphanumeric(UChar c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static void unescape(wide *out, const wide *in)
{
    enum { LONGEST = 24 };
    for (int32_t i = 0; i < in->len && !out->failed;) {
        char name[LONGEST + 2];
        int32_t end = i + 1, n = 0;
        UChar32 c = -1;
        if (in->at[i] == '&') {
            if (end < in->len && in->at[end] == '#')
                name[n++] = (char)in->at[end++];
            while (end < in->len && n <= LONGEST && is_alphanumeric(in->at[end]))
                name[n++] = (char)in->at[end++];
            name[n] = '\0';
            if (end < in->len && in->at[end] == ';')
                c = reference_of(name);
        }
        if (c < 0) {
            U16_NEXT(in->at, i, in->len, c);
            put(out, c);
        } else {
            i = end + 1;
            if (c < 0x110000)
                put(out, c);
        }
    }
}

/* ---- a line, a text -------------------------------------------------------------------------- */

static bool same(const wide *a, const wide *b)
{
    return a->len == b->len && (!a->len || !memcmp(a->at, b->at, (size_t)a->len * sizeof *a->at));
}

/** ftfy's fixes until they change nothing more. Each round shortens the text or brings it closer
 * to its normal form, so the bound is only there to be one. */
static void fix_line(wide *line, bool references_too)
{
    enum { MOST_ROUNDS = 64 };
    wide next = {0}, scratch = {0};
    for (int round = 0; round < MOST_ROUNDS && !line->failed; round++) {
        next.len = scratch.len = 0;
        if (references_too)
            unescape(&scratch, line);
        fix_characters(&next, references_too ? &scratch : line);
        scratch.len = 0;
        drop_controls(&scratch, &next);
        apply(&next, &scratch, compose);
        line->failed = next.failed || scratch.failed;
        const bool done = same(line, &next);
        const wide old = *line;
        *line = next;
        next = old;
        next.failed = false;
        if (done)
            break;
    }
    wide_clear(&next);
    wide_clear(&scratch);
}

/** ftfy.fix_text(): line by line; from the first line with a '<' on the text is taken for HTML
 * source, where references stay as they are. */
static void fix_text(wide *out, const wide *in)
{
    bool references_too = true;
    wide line = {0};
    for (int32_t i = 0; i < in->len && !out->failed;) {
        line.len = 0;
        do {
            references_too = references_too && in->at[i] != '<';
            put(&line, in->at[i]); // halves of a pair are put together again
        } while (in->at[i++] != '\n' && i < in->len);
        fix_line(&line, references_too);
        out->failed = out->failed || line.failed;
        for (int32_t j = 0; j < line.len && !out->failed; j++)
            put(out, line.at[j]);
    }
    wide_clear(&line);
}

/** Runs of white space become one space; none at the ends. */
static void collapse(wide *out, const wide *in)
{
    bool pending = false;
    for (int32_t i = 0; i < in->len && !out->failed; i++) {
        if (u_isUWhiteSpace(in->at[i])) { // all of Unicode's are single units
            pending = out->len > 0;
            continue;
        }
        if (pending)
            put(out, ' ');
        pending = false;
        put(out, in->at[i]);
    }
}

static void from_utf8(wide *out, const char *text, size_t len)
{
    int32_t n = 0;
    UErrorCode code = U_ZERO_ERROR;
    if (!wide_reserve(out, (int32_t)len + 1)) // a unit needs at least a byte
        return;
    u_strFromUTF8(out->at, out->cap, &n, text, (int32_t)len, &code);
    out->failed = U_FAILURE(code);
    out->len = n;
}

static void to_utf8(aleat_buffer *out, const wide *in)
{
    for (int32_t i = 0; i < in->len;) {
        UChar32 c;
        U16_NEXT(in->at, i, in->len, c);
        aleat_buffer_add_code(out, (uint32_t)c);
    }
}

aleat_status aleat_clip_clean(aleat_buffer *out, const char *text, size_t len, aleat_error *err)
{
    if (len > ALEAT_TEXT_LIMIT)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "the text has %zu bytes, at most %d are read",
                          len, ALEAT_TEXT_LIMIT);
    wide read = {0}, fixed = {0}, words = {0}, result = {0};
    from_utf8(&read, text, len);
    fix_text(&fixed, &read);
    collapse(&words, &fixed);
    apply(&result, &words, lower);
    const bool failed = read.failed || fixed.failed || words.failed || result.failed || out->failed;
    if (!failed)
        to_utf8(out, &result);
    wide_clear(&read);
    wide_clear(&fixed);
    wide_clear(&words);
    wide_clear(&result);
    return failed || out->failed ? aleat_fail_memory(err, "a prompt") : ALEAT_OK;
}
