/*
 * Tables whose lines users choose by name: each line has members `name` and `help`, whatever else.
 */
#ifndef ALEAT_BASE_NAMES_H
#define ALEAT_BASE_NAMES_H

#include <stddef.h>

/** The name in line i of an array, with its explanation in *help (which may be NULL); NULL beyond
 * the last. */
#define ALEAT_NAME_AT(table, i, help_out)                                                          \
    aleat_name_at(&(table)[0].name, &(table)[0].help, sizeof *(table),                             \
                  sizeof(table) / sizeof *(table), i, help_out)

/** The same by the addresses of the first line's members and the size of a line. */
static inline const char *aleat_name_at(const char *const *name, const char *const *help,
                                        size_t line, size_t n, int i, const char **help_out)
{
    if (i < 0 || (size_t)i >= n)
        return NULL;
    const size_t at = (size_t)i * line;
    if (help_out)
        *help_out = *(const char *const *)((const char *)help + at);
    return *(const char *const *)((const char *)name + at);
}

#endif
