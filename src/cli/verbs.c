/* The tables: what each verb is called and takes. */
#include "cli/verbs.h"

#include <string.h>

#define AT(member) offsetof(aleat_cli_args, member)

static const aleat_cli_option general_options[] = {
    {.name = "json",
     .type = ALEAT_CLI_FLAG,
     .offset = AT(json),
     .help = "results on stdout as one line of JSON"},
    {.name = "quiet",
     .letter = 'q',
     .type = ALEAT_CLI_FLAG,
     .offset = AT(quiet),
     .help = "no progress, no remarks"},
    {.name = "help",
     .letter = 'h',
     .type = ALEAT_CLI_FLAG,
     .offset = AT(help),
     .help = "explain this verb"},
    {0},
};
static const aleat_cli_group general = {"General", general_options};

// Of every verb that runs a network.
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

static const aleat_cli_option model_options[] = {
    PRECISION_OPTION,
    THREADS_OPTION,
    VARIANT_OPTION,
    {.name = "family",
     .type = ALEAT_CLI_STRING,
     .offset = AT(family),
     .value = "NAME",
     .help = "do not recognise the kind of network, take this one"},
    {.name = "height",
     .type = ALEAT_CLI_INT,
     .offset = AT(height),
     .value = "H",
     .fallback = "0",
     .min = 0,
     .max = 65536,
     .help = "image height, for networks of any size, in latents unless there are prompts; 0: as "
             "configured"},
    {.name = "width",
     .type = ALEAT_CLI_INT,
     .offset = AT(width),
     .value = "W",
     .fallback = "0",
     .min = 0,
     .max = 65536,
     .help = "image width, likewise"},
    {.name = "memory",
     .type = ALEAT_CLI_SIZE,
     .offset = AT(memory),
     .value = "SIZE",
     .help = "most that activations may take beside the weights, like 4G; no result depends on it"},
    {0},
};
static const aleat_cli_group model = {"Model", model_options};

// Sizes and precision are those of the picture.
static const aleat_cli_option replay_model_options[] = {
    THREADS_OPTION,
    VARIANT_OPTION,
    {.name = "family",
     .type = ALEAT_CLI_STRING,
     .offset = AT(family),
     .value = "NAME",
     .help = "do not recognise the kind of network, take this one"},
    {.name = "memory",
     .type = ALEAT_CLI_SIZE,
     .offset = AT(memory),
     .value = "SIZE",
     .help = "most that activations may take beside the weights"},
    {0},
};
static const aleat_cli_group replay_model = {"Model", replay_model_options};

// Of ADM and U-ViT files, which hold tensors only.
static const aleat_cli_option unsaid_options[] = {
    {.name = "heads",
     .type = ALEAT_CLI_INT,
     .offset = AT(heads),
     .value = "N",
     .fallback = "0",
     .min = 0,
     .max = 65536,
     .help = "attention heads in every layer; 0: as published"},
    {.name = "head-dim",
     .type = ALEAT_CLI_INT,
     .offset = AT(head_dim),
     .value = "C",
     .fallback = "0",
     .min = 0,
     .max = 65536,
     .help = "channels of a head, instead of their number"},
    {.name = "attention-order",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(attention_order),
     .value = "O",
     .fallback = "auto",
     .choices = aleat_attention_order_name,
     .help = "rows of ADM's queries, keys and values"},
    {.name = "noise-schedule",
     .type = ALEAT_CLI_STRING,
     .offset = AT(noise_schedule),
     .value = "S",
     .help = "trained with: linear, cosine (ADM); scaled_linear, vp (U-ViT)"},
    {.name = "train-steps",
     .type = ALEAT_CLI_INT,
     .offset = AT(train_steps),
     .value = "T",
     .fallback = "0",
     .min = 0,
     .max = 1000000,
     .help = "steps of ADM's noise schedule; 0: 1000"},
    {.name = "rescale-timesteps",
     .type = ALEAT_CLI_FLAG,
     .offset = AT(rescale_timesteps),
     .help = "ADM is told steps scaled to 0..1000"},
    {.name = "dropout",
     .type = ALEAT_CLI_DOUBLE,
     .offset = AT(dropout),
     .value = "P",
     .fallback = "0",
     .min = 0,
     .max = 0.999,
     .help = "of ADM in training; 0: as published"},
    {.name = "raw-time",
     .type = ALEAT_CLI_FLAG,
     .offset = AT(raw_time),
     .help = "samplers tell the network the training step itself, as the paper's program does, "
             "not the time it was trained with"},
    {0},
};
static const aleat_cli_group unsaid = {"What ADM and U-ViT files do not say", unsaid_options};

static const aleat_cli_option info_options[] = {
    {.name = "tensors",
     .type = ALEAT_CLI_FLAG,
     .offset = AT(tensors),
     .help = "list every tensor (always in --json)"},
    {.name = "tensor",
     .type = ALEAT_CLI_STRING,
     .offset = AT(tensor),
     .value = "NAME",
     .help = "write this tensor of a weight file to --out"},
    {.name = "out",
     .type = ALEAT_CLI_PATH,
     .offset = AT(out),
     .value = "T.npy",
     .help = "where it goes, as float32"},
    {0},
};
static const aleat_cli_group info = {"What to show", info_options};

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

static const aleat_cli_option score_options[] = {
    {.name = "x",
     .type = ALEAT_CLI_PATH,
     .offset = AT(x),
     .value = "X.npy",
     .required = true,
     .help = "[N,C,H,W] the noisy images"},
    {.name = "t",
     .type = ALEAT_CLI_STRING,
     .offset = AT(t),
     .value = "T|T.npy",
     .required = true,
     .help = "time as networks of this family are fed it: one for all, or [N]"},
    {.name = "label",
     .type = ALEAT_CLI_STRING,
     .offset = AT(label),
     .value = "Y|Y.npy",
     .help = "class, for networks that take one, by number or name: one for all, a list, or [N]"},
    TEXT_OPTIONS,
    {.name = "out",
     .type = ALEAT_CLI_PATH,
     .offset = AT(out),
     .value = "EPS.npy",
     .required = true,
     .help = "where the output goes, [N,C',H,W], all channels"},
    {.name = "cotangent",
     .type = ALEAT_CLI_PATH,
     .offset = AT(cotangent),
     .value = "V.npy",
     .help = "also the gradient of <V, output>; V is like the output"},
    {.name = "grad",
     .type = ALEAT_CLI_PATH,
     .offset = AT(grad),
     .value = "G.npy",
     .help = "where that gradient goes, like x"},
    {0},
};
static const aleat_cli_group score = {"Arrays (float32 .npy)", score_options};

