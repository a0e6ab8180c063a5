#include "io/jpeg_image.h"

#include <setjmp.h>
#include <stdio.h> // jpeglib.h needs it
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "base/alloc.h"
#include "base/error.h"

// A few bytes can claim any size, and be decoded to it.
#define MOST_PIXELS ((int64_t)1 << 26)

// libjpeg leaves by longjmp; everything that must survive the jump is in here, behind a pointer.
typedef struct session {
    struct jpeg_error_mgr errors; // first: libjpeg hands out its address
    struct jpeg_decompress_struct jpeg;
    jmp_buf back;
    aleat_image image;
    aleat_status st;
    aleat_error *err;
} session;

static void on_error(j_common_ptr jpeg)
{
    session *s = (session *)jpeg->err;
    char text[JMSG_LENGTH_MAX];
    s->errors.format_message(jpeg, text);
    if (jpeg->err->msg_code == JERR_OUT_OF_MEMORY)
        s->st = aleat_fail_memory(s->err, "JPEG");
    else if (!s->st)
        s->st = aleat_fail(s->err, ALEAT_ERR_FORMAT, "JPEG: %s", text);
    longjmp(s->back, 1);
}

// Warnings (level -1) are oddities that do not harm, but for those that mean missing pixels, which
// libjpeg would make up.
static void on_message(j_common_ptr jpeg, int level)
{
    const int code = jpeg->err->msg_code;
    if (level < 0 && (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER ||
                      code == JWRN_HUFF_BAD_CODE || code == JWRN_MUST_RESYNC))
        on_error(jpeg);
}

static aleat_status read_header(session *s)
{
    struct jpeg_decompress_struct *jpeg = &s->jpeg;
    (void)jpeg_read_header(jpeg, TRUE);
    const int64_t pixels = (int64_t)jpeg->image_width * (int64_t)jpeg->image_height;
    if (jpeg->jpeg_color_space != JCS_GRAYSCALE && jpeg->jpeg_color_space != JCS_YCbCr &&
        jpeg->jpeg_color_space != JCS_RGB)
        return aleat_fail(s->err, ALEAT_ERR_UNSUPPORTED,
                          "JPEG: its colours are neither grey nor RGB");
    if (pixels > MOST_PIXELS)
        return aleat_fail(s->err, ALEAT_ERR_UNSUPPORTED, "JPEG: %u x %u pixels are too many",
                          jpeg->image_width, jpeg->image_height);
    jpeg->out_color_space = jpeg->jpeg_color_space == JCS_GRAYSCALE ? JCS_GRAYSCALE : JCS_RGB;
    return ALEAT_OK;
}

static aleat_status read_pixels(session *s)
{
    struct jpeg_decompress_struct *jpeg = &s->jpeg;
    (void)jpeg_start_decompress(jpeg);
    const size_t row = (size_t)jpeg->output_width * (size_t)jpeg->output_components;
    s->image = (aleat_image){.width = jpeg->output_width,
                             .height = jpeg->output_height,
                             .channels = jpeg->output_components};
    s->image.pixels = aleat_calloc(jpeg->output_height, row);
    if (!s->image.pixels)
        return aleat_fail_memory(s->err, "JPEG");
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW line = s->image.pixels + jpeg->output_scanline * row;
        (void)jpeg_read_scanlines(jpeg, &line, 1);
    }
    (void)jpeg_finish_decompress(jpeg);
    return ALEAT_OK;
}

// Comes back also from libjpeg's jumps: locals of a function that calls setjmp() are lost by them.
static void guarded(session *s, const unsigned char *data, size_t len)
{
    if (setjmp(s->back))
        return;
    jpeg_create_decompress(&s->jpeg);
    jpeg_mem_src(&s->jpeg, data, (unsigned long)len);
    s->st = read_header(s);
    if (!s->st)
        s->st = read_pixels(s);
}

bool aleat_is_jpeg(const unsigned char *data, size_t len)
{
    return len > 2 && data[0] == 0xff && data[1] == 0xd8 && data[2] == 0xff;
}

aleat_status aleat_jpeg_read_memory(aleat_image *out, const void *data, size_t len,
                                    aleat_error *err)
{
    memset(out, 0, sizeof *out);
    if (!aleat_is_jpeg(data, len))
        return aleat_fail(err, ALEAT_ERR_FORMAT, "not a JPEG");
    session *s = aleat_calloc(1, sizeof *s);
    if (!s)
        return aleat_fail_memory(err, "JPEG");
    s->err = err;
    s->jpeg.err = jpeg_std_error(&s->errors);
    s->errors.error_exit = on_error;
    s->errors.emit_message = on_message;
    guarded(s, data, len);
    jpeg_destroy_decompress(&s->jpeg);
    const aleat_status st = s->st;
    if (st)
        aleat_image_clear(&s->image);
    else
        *out = s->image;
    aleat_free(s);
    return st;
}
