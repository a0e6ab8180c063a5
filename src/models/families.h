/* The families, for the registry; each is the last thing in its file. */
#ifndef ALEAT_MODELS_FAMILIES_H
#define ALEAT_MODELS_FAMILIES_H

#include "models/model.h"

extern const aleat_model_family aleat_family_unet2d;

#endif
