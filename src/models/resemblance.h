/* What a checkpoint of no known family looks like, by the names of its tensors. */
#ifndef ALEAT_MODELS_RESEMBLANCE_H
#define ALEAT_MODELS_RESEMBLANCE_H

#include "io/weights.h"

typedef struct aleat_resemblance {
    const char *kind; /**< what it is most like, in words; NULL: like nothing known */
    double share;     /**< of its tensors whose names fit that kind, 0 to 1 */
} aleat_resemblance;

/** The nearest kind: that whose patterns most tensors match, and most of whose patterns are
 * matched. Names may stand behind one prefix, as "module." before all. */
aleat_resemblance aleat_weights_resemble(aleat_weights *weights);

#endif
