/*
 * The tables of options: each group once, and each option once that several groups have. A verb is
 * a line of verbs.c that names its groups.
 */
#ifndef ALEAT_CLI_OPTIONS_H
#define ALEAT_CLI_OPTIONS_H

#include <stddef.h>

#include "cli/verbs.h"

#define AT(member) offsetof(aleat_cli_args, member)

/* ---- options that several groups have -------------------------------------------------------- */

#define PRECISION_OPTION                                                                           \
    {                                                                                              \
        .name = "precision", .type = ALEAT_CLI_CHOICE, .offset = AT(precision), .value = "P",      \
        .fallback = "f32", .choices = aleat_precision_name, .help = "arithmetic of the network"    \
    }
#define THREADS_OPTION                                                                             \
    {                                                                                              \
        .name = "threads", .type = ALEAT_CLI_INT, .offset = AT(threads), .value = "K",             \
        .fallback = "0", .min = 0, .max = 1024,                                                    \
        .help = "threads, 0: all processors; no result depends on it"                              \
    }
#define VARIANT_OPTION                                                                             \
    {                                                                                              \
        .name = "variant", .type = ALEAT_CLI_STRING, .offset = AT(variant), .value = "NAME",       \
        .help = "which of several weight files, as in model.NAME.safetensors: fp16, bf16"          \
    }
#define TEXT_OPTIONS                                                                               \
    {.name = "context",                                                                            \
     .type = ALEAT_CLI_PATH,                                                                       \
     .offset = AT(context),                                                                        \
     .value = "C.npy",                                                                             \
     .help = "[N|1,tokens,D] encoded text, for networks that take one"},                           \
        {.name = "pooled",                                                                         \
         .type = ALEAT_CLI_PATH,                                                                   \
         .offset = AT(pooled),                                                                     \
         .value = "P.npy",                                                                         \
         .help = "[N|1,D] its pooled vector, likewise"},                                           \
    {                                                                                              \
        .name = "guidance", .type = ALEAT_CLI_STRING, .offset = AT(guidance), .value = "G|G.npy",  \
        .help = "scale that networks distilled from guidance are told (FLUX.1 dev): one, or [N]"   \
    }
#define GRADIENT_OPTION(of)                                                                        \
    {                                                                                              \
        .name = "gradient", .type = ALEAT_CLI_CHOICE, .offset = AT(gradient), .value = "G",        \
        .fallback = "vjp", .choices = aleat_gradient_name, .needs = (of),                          \
        .help = "how the gradient is made"                                                         \
    }
#define CFG_OPTION                                                                                 \
    {                                                                                              \
        .name = "cfg-scale", .type = ALEAT_CLI_DOUBLE, .offset = AT(cfg_scale), .value = "W",      \
        .fallback = "1", .min = -1000, .max = 1000,                                                \
        .help = "classifier-free guidance, u + W (c - u): twice the evaluations; 1: none"          \
    }
#define COMPAT_OPTION                                                                              \
    {                                                                                              \
        .name = "compat", .type = ALEAT_CLI_STRING, .offset = AT(compat),                          \
        .value = "NAME=VALUE,..", .choices = aleat_compat_name,                                    \
        .help = "do as the code published with the paper does"                                     \
    }
#define DECODER_OPTION(is_required)                                                                \
    {                                                                                              \
        .name = "decoder", .type = ALEAT_CLI_PATH, .offset = AT(decoder), .value = "PATH",         \
        .required = (is_required),                                                                 \
        .help = "an AutoencoderKL: a pipeline, its vae folder, autoencoder_kl.pth, or an "         \
                "original Stable Diffusion checkpoint"                                             \
    }
#define NO_T5_OPTION                                                                               \
    {                                                                                              \
        .name = "no-t5", .type = ALEAT_CLI_FLAG, .offset = AT(no_t5),                              \
        .help = "Stable Diffusion 3 without its largest text encoder"                              \
    }
