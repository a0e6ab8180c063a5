#include "io/png_image.h"

#include <png.h>
#include <setjmp.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/inflate.h"

enum { MAX_SIDE = 1 << 20, MAX_TEXT = 64 << 20, MAX_CHUNKS = 1000 };

// libpng leaves by longjmp; everything that must survive the jump is in here, behind a pointer.
typedef struct session {
    png_structp png;
    png_infop info;
    bool reads;
    const unsigned char *data; // read: input; write: unused
    size_t left;
    aleat_atomic_file file;
    bool in_memory; // write: into `made` instead of the file
    unsigned char *made;
    size_t made_len, made_size;
    uint8_t *pixels;
    png_bytep *rows;
    char *latin1;   // a text on its way into libpng
    bool no_memory; // an allocation has failed; libpng's texts do not always say so
    aleat_status st;
    aleat_error *err;
} session;

static void on_error(png_structp png, png_const_charp text)
{
    session *s = png_get_error_ptr(png);
    if (!s->st && s->no_memory)
        s->st = aleat_fail_memory(s->err, "PNG");
    else if (!s->st)
        s->st = aleat_fail(s->err, ALEAT_ERR_FORMAT, "PNG: %s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png; // oddities that do not harm the pixels
    (void)text;
}

static png_voidp on_alloc(png_structp png, png_alloc_size_t size)
{
    session *s = png_get_mem_ptr(png);
    void *block = aleat_alloc(size);
    s->no_memory = s->no_memory || !block;
    return block;
}

// For allocations of our own between libpng's calls.
static void leave_without_memory(session *s)
{
    s->no_memory = true;
    png_error(s->png, "out of memory");
}

static void on_free(png_structp png, png_voidp block)
{
    (void)png;
    aleat_free(block);
}

static void on_read(png_structp png, png_bytep dst, size_t len)
{
    session *s = png_get_io_ptr(png);
    if (len > s->left)
        png_error(png, "the file ends early");
    memcpy(dst, s->data, len);
    s->data += len;
    s->left -= len;
}

static void append(session *s, const void *src, size_t len)
{
    size_t need, size;
    if (!aleat_size_add(s->made_len, len, &need) || !aleat_size_mul(need, 2, &size))
        leave_without_memory(s);
    if (need > s->made_size) {
        unsigned char *more = aleat_realloc(s->made, s->made_size, size);
        if (!more)
            leave_without_memory(s);
        s->made = more;
        s->made_size = size;
    }
    memcpy(s->made + s->made_len, src, len);
    s->made_len = need;
}

static void on_write(png_structp png, png_bytep src, size_t len)
{
    session *s = png_get_io_ptr(png);
    if (s->in_memory) {
        append(s, src, len);
        return;
    }
    s->st = aleat_atomic_write(&s->file, src, len, s->err);
    if (s->st)
        png_longjmp(png, 1);
}

static void on_flush(png_structp png)
{
    (void)png; // aleat_atomic_commit() does
}

static aleat_status begin(session *s)
{
    s->png = s->reads ? png_create_read_struct_2(PNG_LIBPNG_VER_STRING, s, on_error, on_warning, s,
                                                 on_alloc, on_free)
                      : png_create_write_struct_2(PNG_LIBPNG_VER_STRING, s, on_error, on_warning, s,
                                                  on_alloc, on_free);
    s->info = s->png ? png_create_info_struct(s->png) : NULL;
    if (!s->info)
        return s->st = aleat_fail_memory(s->err, "PNG");
    if (s->reads) {
        png_set_read_fn(s->png, s, on_read);
        png_set_user_limits(s->png, MAX_SIDE, MAX_SIDE);
        png_set_chunk_cache_max(s->png, MAX_CHUNKS);
        png_set_chunk_malloc_max(s->png, MAX_TEXT);
    } else {
        png_set_write_fn(s->png, s, on_write, on_flush);
    }
    return ALEAT_OK;
}

// Runs `body` and comes back also from libpng's jumps; whatever the body changes lives behind its
// pointers, since locals of a function that calls setjmp() are lost by the jump.
static aleat_status guarded(session *s, void (*body)(session *s, void *ctx), void *ctx)
{
    if (begin(s))
        return s->st;
    if (!setjmp(png_jmpbuf(s->png)))
        body(s, ctx);
    if (!s->st && s->no_memory) // libpng can do without some chunks, the caller cannot
        s->st = aleat_fail_memory(s->err, "PNG");
    return s->st;
}

static void end(session *s)
{
    if (s->png && s->reads)
        png_destroy_read_struct(&s->png, &s->info, NULL);
    else if (s->png)
        png_destroy_write_struct(&s->png, &s->info);
    aleat_atomic_abandon(&s->file);
    aleat_free(s->rows);
    aleat_free(s->latin1);
    aleat_free(s->pixels);
    aleat_free(s->made);
}

// Row pointers into `pixels`, which libpng wants.
static bool make_rows(session *s, uint8_t *pixels, size_t height, size_t row_bytes)
{
    s->rows = aleat_calloc(height, sizeof *s->rows);
    for (size_t y = 0; s->rows && y < height; y++)
        s->rows[y] = pixels + y * row_bytes;
    return s->rows != NULL;
}

static bool is_ascii(const char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text >= 0x80)
            return false;
    return true;
}

