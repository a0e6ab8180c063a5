/* Reading tokenizers from the files they come in. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/inflate.h"
#include "io/json.h"
#include "text/spiece.h"
#include "text/tokenizer_state.h"

enum { CLIP_LENGTH = 77, T5_LENGTH = 512, T5_EXTRA_IDS = 100 };

static aleat_tokenizer *new_tokenizer(aleat_tokenizer_kind kind)
{
    aleat_tokenizer *t = aleat_calloc(1, sizeof *t);
    if (t) {
        t->kind = kind;
        t->bos = t->eos = t->pad = t->unknown = -1;
        t->length = kind == ALEAT_TOKENIZER_CLIP ? CLIP_LENGTH : T5_LENGTH;
    }
    return t;
}

/* ---- special tokens -------------------------------------------------------------------------- */

/** A token as configurations write it: its text, or an object that holds it. */
static const char *content_of(const json_t *value)
{
    return json_string_value(json_is_object(value) ? json_object_get(value, "content") : value);
}

/** Adds a token from an object {"content", "lstrip", "rstrip", "single_word"}. */
static aleat_status add_object(aleat_tokenizer *t, const json_t *object, int64_t id,
                               const char *name, aleat_error *err)
{
    const char *text = content_of(object);
    if (!text || id < 0 || id >= ALEAT_VOCAB_LIMIT)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "%s: added token %lld without text, or above %d",
                          name, (long long)id, ALEAT_VOCAB_LIMIT - 1);
    if (json_is_true(json_object_get(object, "single_word")))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "%s: added token '%.40s' with single_word",
                          name, text);
    const aleat_added_token token = {
        .text = (char *)(uintptr_t)text, // copied, not changed
        .len = strlen(text),
        .id = (int32_t)id,
        .strip_left = json_is_true(json_object_get(object, "lstrip")),
        .strip_right = json_is_true(json_object_get(object, "rstrip")),
    };
    return aleat_tokenizer_add(t, &token, err);
}

/** Adds a token of the vocabulary by its text and stores its number. */
static aleat_status add_special(aleat_tokenizer *t, const char *text, int32_t *id, aleat_error *err)
{
    *id = aleat_tokenizer_find(t, text);
    if (*id < 0)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "special token '%.40s' is not in the vocabulary",
                          text);
    for (int i = 0; i < t->n_added; i++)
        if (!strcmp(t->added[i].text, text))
            return ALEAT_OK; // with its own rules of stripping
    const aleat_added_token token = {
        .text = (char *)(uintptr_t)text, .len = strlen(text), .id = *id};
    return aleat_tokenizer_add(t, &token, err);
}

/** "<extra_id_0>" .. : the last numbers, counted downwards. */
static aleat_status add_extra_ids(aleat_tokenizer *t, int64_t count, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    for (int64_t i = 0; i < count && !st; i++) {
        char text[32];
        const int len = snprintf(text, sizeof text, "<extra_id_%lld>", (long long)i);
        aleat_added_token token = {
            .text = text, .len = (size_t)len, .strip_left = true, .strip_right = true};
        token.id = aleat_tokenizer_find(t, text); // a tokenizer.json has them among its pieces
        if (token.id < 0)
            token.id = (int32_t)(aleat_unigram_count(t->unigram) + count - 1 - i);
        st = aleat_tokenizer_add(t, &token, err);
    }
    return st;
}

/** The number in the text of a key of added_tokens_decoder; -1: it is none. */
static int64_t number_of(const char *key)
{
    int64_t id = 0;
    for (const char *c = key; *c; c++) {
        if (*c < '0' || *c > '9' || id >= ALEAT_VOCAB_LIMIT)
            return -1;
        id = 10 * id + (*c - '0');
    }
    return *key ? id : -1;
}

/** What a tokenizer calls its special tokens. */
typedef struct special_names {
    const char *bos, *eos, *pad, *unknown;
    int64_t extra_ids;
} special_names;

