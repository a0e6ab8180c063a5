#include "denoiser/classifier.h"

#include <math.h>

#include "base/alloc.h"
#include "base/error.h"

struct aleat_classifier_pull {
    const aleat_denoiser *classifier;
    double scale;
    int64_t max_n, classes;
    float *logits, *cotangent; // [max_n, classes]
};

aleat_status aleat_classifier_pull_new(aleat_classifier_pull **out,
                                       const aleat_denoiser *classifier, double scale,
                                       int64_t max_n, aleat_error *err)
{
    *out = NULL;
    if (!classifier->ops->forward_keep || !classifier->ops->backward)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "this classifier has no gradients");
    aleat_classifier_pull *p = aleat_calloc(1, sizeof *p);
    if (!p)
        return aleat_fail_memory(err, "classifier guidance");
    const int64_t classes = classifier->info.out_channels;
    *p = (aleat_classifier_pull){
        .classifier = classifier, .scale = scale, .max_n = max_n, .classes = classes};
    p->logits = aleat_calloc((size_t)(max_n * classes), sizeof *p->logits);
    p->cotangent = aleat_calloc((size_t)(max_n * classes), sizeof *p->cotangent);
    if (!p->logits || !p->cotangent) {
        aleat_classifier_pull_free(p);
        return aleat_fail_memory(err, "classifier guidance");
    }
    *out = p;
    return ALEAT_OK;
}

void aleat_classifier_pull_free(aleat_classifier_pull *p)
{
    if (!p)
        return;
    aleat_free(p->logits);
    aleat_free(p->cotangent);
    aleat_free(p);
}

// scale d log softmax(logits)[label] / d logits = scale (onehot(label) - softmax(logits)).
static void log_softmax_cotangent(const aleat_classifier_pull *p, const float *logits,
                                  int32_t label, float *cotangent)
{
    double most = -INFINITY, sum = 0;
    for (int64_t k = 0; k < p->classes; k++)
        most = fmax(most, (double)logits[k]);
    for (int64_t k = 0; k < p->classes; k++)
        sum += exp((double)logits[k] - most);
    for (int64_t k = 0; k < p->classes; k++)
        cotangent[k] = (float)(p->scale * ((k == label) - exp((double)logits[k] - most) / sum));
}

aleat_status aleat_classifier_pull_run(aleat_classifier_pull *p, const aleat_batch *in,
                                       float *gradient, aleat_error *err)
{
    if (in->n > p->max_n || !in->condition.labels)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "classifier guidance of %lld images, at most %lld, each with a label",
                          (long long)in->n, (long long)p->max_n);
    for (int64_t i = 0; i < in->n; i++)
        if (in->condition.labels[i] < 0 || in->condition.labels[i] >= p->classes)
            return aleat_fail(err, ALEAT_ERR_ARGUMENT, "label %d is not one of %lld classes",
                              in->condition.labels[i], (long long)p->classes);
    const aleat_denoiser *c = p->classifier;
    const aleat_status st = c->ops->forward_keep(c->self, in, p->logits, err);
    if (st)
        return st;
    for (int64_t i = 0; i < in->n; i++)
        log_softmax_cotangent(p, p->logits + i * p->classes, in->condition.labels[i],
                              p->cotangent + i * p->classes);
    return c->ops->backward(c->self, p->cotangent, gradient, err);
}