static aleat_status check_writable(const aleat_image *image, const aleat_png_text *texts,
                                   int n_texts, aleat_error *err)
{
    const int c = image->channels;
    if (image->width < 1 || image->height < 1 || image->width > MAX_SIDE ||
        image->height > MAX_SIDE || (c != 1 && c != 3 && c != 4))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "no PNG of %lld x %lld pixels of %d channels",
                          (long long)image->width, (long long)image->height, c);
    for (int i = 0; i < n_texts; i++) {
        const size_t len = strlen(texts[i].key);
        if (len < 1 || len > 79 || !is_ascii(texts[i].key))
            return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                              "'%s' cannot be the key of a PNG text: 1 to 79 ASCII characters",
                              texts[i].key);
    }
    return ALEAT_OK;
}

static bool is_utf8(const unsigned char *s, size_t len)
{
    for (size_t i = 0; i < len;) {
        const unsigned char first = s[i++];
        const int more = first < 0x80   ? 0
                         : first < 0xc2 ? -1
                         : first < 0xe0 ? 1
                         : first < 0xf0 ? 2
                         : first < 0xf5 ? 3
                                        : -1;
        if (more < 0 || (size_t)more > len - i)
            return false;
        for (int k = 0; k < more; k++)
            if ((s[i++] & 0xc0) != 0x80)
                return false;
    }
    return true;
}

/**
 * Writes the text in Latin-1 to dst, which has room for it, for tEXt; false where iTXt is needed.
 * Control characters have no place in tEXt, and bytes that happen to be UTF-8 would be taken for it
 * by readers that allow for programs that write it there.
 */
static bool to_latin1(char *dst, const char *text)
{
    size_t used = 0;
    for (; *text; text++) {
        const unsigned char c = (unsigned char)*text, next = (unsigned char)text[1];
        if (c < 0x80) {
            dst[used++] = (char)c;
        } else if ((c == 0xc2 && next >= 0xa0) || c == 0xc3) { // U+00A0 .. U+00FF
            dst[used++] = (char)(c << 6 | (next & 0x3f));
            text++;
        } else {
            return false;
        }
    }
    dst[used] = '\0';
    return is_ascii(dst) || !is_utf8((const unsigned char *)dst, used);
}

typedef struct write_job {
    const aleat_image *image;
    const aleat_png_text *texts;
    int n_texts;
} write_job;

