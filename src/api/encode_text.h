/* aleat_encode_text() for an encoder that plays a known part. */
#ifndef ALEAT_API_ENCODE_TEXT_H
#define ALEAT_API_ENCODE_TEXT_H

#include "aleat/text.h"
#include "models/text_encoder.h"

/** aleat_encode_text() by an encoder that is wanted for `use`, as aleat_text_encoder_options has
 * it. */
ALEAT_MUST_USE aleat_status aleat_encode_text_for(aleat_encoded_text *out, const char *path,
                                                  aleat_text_use use, const char *const *prompts,
                                                  int64_t count, const aleat_text_options *options,
                                                  aleat_error *err);

#endif