static special_names published_names(aleat_tokenizer_kind kind)
{
    if (kind == ALEAT_TOKENIZER_T5)
        return (special_names){NULL, "</s>", "<pad>", "<unk>", T5_EXTRA_IDS};
    return (special_names){"<|startoftext|>", "<|endoftext|>", "<|endoftext|>", "<|endoftext|>", 0};
}

/** Reads tokenizer_config.json or special_tokens_map.json, whatever of it is there. */
static aleat_status read_names(aleat_tokenizer *t, const aleat_json *json, special_names *names,
                               aleat_error *err)
{
    const struct {
        const char *key, **name;
    } keys[] = {{"bos_token", &names->bos},
                {"eos_token", &names->eos},
                {"pad_token", &names->pad},
                {"unk_token", &names->unknown}};
    for (size_t i = t->kind == ALEAT_TOKENIZER_T5; i < sizeof keys / sizeof *keys; i++) {
        const char *text = content_of(json_object_get(json->root, keys[i].key));
        *keys[i].name = text ? text : *keys[i].name;
    }
    int64_t length = t->length;
    // Tokenizers without a bound write 1e30.
    const json_t *most = json_object_get(json->root, "model_max_length");
    if (json_is_integer(most))
        length = json_integer_value(most);
    if (length >= 2 && length <= 1 << 20)
        t->length = length;
    if (t->kind == ALEAT_TOKENIZER_T5) {
        int extra = (int)names->extra_ids;
        const aleat_status st = aleat_json_int_in(json, "extra_ids", 0, 10000, &extra, err);
        if (st)
            return st;
        names->extra_ids = extra;
    }
    const char *key;
    json_t *object;
    aleat_status st = ALEAT_OK;
    json_object_foreach(json_object_get(json->root, "added_tokens_decoder"), key, object)
    {
        if (!st)
            st = add_object(t, object, number_of(key), json->name, err);
    }
    return st;
}

static aleat_status add_specials(aleat_tokenizer *t, const special_names *names, aleat_error *err)
{
    aleat_status st = add_extra_ids(t, names->extra_ids, err);
    if (!st && names->bos)
        st = add_special(t, names->bos, &t->bos, err);
    if (!st)
        st = add_special(t, names->eos, &t->eos, err);
    if (!st)
        st = add_special(t, names->pad, &t->pad, err);
    if (!st)
        st = add_special(t, names->unknown, &t->unknown, err);
    return st;
}

/** Special tokens by the configuration in `folder`, or as published. */
static aleat_status read_specials(aleat_tokenizer *t, const char *folder, aleat_error *err)
{
    static const char *const files[] = {"tokenizer_config.json", "special_tokens_map.json"};
    special_names names = published_names(t->kind);
    aleat_json json = {0};
    aleat_status st = ALEAT_OK;
    for (size_t i = 0; folder && i < 2 && !json.root && !st; i++) {
        char *path = aleat_path_join(folder, files[i]);
        if (!path)
            st = aleat_fail_memory(err, folder);
        else if (aleat_is_file(path))
            st = aleat_json_load(&json, path, err);
        aleat_free(path);
    }
    if (!st && json.root)
        st = read_names(t, &json, &names, err);
    if (!st)
        st = add_specials(t, &names, err);
    aleat_json_clear(&json);
    return st;
}

/* ---- CLIP's files ---------------------------------------------------------------------------- */

/** {"token": number} into the vocabulary. */
static aleat_status read_vocab(aleat_vocab *vocab, json_t *object, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        const json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (!st)
            st = aleat_vocab_add(vocab, key, strlen(key),
                                 id < 0 || id > ALEAT_VOCAB_LIMIT ? -1 : (int32_t)id, err);
    }
    return st;
}

