/* Behind the public aleat_features: what the other files of this layer need of it. */
#ifndef ALEAT_API_FEATURES_STATE_H
#define ALEAT_API_FEATURES_STATE_H

#include "aleat/features.h"
#include "io/weights.h"

/** Its weights; borrowed. */
const aleat_weights *aleat_features_weights(const aleat_features *net);

#endif
