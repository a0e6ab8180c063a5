/* UTF-8, one code point at a time. */
#ifndef ALEAT_TEXT_UTF8_H
#define ALEAT_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Reads the code point at `at`; returns its bytes (1 to 4), or 0 if the first of the `len` bytes
 * do not begin a well-formed one (surrogates, overlong forms and values above U+10FFFF are not). */
int aleat_utf8_read(const char *at, size_t len, uint32_t *code);
/** Writes a code point's 1 to 4 bytes and returns their number. */
int aleat_utf8_write(char dst[4], uint32_t code);
/** Is all of it well-formed? */
bool aleat_utf8_valid(const char *text, size_t len);
/** Python's str.isspace() for one code point: Unicode's white space and U+001C..U+001F. */
bool aleat_utf8_is_space(uint32_t code);

#endif