/** The token that stands for what the vocabulary lacks; the end of a text where there is none. */
static int32_t unknown_of(const aleat_vocab *vocab)
{
    static const char text[] = "<|endoftext|>";
    const int32_t id = aleat_vocab_find(vocab, text, sizeof text - 1);
    return id < 0 ? 0 : id;
}

static aleat_status read_vocab_and_merges(aleat_tokenizer *t, const char *folder, aleat_error *err)
{
    char *vocab_path = aleat_path_join(folder, "vocab.json");
    char *merges_path = aleat_path_join(folder, "merges.txt");
    aleat_json vocab = {0};
    aleat_mapping merges = {0};
    aleat_status st = vocab_path && merges_path ? ALEAT_OK : aleat_fail_memory(err, folder);
    if (!st)
        st = aleat_json_load(&vocab, vocab_path, err);
    if (!st && (st = read_vocab(&t->vocab, vocab.root, err)))
        aleat_error_in(err, "%s", vocab_path);
    if (!st)
        st = aleat_mapping_open(&merges, merges_path, err);
    if (!st)
        st = aleat_bpe_new(&t->bpe, &t->vocab, unknown_of(&t->vocab), err);
    if (!st && (st = aleat_bpe_add_merges(t->bpe, (const char *)merges.data, merges.len, err)))
        aleat_error_in(err, "%s", merges_path);
    aleat_mapping_close(&merges);
    aleat_json_clear(&vocab);
    aleat_free(vocab_path);
    aleat_free(merges_path);
    return st;
}

/** Inflates a whole gzip file, of at most 64 MiB unpacked (bpe_simple_vocab_16e6 has 3.1 MB). */
static aleat_status inflate_all(aleat_buffer *out, const unsigned char *data, size_t len,
                                aleat_error *err)
{
    enum { MOST = 64 << 20 };
    uint32_t size = 0; // gzip ends with it
    for (int i = 0; i < 4 && len >= 18; i++)
        size |= (uint32_t)data[len - 4 + (size_t)i] << 8 * i;
    if (len < 18 || size > MOST || size / ALEAT_INFLATE_RATIO > len)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "a gzip file of %zu bytes that holds %u", len,
                          size);
    aleat_inflater *inflater = NULL;
    char *text = aleat_alloc(size + 1);
    aleat_status st = text ? aleat_inflate_open(&inflater, data, len, ALEAT_INFLATE_GZIP, err)
                           : aleat_fail_memory(err, "a vocabulary");
    if (!st)
        st = aleat_inflate_read(inflater, text, size, err);
    if (!st)
        st = aleat_inflate_finish(inflater, err);
    aleat_inflate_free(inflater);
    if (st)
        aleat_free(text);
    else
        *out = (aleat_buffer){.data = text, .len = size, .cap = (size_t)size + 1};
    return st;
}

/** A list of merges, from which the vocabulary follows. */
static aleat_status read_merges(aleat_tokenizer *t, const char *merges, size_t len,
                                aleat_error *err)
{
    aleat_status st = aleat_bpe_derive_vocab(&t->vocab, merges, len, err);
    if (!st)
        st = aleat_bpe_new(&t->bpe, &t->vocab, unknown_of(&t->vocab), err);
    return st ? st : aleat_bpe_add_merges(t->bpe, merges, len, err);
}

/* ---- tokenizer.json -------------------------------------------------------------------------- */

/** A merge is written as "left right" or as ["left", "right"]. */
static aleat_status read_json_merge(aleat_bpe *bpe, const json_t *item, aleat_error *err)
{
    const char *left = json_string_value(item), *right = left ? strchr(left, ' ') : NULL;
    size_t left_len = right ? (size_t)(right - left) : 0;
    if (right) {
        right++;
    } else if (json_array_size(item) == 2) {
        left = json_string_value(json_array_get(item, 0));
        right = json_string_value(json_array_get(item, 1));
        left_len = left ? strlen(left) : 0;
    }
    if (!left || !right)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "'merges' holds what is not two tokens");
    return aleat_bpe_add_merge(bpe, left, left_len, right, strlen(right), err);
}

