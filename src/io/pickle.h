/*
 * Python pickles read as data: the opcodes of protocols 2 to 4 build plain values, and the names of
 * Python objects are looked up in a table of those that checkpoints need (torch_objects.c); any
 * other name or opcode is refused. Nothing is ever executed. Sources: Python's pickletools
 * documentation of the opcodes; torch.save() as documented in torch.serialization.
 */
#ifndef ALEAT_IO_PICKLE_H
#define ALEAT_IO_PICKLE_H

#include <stdbool.h>
#include <stdint.h>

#include "io/arena.h"
#include "tensor/tensor.h"

typedef enum aleat_pickle_kind {
    ALEAT_PICKLE_NONE,
    ALEAT_PICKLE_BOOL,
    ALEAT_PICKLE_INT,
    ALEAT_PICKLE_FLOAT,
    ALEAT_PICKLE_LONG, /**< an integer beyond 64 bits: `len` little-endian bytes */
    ALEAT_PICKLE_TEXT,
    ALEAT_PICKLE_BYTES,
    ALEAT_PICKLE_TUPLE,
    ALEAT_PICKLE_LIST, /**< also sets */
    ALEAT_PICKLE_DICT, /**< items: key, value, key, value ... */
    ALEAT_PICKLE_GLOBAL,
    ALEAT_PICKLE_STORAGE,
    ALEAT_PICKLE_TENSOR,
    ALEAT_PICKLE_OPAQUE, /**< an object of a listed class that carries no tensors */
    ALEAT_PICKLE_MARK    /**< on the stack only */
} aleat_pickle_kind;

typedef struct aleat_pickle_list aleat_pickle_list;

/** What a torch storage's persistent id says; `data` is found by the reader of the file. */
typedef struct aleat_pickle_storage {
    struct aleat_pickle_storage *next; /**< the one read before */
    aleat_dtype dtype;
    const char *key; /**< not terminated */
    uint32_t key_len;
    int64_t count;                  /**< elements of the storage in the file */
    int64_t view_begin, view_count; /**< the part of it that this is (all of it but in old files) */
    const unsigned char *data;
} aleat_pickle_storage;

/** A strided view of a storage, not yet checked against it. */
typedef struct aleat_pickle_tensor {
    const aleat_pickle_storage *storage;
    int64_t offset;
    aleat_shape shape;
    int64_t stride[ALEAT_MAX_DIMS];
} aleat_pickle_tensor;

typedef struct aleat_pickle_value {
    uint32_t kind;
    uint32_t len; /**< of text, bytes, long; the table row of a global */
    union {
        bool truth;
        int64_t integer;
        double real;
        const char *text;
        aleat_pickle_list *list; /**< tuple, list, dict: shared by all values that refer to it */
        aleat_pickle_storage *storage;
        aleat_pickle_tensor *tensor;
    } as;
} aleat_pickle_value;

struct aleat_pickle_list {
    aleat_pickle_value *items;
    size_t count, capacity;
};

/** The machine that reads pickles. Zero-initialise, set arena.limit; everything it makes lives in
 * the arena, or points into the input. */
typedef struct aleat_pickle {
    aleat_arena arena;
    const unsigned char *at, *end; // what is left of the input
    aleat_pickle_list stack, memo;
    aleat_pickle_storage *storages; /**< all persistent ids met, last first */
    uint64_t n_ops;                 /**< opcodes read so far */
} aleat_pickle;

/** Reads one pickle from the front of data; *used is its length. */
ALEAT_MUST_USE aleat_status aleat_pickle_read(aleat_pickle *pickle, const unsigned char *data,
                                              size_t len, size_t *used, aleat_pickle_value *out,
                                              aleat_error *err);
void aleat_pickle_clear(aleat_pickle *pickle);

/** The value under a text key of a dict, the last one as in Python; NULL if there is none. */
const aleat_pickle_value *aleat_pickle_get(const aleat_pickle_value *dict, const char *key);
bool aleat_pickle_is_text(const aleat_pickle_value *value, const char *text);

/* For torch_objects.c. */

/** ALEAT_ERR_MEMORY or, at the arena's limit, ALEAT_ERR_FORMAT. */
aleat_status aleat_pickle_fail_memory(const aleat_pickle *pickle, aleat_error *err);
/** A new empty tuple, list or dict. */
ALEAT_MUST_USE aleat_status aleat_pickle_new_list(aleat_pickle *pickle, aleat_pickle_kind kind,
                                                  aleat_pickle_value *out, aleat_error *err);
ALEAT_MUST_USE aleat_status aleat_pickle_append(aleat_pickle *pickle, aleat_pickle_list *list,
                                                const aleat_pickle_value *items, size_t count,
                                                aleat_error *err);

/* In torch_objects.c: what names, calls and persistent ids mean. */
ALEAT_MUST_USE aleat_status aleat_pickle_global(const aleat_pickle_value *module,
                                                const aleat_pickle_value *name,
                                                aleat_pickle_value *out, aleat_error *err);
ALEAT_MUST_USE aleat_status aleat_pickle_call(aleat_pickle *pickle,
                                              const aleat_pickle_value *callable,
                                              const aleat_pickle_value *args,
                                              aleat_pickle_value *out, aleat_error *err);
ALEAT_MUST_USE aleat_status aleat_pickle_persistent(aleat_pickle *pickle,
                                                    const aleat_pickle_value *id,
                                                    aleat_pickle_value *out, aleat_error *err);

#endif
