/* JPEG pixels. */
#include "fuzz.h"
#include "io/jpeg_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    aleat_image image;
    if (!aleat_jpeg_read_memory(&image, data, size, NULL))
        aleat_image_clear(&image);
    return 0;
}
