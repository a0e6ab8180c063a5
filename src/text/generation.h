/*
 * What an image was made with, as image generators write it into PNG text chunks: the form of
 * A1111's web UI under the keyword `parameters` (also stable-diffusion.cpp's), and ComfyUI's graph
 * under `prompt`. Source: stable-diffusion-webui, modules/infotext_utils.py; files of the programs.
 */
#ifndef ALEAT_TEXT_GENERATION_H
#define ALEAT_TEXT_GENERATION_H

#include "aleat/status.h"

/** A setting: "Steps" and "20". Both owned. */
typedef struct aleat_generation_field {
    char *key, *value;
} aleat_generation_field;

/** Zero-initialise; release with aleat_generation_clear(). */
typedef struct aleat_generation {
    const char *source;      /**< "a1111", "sdcpp" or "comfyui" (static); NULL: nothing was found */
    char *prompt, *negative; /**< UTF-8; owned; NULL counts as empty */
    aleat_generation_field *fields;
    int n_fields;
} aleat_generation;

/** Reads the text of a chunk `parameters`. Any text is one: without settings it is all prompt. */
ALEAT_MUST_USE aleat_status aleat_generation_parse(aleat_generation *out, const char *parameters,
                                                   aleat_error *err);
/**
 * Reads the text of ComfyUI's chunk `prompt`: the settings of its first sampler, the texts that its
 * positive and negative inputs lead to, the checkpoint and the size. ALEAT_ERR_FORMAT: not JSON, or
 * without a sampler.
 */
ALEAT_MUST_USE aleat_status aleat_generation_parse_comfyui(aleat_generation *out,
                                                           const char *prompt, aleat_error *err);
/** Reads whichever of them a PNG file has; source stays NULL if it has none. */
ALEAT_MUST_USE aleat_status aleat_generation_read(aleat_generation *out, const char *png_path,
                                                  aleat_error *err);
void aleat_generation_clear(aleat_generation *generation);

/** The value of a setting, or NULL. */
const char *aleat_generation_get(const aleat_generation *generation, const char *key);
/** Appends a setting; copies both. ALEAT_ERR_MEMORY. */
ALEAT_MUST_USE aleat_status aleat_generation_add(aleat_generation *generation, const char *key,
                                                 const char *value, aleat_error *err);
/**
 * The text of a chunk `parameters`, in new memory (aleat_free); NULL if there is no memory. Readers
 * know the last line as settings only if it has three or more. Keys that other programs know:
 * Steps, Sampler, Schedule type, CFG scale, Seed, Size ("512x768"), Model hash, Model, Version.
 */
char *aleat_generation_write(const aleat_generation *generation);

#endif