static void write_image(session *s, void *ctx)
{
    static const int color[] = {0, PNG_COLOR_TYPE_GRAY, 0, PNG_COLOR_TYPE_RGB,
                                PNG_COLOR_TYPE_RGB_ALPHA};
    const write_job *job = ctx;
    const aleat_image *image = job->image;
    if (!make_rows(s, image->pixels, (size_t)image->height,
                   (size_t)image->width * (size_t)image->channels))
        leave_without_memory(s);
    png_set_IHDR(s->png, s->info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 color[image->channels], PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    for (int i = 0; i < job->n_texts; i++) {
        const char *text = job->texts[i].text;
        s->latin1 = aleat_alloc(strlen(text) + 1);
        if (!s->latin1)
            leave_without_memory(s);
        const bool plain = to_latin1(s->latin1, text);
        png_text chunk = {.key = (char *)(uintptr_t)job->texts[i].key,
                          .text = plain ? s->latin1 : (char *)(uintptr_t)text,
                          .compression =
                              plain ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE};
        png_set_text(s->png, s->info, &chunk, 1); // copies
        aleat_free(s->latin1);
        s->latin1 = NULL;
    }
    png_set_rows(s->png, s->info, s->rows);
    png_write_png(s->png, s->info, PNG_TRANSFORM_IDENTITY, NULL);
}

aleat_status aleat_png_write(const char *path, const aleat_image *image,
                             const aleat_png_text *texts, int n_texts, aleat_error *err)
{
    session s = {.err = err};
    write_job job = {image, texts, n_texts};
    s.st = check_writable(image, texts, n_texts, err);
    if (s.st) {
        aleat_error_in(err, "%s", path);
        goto done;
    }
    s.st = aleat_atomic_open(&s.file, path, err);
    if (!s.st)
        s.st = guarded(&s, write_image, &job);
    if (!s.st)
        s.st = aleat_atomic_commit(&s.file, err);
done:
    end(&s);
    return s.st;
}

aleat_status aleat_png_encode(unsigned char **out, size_t *len, const aleat_image *image,
                              aleat_error *err)
{
    session s = {.err = err, .in_memory = true};
    write_job job = {.image = image};
    *out = NULL;
    *len = 0;
    s.st = check_writable(image, NULL, 0, err);
    if (!s.st)
        s.st = guarded(&s, write_image, &job);
    if (!s.st) {
        *out = s.made;
        *len = s.made_len;
        s.made = NULL;
    }
    end(&s);
    return s.st;
}

// Reads up to the pixels, and refuses images that the compressed bytes cannot hold.
static void read_header(session *s)
{
    const size_t file_len = s->left;
    png_read_info(s->png, s->info);
    const size_t stored = png_get_rowbytes(s->png, s->info);
    const size_t height = png_get_image_height(s->png, s->info);
    if (stored > SIZE_MAX / height || stored * height / ALEAT_INFLATE_RATIO > file_len)
        png_error(s->png, "the file is too short for its size");
}

// [n, channels + 1] with alpha last to [n, channels], in place.
static void drop_alpha(uint8_t *pixels, size_t n, int channels)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *from = pixels + i * (size_t)(channels + 1);
        const unsigned alpha = from[channels];
        for (int c = 0; c < channels; c++)
            pixels[i * (size_t)channels + (size_t)c] = (uint8_t)((from[c] * alpha + 127) / 255);
    }
}