static aleat_status read_json_bpe(aleat_tokenizer *t, const json_t *model, aleat_error *err)
{
    const char *suffix = json_string_value(json_object_get(model, "end_of_word_suffix"));
    const json_t *merges = json_object_get(model, "merges");
    if (!suffix || strcmp(suffix, "</w>") || !json_is_array(merges))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "a BPE tokenizer that is not CLIP's (end_of_word_suffix is not '</w>')");
    aleat_status st = read_vocab(&t->vocab, json_object_get(model, "vocab"), err);
    if (!st)
        st = aleat_bpe_new(&t->bpe, &t->vocab, unknown_of(&t->vocab), err);
    for (size_t i = 0; i < json_array_size(merges) && i < ALEAT_BPE_MERGES && !st; i++)
        st = read_json_merge(t->bpe, json_array_get(merges, i), err);
    return st;
}

/** Decodes base64 in place; returns the length, or -1. */
static int64_t decode_base64(unsigned char *dst, const char *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    int64_t len = 0;
    uint32_t bits = 0;
    int n = 0;
    for (; *text && *text != '='; text++) {
        const char *digit = strchr(digits, *text);
        if (!digit)
            return -1;
        bits = bits << 6 | (uint32_t)(digit - digits);
        n += 6;
        if (n >= 8) {
            n -= 8;
            dst[len++] = (unsigned char)(bits >> n);
        }
    }
    return len;
}

/** The charsmap of a "Precompiled" normaliser, alone or in a sequence; NULL if there is none. */
static const char *find_charsmap(const json_t *normalizer)
{
    const char *map = json_string_value(json_object_get(normalizer, "precompiled_charsmap"));
    const json_t *list = json_object_get(normalizer, "normalizers");
    for (size_t i = 0; i < json_array_size(list) && !map; i++)
        map = json_string_value(json_object_get(json_array_get(list, i), "precompiled_charsmap"));
    return map;
}

/** Is this the text of a special token among the added ones? */
static bool is_special(const json_t *added, const char *text)
{
    for (size_t i = 0; i < json_array_size(added); i++) {
        const char *content = content_of(json_array_get(added, i));
        if (content && !strcmp(content, text))
            return true;
    }
    return false;
}

static aleat_status read_json_pieces(aleat_piece *pieces, const json_t *root, const json_t *model,
                                     aleat_error *err)
{
    const json_t *vocab = json_object_get(model, "vocab");
    const json_t *added = json_object_get(root, "added_tokens");
    const json_int_t unknown = json_integer_value(json_object_get(model, "unk_id"));
    for (size_t i = 0; i < json_array_size(vocab); i++) {
        const json_t *item = json_array_get(vocab, i);
        const char *text = json_string_value(json_array_get(item, 0));
        const json_t *score = json_array_get(item, 1);
        if (!text || !json_is_number(score))
            return aleat_fail(err, ALEAT_ERR_FORMAT, "'vocab': item %zu is not [text, number]", i);
        pieces[i] = (aleat_piece){.text = text,
                                  .len = (uint32_t)strlen(text),
                                  .score = (float)json_number_value(score),
                                  .kind = ALEAT_PIECE_NORMAL};
        if ((json_int_t)i == unknown)
            pieces[i].kind = ALEAT_PIECE_UNKNOWN;
        else if (is_special(added, text))
            pieces[i].kind = ALEAT_PIECE_CONTROL;
    }
    return ALEAT_OK;
}

