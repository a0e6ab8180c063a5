#include "text/buffer.h"

#include <string.h>

#include "base/alloc.h"
#include "text/utf8.h"

/** Makes room for `more` bytes; false, and sticky, if there is no memory. */
static bool reserve(aleat_buffer *buffer, size_t more)
{
    size_t want;
    if (buffer->failed || !aleat_size_add(buffer->len, more, &want)) {
        buffer->failed = true;
        return false;
    }
    if (want <= buffer->cap)
        return true;
    const size_t cap = want < 64 ? 64 : want + want / 2;
    char *grown = aleat_realloc(buffer->data, buffer->cap, cap);
    buffer->failed = !grown;
    if (grown) {
        buffer->data = grown;
        buffer->cap = cap;
    }
    return grown != NULL;
}

void aleat_buffer_add(aleat_buffer *buffer, const void *bytes, size_t len)
{
    if (!reserve(buffer, len) || len == 0)
        return;
    memcpy(buffer->data + buffer->len, bytes, len);
    buffer->len += len;
}

void aleat_buffer_add_code(aleat_buffer *buffer, uint32_t code)
{
    char bytes[4];
    aleat_buffer_add(buffer, bytes, (size_t)aleat_utf8_write(bytes, code));
}

char *aleat_buffer_take(aleat_buffer *buffer)
{
    aleat_buffer_add(buffer, "", 1);
    char *text = buffer->failed ? NULL : buffer->data;
    if (buffer->failed)
        aleat_free(buffer->data);
    memset(buffer, 0, sizeof *buffer);
    return text;
}

void aleat_buffer_clear(aleat_buffer *buffer)
{
    aleat_free(buffer->data);
    memset(buffer, 0, sizeof *buffer);
}

void aleat_ids_add(aleat_ids *ids, int32_t id)
{
    if (ids->failed)
        return;
    if (ids->count == ids->cap) {
        const int64_t cap = ids->cap ? 2 * ids->cap : 128;
        int32_t *grown =
            aleat_realloc(ids->at, (size_t)ids->cap * sizeof *grown, (size_t)cap * sizeof *grown);
        ids->failed = !grown;
        if (!grown)
            return;
        ids->at = grown;
        ids->cap = cap;
    }
    ids->at[ids->count++] = id;
}

void aleat_ids_clear(aleat_ids *ids)
{
    aleat_free(ids->at);
    memset(ids, 0, sizeof *ids);
}
