#include "paper/real.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

static aleat_status take_labels(aleat_real *r, const aleat_paper *p, aleat_error *err)
{
    const aleat_model_facts facts = aleat_model_describe(p->model);
    const int32_t *own = aleat_image_set_labels(r->set);
    if (!facts.n_classes)
        return ALEAT_OK;
    if (!own && facts.null_class < 0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "%s: has no labels, and the model no class that means none",
                          p->options.data);
    r->labels = aleat_calloc((size_t)r->images.n, sizeof *r->labels);
    if (!r->labels)
        return aleat_fail_memory(err, "labels");
    for (int64_t i = 0; i < r->images.n; i++) {
        r->labels[i] = own ? own[i] : (int32_t)facts.null_class;
        if (r->labels[i] < 0 || r->labels[i] >= facts.n_classes)
            return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: image %" PRId64 " is of class %d",
                              p->options.data, i, (int)r->labels[i]);
    }
    return ALEAT_OK;
}

aleat_status aleat_real_open(aleat_real *out, aleat_paper *p, aleat_error *err)
{
    const char *split = strcmp(p->options.split, "all") == 0 ? NULL : p->options.split;
    const int64_t most = p->options.run.n;
    if (!p->options.data)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "real images are needed: --data");
    aleat_status st = aleat_image_set_open(&out->set, p->options.data, split, err);
    if (st)
        return st;
    const aleat_images all = aleat_image_set_images(out->set);
    out->images = aleat_images_slice(&all, 0, most < all.n ? most : all.n);
    const int64_t some = aleat_image_set_classes(out->set, out->images.n);
    const int64_t classes = aleat_image_set_classes(out->set, all.n);
    if (some < classes)
        aleat_result_warn(&p->result,
                          "the first %" PRId64 " of %" PRId64 " real images are of %" PRId64
                          " of %" PRId64 " classes: they are no sample of the set",
                          out->images.n, all.n, some, classes);
    st = take_labels(out, p, err);
    if (st)
        aleat_real_close(out);
    return st;
}

void aleat_real_close(aleat_real *real)
{
    if (!real)
        return;
    aleat_image_set_close(real->set);
    aleat_free(real->labels);
    memset(real, 0, sizeof *real);
}

void aleat_hash_images(aleat_sha256_state *state, const aleat_images *images)
{
    const int64_t sizes[] = {images->n, images->height, images->width, images->channels};
    const size_t count = (size_t)(sizes[0] * sizes[1] * sizes[2] * sizes[3]);
    aleat_sha256_add(state, sizes, sizeof sizes);
    if (images->bytes)
        aleat_sha256_add(state, images->bytes, count);
    else
        aleat_sha256_add(state, images->floats, count * sizeof(float));
}
