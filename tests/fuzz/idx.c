/* IDX arrays, compressed or not. */
#include "fuzz.h"
#include "io/idx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    aleat_tensor array;
    if (!aleat_idx_parse(&array, data, size, NULL))
        aleat_tensor_clear(&array);
    return 0;
}