static const aleat_cli_option features_options[] = {
    {.name = "images",
     .type = ALEAT_CLI_PATH,
     .offset = AT(image_set),
     .value = "SET",
     .required = true,
     .help = "a run, an .npy of images, or a data set as `train` takes it"},
    {.name = "split",
     .type = ALEAT_CLI_STRING,
     .offset = AT(split),
     .value = "S",
     .help = "of a data set: train (usual) or test"},
    {.name = "out",
     .type = ALEAT_CLI_PATH,
     .offset = AT(out),
     .value = "F.npy",
     .help = "where the features go, [N,D]"},
    {.name = "logits",
     .type = ALEAT_CLI_PATH,
     .offset = AT(logits),
     .value = "L.npy",
     .help = "where the logits go, [N,classes]"},
    {.name = "layer",
     .type = ALEAT_CLI_STRING,
     .offset = AT(layer),
     .value = "NAME",
     .help = "other features than the usual ones; of Inception: 2048 (usual), 768, 192, 64, "
             "spatial, logits_unbiased"},
    {.name = "prepare",
     .type = ALEAT_CLI_STRING,
     .offset = AT(preparation),
     .value = "NAME",
     .help = "how images become the network's input; of Inception: pytorch-fid (usual), tf1, "
             "clean-fid"},
    {.name = "batch",
     .type = ALEAT_CLI_INT,
     .offset = AT(batch),
     .value = "N",
     .fallback = "32",
     .min = 1,
     .max = 4096,
     .help = "images evaluated at once; no result depends on it"},
    PRECISION_OPTION,
    THREADS_OPTION,
    {0},
};
static const aleat_cli_group features = {"Features", features_options};

static const aleat_cli_option bench_options[] = {
    {.name = "batch",
     .type = ALEAT_CLI_INT,
     .offset = AT(batch),
     .value = "N",
     .fallback = "5",
     .min = 1,
     .max = 1024,
     .help = "images evaluated at once"},
    {.name = "repeats",
     .type = ALEAT_CLI_INT,
     .offset = AT(repeats),
     .value = "K",
     .fallback = "0",
     .min = 0,
     .max = 1000,
     .help = "timed runs; 0: for two seconds, at least 5"},
    {.name = "vjp",
     .type = ALEAT_CLI_FLAG,
     .offset = AT(vjp),
     .help = "time the evaluation together with its vector-Jacobian product"},
    {.name = "guide",
     .type = ALEAT_CLI_FLAG,
     .offset = AT(guide),
     .help = "time a guided step (--batch images, --copies each) beside its evaluations alone"},
    {.name = "copies",
     .type = ALEAT_CLI_INT,
     .offset = AT(copies),
     .value = "M",
     .fallback = "5",
     .min = 2,
     .max = 65536,
     .help = "copies of a guided step"},
    {.name = "schedule",
     .type = ALEAT_CLI_PATH,
     .offset = AT(schedule),
     .value = "FILE",
     .help = "for --guide: a scheduler_config.json to use instead of the model's"},
    {0},
};
static const aleat_cli_group bench = {"What to time", bench_options};

static const aleat_cli_option sampling_options[] = {
    {.name = "steps",
     .type = ALEAT_CLI_INT,
     .offset = AT(steps),
     .value = "S",
     .fallback = "50",
     .min = 1,
     .max = 1000000,
     .help = "sampling steps"},
    {.name = "sampler",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(sampler),
     .value = "NAME",
     .fallback = "auto",
     .choices = aleat_cli_sampler_choice,
     .help = "how to get from one step to the next"},
    {.name = "eta",
     .type = ALEAT_CLI_DOUBLE,
     .offset = AT(eta),
     .value = "E",
     .fallback = "0",
     .min = 0,
     .max = 1000,
     .help = "noise of DDIM: 0 none, 1 as much as DDPM"},
    {.name = "schedule",
     .type = ALEAT_CLI_PATH,
     .offset = AT(schedule),
     .value = "FILE",
     .help = "a scheduler_config.json to use instead of the model's"},
    {.name = "respacing",
     .type = ALEAT_CLI_STRING,
     .offset = AT(respacing),
     .value = "R",
     .help = "ddim, ddpm: the steps and conventions of guided-diffusion's timestep_respacing: 250, "
             "ddim50, 10,15,20"},
    {0},
};
static const aleat_cli_group sampling = {"Sampling", sampling_options};

