#include <string.h>

#include "api/model_state.h"
#include "base/error.h"

aleat_status aleat_model_cfg(aleat_denoiser *out, aleat_model *model, double scale,
                             const aleat_text *const *negative, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    if (scale == 0 || scale == 1)
        return ALEAT_OK;
    const aleat_denoiser_info *info = &model->files.info;
    aleat_cfg_options options = {.scale = scale, .unconditional = {.texts = negative}};
    if (info->context_tokens) {
        if (!negative)
            return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                              "%s: classifier-free guidance needs the encoding of an empty or "
                              "negative text",
                              model->path);
        return aleat_cfg_denoiser(out, &model->denoiser, &options, err);
    }
    if (info->null_class < 0) {
        (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                         "%s: classifier-free guidance needs a class that means 'no label', and "
                         "this model has none",
                         model->path);
        aleat_hint(err, "models trained with labels dropped have one; leave out --cfg-scale");
        return ALEAT_ERR_UNSUPPORTED;
    }
    model->null_class = (int32_t)info->null_class;
    options.unconditional.labels = &model->null_class;
    return aleat_cfg_denoiser(out, &model->denoiser, &options, err);
}
