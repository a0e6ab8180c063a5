/* Options of the verbs that look at images from elsewhere. */
#include "cli/options.h"

#define LABEL_OPTION(text)                                                                         \
    {                                                                                              \
        .name = "label", .type = ALEAT_CLI_STRING, .offset = AT(label), .value = "Y|data|Y.npy",   \
        .help = (text)                                                                             \
    }
#define FIT_OPTION                                                                                 \
    {                                                                                              \
        .name = "fit", .type = ALEAT_CLI_CHOICE, .offset = AT(fit), .value = "F",                  \
        .fallback = "centre", .choices = aleat_image_fit_name,                                     \
        .help = "how images come to the model's size"                                              \
    }
#define SIZE_OPTION                                                                                \
    {                                                                                              \
        .name = "size", .type = ALEAT_CLI_INT, .offset = AT(size), .value = "N", .fallback = "0",  \
        .min = 0, .max = 65535,                                                                    \
        .help = "first the middle square of each image, resampled to N x N: where they differ in " \
                "size; 0: as they are"                                                             \
    }
#define COPIES_OPTION                                                                              \
    {                                                                                              \
        .name = "copies", .type = ALEAT_CLI_INT, .offset = AT(copies), .value = "M",               \
        .fallback = "5", .min = 2, .max = 65536, .help = "copies compared at each scored step"     \
    }
#define RESUME_OPTION                                                                              \
    {                                                                                              \
        .name = "resume", .type = ALEAT_CLI_CHOICE, .offset = AT(resume), .value = "R",            \
        .fallback = "auto", .choices = aleat_resume_name, .help = "if RUN holds a run already"     \
    }
#define SHOW_OPTION                                                                                \
    {                                                                                              \
        .name = "show", .type = ALEAT_CLI_CHOICE, .offset = AT(show), .value = "MAP",              \
        .fallback = "x0-var", .choices = aleat_map_name,                                           \
        .help = "map of the pictures and of their order"                                           \
    }

#define COUNT_OPTION                                                                               \
    {                                                                                              \
        .name = "count", .letter = 'n', .type = ALEAT_CLI_INT, .offset = AT(n), .value = "N",      \
        .fallback = "0", .min = 0, .max = 4294967295, .help = "the first N images; 0: all"         \
    }
#define SPLIT_OPTION                                                                               \
    {                                                                                              \
        .name = "split", .type = ALEAT_CLI_STRING, .offset = AT(split), .value = "S",              \
        .help = "of a data set: test (usual, if there is one) or train"                            \
    }
#define STAT_OPTION                                                                                \
    {                                                                                              \
        .name = "stat", .type = ALEAT_CLI_CHOICE, .offset = AT(stat), .value = "S",                \
        .fallback = "auto", .choices = aleat_cli_run_statistic_choice, .help = "a further map"     \
    }
#define BOOTSTRAP_OPTION                                                                           \
    {                                                                                              \
        .name = "bootstrap", .type = ALEAT_CLI_INT, .offset = AT(bootstrap), .value = "N",         \
        .fallback = "200", .min = 0, .max = 1000000,                                               \
        .help = "resamples of the images for an interval of every number; "                        \
                "0: none"                                                                          \
    }
#define REPEATS_OPTION                                                                             \
    {                                                                                              \
        .name = "repeats", .type = ALEAT_CLI_INT, .offset = AT(repeats), .value = "R",             \
        .fallback = "1", .min = 1, .max = 1048576,                                                 \
        .help = "draws of the noise; with 2 and more all maps have standard errors, *-se.npy"      \
    }

static const aleat_cli_option reconstruct_options[] = {
    RUN_OPTION,
    COUNT_OPTION,
    SPLIT_OPTION,
    FIT_OPTION,
    SIZE_OPTION,
    LABEL_OPTION("classes, by number or name, repeated, or an .npy; default: those of the data, "
                 "else the class that means none"),
    {.name = "from",
     .type = ALEAT_CLI_STRING,
     .offset = AT(begin),
     .value = "K|SHARE",
     .fallback = "0.5",
     .help = "the first step that is executed, as its number or, with a point, as a share of the "
             "steps: images are noised to its level"},
    SEED_OPTION("what all random numbers follow from"),
    BATCH_OPTION,
    ESTIMATOR_OPTION("what is compared (default: copies); the first two also both at once"),
    COPIES_OPTION,
    SCORE_STEPS_OPTION("all that are executed, of single images 0.90 <= step/S < 0.98"),
    MAPS_OPTION,
    SHOW_OPTION,
    CLIP_OPTION,
    STAT_OPTION,
    {.name = "compat",
     .type = ALEAT_CLI_STRING,
     .offset = AT(compat),
     .value = "NAME,..",
     .choices = aleat_reconstruct_compat_name,
     .help = "do as the code published with the paper does; the variants of 'aleat generate' are "
             "taken, too"},
    BOOTSTRAP_OPTION,
    CONFIDENCE_OPTION,
    RESUME_OPTION,
    {0},
};
const aleat_cli_group aleat_cli_reconstructing = {"Images", reconstruct_options};