static aleat_status read_json_unigram(aleat_tokenizer *t, const json_t *root, const json_t *model,
                                      aleat_error *err)
{
    const char *map = find_charsmap(json_object_get(root, "normalizer"));
    const size_t count = json_array_size(json_object_get(model, "vocab"));
    aleat_unigram_options options = {
        .add_dummy_prefix = true, .remove_extra_whitespaces = true, .escape_whitespaces = true};
    if (count < 1 || count > ALEAT_VOCAB_LIMIT)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "a vocabulary of %zu pieces", count);
    aleat_piece *pieces = aleat_calloc(count, sizeof *pieces);
    unsigned char *bytes = aleat_alloc(map ? strlen(map) : 0);
    aleat_status st =
        pieces && bytes ? ALEAT_OK : aleat_fail_memory(err, "the pieces of a tokenizer");
    if (!st && map) {
        const int64_t len = decode_base64(bytes, map);
        options.charsmap = bytes;
        options.charsmap_len = len < 0 ? 0 : (size_t)len;
        if (len < 0)
            st = aleat_fail(err, ALEAT_ERR_FORMAT, "'precompiled_charsmap' is not base64");
    }
    if (!st)
        st = read_json_pieces(pieces, root, model, err);
    if (!st)
        st = aleat_unigram_new(&t->unigram, pieces, (int32_t)count, &options, err);
    aleat_free(pieces);
    aleat_free(bytes);
    return st;
}

static aleat_status read_json(aleat_tokenizer **out, const aleat_json *json, aleat_error *err)
{
    const json_t *model = json_object_get(json->root, "model");
    const char *type = json_string_value(json_object_get(model, "type"));
    const bool unigram = type && !strcmp(type, "Unigram");
    if (!unigram && (!type || strcmp(type, "BPE")))
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "a tokenizer of type '%.40s', supported are BPE and Unigram",
                          type ? type : "?");
    *out = new_tokenizer(unigram ? ALEAT_TOKENIZER_T5 : ALEAT_TOKENIZER_CLIP);
    if (!*out)
        return aleat_fail_memory(err, "a tokenizer");
    aleat_status st =
        unigram ? read_json_unigram(*out, json->root, model, err) : read_json_bpe(*out, model, err);
    const json_t *added = json_object_get(json->root, "added_tokens");
    for (size_t i = 0; i < json_array_size(added) && !st; i++) {
        const json_t *object = json_array_get(added, i), *id = json_object_get(object, "id");
        st = add_object(*out, object, json_is_integer(id) ? json_integer_value(id) : -1,
                        "added_tokens", err);
    }
    return st;
}

/* ---- opening --------------------------------------------------------------------------------- */

/** Reads one file by its content; special tokens are still to be read. */
static aleat_status read_file(aleat_tokenizer **out, const unsigned char *data, size_t len,
                              const char *name, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    if (len > 2 && data[0] == 0x1f && data[1] == 0x8b) {
        aleat_buffer merges = {0};
        *out = new_tokenizer(ALEAT_TOKENIZER_CLIP);
        st = *out ? inflate_all(&merges, data, len, err) : aleat_fail_memory(err, name);
        if (!st)
            st = read_merges(*out, merges.data, merges.len, err);
        aleat_buffer_clear(&merges);
    } else if (len && data[0] == '{') { // a protocol buffer may begin like white space
        aleat_json json = {0};
        st = aleat_json_parse(&json, data, len, name, err);
        if (st)
            return st;
        st = read_json(out, &json, err);
        aleat_json_clear(&json);
    } else {
        *out = new_tokenizer(ALEAT_TOKENIZER_T5);
        st = *out ? aleat_spiece_read(&(*out)->unigram, data, len, err)
                  : aleat_fail_memory(err, name);
    }
    if (st)
        aleat_error_in(err, "%s", name);
    return st;
}

/** Hands over a tokenizer after its special tokens have been read, or releases it. */
static aleat_status finish(aleat_tokenizer **out, aleat_tokenizer *t, const char *folder,
                           const char *name, aleat_status st, aleat_error *err)
{
    assert(st || t);
    if (!st && (st = read_specials(t, folder, err)))
        aleat_error_in(err, "%s", name);
    if (st)
        aleat_tokenizer_free(t);
    else
        *out = t;
    return st;
}

