#include "paper/reference.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "paper/paper.h"
#include "paper/real.h"

// Images between two looks at whether to stop.
#define CHUNK 256

void aleat_reference_name(aleat_reference *reference, const aleat_features *net)
{
    char weights[ALEAT_SHA256_TEXT];
    const aleat_features_facts facts = aleat_features_describe(net);
    const char *const parts[] = {weights, facts.layer, facts.preparation, facts.precision};
    aleat_sha256_state state;
    aleat_features_sha256(net, weights);
    aleat_sha256_begin(&state);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        aleat_sha256_add(&state, parts[i], strlen(parts[i]) + 1);
    aleat_sha256_end(&state, reference->network);
}

// Names the features: by network and images.
static char *cache_path(const aleat_paper *paper, const aleat_images *images)
{
    char hash[ALEAT_SHA256_TEXT];
    aleat_sha256_state state;
    aleat_sha256_begin(&state);
    aleat_sha256_add(&state, paper->reference.network, ALEAT_SHA256_TEXT);
    aleat_hash_images(&state, images);
    aleat_sha256_end(&state, hash);
    return aleat_paper_path(paper, "reference-%.12s.npy", hash);
}

static aleat_status compute(aleat_array *features, const aleat_paper *paper,
                            const aleat_images *images, aleat_error *err)
{
    const int64_t dim[] = {images->n, aleat_features_describe(paper->network).dim};
    aleat_status st = aleat_array_new(features, 2, dim, err);
    for (int64_t i = 0; !st && i < images->n; i += CHUNK) {
        const int64_t rest = images->n - i, count = rest < CHUNK ? rest : CHUNK;
        const aleat_images part = aleat_images_slice(images, i, count);
        st = aleat_features_run(paper->network, &part, features->data + i * dim[1], NULL, err);
        if (!st)
            st =
                aleat_paper_tell(paper, "real images", (double)(i + count), (double)images->n, err);
    }
    return st;
}

static aleat_status read_or_compute(aleat_reference *out, const aleat_paper *paper,
                                    const aleat_images *images, aleat_error *err)
{
    const int64_t dim = aleat_features_describe(paper->network).dim;
    char *path = cache_path(paper, images);
    aleat_status st = path ? ALEAT_OK : aleat_fail_memory(err, paper->folder);
    if (!st && aleat_is_file(path)) {
        st = aleat_array_read(&out->features, path, err);
        const aleat_array *f = &out->features;
        if (!st && (f->n_dims != 2 || f->dim[0] != images->n || f->dim[1] != dim))
            st = aleat_fail(err, ALEAT_ERR_FORMAT,
                            "%s: does not hold features of %" PRId64 " images; remove it", path,
                            images->n);
    } else if (!st) {
        st = compute(&out->features, paper, images, err);
        if (!st)
            st = aleat_array_write(path, &out->features, err);
    }
    aleat_free(path);
    return st;
}

aleat_status aleat_reference_make(aleat_reference *out, aleat_paper *paper, aleat_error *err)
{
    const aleat_paper_options *o = &paper->options;
    const char *split = strcmp(o->split, "all") == 0 ? NULL : o->split;
    aleat_image_set *set = NULL;
    aleat_status st = aleat_image_set_open(&set, o->data, split, err);
    if (st == ALEAT_ERR_ARGUMENT && split)
        aleat_hint(err, "which images are the real ones? --split train, test, or all");
    if (!st) {
        const aleat_images images = aleat_image_set_images(set);
        st = read_or_compute(out, paper, &images, err);
    }
    aleat_image_set_close(set);
    if (!st && out->features.dim[0] < 2)
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: one image is not a set", o->data);
    if (!st)
        st = aleat_gaussian_of(&out->gaussian, out->features.data, out->features.dim[0],
                               out->features.dim[1], o->threads, err);
    return st;
}

void aleat_reference_clear(aleat_reference *reference)
{
    if (!reference)
        return;
    aleat_array_clear(&reference->features);
    aleat_gaussian_clear(&reference->gaussian);
}
