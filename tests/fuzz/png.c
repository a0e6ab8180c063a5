/* PNG pixels and texts. */
#include "base/alloc.h"
#include "fuzz.h"
#include "io/png_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    aleat_image image;
    char *text;
    if (!aleat_png_read_memory(&image, data, size, NULL))
        aleat_image_clear(&image);
    if (!aleat_png_text_memory(&text, data, size, "parameters", NULL))
        aleat_free(text);
    return 0;
}
