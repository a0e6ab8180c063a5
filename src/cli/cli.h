/*
 * The tool's frame: verbs and options are tables, from which parsing, --help, the man page and
 * shell completion all follow. The tool includes only the library's public headers.
 */
#ifndef ALEAT_CLI_CLI_H
#define ALEAT_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "aleat/aleat.h"

/** What the process returns. */
enum { ALEAT_EXIT_DONE = 0, ALEAT_EXIT_FAILED = 1, ALEAT_EXIT_USAGE = 2 };

/** Words that a verb of several operands takes, beside the first. */
#define ALEAT_CLI_MAX_OPERANDS 255
/** Values that an option takes which may be repeated. */
#define ALEAT_CLI_MAX_TEXTS 256

/** Steps [begin, end) as the user wrote "begin:end"; `set` is false if the option was not given. */
typedef struct aleat_cli_range {
    int64_t begin, end;
    bool set;
} aleat_cli_range;

/** The values of an option that may be repeated. */
typedef struct aleat_cli_texts_given {
    const char *at[ALEAT_CLI_MAX_TEXTS];
    int n;
} aleat_cli_texts_given;

/** What bench times of a model. */
enum aleat_cli_part { ALEAT_CLI_NETWORK, ALEAT_CLI_DECODER, ALEAT_CLI_ENCODERS, ALEAT_CLI_ALL };

/** Every option of every verb; a verb's tables say which of them it has. Strings are borrowed from
 * argv or static; NULL: not given. */
typedef struct aleat_cli_args {
    const char *operand;                               /**< the model, usually */
    const char *more_operands[ALEAT_CLI_MAX_OPERANDS]; /**< of verbs that take several */
    int n_more;
    bool json, quiet, help;
    int argc; /**< the words after the verb, borrowed */
    char **argv;
    // the model
    int64_t threads, height, width;
    int precision; /**< index into its choices */
    int64_t memory;
    const char *variant, *family, *noise_schedule;
    int64_t heads, head_dim, train_steps;
    int attention_order; /**< index into its choices */
    bool rescale_timesteps, raw_time;
    double dropout; /**< also of train */
    // arrays
    const char *x, *t, *label, *out, *cotangent, *grad;
    const char *noise, *x0, *eps;
    const char *context, *pooled, *guidance, *negative_context, *negative_pooled;
    int64_t context_tokens; /**< of no option: those of the context */
    // sampling
    const char *schedule, *respacing;
    int sampler; /**< 0: the schedule's own, else 1 + index of the sampler */
    int64_t steps, copies;
    double eta;
    uint64_t seed;
    int stat, clip; /**< index into their choices */
    // generate
    const char *run, *labels, *init, *noise_dir, *trajectory;
    int64_t n;
    int rng, resume, maps, show, guide_sign; /**< index into their choices */
    bool uncertainty, guide, keep_x0, report;
    aleat_cli_range score_steps, guide_steps;
    double percentile, strength, cfg_scale;
    int gradient; /**< index into its choices */
    bool cosine;
    const char *laplace, *feature_network;
    int64_t every, laplace_draws;
    const char *compat, *threshold_file;
    // eval (and logits of features)
    const char *features[2], *error, *uncertainty_map, *scores, *truth, *predicted;
    const char *save_stats, *network;
    int64_t neighbours, density_neighbours, intervals, bins, splits, subsets, subset_size,
        bootstrap;
    double confidence;
    // filter
    const char *keep, *by, *list, *save_list;
    int order; /**< index into its choices */
    bool random, within_classes;
    // paper
    const char *estimators, *copies_list, *strengths;
    double keep_share;
    int64_t shard, laplace_images;
    bool keep_images, control;
    // train
    const char *config, *from;
    int task, data_format, rate_schedule, prediction, beta_schedule, dtype; /**< likewise */
    int64_t size, shift, warmup, cooldown, sample_every, validate_every;
    double rate, weight_decay, clip_grad, ema, label_drop, checkpoint_every, validation;
    bool flip;
    // features
    const char *image_set, *split, *logits, *layer, *preparation;
    // report
    const char *page, *compare;
    int64_t max_size; /**< megabytes */
    // classifier guidance
    const char *classifier;
    double classifier_scale;
    int64_t classifier_head_dim;
    // autoencoders
    const char *decoder, *latents, *images, *mean, *logvar;
    double scale_factor;
    bool sample;
    int part;             /**< of a model that is timed, an aleat_cli_part */
    int map_space, carry; /**< index into their choices */
    int64_t carry_products;
    // text
    const char *prompt, *negative, *file, *tokenizer, *ids;
    int64_t encoder, tokens, clip_skip;
    // prompts of generate; replay
    aleat_cli_texts_given prompts, negatives;
    const char *prompt_file, *image_size, *model;
    aleat_encoder_paths encoders;
    int64_t t5_tokens;
    double told_guidance;
    bool no_t5;
    // images from elsewhere
    const char *image, *begin, *kinds;
    int fit; /**< index into its choices */
    // info and bench
    const char *tensor;
    bool tensors, vjp;
    int64_t batch, repeats, evaluations;
} aleat_cli_args;

