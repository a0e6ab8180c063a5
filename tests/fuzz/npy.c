/* .npy and, where the bytes are a zip archive, .npz. */
#include "fuzz.h"
#include "io/npy_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    aleat_tensor array;
    const char *path = aleat_fuzz_file(data, size);
    if (!aleat_npy_parse(&array, data, size, NULL))
        aleat_tensor_clear(&array);
    if (!aleat_npz_read(&array, path, "arr_0", NULL))
        aleat_tensor_clear(&array);
    return 0;
}
