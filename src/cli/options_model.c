/* Options that say which model, and how it is computed; general ones. */
#include "cli/options.h"

static const aleat_cli_option general[] = {
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
const aleat_cli_group aleat_cli_general_options = {"General", general};

static const aleat_cli_option model[] = {
    PRECISION_OPTION,
    THREADS_OPTION,
    VARIANT_OPTION,
    FAMILY_OPTION,
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
const aleat_cli_group aleat_cli_model_options = {"Model", model};

// Sizes and precision are those of the picture.
static const aleat_cli_option replay_model[] = {
    THREADS_OPTION,
    VARIANT_OPTION,
    FAMILY_OPTION,
    {.name = "memory",
     .type = ALEAT_CLI_SIZE,
     .offset = AT(memory),
     .value = "SIZE",
     .help = "most that activations may take beside the weights"},
    {0},
};
const aleat_cli_group aleat_cli_replay_model_options = {"Model", replay_model};

// Of ADM and U-ViT files, which hold tensors only.
static const aleat_cli_option unsaid[] = {
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
     .help = "of U-Nets, for mc-dropout; 0: as in training"},
    {.name = "raw-time",
     .type = ALEAT_CLI_FLAG,
     .offset = AT(raw_time),
     .help = "samplers tell the network the training step itself, as the paper's program does, "
             "not the time it was trained with"},
    {0},
};
const aleat_cli_group aleat_cli_unsaid_options = {"What ADM and U-ViT files do not say", unsaid};

static const aleat_cli_option info[] = {
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
const aleat_cli_group aleat_cli_info_options = {"What to show", info};

static const char *part_name(int i, const char **help)
{
    static const char *const parts[][2] = {
        [ALEAT_CLI_NETWORK] = {"network", "that predicts the noise"},
        [ALEAT_CLI_DECODER] = {"decoder", "of an autoencoder, or of a pipeline with one"},
    };
    if (i >= (int)(sizeof parts / sizeof *parts))
        return NULL;
    if (help)
        *help = parts[i][1];
    return parts[i][0];
}

static const aleat_cli_option bench[] = {
    {.name = "part",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(part),
     .value = "P",
     .fallback = "network",
     .choices = part_name,
     .help = "of the model; a decoder's --height and --width are those of latents, by default 64"},
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
const aleat_cli_group aleat_cli_bench_options = {"What to time", bench};
