#include "text/spiece.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/* ---- protocol buffers ------------------------------------------------------------------------ */

/** A message that is being read. */
typedef struct message {
    const unsigned char *at, *end;
} message;

/** One field of a message: a number, or bytes that are text, floats or a message again. */
typedef struct field {
    uint32_t number;
    int wire; // 0: number; 1, 5: 8, 4 bytes; 2: bytes
    uint64_t value;
    message bytes;
} field;

static bool read_varint(message *m, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 64 && m->at < m->end; shift += 7) {
        const unsigned char byte = *m->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/** The next field. False at the end, and where the message is damaged: then m->at is NULL. */
static bool next_field(message *m, field *f)
{
    uint64_t key, len;
    if (!m->at || m->at == m->end)
        return false;
    bool good = read_varint(m, &key);
    *f = (field){.number = (uint32_t)(key >> 3), .wire = (int)(key & 7)};
    if (good && f->wire == 0) {
        good = read_varint(m, &f->value);
    } else if (good) {
        len = f->wire == 1 ? 8 : f->wire == 5 ? 4 : 0;
        good = f->wire == 2 ? read_varint(m, &len) : len > 0; // groups are not used any more
        good = good && len <= (uint64_t)(m->end - m->at);
        if (good) {
            f->bytes = (message){m->at, m->at + len};
            m->at += len;
        }
    }
    if (!good)
        m->at = NULL;
    return good;
}

static float float_of(const field *f)
{
    float value = 0;
    uint32_t bits = 0;
    for (int i = 0; i < 4 && f->wire == 5; i++)
        bits |= (uint32_t)f->bytes.at[i] << 8 * i;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* ---- the model ------------------------------------------------------------------------------- */

static aleat_status damaged(const char *what, aleat_error *err)
{
    return aleat_fail(err, ALEAT_ERR_FORMAT, "not a SentencePiece model: %s is damaged", what);
}

/** ModelProto.SentencePiece */
static aleat_status read_piece(aleat_piece *piece, message m, aleat_error *err)
{
    field f;
    *piece = (aleat_piece){.text = "", .kind = ALEAT_PIECE_NORMAL};
    while (next_field(&m, &f)) {
        if (f.number == 1 && f.wire == 2) {
            piece->text = (const char *)f.bytes.at;
            piece->len = (uint32_t)(f.bytes.end - f.bytes.at);
        } else if (f.number == 2 && f.wire == 5) {
            piece->score = float_of(&f);
        } else if (f.number == 3 && f.wire == 0) {
            if (f.value < ALEAT_PIECE_NORMAL || f.value > ALEAT_PIECE_BYTE)
                return damaged("the type of a piece", err);
            piece->kind = (uint8_t)f.value;
        }
    }
    return m.at ? ALEAT_OK : damaged("a piece", err);
}

/** TrainerSpec */
static aleat_status read_trainer(aleat_unigram_options *options, message m, aleat_error *err)
{
    enum { UNIGRAM = 1 };
    field f;
    uint64_t type = UNIGRAM;
    while (next_field(&m, &f)) {
        if (f.wire != 0)
            continue;
        if (f.number == 3)
            type = f.value;
        else if (f.number == 24)
            options->whitespace_as_suffix = f.value != 0;
        else if (f.number == 35)
            options->byte_fallback = f.value != 0;
    }
    if (!m.at)
        return damaged("its trainer_spec", err);
    if (type != UNIGRAM)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "a SentencePiece model of type %llu, supported is unigram (1)",
                          (unsigned long long)type);
    return ALEAT_OK;
}

/** NormalizerSpec */
static aleat_status read_normalizer(aleat_unigram_options *options, message m, aleat_error *err)
{
    field f;
    while (next_field(&m, &f)) {
        if (f.number == 2 && f.wire == 2) {
            options->charsmap = f.bytes.at;
            options->charsmap_len = (size_t)(f.bytes.end - f.bytes.at);
        } else if (f.wire == 0 && f.number == 3) {
            options->add_dummy_prefix = f.value != 0;
        } else if (f.wire == 0 && f.number == 4) {
            options->remove_extra_whitespaces = f.value != 0;
        } else if (f.wire == 0 && f.number == 5) {
            options->escape_whitespaces = f.value != 0;
        }
    }
    return m.at ? ALEAT_OK : damaged("its normalizer_spec", err);
}

static int64_t count_pieces(message m)
{
    field f;
    int64_t count = 0;
    while (next_field(&m, &f))
        count += f.number == 1 && f.wire == 2;
    return count;
}

/** ModelProto */
static aleat_status read_model(aleat_piece *pieces, aleat_unigram_options *options, message m,
                               aleat_error *err)
{
    field f;
    aleat_status st = ALEAT_OK;
    while (!st && next_field(&m, &f)) {
        if (f.wire != 2)
            continue;
        if (f.number == 1)
            st = read_piece(pieces++, f.bytes, err);
        else if (f.number == 2)
            st = read_trainer(options, f.bytes, err);
        else if (f.number == 3)
            st = read_normalizer(options, f.bytes, err);
    }
    return !st && !m.at ? damaged("a field", err) : st;
}

aleat_status aleat_spiece_read(aleat_unigram **out, const void *data, size_t len, aleat_error *err)
{
    *out = NULL;
    const message m = {data, (const unsigned char *)data + len};
    aleat_unigram_options options = {
        .add_dummy_prefix = true, .remove_extra_whitespaces = true, .escape_whitespaces = true};
    const int64_t count = len ? count_pieces(m) : 0;
    if (count < 1 || count > ALEAT_VOCAB_LIMIT)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "not a SentencePiece model: %lld pieces",
                          (long long)count);
    aleat_piece *pieces = aleat_calloc((size_t)count, sizeof *pieces);
    if (!pieces)
        return aleat_fail_memory(err, "pieces");
    aleat_status st = read_model(pieces, &options, m, err);
    if (!st)
        st = aleat_unigram_new(out, pieces, (int32_t)count, &options, err);
    aleat_free(pieces);
    return st;
}
