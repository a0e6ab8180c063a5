/*
 * An image again, from the settings in its PNG file.
 */
#ifndef ALEAT_REPLAY_H
#define ALEAT_REPLAY_H

#include <stdbool.h>
#include <stdint.h>

#include "aleat/prompts.h"

#ifdef __cplusplus
extern "C" {
#endif

/** How to make it again. Zero-initialise: defaults. Everything is borrowed for the call. */
typedef struct aleat_replay_options {
    const char *model;       /**< NULL: the one that run.json of the image's run names */
    aleat_open_options open; /**< of it; its precision and sizes are the image's, whatever stands
                                  here */
    const char *decoder;     /**< autoencoder of latent models; NULL: the model's own */
    aleat_encoder_paths encoders;
    const char *classifier; /**< of images that one guided; or NULL */
    int64_t classifier_head_dim;
    const char *schedule;   /**< as in aleat_sampling_options; or NULL */
    const char *thresholds; /**< as in aleat_run_options, of guided images; or NULL */
    const char *out;        /**< .png to write, with the same settings; or NULL */
    /** As in aleat_run_options. */
    bool (*progress)(void *ctx, double done, double total);
    void *ctx;
} aleat_replay_options;

/** How alike both images are. Released by aleat_replay_clear(). */
typedef struct aleat_replay {
    bool identical;    /**< every pixel is the same */
    int64_t differing; /**< numbers that are not, of width * height * channels */
    int64_t values;    /**< how many there are */
    int largest;       /**< difference of two of them, 0 to 255 */
    double psnr;       /**< dB, of a range of 255; infinite if identical */
    const char
        *source;    /**< whose settings were read: "aleat", "a1111", "sdcpp", "comfyui"; static */
    char **remarks; /**< [n_remarks] what the settings do not say or differs from them */
    int64_t n_remarks;
} aleat_replay;

/**
 * Makes the image of a PNG file again and compares. Our own settings (chunk `aleat`) tell all that
 * an image follows from, but for files that were given beside the model; what other programs write
 * (chunks `parameters`, `prompt`) tells less, and the remarks say what was assumed. The run is made
 * in a folder of its own below TMPDIR, which is removed again.
 *
 * @return ALEAT_ERR_FORMAT: no such settings, or damaged ones; ALEAT_ERR_ARGUMENT: something is
 *         needed that the file does not hold (a model, stored noise, thresholds, a classifier);
 *         ALEAT_ERR_SHAPE: the images differ in size; others as aleat_model_generate()
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_replay_image(aleat_replay *out, const char *png,
                                                         const aleat_replay_options *options,
                                                         aleat_error *err);
/** Accepts NULL and a cleared one. */
ALEAT_API void aleat_replay_clear(aleat_replay *replay);

#ifdef __cplusplus
}
#endif
#endif