#define SCALE_FACTOR_OPTION                                                                        \
    {                                                                                              \
        .name = "scale-factor", .type = ALEAT_CLI_DOUBLE, .offset = AT(scale_factor),              \
        .value = "F", .fallback = "0", .min = 0, .max = 1e6,                                       \
        .help = "of latents; 0: the configured one, or 0.18215"                                    \
    }
#define SEED_OPTION(text)                                                                          \
    {                                                                                              \
        .name = "seed", .type = ALEAT_CLI_SEED, .offset = AT(seed), .value = "N", .fallback = "0", \
        .help = (text)                                                                             \
    }
#define STEPS_OPTION(least, text)                                                                  \
    {                                                                                              \
        .name = "steps", .type = ALEAT_CLI_INT, .offset = AT(steps), .value = "S",                 \
        .fallback = "50", .min = (least), .max = 1000000, .help = (text)                           \
    }
#define SAMPLER_OPTION(usual, text)                                                                \
    {                                                                                              \
        .name = "sampler", .type = ALEAT_CLI_CHOICE, .offset = AT(sampler), .value = "NAME",       \
        .fallback = (usual), .choices = aleat_cli_sampler_choice, .help = (text)                   \
    }
#define ETA_OPTION                                                                                 \
    {                                                                                              \
        .name = "eta", .type = ALEAT_CLI_DOUBLE, .offset = AT(eta), .value = "E", .fallback = "0", \
        .min = 0, .max = 1000, .help = "noise of DDIM: 0 none, 1 as much as DDPM"                  \
    }
#define SCHEDULE_OPTION                                                                            \
    {                                                                                              \
        .name = "schedule", .type = ALEAT_CLI_PATH, .offset = AT(schedule), .value = "FILE",       \
        .help = "a scheduler_config.json to use instead of the model's"                            \
    }
#define ESTIMATOR_OPTION(text)                                                                     \
    {                                                                                              \
        .name = "estimator", .type = ALEAT_CLI_CHOICES, .offset = AT(estimators), .value = "E,..", \
        .choices = aleat_estimator_name, .help = (text)                                            \
    }
#define BATCH_OPTION                                                                               \
    {                                                                                              \
        .name = "batch", .type = ALEAT_CLI_INT, .offset = AT(batch), .value = "B",                 \
        .fallback = "0", .min = 0, .max = 16,                                                      \
        .help = "images at once, 0: by their size; no result depends on it"                        \
    }
#define RUN_OPTION                                                                                 \
    {                                                                                              \
        .name = "run", .letter = 'o', .type = ALEAT_CLI_PATH, .offset = AT(run), .value = "RUN",   \
        .required = true, .help = "the folder to write"                                            \
    }
#define CLIP_OPTION                                                                                \
    {                                                                                              \
        .name = "clip", .type = ALEAT_CLI_CHOICE, .offset = AT(clip), .value = "C",                \
        .fallback = "auto", .choices = aleat_clip_name, .help = "what the copies start from"       \
    }
#define MAPS_OPTION                                                                                \
    {                                                                                              \
        .name = "maps", .type = ALEAT_CLI_CHOICE, .offset = AT(maps), .value = "K",                \
        .fallback = "sum", .choices = aleat_cli_maps_choice, .help = "maps to keep"                \
    }
#define SCORE_STEPS_OPTION(usual)                                                                  \
    {                                                                                              \
        .name = "score-steps", .type = ALEAT_CLI_RANGE, .offset = AT(score_steps), .value = "A:B", \
        .help = "steps that are scored, from 0, B not included; default: " usual                   \
    }
#define DATA_FORMAT_OPTION                                                                         \
    {                                                                                              \
        .name = "data-format", .type = ALEAT_CLI_CHOICE, .offset = AT(data_format), .value = "F",  \
        .fallback = "auto", .choices = aleat_data_format_name, .help = "kind of the data set"      \
    }
