#include "train/task.h"

#include "base/error.h"

static const aleat_task *const tasks[] = {&aleat_task_diffusion, &aleat_task_classify, NULL};

const aleat_task *const *aleat_tasks(void)
{
    return tasks;
}

aleat_status aleat_task_check_images(const aleat_dataset *d, const aleat_denoiser_info *info,
                                     aleat_error *err)
{
    if (info->channels == d->channels && info->height >= d->height && info->width >= d->width)
        return ALEAT_OK;
    (void)aleat_fail(err, ALEAT_ERR_SHAPE,
                     "images are %lldx%lldx%lld, the network takes %lldx%lldx%lld (height, "
                     "width, channels)",
                     (long long)d->height, (long long)d->width, (long long)d->channels,
                     (long long)info->height, (long long)info->width, (long long)info->channels);
    if (info->channels == d->channels)
        aleat_hint(err, "--size %lld cuts and resamples the images to that",
                   (long long)(info->height < info->width ? info->height : info->width));
    return ALEAT_ERR_SHAPE;
}
