/* A feature network, ready to run. */
#ifndef ALEAT_FEATURES_FEATURE_NET_H
#define ALEAT_FEATURES_FEATURE_NET_H

#include "aleat/features.h"
#include "graph/plan.h"
#include "models/model.h"

typedef struct aleat_feature_net {
    aleat_model_files files;
    aleat_engine *engine;
    const aleat_feature_layer *layer;
    const aleat_preparation *preparation;
    int64_t dim, classes; /**< numbers of an image's features, and of its logits */
    int64_t batch;        /**< most images in one plan */
    struct aleat_feature_plan {
        aleat_plan *plan;
        int64_t images;
        bool features, logits;
    } plans[2]; /**< of full batches, and of the last rest */
} aleat_feature_net;

typedef struct aleat_feature_net_options {
    const char *layer, *preparation; /**< NULL: the network's usual one */
    aleat_engine_options engine;
    int64_t batch; /**< 0: 32 */
} aleat_feature_net_options;

ALEAT_MUST_USE aleat_status aleat_feature_net_open(aleat_feature_net *out, const char *path,
                                                   const aleat_feature_net_options *options,
                                                   aleat_error *err);
void aleat_feature_net_close(aleat_feature_net *net);
/** As aleat_features_run(). */
ALEAT_MUST_USE aleat_status aleat_feature_net_run(aleat_feature_net *net,
                                                  const aleat_images *images, float *features,
                                                  float *logits, aleat_error *err);

#endif