#define SQUARE_OPTION                                                                              \
    {                                                                                              \
        .name = "size", .type = ALEAT_CLI_INT, .offset = AT(size), .value = "N", .fallback = "0",  \
        .min = 0, .max = 65536,                                                                    \
        .help = "cut the middle square of each image and resample it to N x N; 0: as they are"     \
    }
#define FAMILY_OPTION                                                                              \
    {                                                                                              \
        .name = "family", .type = ALEAT_CLI_STRING, .offset = AT(family), .value = "NAME",         \
        .help = "do not recognise the kind of network, take this one"                              \
    }
#define CLASS_OPTION                                                                               \
    {                                                                                              \
        .name = "label", .type = ALEAT_CLI_STRING, .offset = AT(label), .value = "Y|Y.npy",        \
        .help =                                                                                    \
            "class, for networks that take one, by number or name: one for all, a list, or [N]"    \
    }
#define LAYER_OPTION                                                                               \
    {                                                                                              \
        .name = "layer", .type = ALEAT_CLI_STRING, .offset = AT(layer), .value = "NAME",           \
        .help = "whose values are the features; default: the network's usual layer"                \
    }
#define PREPARE_OPTION                                                                             \
    {                                                                                              \
        .name = "prepare", .type = ALEAT_CLI_STRING, .offset = AT(preparation), .value = "NAME",   \
        .help = "how images become the network's input; default: the network's usual way"          \
    }
#define CONFIDENCE_OPTION                                                                          \
    {                                                                                              \
        .name = "confidence", .type = ALEAT_CLI_DOUBLE, .offset = AT(confidence), .value = "P",    \
        .fallback = "0.95", .min = 0.001, .max = 0.9999, .help = "of the intervals"                \
    }

/* ---- groups ---------------------------------------------------------------------------------- */

/** options_model.c */
extern const aleat_cli_group aleat_cli_general_options, aleat_cli_model_options,
    aleat_cli_replay_model_options, aleat_cli_unsaid_options, aleat_cli_info_options,
    aleat_cli_bench_options;
/** options_arrays.c */
extern const aleat_cli_group aleat_cli_score_options, aleat_cli_at_state_options,
    aleat_cli_estimate_options, aleat_cli_vae_options, aleat_cli_vae_run_options,
    aleat_cli_decode_options, aleat_cli_encode_options;
/** options_sampling.c */
extern const aleat_cli_group aleat_cli_sampling_options, aleat_cli_images_options,
    aleat_cli_scoring_options, aleat_cli_guiding_options, aleat_cli_threshold_options,
    aleat_cli_page_options, aleat_cli_classifying_options, aleat_cli_latent_options;
/** options_train.c */
extern const aleat_cli_group aleat_cli_learning_options, aleat_cli_optimising_options,
    aleat_cli_watching_options, aleat_cli_fitting_options, aleat_cli_features_options;
/** options_text.c */
extern const aleat_cli_group aleat_cli_prompts_options, aleat_cli_encoded_options,
    aleat_cli_text_model_options, aleat_cli_tokenizing_options;
/** Options of verbs that look at images from elsewhere (options_images.c). */
extern const aleat_cli_group aleat_cli_reconstructing, aleat_cli_reconstruct_sampling,
    aleat_cli_encoding, aleat_cli_judging, aleat_cli_judge_sampling, aleat_cli_damaging;

/** Options of eval and filter (options_eval.c). */
extern const aleat_cli_group aleat_cli_eval_sets, aleat_cli_eval_pairs, aleat_cli_eval_how,
    aleat_cli_filtering;

/** Options of generate and replay (options_generate.c). */
extern const aleat_cli_group aleat_cli_prompting, aleat_cli_replaying, aleat_cli_encoder_options;
/** Options of paper (options_paper.c). */
extern const aleat_cli_group aleat_cli_paper_what, aleat_cli_paper_pool, aleat_cli_paper_methods,
    aleat_cli_paper_judging;

#endif
