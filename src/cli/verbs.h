/* The verbs' work, and what several of them share. Each returns an exit code, having reported. */
#ifndef ALEAT_CLI_VERBS_H
#define ALEAT_CLI_VERBS_H

#include <jansson.h>

#include "cli/cli.h"
#include "cli/message.h"

int aleat_cli_info(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_score(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_schedule(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_uncertainty(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_generate(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_replay(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_filter(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_eval(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_train(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_paper(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_features(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_write_report(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_threshold(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_laplace(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_encode_text(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_tokenize(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_bench(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_decode(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_encode(const aleat_cli_verb *verb, const aleat_cli_args *args);

int aleat_cli_reconstruct(const aleat_cli_verb *verb, const aleat_cli_args *args);
int aleat_cli_corruptions(const aleat_cli_verb *verb, const aleat_cli_args *args);
/** `uncertainty --image`. */
int aleat_cli_judge(const aleat_cli_verb *verb, const aleat_cli_args *args);

/** What the options say of a model; borrows from `args`. */
aleat_open_options aleat_cli_open_options(const aleat_cli_args *args);
/** Opens the model that the operand names, as the model options say. */
ALEAT_MUST_USE aleat_status aleat_cli_open(aleat_model **out, const aleat_cli_args *args,
                                           aleat_error *err);

/** The text encoders that options name; borrows from `args`. */
aleat_encoder_paths aleat_cli_encoders(const aleat_cli_args *args);

/** Opens the autoencoder that --decoder names, as its options say. */
ALEAT_MUST_USE aleat_status aleat_cli_open_vae(aleat_vae **out, const aleat_cli_args *args,
                                               aleat_error *err);

/** Texts: from options, borrowed, and from the lines of a file. Zero-initialise. */
typedef struct aleat_cli_text_list {
    const char **at;
    int64_t count;
    char *file; /**< what the lines point into */
} aleat_cli_text_list;
/** Appends a borrowed text. */
ALEAT_MUST_USE aleat_status aleat_cli_text_list_add(aleat_cli_text_list *list, const char *text,
                                                    aleat_error *err);
/** Appends the lines of one file; "-": standard input. */
ALEAT_MUST_USE aleat_status aleat_cli_text_list_add_lines(aleat_cli_text_list *list,
                                                          const char *path, aleat_error *err);
void aleat_cli_text_list_clear(aleat_cli_text_list *list);

/** Encoded texts, for networks that take them; `view` is what the library is given. */
typedef struct aleat_cli_texts {
    aleat_array context, pooled, guidance;
    aleat_texts view;
} aleat_cli_texts;
/** Reads .npy files, any of which may be NULL; `guidance` may also be one number, for n images. */
ALEAT_MUST_USE aleat_status aleat_cli_texts_read(aleat_cli_texts *out, const char *context,
                                                 const char *pooled, const char *guidance,
                                                 int64_t n, aleat_error *err);
/** Zeros of the sizes that the model takes, for evaluations whose result does not matter. */
ALEAT_MUST_USE aleat_status aleat_cli_texts_made_up(aleat_cli_texts *out, const aleat_model *model,
                                                    aleat_error *err);
void aleat_cli_texts_clear(aleat_cli_texts *texts);

/** Opens the model for images x and texts: networks of any image size get that of x, unless the
 * user says another, and those of texts as many tokens as their context has. */
ALEAT_MUST_USE aleat_status aleat_cli_open_for(aleat_model **out, const aleat_cli_args *args,
                                               const aleat_array *x, const aleat_cli_texts *texts,
                                               aleat_error *err);

/** Reports a failure, if it is one, and gives the exit code that goes with it. */
int aleat_cli_exit(const aleat_cli_verb *verb, aleat_status status, const aleat_error *err);

/**
 * [n] values from an option that holds either one number for all or the name of an .npy of n.
 * `name` is the option's, for messages.
 */
ALEAT_MUST_USE aleat_status aleat_cli_values(aleat_array *out, const char *name, const char *text,
                                             int64_t n, aleat_error *err);
/**
 * [n] classes in new memory (free()), from "0,1,golden retriever", repeated, "all" or the name of
 * an .npy of n. Names are those of aleat_model_class_name(), in any case, or a beginning that only
 * one class has. `option` is the option's name, for messages. Classes are the model's, or else the
 * classifier's (which may be NULL). *out is NULL if there are none; ALEAT_ERR_ARGUMENT if there are
 * and `text` is NULL, or the other way round.
 */
ALEAT_MUST_USE aleat_status aleat_cli_labels(int32_t **out, const char *option, const char *text,
                                             int64_t n, const aleat_model *model,
                                             const aleat_model *classifier, aleat_error *err);

/**
 * Classes of images from elsewhere, likewise: `text` as above or "data", those of the set, which
 * `own` [n] are (NULL: it has none). NULL: "data" if `prefer_own` and there are some, else the
 * class that means none; ALEAT_ERR_ARGUMENT if the model has no such class.
 */
ALEAT_MUST_USE aleat_status aleat_cli_labels_of_images(int32_t **out, const char *text,
                                                       const int32_t *own, bool prefer_own,
                                                       int64_t n, const aleat_model *model,
                                                       aleat_error *err);
/** The operands of eval. */
const char *aleat_cli_metric_choice(int i, const char **help);
/** The items of paper, and its summary. */
const char *aleat_cli_paper_choice(int i, const char **help);
/** The choices of --sampler, --maps and --order. */
const char *aleat_cli_sampler_choice(int i, const char **help);
const char *aleat_cli_maps_choice(int i, const char **help);
/** The statistics of runs: "auto", then those of the library. */
const char *aleat_cli_run_statistic_choice(int i, const char **help);
/** Those of a state: "auto", then the same. */
const char *aleat_cli_state_statistic_choice(int i, const char **help);
const char *aleat_cli_order_choice(int i, const char **help);
const char *aleat_cli_damage_choice(int i, const char **help);
/** Bytes of memory that are free, or could be; 0 if the system does not say. */
double aleat_cli_free_memory(void);
/** Remarks on a network whose weights (and their adjoints, if `gradients`) and activations of one
 * image, as measured, are more than `available` bytes; 0: not known. */
void aleat_cli_warn_of_memory(const aleat_cli_verb *verb, const aleat_model_facts *facts,
                              bool gradients, double available);
/** Whether --cfg-scale can be taken: not 0, which stands for none in the library. Has complained.
 */
bool aleat_cli_check_cfg(const aleat_cli_verb *verb, const aleat_cli_args *args);
/** Model, images and what else the verbs that look at images open. Zero-initialise. */
typedef struct aleat_cli_looked {
    aleat_model *model;
    aleat_image_set *set;
    aleat_vae *vae; /**< NULL unless --encoder */
    int32_t *labels;
    aleat_images images;
    int64_t n; /**< the first n are looked at */
    char *command;
    aleat_cli_progress progress;
} aleat_cli_looked;
/** Opens the model and the images at `path`; those of a set that has classes are preferred to the
 * class that means none if `own_labels`. */
ALEAT_MUST_USE aleat_status aleat_cli_look(aleat_cli_looked *out, const aleat_cli_verb *verb,
                                           const aleat_cli_args *args, const char *path,
                                           bool own_labels, aleat_error *err);
/** What run options these verbs have in common. */
aleat_run_options aleat_cli_look_options(aleat_cli_looked *looked, const aleat_cli_args *args);
void aleat_cli_looked_clear(aleat_cli_looked *looked);

/** What the sampler options say. */
aleat_sampling_options aleat_cli_sampling(const aleat_cli_args *args);

/** Sets an error of the tool's own; returns `status`. */
aleat_status aleat_cli_fail(aleat_error *err, aleat_status status, const char *fmt, ...)
    ALEAT_PRINTF(3, 4);

/** Prints a JSON value on stdout, one line, and releases it. */
void aleat_cli_print_json(json_t *value);

#endif
