#include "denoiser/denoiser.h"

#include <string.h>

void aleat_denoiser_destroy(aleat_denoiser *d)
{
    if (d && d->ops && d->ops->destroy)
        d->ops->destroy(d->self);
    if (d)
        memset(d, 0, sizeof *d);
}
