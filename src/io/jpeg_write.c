#include "io/jpeg_write.h"

#include <setjmp.h>
#include <stdio.h> // jpeglib.h needs it
#include <stdlib.h>

#include <jerror.h>
#include <jpeglib.h>

#include "base/alloc.h"
#include "base/error.h"

// libjpeg leaves by longjmp; everything that must survive the jump is in here, behind a pointer.
typedef struct session {
    struct jpeg_error_mgr errors; // first: libjpeg hands out its address
    struct jpeg_compress_struct jpeg;
    jmp_buf back;
    unsigned char *out;
    unsigned long len;
    aleat_status st;
    aleat_error *err;
} session;

static void on_error(j_common_ptr jpeg)
{
    session *s = (session *)jpeg->err;
    char text[JMSG_LENGTH_MAX];
    s->errors.format_message(jpeg, text);
    s->st = jpeg->err->msg_code == JERR_OUT_OF_MEMORY
                ? aleat_fail_memory(s->err, "JPEG")
                : aleat_fail(s->err, ALEAT_ERR_UNSUPPORTED, "JPEG: %s", text);
    longjmp(s->back, 1);
}

static void on_message(j_common_ptr jpeg, int level)
{
    (void)jpeg;
    (void)level;
}

// Comes back also from libjpeg's jumps: locals of a function that calls setjmp() are lost by them.
static void guarded(session *s, const aleat_image *image, int quality)
{
    if (setjmp(s->back))
        return;
    jpeg_create_compress(&s->jpeg);
    jpeg_mem_dest(&s->jpeg, &s->out, &s->len);
    s->jpeg.image_width = (JDIMENSION)image->width;
    s->jpeg.image_height = (JDIMENSION)image->height;
    s->jpeg.input_components = image->channels;
    s->jpeg.in_color_space = image->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&s->jpeg);
    jpeg_set_quality(&s->jpeg, quality, TRUE);
    jpeg_start_compress(&s->jpeg, TRUE);
    const size_t row = (size_t)image->width * (size_t)image->channels;
    while (s->jpeg.next_scanline < s->jpeg.image_height) {
        JSAMPROW line = image->pixels + s->jpeg.next_scanline * row;
        (void)jpeg_write_scanlines(&s->jpeg, &line, 1);
    }
    jpeg_finish_compress(&s->jpeg);
}

aleat_status aleat_jpeg_write_memory(unsigned char **out, size_t *len, const aleat_image *image,
                                     int quality, aleat_error *err)
{
    *out = NULL;
    *len = 0;
    if (image->width < 1 || image->height < 1 || image->width > JPEG_MAX_DIMENSION ||
        image->height > JPEG_MAX_DIMENSION || (image->channels != 1 && image->channels != 3))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "JPEG: %lldx%lld pixels of %d channels",
                          (long long)image->width, (long long)image->height, image->channels);
    session *s = aleat_calloc(1, sizeof *s);
    if (!s)
        return aleat_fail_memory(err, "JPEG");
    s->err = err;
    s->jpeg.err = jpeg_std_error(&s->errors);
    s->errors.error_exit = on_error;
    s->errors.emit_message = on_message;
    guarded(s, image, quality);
    jpeg_destroy_compress(&s->jpeg);
    const aleat_status st = s->st;
    if (st) {
        free(s->out);
    } else {
        *out = s->out;
        *len = s->len;
    }
    aleat_free(s);
    return st;
}