typedef enum aleat_cli_type {
    ALEAT_CLI_FLAG,   /**< bool; takes no value */
    ALEAT_CLI_INT,    /**< int64_t in [min, max] */
    ALEAT_CLI_SEED,   /**< uint64_t */
    ALEAT_CLI_SIZE,   /**< int64_t bytes: "512M", "4G", at least 1M */
    ALEAT_CLI_DOUBLE, /**< double in [min, max] */
    ALEAT_CLI_AUTO,   /**< double in [min, max], or NaN for "auto" */
    ALEAT_CLI_STRING, /**< const char * */
    ALEAT_CLI_TEXT,   /**< const char *; may be empty */
    ALEAT_CLI_TEXTS,  /**< aleat_cli_texts_given; may be empty, and repeated */
    ALEAT_CLI_PATH,   /**< const char *; completion offers files */
    ALEAT_CLI_PATHS,  /**< const char *[2]; the next word, too, unless it is an option */
    ALEAT_CLI_RANGE,  /**< aleat_cli_range, "a:b" with 0 <= a < b */
    ALEAT_CLI_CHOICE, /**< int: which of the choices */
    ALEAT_CLI_CHOICES /**< const char *: some of the choices, with commas */
} aleat_cli_type;

/** The i-th word of a choice, or NULL after the last; *help (may be NULL) gets its explanation. */
typedef const char *aleat_cli_choices(int i, const char **help);

/** One option. Terminated in tables by name NULL. */
typedef struct aleat_cli_option {
    const char *name; /**< without dashes */
    const char *also; /**< a second spelling, which help does not tell, or NULL */
    char letter;      /**< one-letter form, or 0 */
    aleat_cli_type type;
    size_t offset;        /**< where in aleat_cli_args */
    const char *value;    /**< what help calls the value */
    const char *fallback; /**< default as the user would write it, or NULL */
    const char *help;
    double min, max;            /**< of numbers */
    aleat_cli_choices *choices; /**< of a choice; of a string: what help and completion offer */
    bool required;
    const char *needs; /**< name of the option without which this one would do nothing, or NULL */
} aleat_cli_option;

/** Options under one heading of the help. */
typedef struct aleat_cli_group {
    const char *title;
    const aleat_cli_option *options;
} aleat_cli_group;

#define ALEAT_CLI_MAX_GROUPS 12

typedef struct aleat_cli_verb {
    const char *name, *summary;
    const char *operand; /**< "MODEL", or NULL if the verb takes none */
    const char *operand_help;
    aleat_cli_choices *operands; /**< what the operand may be, for the help; NULL: anything */
    bool several;                /**< operands: the first and up to ALEAT_CLI_MAX_OPERANDS more */
    const char *notes;           /**< paragraphs for the help, separated by newlines; may be NULL */
    const aleat_cli_group *groups[ALEAT_CLI_MAX_GROUPS]; /**< NULL-terminated */
    /** Does the work; returns an exit code. Has reported its errors. */
    int (*run)(const struct aleat_cli_verb *verb, const aleat_cli_args *args);
} aleat_cli_verb;

/** The verbs, ended by a NULL name. */
extern const aleat_cli_verb aleat_cli_verbs[];

/** The verb called `name`, or NULL. */
const aleat_cli_verb *aleat_cli_find_verb(const char *name);

/**
 * Fills `args` from the defaults and the words after the verb. Returns false after a message on
 * stderr that names the offending word and, for a misspelt option or choice, the nearest right one.
 */
bool aleat_cli_parse(const aleat_cli_verb *verb, int argc, char **argv, aleat_cli_args *args);

/** The command as a shell takes it, to be freed; NULL if there is no memory. */
char *aleat_cli_command_line(const aleat_cli_verb *verb, const aleat_cli_args *args);

/** The nearest of `n` candidates if it is near enough to be what was meant, else NULL. */
const char *aleat_cli_nearest(const char *word, const char *const *candidates, int n);

/** Help texts, printed from the tables. */
void aleat_cli_print_help(FILE *to, const aleat_cli_verb *verb);
void aleat_cli_print_overview(FILE *to);
/** The man page in man(7) format, and the bash completion script. */
void aleat_cli_print_man(FILE *to);
void aleat_cli_print_completion(FILE *to);

/** The word that a choice option with value `index` stands for. */
const char *aleat_cli_choice_word(aleat_cli_choices *choices, int index);

#endif
