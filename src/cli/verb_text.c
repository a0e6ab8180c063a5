/* encode-text and tokenize. */
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

/** The negative prompt first, as the arrays of classifier-free guidance have it. */
static aleat_status gather(aleat_cli_text_list *t, const aleat_cli_args *args, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    if (args->negative)
        st = aleat_cli_text_list_add(t, args->negative, err);
    if (!st && args->prompt)
        st = aleat_cli_text_list_add(t, args->prompt, err);
    if (!st && args->file)
        st = aleat_cli_text_list_add_lines(t, args->file, err);
    if (!st && t->count == 0)
        st = aleat_cli_fail(err, ALEAT_ERR_ARGUMENT, "%s: no texts in it", args->file);
    return st;
}

static bool has_text(const aleat_cli_verb *verb, const aleat_cli_args *args, const char *option)
{
    if (args->prompt || args->file)
        return true;
    aleat_cli_complain(verb->name, "--%s or --file is needed", option);
    return false;
}

static aleat_text_options options_of(const aleat_cli_args *args)
{
    return (aleat_text_options){.encoder = (int)args->encoder,
                                .variant = args->variant,
                                .precision = aleat_precision_name(args->precision, NULL),
                                .tokenizer = args->tokenizer,
                                .threads = (int)args->threads,
                                .tokens = args->tokens,
                                .clip_skip = args->clip_skip,
                                .heads = args->heads};
}

static void warn_of_cuts(const char *verb, char *const *cut, int64_t count, int64_t tokens)
{
    for (int64_t i = 0; i < count; i++)
        if (cut[i])
            aleat_cli_complain(verb, "text %lld is cut to %lld tokens, without \"%s\"",
                               (long long)i + 1, (long long)tokens, cut[i]);
}

static aleat_status write_text(const aleat_cli_args *args, const aleat_encoded_text *text,
                               aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    if (args->pooled && !text->pooled.data)
        st = aleat_cli_fail(err, ALEAT_ERR_ARGUMENT, "--pooled: this encoder gives none");
    if (!st && args->out)
        st = aleat_array_write(args->out, &text->hidden, err);
    if (!st && args->pooled)
        st = aleat_array_write(args->pooled, &text->pooled, err);
    if (!st && args->ids)
        st = aleat_ids_write(args->ids, text->ids, text->count, text->tokens, err);
    return st;
}

static void tell(const aleat_cli_args *args, const aleat_encoded_text *text)
{
    json_t *cut = json_array();
    for (int64_t i = 0; i < text->count; i++)
        (void)json_array_append_new(cut, text->cut[i] ? json_string(text->cut[i]) : json_null());
    if (args->json)
        aleat_cli_print_json(
            json_pack("{s:[I,I,I], s:I, s:O}", "shape", (json_int_t)text->hidden.dim[0],
                      (json_int_t)text->hidden.dim[1], (json_int_t)text->hidden.dim[2], "pooled",
                      (json_int_t)text->pooled.dim[1], "cut", cut));
    json_decref(cut);
}

int aleat_cli_encode_text(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    if (!has_text(verb, args, "prompt"))
        return ALEAT_EXIT_USAGE;
    aleat_error err = {0};
    aleat_cli_text_list t = {0};
    aleat_encoded_text text = {0};
    const aleat_text_options options = options_of(args);
    aleat_status st = gather(&t, args, &err);
    if (!st)
        st = aleat_encode_text(&text, args->operand, t.at, t.count, &options, &err);
    if (!st)
        st = write_text(args, &text, &err);
    if (!st && !args->quiet)
        warn_of_cuts(verb->name, text.cut, text.count, text.tokens);
    if (!st)
        tell(args, &text);
    aleat_encoded_text_clear(&text);
    aleat_cli_text_list_clear(&t);
    return aleat_cli_exit(verb, st, &err);
}

/** [texts, tokens] of equally long texts. */
static aleat_status write_ids(const char *path, const json_t *list, aleat_error *err)
{
    const size_t rows = json_array_size(list);
    const size_t columns = json_array_size(json_object_get(json_array_get(list, 0), "ids"));
    int32_t *ids = calloc(rows * columns, sizeof *ids);
    aleat_status st =
        ids ? ALEAT_OK : aleat_cli_fail(err, ALEAT_ERR_MEMORY, "out of memory: tokens");
    for (size_t i = 0; ids && i < rows && !st; i++) {
        const json_t *row = json_object_get(json_array_get(list, i), "ids");
        if (json_array_size(row) != columns)
            st = aleat_cli_fail(err, ALEAT_ERR_ARGUMENT,
                                "--out: texts of %zu and %zu tokens; give --tokens", columns,
                                json_array_size(row));
        for (size_t j = 0; j < columns && !st; j++)
            ids[i * columns + j] = (int32_t)json_integer_value(json_array_get(row, j));
    }
    if (!st)
        st = aleat_ids_write(path, ids, (int64_t)rows, (int64_t)columns, err);
    free(ids);
    return st;
}

static void print_ids(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *row = json_object_get(json_array_get(list, i), "ids");
        for (size_t j = 0; j < json_array_size(row); j++)
            printf("%s%lld", j ? " " : "", (long long)json_integer_value(json_array_get(row, j)));
        (void)putchar('\n');
    }
}

int aleat_cli_tokenize(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    if (!has_text(verb, args, "text"))
        return ALEAT_EXIT_USAGE;
    aleat_error err = {0};
    aleat_cli_text_list t = {0};
    char *text = NULL;
    const aleat_text_options options = options_of(args);
    aleat_status st = gather(&t, args, &err);
    if (!st)
        st = aleat_tokenize_json(&text, args->operand, t.at, t.count, &options, &err);
    json_t *json = text ? json_loads(text, 0, NULL) : NULL;
    const json_t *list = json_object_get(json, "texts");
    if (!st && !json)
        st = aleat_cli_fail(&err, ALEAT_ERR_MEMORY, "out of memory: tokens");
    if (!st && args->out)
        st = write_ids(args->out, list, &err);
    if (!st && args->json)
        (void)puts(text);
    else if (!st && !args->out)
        print_ids(list);
    json_decref(json);
    free(text);
    aleat_cli_text_list_clear(&t);
    return aleat_cli_exit(verb, st, &err);
}
