/*
 * Opening a model and evaluating its network.
 */
#ifndef ALEAT_MODEL_H
#define ALEAT_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aleat/array.h"
#include "aleat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A model, ready to run. Used by one thread at a time. */
typedef struct aleat_model aleat_model;

/** How to open a model. Zero-initialise: the defaults. Strings are borrowed for the call. */
typedef struct aleat_open_options {
    const char *family;     /**< a name from aleat_family_name(); NULL: recognise */
    const char *variant;    /**< "fp16": which of several weight files; NULL: the first found */
    const char *precision;  /**< a name from aleat_precision_name(); NULL: "f32" */
    int threads;            /**< 0: all processors of this process; changes no result */
    int64_t height, width;  /**< for networks of any image size; 0: the configured size */
    int64_t context_tokens; /**< of texts; 0: as many as the published models of the family have */
    int64_t max_images;     /**< evaluated at once at most; 0: 16; changes no result */
    /** Bytes that activations may take, those kept for gradients included; weights, and what
     * follows from texts alone (keys and values of attention), come on top.
     * 0: as many as 16 images need, and 1 GiB for gradients. Changes no result. A call that cannot
     * do with it fails with ALEAT_ERR_MEMORY and says how much it needs. */
    int64_t memory;
    /*
     * What files without a configuration (ADM, U-ViT) do not say. 0, NULL, false: as in the
     * published model of the same sizes; an error if there is none and the result depends on it.
     */
    int64_t heads, head_dim;     /**< of every attention: their number, or the channels of one */
    const char *attention_order; /**< a name from aleat_attention_order_name() */
    const char *noise_schedule;  /**< ADM: "linear", "cosine"; U-ViT: "scaled_linear", "vp" */
    int64_t train_steps;         /**< ADM: steps of the noise schedule */
    bool rescale_timesteps;      /**< ADM: the network is told steps scaled to 0..1000 */
    double dropout; /**< U-Nets: its probability, for mc-dropout; 0: as in training. It changes
                         nothing else */
    /** The network is told the training step itself where samplers ask it, as the program of arXiv
     * 2412.00205 does, and not the time it was trained with (U-ViT: one more). */
    bool raw_time;
} aleat_open_options;

/** What a model is. Strings live as long as the model. */
typedef struct aleat_model_facts {
    const char *path;           /**< as given to aleat_model_open() */
    const char *family;         /**< "unet2d" */
    const char *weights_path;   /**< file or index that the weights came from */
    const char *weights_format; /**< "safetensors", "torch zip", ... */
    const char *config_json;    /**< the configuration in effect, JSON text */
    const char *scheduler_path; /**< scheduler_config.json, or NULL */
    const char *scheduler_json; /**< without a path: the family's own scheduler as JSON text, or
                                     NULL if the noise it was trained with is unknown */
    /** The network's time for training step s (from 0) is time_scale (s + time_offset). */
    double time_scale, time_offset;
    const char *role; /**< "denoiser", or "classifier" of noisy images: no generate, uncertainty */
    const char *precision;
    int threads;
    int64_t channels, height, width; /**< of an image */
    /** Of the raw output: the prediction, then any learned variance; a classifier's classes. */
    int64_t out_channels;
    int64_t out_height, out_width; /**< of the raw output; a classifier's are 1 */
    int64_t n_classes,
        null_class; /**< labels are 0 .. n_classes-1; 0: none. null: -1 or "no label" */
    int64_t context_tokens, context_dim; /**< of a text's context; 0: the network takes none */
    int64_t pooled_dim;                  /**< of its pooled vector, or 0 */
    int takes_guidance;                  /**< whether it is fed a scale of guidance */
    int64_t n_tensors, n_parameters;
    double flop; /**< floating-point operations of one evaluation of one image; 0 before one, and
                    before aleat_model_measure() */
    size_t weight_bytes; /**< weights as packed for this processor */
    size_t plan_bytes;   /**< activations and scratch so far, without what follows from texts */
} aleat_model_facts;

/** One tensor of the checkpoint. */
typedef struct aleat_tensor_facts {
    const char *name;
    const char *dtype; /**< as stored: "f32", "bf16", ... */
    int n_dims;
    int64_t dim[ALEAT_ARRAY_DIMS];
} aleat_tensor_facts;

/** The i-th family, precision or attention order, with one line of explanation in *help (which may
 * be NULL); NULL beyond the last. */
ALEAT_API const char *aleat_family_name(int i, const char **help);
ALEAT_API const char *aleat_precision_name(int i, const char **help);
/** Orders of the rows of ADM's queries, keys and values; the first stands for "as published". */
ALEAT_API const char *aleat_attention_order_name(int i, const char **help);

/**
 * Opens a diffusers folder, a network's folder, or a checkpoint file of a family that is recognised
 * by its tensors.
 *
 * @param out  to be released by aleat_model_close(); NULL on error
 * @return ALEAT_ERR_IO, _FORMAT, _UNSUPPORTED, _ARGUMENT with a message that names the file, and
 *         the tensor or key in it
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_model_open(aleat_model **out, const char *path,
                                                       const aleat_open_options *options,
                                                       aleat_error *err);
/** Accepts NULL. */
ALEAT_API void aleat_model_close(aleat_model *model);

ALEAT_API aleat_model_facts aleat_model_describe(const aleat_model *model);
/** Makes flop, weight_bytes and plan_bytes known before the first evaluation, as of one image,
 * without reading a weight: a few milliseconds, whatever the model's size. */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_model_measure(aleat_model *model, aleat_error *err);
/**
 * Floating-point operations a second that the matrix kernels of this machine reach at best, with
 * the model's precision and threads; measured anew, 0.1 s. 0 if there is no memory.
 */
ALEAT_API double aleat_model_peak(const aleat_model *model);
/** What a class is called, alternatives separated by ", "; NULL if it has no name. Lives as long as
 * the model. Labels of a classifier are its outputs. */
ALEAT_API const char *aleat_model_class_name(const aleat_model *model, int64_t label);
/** The i-th tensor, 0 <= i < n_tensors, in the order of the file. */
ALEAT_API aleat_tensor_facts aleat_model_tensor(const aleat_model *model, int64_t i);

/** What texts were encoded to, for networks that take it. Each array has a row for every image, or
 * one that serves all. */
typedef struct aleat_texts {
    const aleat_array *context;  /**< [N,context_tokens,context_dim], or NULL */
    const aleat_array *pooled;   /**< [N,pooled_dim], or NULL */
    const aleat_array *guidance; /**< [N], for networks that take a scale of guidance, or NULL */
} aleat_texts;

/**
 * One evaluation of the network.
 *
 * @param x       [N,C,H,W], model scale
 * @param t       [N], the time as networks of this family are fed it
 * @param labels  [N], or NULL for a network without classes
 * @param texts   or NULL for a network that takes none
 * @param out     new, [N,out_channels,out_height,out_width]: the raw output, learned variance
 *                included; logits of a classifier
 * @param cotangent, grad  both NULL, or cotangent like out and grad a new array like x:
 *                         d <cotangent, out> / dx
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_model_evaluate(aleat_model *model, const aleat_array *x,
                                                           const float *t, const int32_t *labels,
                                                           const aleat_texts *texts,
                                                           aleat_array *out,
                                                           const aleat_array *cotangent,
                                                           aleat_array *grad, aleat_error *err);

#ifdef __cplusplus
}
#endif
#endif