aleat_status aleat_tokenizer_open_memory(aleat_tokenizer **out, const void *data, size_t len,
                                         const char *name, aleat_error *err)
{
    *out = NULL;
    aleat_tokenizer *t = NULL;
    const aleat_status st = read_file(&t, data, len, name, err);
    return finish(out, t, NULL, name, st, err);
}

static aleat_status open_file(aleat_tokenizer **out, const char *path, const char *folder,
                              aleat_error *err)
{
    aleat_tokenizer *t = NULL;
    aleat_mapping file = {0};
    aleat_status st = aleat_mapping_open(&file, path, err);
    if (!st)
        st = read_file(&t, file.data, file.len, path, err);
    aleat_mapping_close(&file);
    return finish(out, t, folder, path, st, err);
}

static aleat_status open_vocab(aleat_tokenizer **out, const char *folder, aleat_error *err)
{
    aleat_tokenizer *t = new_tokenizer(ALEAT_TOKENIZER_CLIP);
    const aleat_status st =
        t ? read_vocab_and_merges(t, folder, err) : aleat_fail_memory(err, folder);
    return finish(out, t, folder, folder, st, err);
}

static aleat_status open_folder(aleat_tokenizer **out, const char *folder, aleat_error *err)
{
    static const char *const files[] = {"vocab.json", "spiece.model", "tokenizer.json"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *path = aleat_path_join(folder, files[i]);
        if (!path)
            return aleat_fail_memory(err, folder);
        aleat_status st = ALEAT_ERR_IO;
        const bool there = aleat_is_file(path);
        if (there)
            st = i == 0 ? open_vocab(out, folder, err) : open_file(out, path, folder, err);
        aleat_free(path);
        if (there)
            return st;
    }
    return aleat_fail(err, ALEAT_ERR_FORMAT,
                      "%s: not a tokenizer: neither vocab.json nor spiece.model nor "
                      "tokenizer.json is there",
                      folder);
}

aleat_status aleat_tokenizer_open(aleat_tokenizer **out, const char *path, aleat_error *err)
{
    *out = NULL;
    if (aleat_is_dir(path))
        return open_folder(out, path, err);
    const char *base = aleat_path_base(path);
    const bool vocab = !strcmp(base, "vocab.json") || !strcmp(base, "merges.txt");
    char *folder = aleat_path_folder(path);
    if (!folder)
        return aleat_fail_memory(err, path);
    const aleat_status st =
        vocab ? open_vocab(out, folder, err) : open_file(out, path, folder, err);
    aleat_free(folder);
    return st;
}

aleat_status aleat_tokenizer_bundled(aleat_tokenizer **out, aleat_tokenizer_kind kind,
                                     const char *pad, aleat_error *err)
{
    *out = NULL;
    const bool clip = kind == ALEAT_TOKENIZER_CLIP;
    const unsigned char *data = clip ? aleat_bundled_clip_merges : aleat_bundled_t5_spiece;
    const unsigned char *end = clip ? aleat_bundled_clip_merges_end : aleat_bundled_t5_spiece_end;
    special_names names = published_names(kind);
    names.pad = pad ? pad : names.pad;
    aleat_buffer text = {0};
    aleat_tokenizer *t = new_tokenizer(kind);
    aleat_status st = t ? inflate_all(&text, data, (size_t)(end - data), err)
                        : aleat_fail_memory(err, "a tokenizer");
    if (!st)
        st = clip ? read_merges(t, text.data, text.len, err)
                  : aleat_spiece_read(&t->unigram, text.data, text.len, err);
    if (!st)
        st = add_specials(t, &names, err);
    aleat_buffer_clear(&text);
    if (st)
        aleat_tokenizer_free(t);
    else
        *out = t;
    return st;
}
