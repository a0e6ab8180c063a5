#include "aleat/checkpoint.h"

#include <string.h>

#include "api/model_state.h"
#include "base/alloc.h"
#include "base/error.h"
#include "models/resemblance.h"

struct aleat_checkpoint {
    aleat_weights *weights;
};

aleat_status aleat_checkpoint_open(aleat_checkpoint **out, const char *path, aleat_error *err)
{
    *out = NULL;
    aleat_checkpoint *c = aleat_calloc(1, sizeof *c);
    if (!c)
        return aleat_fail_memory(err, path);
    const aleat_status st = aleat_weights_open(&c->weights, path, err);
    if (st)
        aleat_checkpoint_close(c);
    else
        *out = c;
    return st;
}

void aleat_checkpoint_close(aleat_checkpoint *c)
{
    if (!c)
        return;
    aleat_weights_free(c->weights);
    aleat_free(c);
}

aleat_checkpoint_facts aleat_checkpoint_describe(const aleat_checkpoint *c)
{
    const aleat_resemblance like = aleat_weights_resemble(c->weights);
    return (aleat_checkpoint_facts){.path = aleat_weights_path(c->weights),
                                    .format = aleat_weights_format(c->weights),
                                    .n_tensors = aleat_weights_count(c->weights),
                                    .n_parameters = aleat_weights_parameters(c->weights),
                                    .resembles = like.kind,
                                    .share = like.share};
}

aleat_tensor_facts aleat_weight_facts(const aleat_weight *w)
{
    aleat_tensor_facts facts = {
        .name = w->name, .dtype = aleat_dtype_name(w->dtype), .n_dims = w->shape.n_dims};
    memcpy(facts.dim, w->shape.dim, sizeof facts.dim);
    return facts;
}

aleat_tensor_facts aleat_checkpoint_tensor(const aleat_checkpoint *c, int64_t i)
{
    return aleat_weight_facts(aleat_weights_at(c->weights, i));
}

aleat_status aleat_checkpoint_read(const aleat_checkpoint *c, const char *name, aleat_array *out,
                                   aleat_error *err)
{
    memset(out, 0, sizeof *out);
    const aleat_weight *w = aleat_weights_find(c->weights, name);
    if (!w)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: there is no tensor '%s'",
                          aleat_weights_path(c->weights), name);
    const aleat_status st = aleat_array_new(out, w->shape.n_dims, w->shape.dim, err);
    if (!st)
        aleat_weight_to_f32(w, out->data);
    return st;
}
