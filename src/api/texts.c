#include "api/texts.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "tensor/tensor.h"

/** One part of a text: the caller's array, and what the network takes of it. */
typedef struct part {
    const char *name;
    const aleat_array *array;
    int n_dims;
    int64_t dim[2]; // behind the first; 0: the network takes none
} part;

enum { CONTEXT, POOLED, GUIDANCE, PARTS };

static void parts_of(part parts[PARTS], const aleat_denoiser_info *info, const aleat_texts *texts)
{
    static const aleat_texts none;
    texts = texts ? texts : &none;
    parts[CONTEXT] =
        (part){"context", texts->context, 3, {info->context_tokens, info->context_dim}};
    parts[POOLED] = (part){"pooled vector", texts->pooled, 2, {info->pooled_dim, 1}};
    parts[GUIDANCE] = (part){"guidance scale", texts->guidance, 1, {info->takes_guidance, 1}};
}

static aleat_status check_part(const part *p, int64_t n, aleat_error *err)
{
    char have[128];
    if (!p->array != !p->dim[0])
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "this network %s a %s",
                          p->array ? "does not take" : "needs", p->name);
    if (!p->array)
        return ALEAT_OK;
    aleat_shape shape = {.n_dims = p->array->n_dims};
    memcpy(shape.dim, p->array->dim, sizeof shape.dim);
    bool fits = shape.n_dims == p->n_dims && (shape.dim[0] == n || shape.dim[0] == 1);
    for (int i = 1; fits && i < p->n_dims; i++)
        fits = shape.dim[i] == p->dim[i - 1];
    if (fits)
        return ALEAT_OK;
    aleat_shape want = aleat_shape_of(3, n, p->dim[0], p->dim[1]);
    char text[128];
    want.n_dims = p->n_dims;
    return aleat_fail(
        err, ALEAT_ERR_SHAPE, "the %s is %s, this network wants %s, or one row for all", p->name,
        aleat_shape_text(&shape, have, sizeof have), aleat_shape_text(&want, text, sizeof text));
}

/** Row of image i. */
static const float *row_of(const part *p, int64_t i)
{
    if (!p->array)
        return NULL;
    return p->array->data + (p->array->dim[0] == 1 ? 0 : i * p->dim[0] * p->dim[1]);
}

aleat_status aleat_text_list_make(aleat_text_list *out, const aleat_denoiser_info *info,
                                  const aleat_texts *texts, int64_t n, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    part parts[PARTS];
    parts_of(parts, info, texts);
    bool one = true;
    int given = 0;
    for (int p = 0; p < PARTS; p++) {
        const aleat_status st = check_part(&parts[p], n, err);
        if (st)
            return st;
        given += parts[p].array != NULL;
        one = one && (!parts[p].array || parts[p].array->dim[0] == 1);
    }
    if (!given)
        return ALEAT_OK;
    out->items = aleat_calloc((size_t)n, sizeof *out->items);
    out->pointers = aleat_calloc((size_t)n, sizeof *out->pointers);
    if (!out->items || !out->pointers) {
        aleat_text_list_clear(out);
        return aleat_fail_memory(err, "texts");
    }
    for (int64_t i = 0; i < n; i++) {
        const float *guidance = row_of(&parts[GUIDANCE], i);
        out->items[i] = (aleat_text){.context = row_of(&parts[CONTEXT], i),
                                     .pooled = row_of(&parts[POOLED], i),
                                     .guidance = guidance ? *guidance : 0};
        out->pointers[i] = &out->items[one ? 0 : i];
    }
    return ALEAT_OK;
}

void aleat_text_list_clear(aleat_text_list *list)
{
    aleat_free(list->items);
    aleat_free(list->pointers);
    memset(list, 0, sizeof *list);
}