#define GRADIENT_OPTION                                                                            \
    {                                                                                              \
        .name = "gradient", .type = ALEAT_CLI_CHOICE, .offset = AT(gradient), .value = "G",        \
        .fallback = "vjp", .choices = aleat_gradient_name, .help = "how the gradient is made"      \
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

static const aleat_cli_option at_state_options[] = {
    {.name = "x",
     .type = ALEAT_CLI_PATH,
     .offset = AT(x),
     .value = "X.npy",
     .help = "[N,C,H,W] the noisy images"},
    {.name = "t",
     .type = ALEAT_CLI_STRING,
     .offset = AT(t),
     .value = "T",
     .help = "training step of these images, from 0; of flow models 1000 sigma"},
    {.name = "label",
     .type = ALEAT_CLI_STRING,
     .offset = AT(label),
     .value = "Y|Y.npy",
     .help = "class, for networks that take one, by number or name: one for all, a list, or [N]"},
    TEXT_OPTIONS,
    {.name = "negative-context",
     .type = ALEAT_CLI_PATH,
     .offset = AT(negative_context),
     .value = "C.npy",
     .help = "[1,tokens,D] the empty or negative text, for --cfg-scale"},
    {.name = "negative-pooled",
     .type = ALEAT_CLI_PATH,
     .offset = AT(negative_pooled),
     .value = "P.npy",
     .help = "[1,D] its pooled vector, likewise"},
    {.name = "noise",
     .type = ALEAT_CLI_PATH,
     .offset = AT(noise),
     .value = "Z.npy",
     .help = "[M,N,C,H,W] normals of the copies, instead of drawn ones"},
    {.name = "out",
     .type = ALEAT_CLI_PATH,
     .offset = AT(out),
     .value = "U.npy",
     .help = "where the map goes, [N,C,H,W]"},
    {.name = "x0",
     .type = ALEAT_CLI_PATH,
     .offset = AT(x0),
     .value = "X0.npy",
     .help = "also the predicted x0 that the copies start from"},
    {.name = "eps",
     .type = ALEAT_CLI_PATH,
     .offset = AT(eps),
     .value = "EPS.npy",
     .help = "also the predicted noise at x"},
    {.name = "grad",
     .type = ALEAT_CLI_PATH,
     .offset = AT(grad),
     .value = "G.npy",
     .help = "also d sum(U) / d eps; of flow models d v"},
    {0},
};
static const aleat_cli_group at_state = {"Arrays (float32 .npy)", at_state_options};

static const aleat_cli_option estimate_options[] = {
    {.name = "copies",
     .type = ALEAT_CLI_INT,
     .offset = AT(copies),
     .value = "M",
     .fallback = "0",
     .min = 0,
     .max = 65536,
     .help = "copies to compare; 0: as many as --noise holds, else 5"},
    {.name = "stat",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(stat),
     .value = "S",
     .fallback = "eps-var",
     .choices = aleat_statistic_name,
     .help = "what is compared"},
    {.name = "clip",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(clip),
     .value = "C",
     .fallback = "auto",
     .choices = aleat_clip_name,
     .help = "what the copies start from"},
    {.name = "seed",
     .type = ALEAT_CLI_SEED,
     .offset = AT(seed),
     .value = "N",
     .fallback = "0",
     .help = "of drawn normals"},
    {.name = "schedule",
     .type = ALEAT_CLI_PATH,
     .offset = AT(schedule),
     .value = "FILE",
     .help = "a scheduler_config.json to use instead of the model's"},
    CFG_OPTION,
    GRADIENT_OPTION,
    {.name = "cosine",
     .type = ALEAT_CLI_FLAG,
     .offset = AT(cosine),
     .help = "compare that gradient with the exact one: a cosine for each image"},
    COMPAT_OPTION,
    {0},
};
static const aleat_cli_group estimate = {"Uncertainty", estimate_options};

static const aleat_cli_option images_options[] = {
    {.name = "count",
     .letter = 'n',
     .type = ALEAT_CLI_INT,
     .offset = AT(n),
     .value = "N",
     .fallback = "1",
     .min = 1,
     .max = 4294967295,
     .help = "how many"},
    {.name = "seed",
     .type = ALEAT_CLI_SEED,
     .offset = AT(seed),
     .value = "N",
     .fallback = "0",
     .help = "what all random numbers follow from"},
    {.name = "labels",
     .type = ALEAT_CLI_STRING,
     .offset = AT(labels),
     .value = "0,name,..|all|Y.npy",
     .help = "classes by number or name (ImageNet's, or the model's own), repeated over the "
             "images; all: every class in turn"},
    {.name = "cfg-scale",
     .type = ALEAT_CLI_AUTO,
     .offset = AT(cfg_scale),
     .value = "W",
     .fallback = "auto",
     .min = -1000,
     .max = 1000,
     .help = "classifier-free guidance, u + W (c - u): twice the evaluations; 1: none; auto: 7.5 "
             "for prompts (SD 3: 7, FLUX.1: none), none for classes"},
    {.name = "batch",
     .type = ALEAT_CLI_INT,
     .offset = AT(batch),
     .value = "B",
     .fallback = "0",
     .min = 0,
     .max = 16,
     .help = "images at once, 0: by their size; no result depends on it"},
    {.name = "rng",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(rng),
     .value = "R",
     .fallback = "philox",
     .choices = aleat_rng_name,
     .help = "random numbers"},
    {.name = "init",
     .type = ALEAT_CLI_PATH,
     .offset = AT(init),
     .value = "XT.npy",
     .help = "[N,C,H,W] normals to start from"},
    {.name = "noise-dir",
     .type = ALEAT_CLI_PATH,
     .offset = AT(noise_dir),
     .value = "DIR",
     .help = "stored noise: step.npy [steps,N,C,H,W], copy.npy [steps or 1,M,N,C,H,W]"},
    {.name = "trajectory",
     .type = ALEAT_CLI_PATH,
     .offset = AT(trajectory),
     .value = "TRAJ.npy",
     .help = "also all states, [steps+1,N,C,H,W], first noise, last images"},
    {.name = "report",
     .type = ALEAT_CLI_FLAG,
     .offset = AT(report),
     .help = "also RUN/report.html, the page that 'aleat report RUN' writes"},
    {.name = "run",
     .letter = 'o',
     .type = ALEAT_CLI_PATH,
     .offset = AT(run),
     .value = "RUN",
     .required = true,
     .help = "the folder to write"},
    {.name = "resume",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(resume),
     .value = "R",
     .fallback = "auto",
     .choices = aleat_resume_name,
     .help = "if RUN holds a run already"},
    {0},
};
static const aleat_cli_group images = {"Images", images_options};

static const aleat_cli_option scoring_options[] = {
    {.name = "uncertainty",
     .type = ALEAT_CLI_FLAG,
     .offset = AT(uncertainty),
     .help = "maps and scores of uncertainty"},
    {.name = "copies",
     .type = ALEAT_CLI_INT,
     .offset = AT(copies),
     .value = "M",
     .fallback = "5",
     .min = 2,
     .max = 65536,
     .help = "copies compared at each scored step"},
    {.name = "score-steps",
     .type = ALEAT_CLI_RANGE,
     .offset = AT(score_steps),
     .value = "A:B",
     .help = "steps that are scored, from 0, B not included; default: 0.90 <= step/S < 0.98"},
    {.name = "maps",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(maps),
     .value = "K",
     .fallback = "sum",
     .choices = aleat_cli_maps_choice,
     .help = "maps to keep"},
    {.name = "keep-x0",
     .type = ALEAT_CLI_FLAG,
     .offset = AT(keep_x0),
     .help = "also the x0 predicted at every step, in x0-steps.npy"},
    {.name = "show",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(show),
     .value = "MAP",
     .fallback = "x0-var",
     .choices = aleat_map_name,
     .help = "map of the pictures and of their order"},
    {.name = "clip",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(clip),
     .value = "C",
     .fallback = "auto",
     .choices = aleat_clip_name,
     .help = "what the copies start from"},
    {.name = "stat",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(stat),
     .value = "S",
     .fallback = "auto",
     .choices = aleat_cli_run_statistic_choice,
     .help = "what guidance climbs, and a further map of scored runs"},
    COMPAT_OPTION,
    {0},
};
static const aleat_cli_group scoring = {"Uncertainty", scoring_options};

static const aleat_cli_option guiding_options[] = {
    {.name = "guide",
     .type = ALEAT_CLI_FLAG,
     .offset = AT(guide),
     .help = "move the most uncertain pixels along the gradient of their uncertainty"},
    {.name = "percentile",
     .type = ALEAT_CLI_DOUBLE,
     .offset = AT(percentile),
     .value = "P",
     .fallback = "0.95",
     .min = 0,
     .max = 1,
     .help = "share of the pixels that stay"},
    {.name = "strength",
     .type = ALEAT_CLI_DOUBLE,
     .offset = AT(strength),
     .value = "L",
     .fallback = "1.0",
     .min = 0,
     .max = 1e9,
     .help = "length of the move"},
    {.name = "guide-steps",
     .type = ALEAT_CLI_RANGE,
     .offset = AT(guide_steps),
     .value = "A:B",
     .help = "steps that are guided; default: all"},
    {.name = "guide-sign",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(guide_sign),
     .value = "S",
     .fallback = "+",
     .choices = aleat_cli_sign_choice,
     .help = "direction"},
    {.name = "threshold-file",
     .type = ALEAT_CLI_PATH,
     .offset = AT(threshold_file),
     .value = "F.npz",
     .help = "thresholds by step, channel and pixel ('aleat threshold') instead of --percentile"},
    GRADIENT_OPTION,
    {0},
};
static const aleat_cli_group guiding = {"Guidance by uncertainty", guiding_options};

static const aleat_cli_option threshold_options[] = {
    {.name = "percentile",
     .type = ALEAT_CLI_DOUBLE,
     .offset = AT(percentile),
     .value = "P",
     .fallback = "0.95",
     .min = 0,
     .max = 1,
     .help = "share of the images below"},
    {.name = "stat",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(stat),
     .value = "S",
     .fallback = "eps-var",
     .choices = aleat_statistic_name,
     .help = "which of the runs' maps"},
    {.name = "out",
     .letter = 'o',
     .type = ALEAT_CLI_PATH,
     .offset = AT(out),
     .value = "F.npz",
     .required = true,
     .help = "where the thresholds go"},
    {0},
};
static const aleat_cli_group threshold = {"Thresholds", threshold_options};

static const aleat_cli_option learning_options[] = {
    {.name = "config",
     .type = ALEAT_CLI_PATH,
     .offset = AT(config),
     .value = "FILE",
     .required = true,
     .help = "config.json of the network, as diffusers writes it"},
    {.name = "out",
     .letter = 'o',
     .type = ALEAT_CLI_PATH,
     .offset = AT(run),
     .value = "OUT",
     .required = true,
     .help = "the folder to write"},
    {.name = "task",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(task),
     .value = "T",
     .fallback = "diffusion",
     .choices = aleat_task_name,
     .help = "what is learned"},
    {.name = "data-format",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(data_format),
     .value = "F",
     .fallback = "auto",
     .choices = aleat_data_format_name,
     .help = "kind of the data set"},
    {.name = "size",
     .type = ALEAT_CLI_INT,
     .offset = AT(size),
     .value = "N",
     .fallback = "0",
     .min = 0,
     .max = 65536,
     .help = "cut the middle square of each image and resample it to N x N; 0: as they are"},
    {.name = "flip",
     .type = ALEAT_CLI_FLAG,
     .offset = AT(flip),
     .help = "mirror half of the images"},
    {.name = "shift",
     .type = ALEAT_CLI_INT,
     .offset = AT(shift),
     .value = "N",
     .fallback = "0",
     .min = 0,
     .max = 32,
     .help = "of classify: move each image by up to N pixels each way, black around"},
    {.name = "label-drop",
     .type = ALEAT_CLI_DOUBLE,
     .offset = AT(label_drop),
     .value = "P",
     .fallback = "0.1",
     .min = 0,
     .max = 0.999,
     .help = "share of images shown without their class, for classifier-free guidance"},
    {.name = "init",
     .type = ALEAT_CLI_PATH,
     .offset = AT(from),
     .value = "MODEL",
     .help = "start from the weights of this model"},
    {.name = "dropout",
     .type = ALEAT_CLI_DOUBLE,
     .offset = AT(dropout),
     .value = "P",
     .fallback = "-1",
     .min = -1,
     .max = 0.999,
     .help = "of the network in training; -1: as its config says"},
    {.name = "prediction",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(prediction),
     .value = "P",
     .fallback = "epsilon",
     .choices = aleat_prediction_type_name,
     .help = "what the network's output means"},
    {.name = "beta-schedule",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(beta_schedule),
     .value = "B",
     .fallback = "linear",
     .choices = aleat_beta_schedule_name,
     .help = "how the noise grows"},
    {.name = "seed",
     .type = ALEAT_CLI_SEED,
     .offset = AT(seed),
     .value = "N",
     .fallback = "0",
     .help = "what all random numbers follow from"},
    {0},
};
static const aleat_cli_group learning = {"What is learned", learning_options};

static const aleat_cli_option optimising_options[] = {
    {.name = "steps",
     .type = ALEAT_CLI_INT,
     .offset = AT(steps),
     .value = "S",
     .fallback = "10000",
     .min = 1,
     .max = 1000000000,
     .help = "batches to learn from"},
    {.name = "batch",
     .type = ALEAT_CLI_INT,
     .offset = AT(batch),
     .value = "B",
     .fallback = "32",
     .min = 1,
     .max = 4096,
     .help = "images in a batch"},
    {.name = "lr",
     .type = ALEAT_CLI_DOUBLE,
     .offset = AT(rate),
     .value = "R",
     .fallback = "0.0005",
     .min = 1e-12,
     .max = 1000,
     .help = "learning rate of AdamW"},
    {.name = "lr-schedule",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(rate_schedule),
     .value = "L",
     .fallback = "cosine",
     .choices = aleat_rate_schedule_name,
     .help = "how it falls"},
    {.name = "warmup",
     .type = ALEAT_CLI_INT,
     .offset = AT(warmup),
     .value = "W",
     .fallback = "500",
     .min = 0,
     .max = 1000000000,
     .help = "steps over which it rises"},
    {.name = "cooldown",
     .type = ALEAT_CLI_INT,
     .offset = AT(cooldown),
     .value = "C",
     .fallback = "0",
     .min = 0,
     .max = 1000000000,
     .help = "last steps, over which it falls; 0: all after the warm-up"},
    {.name = "weight-decay",
     .type = ALEAT_CLI_DOUBLE,
     .offset = AT(weight_decay),
     .value = "D",
     .fallback = "0.01",
     .min = 0,
     .max = 1000,
     .help = "of AdamW"},
    {.name = "clip-grad",
     .type = ALEAT_CLI_DOUBLE,
     .offset = AT(clip_grad),
     .value = "G",
     .fallback = "1",
     .min = 0,
     .max = 1e9,
     .help = "longest gradient; 0: any"},
    {.name = "ema",
     .type = ALEAT_CLI_DOUBLE,
     .offset = AT(ema),
     .value = "A",
     .fallback = "0.999",
     .min = 0,
     .max = 0.9999999,
     .help = "factor of the weights' moving average, which is what is written"},
    {.name = "precision",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(precision),
     .value = "P",
     .fallback = "f32",
     .choices = aleat_precision_name,
     .help = "arithmetic of the network; weights and sums stay f32"},
    {.name = "threads",
     .type = ALEAT_CLI_INT,
     .offset = AT(threads),
     .value = "K",
     .fallback = "0",
     .min = 0,
     .max = 1024,
     .help = "threads, 0: all processors; no result depends on it"},
    {0},
};
static const aleat_cli_group optimising = {"Optimiser", optimising_options};

static const aleat_cli_option watching_options[] = {
    {.name = "checkpoint-every",
     .type = ALEAT_CLI_DOUBLE,
     .offset = AT(checkpoint_every),
     .value = "SEC",
     .fallback = "300",
     .min = 0,
     .max = 1e9,
     .help = "seconds between checkpoints"},
    {.name = "validate-every",
     .type = ALEAT_CLI_INT,
     .offset = AT(validate_every),
     .value = "N",
     .fallback = "1000",
     .min = 0,
     .max = 1000000000,
     .help = "steps between measurements of the loss on held-out images; 0: none"},
    {.name = "validation",
     .type = ALEAT_CLI_DOUBLE,
     .offset = AT(validation),
     .value = "P",
     .fallback = "0.1",
     .min = 0.000001,
     .max = 0.999999,
     .help = "share of the images held out for that, if the data set has no test part"},
    {.name = "sample-every",
     .type = ALEAT_CLI_INT,
     .offset = AT(sample_every),
     .value = "N",
     .fallback = "1000",
     .min = 0,
     .max = 1000000000,
     .help = "steps between pictures of samples; 0: none"},
    {.name = "dtype",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(dtype),
     .value = "T",
     .fallback = "f16",
     .choices = aleat_export_dtype_name,
     .help = "type of the weights that are written"},
    {0},
};
static const aleat_cli_group watching = {"While it runs", watching_options};

static const aleat_cli_option page_options[] = {
    {.name = "page",
     .letter = 'o',
     .type = ALEAT_CLI_PATH,
     .offset = AT(page),
     .value = "PAGE.html",
     .help = "the file to write; default: RUN/report.html"},
    {.name = "compare",
     .type = ALEAT_CLI_PATH,
     .offset = AT(compare),
     .value = "RUN2",
     .help = "a run of the same seeds and labels, guided or not, to lay beside each image"},
    {.name = "max-size",
     .type = ALEAT_CLI_INT,
     .offset = AT(max_size),
     .value = "MB",
     .fallback = "20",
     .min = 1,
     .max = 1000,
     .help = "megabytes that the page may take; of more images than fit it shows a sample"},
    {.name = "seed",
     .type = ALEAT_CLI_SEED,
     .offset = AT(seed),
     .value = "N",
     .fallback = "0",
     .help = "of that sample"},
    {0},
};
static const aleat_cli_group page = {"The page", page_options};

#define DECODER_OPTION(is_required)                                                                \
    {                                                                                              \
        .name = "decoder", .type = ALEAT_CLI_PATH, .offset = AT(decoder), .value = "PATH",         \
        .required = (is_required),                                                                 \
        .help = "an AutoencoderKL: a pipeline, its vae folder, autoencoder_kl.pth, or an "         \
                "original Stable Diffusion checkpoint"                                             \
    }
#define SCALE_FACTOR_OPTION                                                                        \
    {                                                                                              \
        .name = "scale-factor", .type = ALEAT_CLI_DOUBLE, .offset = AT(scale_factor),              \
        .value = "F", .fallback = "0", .min = 0, .max = 1e6,                                       \
        .help = "of latents; 0: the configured one, or 0.18215"                                    \
    }
#define TILE_OPTION                                                                                \
    {                                                                                              \
        .name = "tile", .type = ALEAT_CLI_INT, .offset = AT(tile), .value = "N", .fallback = "0",  \
        .min = -1, .max = 65536,                                                                   \
        .help = "larger images are worked on in tiles of N x N latents, whose memory bounds the "  \
                "whole; 0: 64; -1: never"                                                          \
    }
#define OVERLAP_OPTION                                                                             \
    {                                                                                              \
        .name = "overlap", .type = ALEAT_CLI_INT, .offset = AT(overlap), .value = "N",             \
        .fallback = "0", .min = 0, .max = 65535,                                                   \
        .help = "latents over which neighbouring tiles are blended; 0: a quarter of a tile"        \
    }
static const aleat_cli_option vae_options[] = {
    DECODER_OPTION(true), SCALE_FACTOR_OPTION, TILE_OPTION, OVERLAP_OPTION, {0},
};
static const aleat_cli_group vae = {"Autoencoder", vae_options};

// An autoencoder has no other use for the model's options.
static const aleat_cli_option vae_run_options[] = {
    PRECISION_OPTION,
    THREADS_OPTION,
    VARIANT_OPTION,
    {0},
};
static const aleat_cli_group vae_run = {"Computation", vae_run_options};

static const aleat_cli_option decode_options[] = {
    {.name = "latents",
     .type = ALEAT_CLI_PATH,
     .offset = AT(latents),
     .value = "L.npy",
     .required = true,
     .help = "[N,c,h,w] latents as diffusion models see them"},
    {.name = "out",
     .type = ALEAT_CLI_PATH,
     .offset = AT(out),
     .value = "IMG.npy",
     .required = true,
     .help = "where the images go, [N,C,H,W], about [-1, 1], not clamped"},
    {.name = "cotangent",
     .type = ALEAT_CLI_PATH,
     .offset = AT(cotangent),
     .value = "V.npy",
     .help = "also the gradient of <V, images>; V is like the images"},
    {.name = "grad",
     .type = ALEAT_CLI_PATH,
     .offset = AT(grad),
     .value = "G.npy",
     .help = "where that gradient goes, like the latents"},
    {0},
};
static const aleat_cli_group decode = {"Arrays (float32 .npy)", decode_options};

static const aleat_cli_option encode_options[] = {
    {.name = "images",
     .type = ALEAT_CLI_PATH,
     .offset = AT(images),
     .value = "X.npy",
     .required = true,
     .help = "[N,C,H,W] images in [-1, 1]"},
    {.name = "out",
     .type = ALEAT_CLI_PATH,
     .offset = AT(out),
     .value = "L.npy",
     .required = true,
     .help = "where the latents go, [N,c,h,w], scaled as diffusion models see them"},
    {.name = "sample",
     .type = ALEAT_CLI_FLAG,
     .offset = AT(sample),
     .help = "draw from the latent's distribution; otherwise its mean"},
    {.name = "noise",
     .type = ALEAT_CLI_PATH,
     .offset = AT(noise),
     .value = "Z.npy",
     .help = "normals of the draw, like the latents, instead of drawn ones"},
    {.name = "seed",
     .type = ALEAT_CLI_SEED,
     .offset = AT(seed),
     .value = "N",
     .fallback = "0",
     .help = "of drawn normals"},
    {.name = "mean",
     .type = ALEAT_CLI_PATH,
     .offset = AT(mean),
     .value = "MEAN.npy",
     .help = "also the mean, not scaled"},
    {.name = "logvar",
     .type = ALEAT_CLI_PATH,
     .offset = AT(logvar),
     .value = "LV.npy",
     .help = "also the logarithm of the variance, held to [-30, 20]"},
    {.name = "cotangent",
     .type = ALEAT_CLI_PATH,
     .offset = AT(cotangent),
     .value = "V.npy",
     .help = "also the gradient of <V, mean>; V is like the latents"},
    {.name = "grad",
     .type = ALEAT_CLI_PATH,
     .offset = AT(grad),
     .value = "G.npy",
     .help = "where that gradient goes, like the images"},
    {0},
};
static const aleat_cli_group encode = {"Arrays (float32 .npy)", encode_options};

static const aleat_cli_option classifying_options[] = {
    {.name = "classifier",
     .type = ALEAT_CLI_PATH,
     .offset = AT(classifier),
     .value = "FILE",
     .help = "a classifier of noisy images (guided-diffusion) that draws the images to --labels; "
             "uncertainty stays that of the model alone"},
    {.name = "classifier-scale",
     .type = ALEAT_CLI_DOUBLE,
     .offset = AT(classifier_scale),
     .value = "S",
     .fallback = "1",
     .min = -1e6,
     .max = 1e6,
     .help = "of the gradient of log p(label | x_t)"},
    {.name = "classifier-head-dim",
     .type = ALEAT_CLI_INT,
     .offset = AT(classifier_head_dim),
     .value = "C",
     .fallback = "0",
     .min = 0,
     .max = 65536,
     .help = "channels of its attention heads; 0: as published"},
    {0},
};
static const aleat_cli_group classifying = {"Guidance by a classifier", classifying_options};

static const aleat_cli_option latent_options[] = {
    DECODER_OPTION(false),
    SCALE_FACTOR_OPTION,
    TILE_OPTION,
    OVERLAP_OPTION,
    {.name = "map-space",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(map_space),
     .value = "S",
     .fallback = "latent",
     .choices = aleat_map_space_name,
     .help = "what the pictures of maps show"},
    {.name = "carry",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(carry),
     .value = "W",
     .fallback = "jvp",
     .choices = aleat_carry_name,
     .help = "how --map-space image gets there"},
    {.name = "carry-products",
     .type = ALEAT_CLI_INT,
     .offset = AT(carry_products),
     .value = "K",
     .fallback = "4",
     .min = 1,
     .max = 65536,
     .help = "K of jvp: the estimate deviates by up to sqrt(2/K) of itself"},
    {0},
};
static const aleat_cli_group latent = {"Latent models", latent_options};

#define ENCODER_OPTION                                                                             \
    {                                                                                              \
        .name = "encoder", .type = ALEAT_CLI_INT, .offset = AT(encoder), .value = "N",             \
        .fallback = "1", .min = 1, .max = 3, .help = "which of the model's text encoders"          \
    }
#define FILE_OPTION                                                                                \
    {                                                                                              \
        .name = "file", .type = ALEAT_CLI_PATH, .offset = AT(file), .value = "TEXTS",              \
        .help = "a file with a text on each line, -: standard input"                               \
    }
#define TOKENS_OPTION(explanation)                                                                 \
    {                                                                                              \
        .name = "tokens", .type = ALEAT_CLI_INT, .offset = AT(tokens), .value = "K",               \
        .fallback = "0", .min = 0, .max = 1048576, .help = (explanation)                           \
    }
#define TOKENIZER_OPTION                                                                           \
    {                                                                                              \
        .name = "tokenizer", .type = ALEAT_CLI_PATH, .offset = AT(tokenizer), .value = "PATH",     \
        .help = "a tokenizer's file or folder, or a diffusers folder, to take it from"             \
    }

static const aleat_cli_option prompt_options[] = {
    {.name = "prompt",
     .type = ALEAT_CLI_TEXT,
     .offset = AT(prompt),
     .value = "TEXT",
     .help = "what to encode"},
    {.name = "negative",
     .type = ALEAT_CLI_TEXT,
     .offset = AT(negative),
     .value = "TEXT",
     .help = "a second text, whose row comes first"},
    FILE_OPTION,
    ENCODER_OPTION,
    TOKENS_OPTION("tokens of each text, 0: as many as the model takes"),
    TOKENIZER_OPTION,
    {.name = "clip-skip",
     .type = ALEAT_CLI_INT,
     .offset = AT(clip_skip),
     .value = "K",
     .fallback = "0",
     .min = 0,
     .max = 1000,
     .help = "without the K-1 last layers, 0: as the model does"},
    {.name = "heads",
     .type = ALEAT_CLI_INT,
     .offset = AT(heads),
     .value = "H",
     .fallback = "0",
     .min = 0,
     .max = 65536,
     .help = "attention heads of a CLIP encoder without a configuration, 0: width / 64"},
    {0},
};
static const aleat_cli_group prompts = {"Text", prompt_options};

static const aleat_cli_option encoded_options[] = {
    {.name = "out",
     .type = ALEAT_CLI_PATH,
     .offset = AT(out),
     .value = "C.npy",
     .required = true,
     .help = "where the states go, [texts,tokens,width]"},
    {.name = "pooled",
     .type = ALEAT_CLI_PATH,
     .offset = AT(pooled),
     .value = "P.npy",
     .help = "also the pooled states, [texts,width]"},
    {.name = "ids",
     .type = ALEAT_CLI_PATH,
     .offset = AT(ids),
     .value = "IDS.npy",
     .help = "also the tokens, int32 [texts,tokens]"},
    {0},
};
static const aleat_cli_group encoded = {"Arrays (float32 .npy)", encoded_options};

static const aleat_cli_option text_model_options[] = {
    PRECISION_OPTION,
    THREADS_OPTION,
    VARIANT_OPTION,
    {0},
};
static const aleat_cli_group text_model = {"Model", text_model_options};

static const aleat_cli_option tokenize_options[] = {
    {.name = "text",
     .type = ALEAT_CLI_TEXT,
     .offset = AT(prompt),
     .value = "TEXT",
     .help = "what to tokenize"},
    FILE_OPTION,
    ENCODER_OPTION,
    TOKENS_OPTION("cut and pad every text to K tokens, 0: neither"),
    {.name = "out",
     .type = ALEAT_CLI_PATH,
     .offset = AT(out),
     .value = "IDS.npy",
     .help = "write them there, int32 [texts,tokens], instead of printing them"},
    {0},
};
static const aleat_cli_group tokenizing = {"Text", tokenize_options};

#define MODEL_OPERAND                                                                              \
    .operand = "MODEL", .operand_help = "a diffusers folder, a network's folder or a weight file"

const aleat_cli_verb aleat_cli_verbs[] = {
    {.name = "generate",
     MODEL_OPERAND,
     .run = aleat_cli_generate,
     .groups = {&images, &aleat_cli_prompting, &sampling, &scoring, &guiding, &classifying, &latent, &model, &unsaid,
                &general},
     .summary = "sample images into a folder, with maps of uncertainty",
     .notes = "An interrupted run goes on when the same command is given again. RUN/contact.png "
              "shows the images by rising uncertainty; RUN/run.json tells every setting."},
    {.name = "replay",
     .operand = "IMAGE.png",
     .operand_help = "a picture of 'aleat generate', or one with the settings of A1111's web UI, "
                     "stable-diffusion.cpp or ComfyUI",
     .run = aleat_cli_replay,
     .groups = {&aleat_cli_replaying, &classifying, &replay_model, &unsaid, &general},
     .summary = "an image again from the settings in its file, and whether it is the same",
     .notes = "Returns 0 if every pixel is the same, 1 if not. Without --model the model is the one "
              "that run.json beside the picture's folder tells of. Of other programs' pictures the "
              "remarks say what was assumed or not followed."},
    {.name = "report",
     .operand = "RUN",
     .operand_help = "the folder that 'aleat generate' wrote",
     .run = aleat_cli_write_report,
     .groups = {&page, &general},
     .summary = "one HTML page to look at a run: images, maps, scores, curves",
     .notes = "The page needs no network and no server: open it in a browser. Values under the "
              "pointer are those of the .npy files wherever the page has room for them; of runs "
              "made with --maps all --keep-x0 it shows every step."},
    {.name = "uncertainty",
     MODEL_OPERAND,
     .run = aleat_cli_uncertainty,
     .groups = {&at_state, &aleat_cli_judging, &aleat_cli_judge_sampling, &aleat_cli_encoding,
                &estimate, &model, &unsaid, &general},
     .summary = "uncertainty at given noisy images, or of any image",
     .notes = "Algorithm 1 of arXiv 2412.00205: the x0 predicted at X is noised again M times, and "
              "the noise predictions of the copies are compared. G is d sum(U) / d eps, with the "
              "copies' noise held.\n"
              "With --image X -o RUN any images are judged: noised to the scored steps, looked at "
              "there, the maps averaged over R draws of that noise. Scores go to stdout and to "
              "RUN/scores.csv; x0-error is the squared error of the x0 predicted at the noised "
              "image. Without --label the class that means none is taken; --label data: those of "
              "the set."},
    {.name = "corruptions",
     .operand = "MODEL DATA",
     .operand_help = "a model, and images: as of 'aleat reconstruct'",
     .several = true,
     .run = aleat_cli_corruptions,
     .groups = {&aleat_cli_damaging, &aleat_cli_reconstruct_sampling, &aleat_cli_encoding, &model,
                &unsaid, &general},
     .summary = "how well scores tell damaged images from whole ones",
     .notes = "Each image is judged, as by 'aleat uncertainty --image', whole and with every kind "
              "of damage. Told is the area under the ROC curve of each score, the sum of its map, "
              "for both signs; intervals are by bootstrap over images. RUN/corruptions.csv and "
              ".json hold the same; an interrupted command goes on when it is given again."},
    {.name = "reconstruct",
     .operand = "MODEL DATA",
     .operand_help = "a model, and images: IDX, CIFAR-10's binary version, .npz, .npy, a folder of "
                     "pictures, a run; of a data set its test part if it has one",
     .several = true,
     .run = aleat_cli_reconstruct,
     .groups = {&aleat_cli_reconstructing, &aleat_cli_reconstruct_sampling, &aleat_cli_encoding,
                &model, &unsaid, &general},
     .summary = "noise real images halfway, denoise them, and hold the maps against the errors",
     .notes = "RUN is a run whose images are the reconstructions, with original.npy, "
              "reconstruction.npy and error.npy on [-1, 1] beside its maps, which are summed over "
              "all executed steps: 'aleat eval ause --uncertainty RUN/x0-var.npy --error "
              "RUN/error.npy' reads them. Both signs of every map are told: '+' removes what the "
              "map calls high first, '-' what it calls low. An interrupted run goes on when the "
              "same command is given again."},
    {.name = "threshold",
     .operand = "RUN...",
     .operand_help = "a folder of 'aleat generate --maps all'; more may follow",
     .several = true,
     .run = aleat_cli_threshold,
     .groups = {&threshold, &general},
     .summary = "thresholds of guidance from the maps of many images",
     .notes = "For each scored step, channel and pixel the quantile over the images of all runs, "
              "which must be alike in everything that the maps depend on and unguided. Make them "
              "with --maps all --score-steps 0:STEPS."},
    {.name = "schedule",
     .operand = "MODEL|FILE",
     .operand_help = "a model, or a scheduler_config.json",
     .run = aleat_cli_schedule,
     .groups = {&sampling, &general},
     .summary = "the steps of a sampler: noise levels and coefficients"},
    {.name = "score",
     MODEL_OPERAND,
     .run = aleat_cli_score,
     .groups = {&score, &model, &unsaid, &general},
     .summary = "one evaluation of the network: arrays in, arrays out"},
    {.name = "filter",
     .operand = "RUN",
     .operand_help = "the folder of a finished run",
     .run = aleat_cli_filter,
     .groups = {&aleat_cli_filtering, &general},
     .summary = "keep some images of a run: by a score, at random, or by a list",
     .notes = "Low or high may mean unsure: of eps-var low scores do, of x0-var and post-var high "
              "ones. Images keep their numbers; the new run.json says what they were chosen by."},
    {.name = "eval",
     .operand = "METRIC",
     .operand_help = "what to compute",
     .operands = aleat_cli_metric_choice,
     .run = aleat_cli_eval,
     .groups = {&aleat_cli_eval_sets, &aleat_cli_eval_pairs, &aleat_cli_eval_how, &general},
     .summary = "judge sets of features, or maps of uncertainty: arrays in, numbers out",
     .notes = "Each number stands on a line of stdout, with its interval if --bootstrap asks for "
              "one; remarks on numbers that too few images give go to stderr."},
    {.name = "paper",
     .operand = "ITEM MODEL",
     .operand_help = "a table or figure of arXiv 2412.00205, then a model; items",
     .operands = aleat_paper_item_name,
     .several = true,
     .run = aleat_cli_paper,
     .groups = {&aleat_cli_paper_what, &aleat_cli_paper_pool, &aleat_cli_paper_methods,
                &aleat_cli_paper_judging, &model, &unsaid, &general},
     .summary = "a table or figure of the paper on this model, from nothing",
     .notes = "OUT/ITEM.md, .json, .csv and a plot; the table goes to stdout, too. Interrupted, the "
              "same command goes on and ends in the same numbers. With a larger -n it goes on from "
              "the images that are there. Items other than table5 need --data and --network."},
    {.name = "train",
     .operand = "DATA",
     .operand_help = "a data set: IDX, CIFAR-10's binary version, .npz, or a folder of pictures",
     .run = aleat_cli_train,
     .groups = {&learning, &optimising, &watching, &general},
     .summary = "a model from a data set",
     .notes = "OUT/model is a diffusers folder, ready to sample from at every checkpoint. An "
              "interrupted training goes on when the same command is given again, to the same "
              "weights, bit for bit. --steps and --cooldown may change until the cooldown begins. "
              "OUT/loss.png shows how it goes, OUT/samples what it can do."},
    {.name = "features",
     .operand = "NETWORK",
     .operand_help = "pytorch-fid's Inception-v3 (.pth), a CIFAR ResNet (.th), or a classifier's "
                     "folder",
     .run = aleat_cli_features,
     .groups = {&features, &general},
     .summary = "features and logits of images, for distances and scores",
     .notes = "With labels in the set, the share of images whose largest logit is that of their "
              "label is told."},
    {.name = "decode",
     .run = aleat_cli_decode,
     .groups = {&decode, &vae, &vae_run, &general},
     .summary = "images of latents: arrays in, arrays out"},
    {.name = "encode",
     .run = aleat_cli_encode,
     .groups = {&encode, &vae, &vae_run, &general},
     .summary = "latents of images: arrays in, arrays out"},
    {.name = "encode-text",
     MODEL_OPERAND,
     .run = aleat_cli_encode_text,
     .groups = {&prompts, &encoded, &text_model, &general},
     .summary = "prompts through a text encoder: text in, arrays out",
     .notes = "Encoders are numbered as in diffusers folders: text_encoder, text_encoder_2, "
              "text_encoder_3. A Stable Diffusion 3 file has CLIP-L, OpenCLIP-G and T5. Longer "
              "prompts are cut with a warning."},
    {.name = "tokenize",
     .operand = "MODEL|TOKENIZER",
     .operand_help = "a model, a tokenizer's file or folder, or clip or t5 for the built-in ones",
     .run = aleat_cli_tokenize,
     .groups = {&tokenizing, &general},
     .summary = "the tokens of a text"},
    {.name = "info",
     MODEL_OPERAND,
     .run = aleat_cli_info,
     .groups = {&info, &model, &unsaid, &general},
     .summary = "what a checkpoint is: family, configuration, tensors, operations"},
    {.name = "bench",
     MODEL_OPERAND,
     .run = aleat_cli_bench,
     .groups = {&bench, &model, &unsaid, &general},
     .summary = "how fast the network is on this machine",
     .notes = "Seconds are those of one evaluation of the batch; operations are those of the "
              "forward evaluation as written, whatever algorithm computes them. --guide times the "
              "evaluation of the state and its copies, and the same with the copies' gradient."},
    {0},
};

const aleat_cli_verb *aleat_cli_find_verb(const char *name)
{
    for (const aleat_cli_verb *v = aleat_cli_verbs; v->name; v++)
        if (strcmp(v->name, name) == 0)
            return v;
    return NULL;
}
