#include <string.h>

#include "api/model_state.h"
#include "base/error.h"

aleat_status aleat_model_cfg(aleat_denoiser *out, aleat_model *model, double scale,
                             aleat_error *err)
{
    memset(out, 0, sizeof *out);
    if (scale == 0 || scale == 1)
        return ALEAT_OK;
    const aleat_denoiser_info *info = &model->files.info;
    if (info->null_class < 0) {
        (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                         "%s: classifier-free guidance needs a class that means 'no label', and "
                         "this model has none",
                         model->path);
        aleat_hint(err, "models trained with labels dropped have one; leave out --cfg-scale");
        return ALEAT_ERR_UNSUPPORTED;
    }
    model->null_class = (int32_t)info->null_class;
    const aleat_cfg_options options = {.scale = scale,
                                       .unconditional = {.labels = &model->null_class}};
    return aleat_cfg_denoiser(out, &model->denoiser, &options, err);
}
