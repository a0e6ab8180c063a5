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

static const aleat_cli_option model_options[] = {
    {.name = "precision",
     .type = ALEAT_CLI_CHOICE,
     .offset = AT(precision),
     .value = "P",
     .fallback = "f32",
     .choices = aleat_precision_name,
     .help = "arithmetic of the network"},
    {.name = "threads",
     .type = ALEAT_CLI_INT,
     .offset = AT(threads),
     .value = "K",
     .fallback = "0",
     .min = 0,
     .max = 1024,
     .help = "threads, 0: all processors; no result depends on it"},
    {.name = "variant",
     .type = ALEAT_CLI_STRING,
     .offset = AT(variant),
     .value = "NAME",
     .help = "which of several weight files, as in model.NAME.safetensors: fp16, bf16"},
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

#define MODEL_OPERAND                                                                              \
    .operand = "MODEL", .operand_help = "a diffusers folder, a network's folder or a weight file"

const aleat_cli_verb aleat_cli_verbs[] = {
    {.name = "score",
     MODEL_OPERAND,
     .run = aleat_cli_score,
     .groups = {&score, &model, &general},
     .summary = "one evaluation of the network: arrays in, arrays out"},
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
