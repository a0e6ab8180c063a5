/* safetensors and torch files of both kinds: opens them and reads every small tensor. */
#include <stdlib.h>

#include "base/alloc.h"
#include "fuzz.h"
#include "io/weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    aleat_weights *weights;
    if (aleat_weights_open_memory(&weights, data, size, "input", NULL))
        return 0;
    for (int64_t i = 0; i < aleat_weights_count(weights); i++) {
        const aleat_weight *weight = aleat_weights_at(weights, i);
        int64_t count;
        if (!aleat_shape_count(&weight->shape, &count))
            abort(); // the reader has promised a valid shape
        // A tensor of stride 0 may be larger than memory; whoever reads it has checked its shape.
        if (count > 1 << 16)
            continue;
        float *values = aleat_alloc((size_t)count * sizeof *values);
        if (values)
            aleat_weight_to_f32(weight, values);
        aleat_free(values);
        if (aleat_weights_find(weights, weight->name) != weight)
            abort();
    }
    aleat_weights_free(weights);
    return 0;
}