static void read_pixels(session *s, void *ctx)
{
    aleat_image *out = ctx;
    read_header(s);
    png_set_expand(s->png); // palette, few bits, transparent colour
    png_set_scale_16(s->png);
    (void)png_set_interlace_handling(s->png);
    png_read_update_info(s->png, s->info);
    const size_t row_bytes = png_get_rowbytes(s->png, s->info);
    const size_t width = png_get_image_width(s->png, s->info);
    const size_t height = png_get_image_height(s->png, s->info);
    const int channels = png_get_channels(s->png, s->info);
    s->pixels = aleat_calloc(height, row_bytes);
    if (!s->pixels || !make_rows(s, s->pixels, height, row_bytes))
        leave_without_memory(s);
    png_read_image(s->png, s->rows);
    png_read_end(s->png, NULL);
    if (channels % 2 == 0)
        drop_alpha(s->pixels, width * height, channels - 1);
    *out = (aleat_image){.width = (int64_t)width,
                         .height = (int64_t)height,
                         .channels = channels % 2 ? channels : channels - 1,
                         .pixels = s->pixels};
    s->pixels = NULL;
}

aleat_status aleat_png_read_memory(aleat_image *out, const void *data, size_t len, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    session s = {.reads = true, .data = data, .left = len, .err = err};
    const aleat_status st = guarded(&s, read_pixels, out);
    end(&s);
    if (st)
        aleat_image_clear(out);
    return st;
}

aleat_status aleat_png_read(aleat_image *out, const char *path, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_mapping file;
    aleat_status st = aleat_mapping_open(&file, path, err);
    if (st)
        return st;
    st = aleat_png_read_memory(out, file.data, file.len, err);
    if (st)
        aleat_error_in(err, "%s", path);
    aleat_mapping_close(&file);
    return st;
}

// A copy as UTF-8 of text that is UTF-8 or Latin-1; NULL if there is no memory.
static char *copy_text(const char *text, size_t len)
{
    const bool utf8 = is_utf8((const unsigned char *)text, len);
    char *copy = aleat_alloc(2 * len + 1);
    if (!copy)
        return NULL;
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)text[i];
        if (c < 0x80 || utf8) {
            copy[used++] = (char)c;
        } else {
            copy[used++] = (char)(0xc0 | c >> 6);
            copy[used++] = (char)(0x80 | (c & 0x3f));
        }
    }
    copy[used] = '\0';
    return copy;
}

typedef struct text_job {
    const char *key;
    char **out;
} text_job;

// Looks among the texts read so far.
static void find_text(session *s, const text_job *job)
{
    png_textp texts = NULL;
    int n = 0;
    (void)png_get_text(s->png, s->info, &texts, &n);
    for (int i = 0; i < n; i++) {
        if (strcmp(texts[i].key, job->key) != 0)
            continue;
        const bool international = texts[i].compression >= PNG_ITXT_COMPRESSION_NONE;
        *job->out = copy_text(texts[i].text ? texts[i].text : "",
                              international ? texts[i].itxt_length : texts[i].text_length);
        if (!*job->out)
            leave_without_memory(s);
        return;
    }
}

static void read_text(session *s, void *ctx)
{
    const text_job *job = ctx;
    read_header(s);
    find_text(s, job);
    if (*job->out)
        return;
    png_start_read_image(s->png);
    png_read_end(s->png, s->info); // skips the pixels
    find_text(s, job);
}

aleat_status aleat_png_text_memory(char **out, const void *data, size_t len, const char *key,
                                   aleat_error *err)
{
    *out = NULL;
    session s = {.reads = true, .data = data, .left = len, .err = err};
    text_job job = {key, out};
    const aleat_status st = guarded(&s, read_text, &job);
    end(&s);
    if (st) {
        aleat_free(*out);
        *out = NULL;
    }
    return st;
}

aleat_status aleat_png_read_text(char **out, const char *path, const char *key, aleat_error *err)
{
    *out = NULL;
    aleat_mapping file;
    aleat_status st = aleat_mapping_open(&file, path, err);
    if (st)
        return st;
    st = aleat_png_text_memory(out, file.data, file.len, key, err);
    if (st)
        aleat_error_in(err, "%s", path);
    aleat_mapping_close(&file);
    return st;
}

void aleat_image_clear(aleat_image *image)
{
    if (!image)
        return;
    aleat_free(image->pixels);
    memset(image, 0, sizeof *image);
}
