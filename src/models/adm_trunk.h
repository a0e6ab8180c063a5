/*
 * What the networks of guided-diffusion share: sizes read from tensor names and shapes, the time
 * embedding, the contracting half and the middle.
 * Source: Dhariwal and Nichol 2021, "Diffusion models beat GANs on image synthesis", section 3.
 */
#ifndef ALEAT_MODELS_ADM_TRUNK_H
#define ALEAT_MODELS_ADM_TRUNK_H

#include "models/config.h"
#include "models/families.h"
#include "nn/blocks.h"

#define ALEAT_ADM_RES_BLOCKS 16 /**< most in a level */
#define ALEAT_ADM_BLOCKS     (ALEAT_CONFIG_ITEMS * (ALEAT_ADM_RES_BLOCKS + 1)) /**< most in a half */

/** A network as recognised. The files have no configuration, so this is also how `info` shows it.
 */
typedef struct aleat_adm_config {
    const char *published_as; /**< files that have these sizes, or NULL */
    int64_t image_size;       /**< 0: unknown; the U-Net is convolutional */
    int64_t in_channels, out_channels, model_channels, num_res_blocks;
    aleat_config_ints level_channels, attention_downsampling; /**< attention at 1/2, 1/4 ... */
    int64_t num_classes;                                      /**< 0: no label */
    int64_t num_heads, num_head_channels;                     /**< one of them is 0 */
    bool use_new_attention_order, use_scale_shift_norm, resblock_updown;
    double dropout;
    const char *noise_schedule; /**< "linear", "cosine", or NULL: unknown */
    int64_t diffusion_steps;
    bool rescale_timesteps;
} aleat_adm_config;

/** The keys of aleat_adm_config, for aleat_config_text(). */
extern const aleat_config_key aleat_adm_keys[];

/** Number of consecutive blocks "input_blocks.0", "input_blocks.1" ... of a checkpoint, at most
 * ALEAT_ADM_BLOCKS; the same for "output_blocks". */
int aleat_adm_count_blocks(aleat_weights *weights, const char *stem);

/**
 * Reads everything that the contracting half shows, for `levels` levels of `depth` blocks. False if
 * the tensors do not fit such a network: then *config is garbage.
 */
bool aleat_adm_read_trunk(aleat_adm_config *config, aleat_weights *weights, int levels, int depth);

/** Takes heads and attention order from the options. ALEAT_ERR_ARGUMENT: heads, order or dropout
 * out of range, or a number of heads neither known nor given (then with a hint). */
ALEAT_MUST_USE aleat_status aleat_adm_read_options(aleat_adm_config *config,
                                                   const aleat_model_options *options,
                                                   const char *file, aleat_error *err);

/** Where the building functions stand. */
typedef struct aleat_adm_builder {
    aleat_graph *graph;
    const aleat_adm_config *config;
    aleat_resnet_spec resnet; /**< of an ordinary block */
    aleat_value time;         /**< time and label embedding, activated */
    aleat_value skip[ALEAT_ADM_BLOCKS + 1];
    int n_skips;
} aleat_adm_builder;

void aleat_adm_begin(aleat_adm_builder *b, aleat_graph *graph, const aleat_adm_config *config);
/** Adds the inputs t and, if the network has classes, label to `net`; sets b->time. */
void aleat_adm_embed(aleat_adm_builder *b, aleat_network *net);
/** Residual block and, if it `attends`, the attention after it: "<block>.0" and "<block>.1". */
aleat_value aleat_adm_layer(aleat_adm_builder *b, aleat_value x, const char *block, int64_t c_out,
                            bool attends);
/** Residual block that resamples. */
aleat_value aleat_adm_resample(aleat_adm_builder *b, aleat_value x, const char *prefix,
                               aleat_resample resample);
bool aleat_adm_has_attention(const aleat_adm_config *config, int level);
/** input_blocks, whose results are pushed to b->skip, and middle_block. */
aleat_value aleat_adm_trunk(aleat_adm_builder *b, aleat_value x);

#endif
