/*
 * What a family of text encoders provides: its configuration, and its parts as graphs over the
 * tokens of one text [tokens, 1, width]. An encoder is run part by part (text_encoder.c), so each
 * part is built alone. A family is one file and one line in text_encoder.c.
 */
#ifndef ALEAT_MODELS_TEXT_FAMILY_H
#define ALEAT_MODELS_TEXT_FAMILY_H

#include "graph/graph.h"
#include "io/json.h"
#include "text/tokenizer.h"

/** Sizes and rules of one encoder. */
typedef struct aleat_text_config {
    int64_t vocab, width, hidden, layers, heads;
    int64_t inner;                 /**< channels of all heads together */
    int64_t positions;             /**< longest text; 0: no bound */
    int64_t buckets, max_distance; /**< T5: of relative positions */
    double eps;                    /**< of the norms */
    aleat_activation act;          /**< of the feed-forward part */
    bool gated;                    /**< T5: act(wi_0 x) * (wi_1 x) instead of act(wi x) */
    int32_t eos;    /**< token whose state is pooled; -1: the one of the highest number */
    int64_t pooled; /**< width of what is pooled; 0: the family does not pool */
} aleat_text_config;

/** Where the tensors of an encoder are in a file. */
typedef struct aleat_text_place {
    const char *root; /**< what all names begin with */
    const char *body; /**< and all but the projection's after that */
    int layout;       /**< which of the family's ways to name tensors */
} aleat_text_place;

typedef struct aleat_text_source {
    aleat_weights *weights;
    aleat_text_place place;
    aleat_text_config config;
    bool is_openclip; /**< one of OpenCLIP's, whatever its tensors are called */
} aleat_text_source;

typedef struct aleat_text_family {
    const char *name;
    aleat_tokenizer_kind tokenizer;
    /** Are this family's tensors there? */
    bool (*is_at)(aleat_weights *weights, const aleat_text_place *place);
    /** Fills source->config from config.json (root NULL if there is none) and the tensors.
     * `heads`: what a file without a configuration does not say; 0: as the published ones. */
    aleat_status (*configure)(aleat_text_source *source, const aleat_json *json, int64_t heads,
                              aleat_error *err);
    /** From token numbers [tokens, 1, 1] to states. */
    aleat_value (*embed)(aleat_graph *graph, const aleat_text_source *source, aleat_value ids);
    /** Layer `layer` from 0. */
    aleat_value (*block)(aleat_graph *graph, const aleat_text_source *source, int64_t layer,
                         aleat_value x);
    /** The norm behind the last layer. */
    aleat_value (*norm)(aleat_graph *graph, const aleat_text_source *source, aleat_value x);
    /** The tensor that turns a pooled state into an embedding, or NULL; *turned: it is stored
     * [width, pooled] instead of [pooled, width]. NULL: there never is one. */
    const aleat_weight *(*projection)(const aleat_text_source *source, bool *turned);
} aleat_text_family;

extern const aleat_text_family aleat_text_family_clip, aleat_text_family_t5;

/** Reads an activation by transformers' name; an absent key leaves *act. */
ALEAT_MUST_USE aleat_status aleat_text_activation(const aleat_json *json, const char *key,
                                                  aleat_activation *act, aleat_error *err);

#endif
