/*
 * From a path on disk to a denoiser: recognises what lies there, reads its configuration, builds
 * its graph. One line per family in the registry (registry.c); a family is one file.
 */
#ifndef ALEAT_MODELS_MODEL_H
#define ALEAT_MODELS_MODEL_H

#include "denoiser/denoiser.h"
#include "graph/graph.h"
#include "io/weights.h"
#include "models/class_names.h"

/** Values of a built network that the engine feeds and reads. */
typedef struct aleat_network {
    aleat_value x;     /**< input image */
    aleat_value t;     /**< input vector [1]: time as the family is fed, or ALEAT_NO_VALUE */
    aleat_value label; /**< input vector [1], or ALEAT_NO_VALUE */
    aleat_value out;   /**< raw output */
    /** Condition inputs of networks that take texts; info says which there are. */
    aleat_value context, pooled, guidance;
} aleat_network;

/** How the user wants a model opened. Zero-initialised: defaults. */
typedef struct aleat_model_options {
    const char *family;     /**< force a family by its registry name, or NULL: recognise */
    const char *variant;    /**< "fp16", "bf16": which weight files; NULL: first found */
    int64_t height, width;  /**< image size for networks of any size; 0: the configured one */
    int64_t context_tokens; /**< of a text's context; 0: as many as the published models have */
    /*
     * What a checkpoint without a configuration does not say. 0, NULL, false: as in the published
     * model of these sizes; an error if there is none and the choice changes the result.
     */
    int64_t heads, head_dim;     /**< of every attention: their number, or the channels of one */
    const char *attention_order; /**< ADM: rows of qkv, "legacy" (head by head) or "new" */
    const char *noise_schedule;  /**< ADM: "linear" or "cosine"; U-ViT: "scaled_linear" or "vp" */
    int64_t train_steps;         /**< ADM: of the noise schedule */
    bool rescale_timesteps;      /**< ADM: the network is fed steps scaled to 0..1000 */
    double dropout; /**< U-Nets: probability instead of the configured one; acts in runs with
                       dropout */
} aleat_model_options;

/** What network.out is. */
typedef enum aleat_model_role {
    ALEAT_MODEL_DENOISER,   /**< a prediction for every pixel */
    ALEAT_MODEL_CLASSIFIER, /**< [1,1,out_channels] logits of the classes of a noisy image */
    ALEAT_MODEL_FEATURES    /**< [1,1,out_channels] logits of the classes of a clean image; without
                                 time, and with the values of aleat_feature_spec */
} aleat_model_role;

/** How an image of another size than the network's becomes one. */
typedef enum aleat_fit {
    ALEAT_FIT_EXACT,        /**< another size is an error */
    ALEAT_FIT_CENTRE,       /**< a smaller one stands in the middle of zeros (black) */
    ALEAT_FIT_BILINEAR,     /**< torch: half-pixel centres, no antialiasing */
    ALEAT_FIT_BILINEAR_TF1, /**< TensorFlow 1: source = target * in / out */
    ALEAT_FIT_BICUBIC,      /**< PIL: a = -0.5, antialiased when shrinking, clipped to 0 .. 1 */
} aleat_fit;

/** From an image to a network's input: fit the size, then x = scale[c] v + shift[c], v in 0 .. 1.
 */
typedef struct aleat_preparation {
    const char *name, *help; /**< name is NULL behind the last one of a network */
    aleat_fit fit;
    float scale[3], shift[3];
} aleat_preparation;

/** One of the values of a network that may serve as features. */
typedef struct aleat_feature_layer {
    const char *name;
    aleat_value value;
} aleat_feature_layer;

#define ALEAT_FEATURE_LAYERS 8
/** Of a network with the role ALEAT_MODEL_FEATURES. */
typedef struct aleat_feature_spec {
    const aleat_preparation *preparations;            /**< static; the first is the usual one */
    aleat_feature_layer layers[ALEAT_FEATURE_LAYERS]; /**< likewise; the rest have no name */
} aleat_feature_spec;

/** A model as found on disk: everything but the plan. */
/** A latent as a model sees it is factor (latent - shift). */
typedef struct aleat_latent_scaling {
    double factor, shift;
} aleat_latent_scaling;

typedef struct aleat_model_files {
    const char *family;     /**< registry name, e.g. "unet2d"; static */
    aleat_weights *weights; /**< owned */
    char *config_path;      /**< the network's config.json, or NULL; owned */
    char *scheduler_path;   /**< scheduler_config.json, or NULL if none; owned */
    char *scheduler_text;   /**< without a path: the same as JSON text for families whose files
                                 have no scheduler; NULL if unknown; owned */
    char *config_text;      /**< effective configuration as JSON text, for `info`; owned */
    aleat_model_role role;
    aleat_feature_spec features; /**< of ALEAT_MODEL_FEATURES */
    /** The network's t for training step s (from 0, may have a fraction) of that scheduler is
     * time_scale (s + time_offset). */
    double time_scale, time_offset;
    /** Of flow models: tokens of an image, by whose number levels are shifted, and whether runs go
     * down to 1 / steps, as FLUX's pipeline does, not to the least level of training. */
    int64_t image_tokens;
    bool flow_to_one_step;
    /** Of the latents that the family was trained on, where their autoencoders' files do not tell
     * it; factor 0: no such family. */
    aleat_latent_scaling latents;
    aleat_denoiser_info info;
    aleat_class_names class_names; /**< owned; none for models without classes */
    aleat_graph *graph; /**< built for info.height x info.width; owned; borrows weights */
    aleat_network network;
} aleat_model_files;

/**
 * Opens a diffusers pipeline folder (model_index.json with unet/ and scheduler/), a flat folder
 * (config.json + weights, scheduler_config.json beside it if there is one), or a single file of a
 * family that is recognised by its tensors. Errors say which file, tensor or config key, what was
 * expected and what to try. Superfluous tensors are an error unless the family lists them as
 * harmless.
 */
ALEAT_MUST_USE aleat_status aleat_model_files_open(aleat_model_files *out, const char *path,
                                                   const aleat_model_options *options,
                                                   aleat_error *err);
/**
 * Builds a network from its config.json and weights that the caller has made; out owns the weights,
 * also on failure. weights NULL: a blueprint, whose graph names every tensor and its shape and
 * cannot run (what a training starts from).
 */
ALEAT_MUST_USE aleat_status aleat_model_files_build(aleat_model_files *out, const char *config_path,
                                                    aleat_weights *weights,
                                                    const aleat_model_options *options,
                                                    aleat_error *err);
void aleat_model_files_close(aleat_model_files *model);

/** One family. */
typedef struct aleat_model_family {
    const char *name, *description;
    /** Does this folder/file look like one of ours? Cheap; must not fail. `class_name` is the
     * config's _class_name or NULL; `weights` may be NULL when only a config has been seen. */
    bool (*recognises)(const char *class_name, aleat_weights *weights);
    /** Builds the graph and fills out->info, network, config_text, and where they are not the
     * default (none, denoiser, t = s) scheduler_text, role and time; out->weights and the paths
     * are set before. On failure what it made is released by aleat_model_files_close(). */
    aleat_status (*build)(aleat_model_files *out, const aleat_model_options *options,
                          aleat_error *err);
    /** Tensors that may be there unused, as shell patterns ended by NULL; or NULL: none. */
    const char *const *harmless;
} aleat_model_family;

/** The registry, ended by NULL. */
extern const aleat_model_family *const aleat_model_families[];

#endif
