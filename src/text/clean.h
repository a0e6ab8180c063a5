/*
 * What CLIP's tokenizer does to a prompt before it looks for words: ftfy.fix_text(), white space
 * collapsed, lower case.
 */
#ifndef ALEAT_TEXT_CLEAN_H
#define ALEAT_TEXT_CLEAN_H

#include "aleat/status.h"
#include "text/buffer.h"

/** Longest text that tokenizers take, in bytes; a prompt's tokens fit into some hundred. */
#define ALEAT_TEXT_LIMIT (1 << 20)

/**
 * Appends the cleaned form of well-formed UTF-8 of at most ALEAT_TEXT_LIMIT bytes to `out`.
 *
 * From ftfy 6.3.1 come: character references (&#233; and the names of punctuation), C1 controls
 * read as Windows-1252, Latin ligatures, full and half width, curly quotes, line breaks, terminal
 * escapes, control characters, NFC. Left out are its guesses at text that was decoded in a wrong
 * encoding, and the names of letters (&eacute;).
 */
ALEAT_MUST_USE aleat_status aleat_clip_clean(aleat_buffer *out, const char *text, size_t len,
                                             aleat_error *err);

#endif
