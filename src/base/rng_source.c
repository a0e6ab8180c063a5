#include "base/rng_source.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/rng_torch.h"

static aleat_status fill_philox(const aleat_noise_source *source, const aleat_rng_key *key,
                                float *out, int64_t count, aleat_error *err)
{
    (void)err;
    aleat_rng_key mine = *key;
    mine.seed = source->seed;
    aleat_rng_normals(&mine, 0, out, count);
    return ALEAT_OK;
}

aleat_noise_source aleat_noise_philox(uint64_t seed)
{
    return (aleat_noise_source){.fill = fill_philox, .seed = seed};
}

struct aleat_noise_torch {
    uint64_t seed;
    uint32_t first;
    int64_t count;
    aleat_torch_rng generators[];
};

static aleat_status fill_torch(const aleat_noise_source *source, const aleat_rng_key *key,
                               float *out, int64_t count, aleat_error *err)
{
    aleat_noise_torch *torch = source->self;
    if (key->purpose != ALEAT_FOR_INITIAL && key->purpose != ALEAT_FOR_STEP)
        return fill_philox(source, key, out, count, err);
    const int64_t row = (int64_t)key->image - torch->first;
    if (row < 0 || row >= torch->count)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "torch noise: image %u, but there are generators for %u to %lld only",
                          key->image, torch->first,
                          (long long)torch->first + (long long)torch->count - 1);
    aleat_torch_randn_f32(&torch->generators[row], out, count);
    return ALEAT_OK;
}

aleat_status aleat_noise_torch_new(aleat_noise_torch **out, uint64_t seed, uint32_t first,
                                   int64_t count, aleat_error *err)
{
    *out = NULL;
    size_t bytes;
    if (count < 1 || !aleat_size_mul((size_t)count, sizeof(aleat_torch_rng), &bytes) ||
        !aleat_size_add(bytes, sizeof **out, &bytes))
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "torch noise: %lld generators asked for",
                          (long long)count);
    aleat_noise_torch *torch = aleat_alloc(bytes);
    if (!torch)
        return aleat_fail_memory(err, "generators of the torch noise");
    torch->seed = seed;
    torch->count = count;
    aleat_noise_torch_restart(torch, first);
    *out = torch;
    return ALEAT_OK;
}

void aleat_noise_torch_restart(aleat_noise_torch *torch, uint32_t first)
{
    torch->first = first;
    for (int64_t i = 0; i < torch->count; i++)
        aleat_torch_seed(&torch->generators[i], torch->seed + first + (uint64_t)i);
}

aleat_noise_source aleat_noise_torch_source(aleat_noise_torch *torch)
{
    return (aleat_noise_source){.fill = fill_torch, .seed = torch->seed, .self = torch};
}

void aleat_noise_torch_free(aleat_noise_torch *torch)
{
    aleat_free(torch);
}

// The rows of one array, and which of them a key means.
typedef struct stored {
    const float *data;
    int64_t rows, row; // of [rows, images, count]
    const char *name;
} stored;

static stored stored_for(const aleat_noise_arrays *a, const aleat_rng_key *key)
{
    switch (key->purpose) {
    case ALEAT_FOR_INITIAL: return (stored){a->initial, 1, 0, "initial"};
    case ALEAT_FOR_STEP: return (stored){a->step, a->steps, key->step, "step"};
    case ALEAT_FOR_COPY: {
        const int64_t step = a->copy_steps == 1 ? 0 : key->step;
        const int64_t row = key->copy < a->copies ? step * a->copies + key->copy : -1;
        return (stored){a->copy, a->copy_steps * a->copies, row, "copy"};
    }
    default: return (stored){NULL, 0, 0, "other"};
    }
}

static aleat_status fill_arrays(const aleat_noise_source *source, const aleat_rng_key *key,
                                float *out, int64_t count, aleat_error *err)
{
    const aleat_noise_arrays *a = source->self;
    const stored s = stored_for(a, key);
    if (!s.data && a->otherwise.fill)
        return aleat_noise_fill(&a->otherwise, key, out, count, err);
    const int64_t image = (int64_t)key->image - a->first;
    if (!s.data || count != a->count || image < 0 || image >= a->images || s.row < 0 ||
        s.row >= s.rows)
        return aleat_fail(err, ALEAT_ERR_SHAPE,
                          "stored %s noise has no %lld values for image %u, step %u, copy %u",
                          s.name, (long long)count, key->image, key->step, key->copy);
    memcpy(out, s.data + (s.row * a->images + image) * count, (size_t)count * sizeof *out);
    return ALEAT_OK;
}

aleat_noise_source aleat_noise_from_arrays(aleat_noise_arrays *arrays)
{
    return (aleat_noise_source){
        .fill = fill_arrays, .seed = arrays->otherwise.seed, .self = arrays};
}
