/*
 * A checkpoint as named tensors, whatever file it came from: safetensors (one file, or an index
 * with shards), torch zip and legacy pickles (read as data by an allow-list, never executed). The
 * bytes stay mapped; tensors are views that may be strided (torch views) and in f32, f16, bf16, ...
 */
#ifndef ALEAT_IO_WEIGHTS_H
#define ALEAT_IO_WEIGHTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/npy.h"
#include "io/sha256.h"
#include "tensor/tensor.h"

typedef struct aleat_weights aleat_weights;

/** One stored tensor: a strided view into the mapped file. */
typedef struct aleat_weight {
    const char *name;
    aleat_dtype dtype;
    aleat_shape shape;
    int64_t stride[ALEAT_MAX_DIMS]; /**< in elements; the C-order strides if `contiguous` */
    bool contiguous;
    const void *data; /**< first element, of any alignment; every element that the strides reach is
                         readable */
    bool mapped;      /**< data lies in a mapped file, not in memory of its own */
    bool used;        /**< set by aleat_weights_take(); the rest are superfluous */
} aleat_weight;

/**
 * Opens one file, chosen by its content, not its name; an index (.index.json) opens its shards.
 * Errors say what is wrong with which tensor: ALEAT_ERR_FORMAT, _UNSUPPORTED, _IO, _MEMORY. Cost:
 * the header only; no tensor is read, except that deflated records are inflated.
 */
ALEAT_MUST_USE aleat_status aleat_weights_open(aleat_weights **out, const char *path,
                                               aleat_error *err);
/** The same from memory that outlives *out; `name` stands for the path. No index. */
ALEAT_MUST_USE aleat_status aleat_weights_open_memory(aleat_weights **out, const void *data,
                                                      size_t len, const char *name,
                                                      aleat_error *err);
/**
 * Opens the weights in a folder under the names that diffusers uses: `stem`.safetensors,
 * `stem`.safetensors.index.json with shards, `stem`.bin, `stem`.bin.index.json, then the same with
 * ".fp16" and ".bf16" variants (`stem`.fp16.safetensors, `stem`.safetensors.index.fp16.json), in
 * this order. `variant` ("fp16") asks for one; NULL takes the first found.
 */
ALEAT_MUST_USE aleat_status aleat_weights_open_folder(aleat_weights **out, const char *folder,
                                                      const char *stem, const char *variant,
                                                      aleat_error *err);
/** Weights that the caller holds: named arrays whose data outlives *out and may change meanwhile
 * (training). `name` stands for the path. */
ALEAT_MUST_USE aleat_status aleat_weights_of_arrays(aleat_weights **out,
                                                    const aleat_named_array *arrays, int64_t count,
                                                    const char *name, aleat_error *err);
/** Writes named arrays as a safetensors file, atomically. */
ALEAT_MUST_USE aleat_status aleat_safetensors_write(const char *path,
                                                    const aleat_named_array *arrays, int64_t count,
                                                    aleat_error *err);
/** The same with a header of texts by name, {"images": "1000"}; borrowed, NULL: none. */
ALEAT_MUST_USE aleat_status aleat_safetensors_write_with(const char *path,
                                                         const aleat_named_array *arrays,
                                                         int64_t count, json_t *metadata,
                                                         aleat_error *err);
/** That header, an object (empty if there is none); the caller owns the reference. */
ALEAT_MUST_USE aleat_status aleat_safetensors_metadata(json_t **out, const char *path,
                                                       aleat_error *err);
void aleat_weights_free(aleat_weights *weights);

int64_t aleat_weights_count(const aleat_weights *weights);
/** Elements of all tensors. */
int64_t aleat_weights_parameters(const aleat_weights *weights);
/** The i-th tensor in file order; borrowed. */
aleat_weight *aleat_weights_at(aleat_weights *weights, int64_t i);
/** The tensor called `name`, or NULL. Cost: a binary search. */
aleat_weight *aleat_weights_find(aleat_weights *weights, const char *name);
/** The same, and marks it as used. */
aleat_weight *aleat_weights_take(aleat_weights *weights, const char *name);
/** "safetensors", "torch zip" ...: for `info` and messages. */
const char *aleat_weights_format(const aleat_weights *weights);
/** The path it was opened from. */
const char *aleat_weights_path(const aleat_weights *weights);
/** SHA-256 of the bytes: of a lone file the file's own, of shards that of all of them, one after
 * the other as the index names them first. Weights from memory have no files: the digest of
 * nothing. Reads everything, at about 1 GB/s. */
void aleat_weights_sha256(const aleat_weights *weights, char out[ALEAT_SHA256_TEXT]);
/** Writes the tensor's elements to dst in C order as f32 (f64 and integers round to nearest). */
void aleat_weight_to_f32(const aleat_weight *weight, float *dst);
/** The same for one row: the elements under index `row` of the first axis. */
void aleat_weight_row_to_f32(const aleat_weight *weight, int64_t row, float *dst);
/** Lets the file's pages behind this tensor leave memory (they come back when read again). Does
 * nothing for tensors that are not contiguous or not mapped. */
void aleat_weight_forget(const aleat_weight *weight);

#endif