static const aleat_cli_option sampling_options[] = {
    STEPS_OPTION(2, "steps of the whole sampler, from pure noise"),
    SAMPLER_OPTION("ddim", "whose steps they are"),
    ETA_OPTION,
    SCHEDULE_OPTION,
    {.name = "respacing",
     .type = ALEAT_CLI_STRING,
     .offset = AT(respacing),
     .value = "R",
     .help = "ddim, ddpm: the steps of guided-diffusion's timestep_respacing: 250, ddim50"},
    CFG_OPTION,
    {0},
};
const aleat_cli_group aleat_cli_reconstruct_sampling = {"Sampling", sampling_options};

static const aleat_cli_option encoding_options[] = {
    {.name = "encoder",
     .type = ALEAT_CLI_PATH,
     .offset = AT(decoder),
     .value = "VAE",
     .help = "the autoencoder of a latent model: a diffusers folder or an autoencoder's file; "
             "maps are then those of latents"},
    {.name = "scale-factor",
     .type = ALEAT_CLI_DOUBLE,
     .offset = AT(scale_factor),
     .value = "F",
     .fallback = "0",
     .min = 0,
     .max = 1e6,
     .help = "of its latents; 0: as configured, or 0.18215"},
    {0},
};
const aleat_cli_group aleat_cli_encoding = {"Latent models", encoding_options};

// What judging takes beside the images.
static const aleat_cli_option judging_options[] = {
    {.name = "image",
     .type = ALEAT_CLI_PATH,
     .offset = AT(image),
     .value = "X",
     .help =
         "a PNG or JPEG, a folder of them (in the order of their names), an .npy, a run, a data "
         "set: judged instead of --x"},
    {.name = "run",
     .letter = 'o',
     .type = ALEAT_CLI_PATH,
     .offset = AT(run),
     .value = "RUN",
     .help = "the folder to write: maps, heat maps beside the pictures, scores.csv"},
    COUNT_OPTION,
    SPLIT_OPTION,
    FIT_OPTION,
    SIZE_OPTION,
    REPEATS_OPTION,
    SCORE_STEPS_OPTION("all that are executed, of single images 0.90 <= step/S < 0.98"),
    BATCH_OPTION,
    SHOW_OPTION,
    RESUME_OPTION,
    {0},
};
const aleat_cli_group aleat_cli_judging = {"Images (of --image)", judging_options};

static const aleat_cli_option judge_sampling_options[] = {
    STEPS_OPTION(2, "steps of the whole sampler, from pure noise"),
    SAMPLER_OPTION("ddim", "whose steps they are"),
    {0},
};
const aleat_cli_group aleat_cli_judge_sampling = {"Steps (of --image)", judge_sampling_options};

static const aleat_cli_option damaging_options[] = {
    RUN_OPTION,
    COUNT_OPTION,
    SPLIT_OPTION,
    {.name = "kinds",
     .type = ALEAT_CLI_STRING,
     .offset = AT(kinds),
     .value = "KIND=STRENGTH,..",
     .choices = aleat_cli_damage_choice,
     .help = "kinds of damage; default: all, each at its usual strength"},
    FIT_OPTION,
    SIZE_OPTION,
    LABEL_OPTION("classes, by number or name, repeated, or an .npy; default: those of the data, "
                 "else the class that means none"),
    SEED_OPTION("what all random numbers follow from"),
    BATCH_OPTION,
    ESTIMATOR_OPTION("what is compared (default: copies); the first two also both at once"),
    COPIES_OPTION,
    REPEATS_OPTION,
    SCORE_STEPS_OPTION("all that are executed, of single images 0.90 <= step/S < 0.98"),
    SHOW_OPTION,
    CLIP_OPTION,
    STAT_OPTION,
    BOOTSTRAP_OPTION,
    CONFIDENCE_OPTION,
    RESUME_OPTION,
    {0},
};
const aleat_cli_group aleat_cli_damaging = {"Images and damage", damaging_options};

const char *aleat_cli_damage_choice(int i, const char **help)
{
    aleat_corruption_facts facts;
    if (!aleat_corruption_at(i, &facts))
        return NULL;
    if (help)
        *help = facts.help;
    return facts.name;
}
