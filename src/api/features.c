#include "aleat/features.h"

#include <math.h>

#include "aleat/model.h"
#include "api/model_state.h"
#include "base/alloc.h"
#include "base/error.h"
#include "features/feature_net.h"

struct aleat_features {
    char *path;
    aleat_feature_net net;
    aleat_precision precision;
};

aleat_status aleat_features_open(aleat_features **out, const char *path,
                                 const aleat_features_options *options, aleat_error *err)
{
    *out = NULL;
    const aleat_features_options defaults = {0};
    if (!options)
        options = &defaults;
    aleat_features *net = aleat_calloc(1, sizeof *net);
    if (!net)
        return aleat_fail_memory(err, path);
    net->path = aleat_strdup(path);
    aleat_status st = net->path ? ALEAT_OK : aleat_fail_memory(err, path);
    if (!st)
        st = aleat_precision_find(&net->precision, options->precision, err);
    const aleat_feature_net_options wanted = {
        .layer = options->layer,
        .preparation = options->preparation,
        .engine = {.threads = options->threads, .precision = net->precision},
        .batch = options->batch};
    if (!st)
        st = aleat_feature_net_open(&net->net, path, &wanted, err);
    if (st)
        aleat_features_close(net);
    else
        *out = net;
    return st;
}

void aleat_features_close(aleat_features *net)
{
    if (!net)
        return;
    aleat_feature_net_close(&net->net);
    aleat_free(net->path);
    aleat_free(net);
}

aleat_features_facts aleat_features_describe(const aleat_features *net)
{
    const aleat_denoiser_info *info = &net->net.files.info;
    return (aleat_features_facts){.path = net->path,
                                  .family = net->net.files.family,
                                  .layer = net->net.layer->name,
                                  .preparation = net->net.preparation->name,
                                  .precision = aleat_precision_name((int)net->precision, NULL),
                                  .threads = aleat_engine_threads(net->net.engine),
                                  .channels = info->channels,
                                  .height = info->height,
                                  .width = info->width,
                                  .dim = net->net.dim,
                                  .classes = net->net.classes};
}

void aleat_features_sha256(const aleat_features *net, char out[65])
{
    _Static_assert(ALEAT_SHA256_TEXT == 65, "as the header says");
    aleat_weights_sha256(net->net.files.weights, out);
}

const char *aleat_features_layer(const aleat_features *net, int i)
{
    return i >= 0 && i < ALEAT_FEATURE_LAYERS ? net->net.files.features.layers[i].name : NULL;
}

const char *aleat_features_preparation(const aleat_features *net, int i, const char **help)
{
    const aleat_preparation *all = net->net.files.features.preparations;
    for (int k = 0; i >= 0 && all[k].name; k++)
        if (k == i) {
            if (help)
                *help = all[k].help;
            return all[k].name;
        }
    return NULL;
}

aleat_status aleat_features_run(aleat_features *net, const aleat_images *images, float *features,
                                float *logits, aleat_error *err)
{
    return aleat_feature_net_run(&net->net, images, features, logits, err);
}

void aleat_softmax(float *logits, int64_t n, int64_t classes)
{
    for (int64_t i = 0; i < n; i++, logits += classes) {
        float max = logits[0];
        double sum = 0;
        for (int64_t c = 1; c < classes; c++)
            max = fmaxf(max, logits[c]);
        for (int64_t c = 0; c < classes; c++)
            sum += exp((double)(logits[c] - max));
        for (int64_t c = 0; c < classes; c++)
            logits[c] = (float)(exp((double)(logits[c] - max)) / sum);
    }
}
