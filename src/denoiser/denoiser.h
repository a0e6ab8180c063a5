/*
 * The one interface between networks and everything that uses them. A sampler, an estimator or a
 * guidance rule sees only this; wrappers (classifier-free guidance, counting, dropout) are
 * denoisers around denoisers.
 */
#ifndef ALEAT_DENOISER_DENOISER_H
#define ALEAT_DENOISER_DENOISER_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/status.h"

/** Passes with different masks of dropout that have names of their own. */
#define ALEAT_MAX_PASSES 4096

/** What a network is: sizes of one image, NCHW. */
typedef struct aleat_denoiser_info {
    int64_t channels, height, width; /**< of x; height and width are 0 if any size goes */
    int64_t out_channels; /**< of the raw output; the first `channels` are the prediction, any
                               further ones a learned variance */
    int64_t n_classes;    /**< label range; 0 if the network takes no label */
    int64_t null_class;   /**< label that means "no label", or -1 */
    int64_t n_times;      /**< rows of a table of times, of which t chooses one; 0: it has none */
    bool log_time;        /**< t is a noise level, whose logarithm is taken: above 0 */
    int64_t context_tokens, context_dim; /**< of a text's context; 0 if the network takes none */
    int64_t pooled_dim;                  /**< of its pooled vector, or 0 */
    bool takes_guidance;                 /**< aleat_text.guidance is read */
    int64_t features;      /**< inputs of the last layer, for an image; 0: see ops->features */
    double dropout;        /**< greatest probability of the network's dropout; 0: it has none */
    int extra_evaluations; /**< of a network for an image in each call, beyond the first: 0 for a
                                network, 1 for classifier-free guidance around it */
} aleat_denoiser_info;

/** What one image is conditioned on besides a label: an encoded text and its kin. Borrowed. */
typedef struct aleat_text {
    const float *context; /**< [context_tokens, context_dim] */
    const float *pooled;  /**< [pooled_dim], or NULL for networks without */
    float guidance; /**< for networks distilled from guidance: its scale, as they are fed it */
} aleat_text;

/** What an evaluation is conditioned on; borrowed. Zero-initialised: unconditional. */
typedef struct aleat_condition {
    const int32_t *labels; /**< [n], or NULL */
    /** [n], or NULL. Images that have the same text point to the same one: then its keys and values
     * are computed once. Texts outlive a backward() for the batch. */
    const aleat_text *const *texts;
    /** [n] texts that classifier-free guidance leads each image away from; NULL: guidance has one
     * for all. */
    const aleat_text *const *negatives;
} aleat_condition;

/**
 * Masks of dropout for a batch: each follows from the seed, the step, and the image's number and
 * pass, whatever rows are beside it. Borrowed.
 */
typedef struct aleat_dropout {
    uint64_t seed;
    uint32_t step;
    const uint32_t *images; /**< [n] numbers in the run */
    const uint32_t *passes; /**< [n] below ALEAT_MAX_PASSES */
} aleat_dropout;

/** One batch to evaluate. All arrays are borrowed, f32, C order. */
typedef struct aleat_batch {
    int64_t n;             /**< images */
    int64_t height, width; /**< of x */
    const float *x;        /**< [n,channels,height,width], model scale */
    const float *t;        /**< [n], the time as the network of that family is fed */
    aleat_condition condition;
    const aleat_dropout *dropout; /**< predict() drops by these masks; NULL: nothing drops */
} aleat_batch;

typedef struct aleat_denoiser aleat_denoiser;

/** Methods; `self` is the denoiser's own state. */
typedef struct aleat_denoiser_ops {
    /** out [n,out_channels,height,width]: the raw network output. */
    aleat_status (*predict)(void *self, const aleat_batch *in, float *out, aleat_error *err);
    /**
     * As predict, to the same bits, keeping what backward() needs. May be NULL, with backward: no
     * gradients.
     */
    aleat_status (*forward_keep)(void *self, const aleat_batch *in, float *out, aleat_error *err);
    /**
     * grad_x [n,channels,height,width] = d <cotangent, out> / dx at the last forward_keep().
     * cotangent [n,out_channels,height,width]. May be called again for another cotangent, with
     * predict() and jvp() in between.
     */
    aleat_status (*backward)(void *self, const float *cotangent, float *grad_x, aleat_error *err);
    /**
     * Forward mode: out as predict, and tangent_out = J(x) tangent, the derivative of out along
     * tangent [n,channels,height,width]; tangent_out is like out, out may be NULL. Touches nothing
     * that forward_keep() left. May be NULL: no directional derivatives.
     */
    aleat_status (*jvp)(void *self, const aleat_batch *in, const float *tangent, float *out,
                        float *tangent_out, aleat_error *err);
    /**
     * As predict (without dropout), and features [n, info.features]: the input of the network's
     * last layer, channels last. The output is linear in them: wrappers combine both alike. May be
     * NULL: the network does not end in a convolution or linear layer.
     */
    aleat_status (*features)(void *self, const aleat_batch *in, float *features, float *out,
                             aleat_error *err);
    void (*destroy)(void *self); /**< may be NULL */
    /**
     * *images = most for which backward() need not evaluate the network a second time, since all
     * that forward_keep() leaves fits into its memory. May be NULL: any number.
     */
    aleat_status (*keep_limit)(void *self, int64_t *images, aleat_error *err);
} aleat_denoiser_ops;

struct aleat_denoiser {
    const aleat_denoiser_ops *ops;
    void *self;
    aleat_denoiser_info info;
};

/** Calls through the table. Images of a batch do not influence each other, not in the last bit. */
static inline aleat_status aleat_denoiser_predict(const aleat_denoiser *d, const aleat_batch *in,
                                                  float *out, aleat_error *err)
{
    return d->ops->predict(d->self, in, out, err);
}

/** Releases what the denoiser owns; accepts NULL ops. */
void aleat_denoiser_destroy(aleat_denoiser *d);

#endif
