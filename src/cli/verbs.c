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
     .help = "image height, for networks of any size; 0: as configured"},
    {.name = "width",
     .type = ALEAT_CLI_INT,
     .offset = AT(width),
     .value = "W",
     .fallback = "0",
     .min = 0,
     .max = 65536,
     .help = "image width, likewise"},
    {0},
};
static const aleat_cli_group model = {"Model", model_options};

static const aleat_cli_option info_options[] = {
    {.name = "tensors",
     .type = ALEAT_CLI_FLAG,
     .offset = AT(tensors),
     .help = "list every tensor (always in --json)"},
    {0},
};
static const aleat_cli_group info = {"What to show", info_options};

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
     .help = "class, for networks that take one: one for all, or [N]"},
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
    {0},
};
static const aleat_cli_group sampling = {"Sampling", sampling_options};

static const aleat_cli_option at_state_options[] = {
    {.name = "x",
     .type = ALEAT_CLI_PATH,
     .offset = AT(x),
     .value = "X.npy",
     .required = true,
     .help = "[N,C,H,W] the noisy images"},
    {.name = "t",
     .type = ALEAT_CLI_STRING,
     .offset = AT(t),
     .value = "T",
     .required = true,
     .help = "training step of these images, from 0"},
    {.name = "label",
     .type = ALEAT_CLI_STRING,
     .offset = AT(label),
     .value = "Y|Y.npy",
     .help = "class, for networks that take one: one for all, or [N]"},
    {.name = "noise",
     .type = ALEAT_CLI_PATH,
     .offset = AT(noise),
     .value = "Z.npy",
     .help = "[M,N,C,H,W] normals of the copies, instead of drawn ones"},
    {.name = "out",
     .type = ALEAT_CLI_PATH,
     .offset = AT(out),
     .value = "U.npy",
     .required = true,
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
     .help = "also d sum(U) / d eps; twice the evaluations, and as many gradients"},
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
     .value = "0,1,..|all|Y.npy",
     .help = "classes, repeated over the images; all: every class in turn"},
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
    {0},
};
static const aleat_cli_group guiding = {"Guidance by uncertainty", guiding_options};

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
        .fallback = "0", .min = 0, .max = 1048576, .help = explanation                             \
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
     .groups = {&images, &sampling, &scoring, &guiding, &model, &general},
     .summary = "sample images into a folder, with maps of uncertainty",
     .notes = "An interrupted run goes on when the same command is given again. RUN/contact.png "
              "shows the images by rising uncertainty; RUN/run.json tells every setting."},
    {.name = "uncertainty",
     MODEL_OPERAND,
     .run = aleat_cli_uncertainty,
     .groups = {&at_state, &estimate, &model, &general},
     .summary = "uncertainty at given noisy images: arrays in, arrays out",
     .notes = "Algorithm 1 of arXiv 2412.00205: the x0 predicted at X is noised again M times, and "
              "the noise predictions of the copies are compared. G is d sum(U) / d eps, with the "
              "copies' noise held."},
    {.name = "schedule",
     .operand = "MODEL|FILE",
     .operand_help = "a model, or a scheduler_config.json",
     .run = aleat_cli_schedule,
     .groups = {&sampling, &general},
     .summary = "the steps of a sampler: noise levels and coefficients"},
    {.name = "score",
     MODEL_OPERAND,
     .run = aleat_cli_score,
     .groups = {&score, &model, &general},
     .summary = "one evaluation of the network: arrays in, arrays out"},
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
     .groups = {&info, &model, &general},
     .summary = "what a checkpoint is: family, configuration, tensors, operations"},
    {.name = "bench",
     MODEL_OPERAND,
     .run = aleat_cli_bench,
     .groups = {&bench, &model, &general},
     .summary = "how fast the network is on this machine",
     .notes = "Seconds are those of one evaluation of the batch; operations are those of the "
              "forward evaluation as written, whatever algorithm computes them."},
    {0},
};

const aleat_cli_verb *aleat_cli_find_verb(const char *name)
{
    for (const aleat_cli_verb *v = aleat_cli_verbs; v->name; v++)
        if (strcmp(v->name, name) == 0)
            return v;
    return NULL;
}
