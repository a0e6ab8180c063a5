/* Options of encode-text and tokenize, and of text encoders that other models use. */
#include "cli/options.h"

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

static const aleat_cli_option prompts[] = {
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
const aleat_cli_group aleat_cli_prompts_options = {"Text", prompts};

static const aleat_cli_option encoded[] = {
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
const aleat_cli_group aleat_cli_encoded_options = {"Arrays (float32 .npy)", encoded};

static const aleat_cli_option text_model[] = {
    PRECISION_OPTION,
    THREADS_OPTION,
    VARIANT_OPTION,
    {0},
};
const aleat_cli_group aleat_cli_text_model_options = {"Model", text_model};

#define ONE_ENCODER(option, member, of)                                                            \
    {                                                                                              \
        .name = (option), .type = ALEAT_CLI_PATH, .offset = AT(encoders.member), .value = "FILE",  \
        .help = (of)                                                                               \
    }
static const aleat_cli_option encoders[] = {
    {.name = "encoders",
     .type = ALEAT_CLI_PATH,
     .offset = AT(encoders.all),
     .value = "PATH",
     .help = "a diffusers folder or a file to take them from; default: the model's"},
    ONE_ENCODER("clip-l", clip_l,
                "clip_l.safetensors or the like; of Stable Diffusion 1 and 2 their only one"),
    ONE_ENCODER("clip-g", clip_g, "clip_g.safetensors or the like, of Stable Diffusion 3"),
    ONE_ENCODER("t5", t5, "t5xxl_fp16.safetensors or the like, of Stable Diffusion 3 and FLUX.1"),
    TOKENIZER_OPTION,
    {0},
};
const aleat_cli_group aleat_cli_encoder_options = {"Text encoders in files of their own", encoders};

static const aleat_cli_option tokenizing[] = {
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
const aleat_cli_group aleat_cli_tokenizing_options = {"Text", tokenizing};
