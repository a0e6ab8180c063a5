#include <string.h>

#include "cli/verbs.h"

void aleat_cli_texts_clear(aleat_cli_texts *texts)
{
    aleat_array_clear(&texts->context);
    aleat_array_clear(&texts->pooled);
    aleat_array_clear(&texts->guidance);
    memset(texts, 0, sizeof *texts);
}

static void view(aleat_cli_texts *texts)
{
    texts->view = (aleat_texts){.context = texts->context.data ? &texts->context : NULL,
                                .pooled = texts->pooled.data ? &texts->pooled : NULL,
                                .guidance = texts->guidance.data ? &texts->guidance : NULL};
}

aleat_status aleat_cli_texts_read(aleat_cli_texts *out, const char *context, const char *pooled,
                                  const char *guidance, int64_t n, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_status st = ALEAT_OK;
    if (context)
        st = aleat_array_read(&out->context, context, err);
    if (!st && pooled)
        st = aleat_array_read(&out->pooled, pooled, err);
    if (!st && guidance)
        st = aleat_cli_values(&out->guidance, "guidance", guidance, n, err);
    view(out);
    return st;
}

aleat_status aleat_cli_texts_made_up(aleat_cli_texts *out, const aleat_model *model,
                                     aleat_error *err)
{
    memset(out, 0, sizeof *out);
    const aleat_model_facts f = aleat_model_describe(model);
    const int64_t context[3] = {1, f.context_tokens, f.context_dim};
    const int64_t pooled[2] = {1, f.pooled_dim}, guidance[1] = {1};
    aleat_status st = ALEAT_OK;
    if (f.context_tokens)
        st = aleat_array_new(&out->context, 3, context, err);
    if (!st && f.pooled_dim)
        st = aleat_array_new(&out->pooled, 2, pooled, err);
    if (!st && f.takes_guidance)
        st = aleat_array_new(&out->guidance, 1, guidance, err);
    view(out);
    return st;
}
