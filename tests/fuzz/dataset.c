/* A data set in one file, of every kind that is one. */
#include "fuzz.h"
#include "train/dataset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = aleat_fuzz_file(data, size);
    for (const aleat_dataset_kind *kind = aleat_dataset_kinds(); kind->name; kind++) {
        const aleat_dataset_options options = {.kind = kind, .size = 4, .channels = 3};
        for (int part = 0; part < 2; part++) {
            aleat_dataset set;
            if (!aleat_dataset_open(&set, path, (aleat_dataset_part)part, &options, NULL))
                aleat_dataset_clear(&set);
        }
    }
    return 0;
}
