#include <stdlib.h>

#include "cli/verbs.h"

// What the network is asked, read from the files that the options name (x and the texts before the
// model opens).
typedef struct question {
    aleat_array x, t, cotangent;
    int32_t *labels;
    aleat_cli_texts texts;
} question;

static void question_clear(question *q)
{
    aleat_array_clear(&q->x);
    aleat_array_clear(&q->t);
    aleat_array_clear(&q->cotangent);
    aleat_cli_texts_clear(&q->texts);
    free(q->labels);
}

static aleat_status question_read(question *q, const aleat_cli_args *args, const aleat_model *model,
                                  aleat_error *err)
{
    const int64_t n = q->x.n_dims > 0 ? q->x.dim[0] : 0;
    aleat_status st = aleat_cli_values(&q->t, "t", args->t, n, err);
    if (!st)
        st = aleat_cli_labels(&q->labels, "label", args->label, n, model, NULL, err);
    if (!st && args->cotangent)
        st = aleat_array_read(&q->cotangent, args->cotangent, err);
    return st;
}

static json_t *shape_json(const aleat_array *array)
{
    json_t *shape = json_array();
    for (int i = 0; i < array->n_dims; i++)
        (void)json_array_append_new(shape, json_integer(array->dim[i]));
    return shape;
}

static void tell(const aleat_cli_args *args, const aleat_array *out)
{
    if (args->json)
        aleat_cli_print_json(json_pack("{ss*ss*so}", "out", args->out, "grad", args->grad, "shape",
                                       shape_json(out)));
    else if (!args->quiet)
        (void)fprintf(stderr, "aleat: score: wrote %s%s%s\n", args->out, args->grad ? " and " : "",
                      args->grad ? args->grad : "");
}

int aleat_cli_score(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    if (!args->cotangent != !args->grad) {
        aleat_cli_complain(verb->name, "--cotangent and --grad go together");
        return ALEAT_EXIT_USAGE;
    }
    aleat_error err = {0};
    aleat_model *model = NULL;
    question q = {0};
    aleat_array out = {0}, grad = {0};
    const bool with_grad = args->cotangent != NULL;

    aleat_status st = aleat_array_read(&q.x, args->x, &err);
    if (!st)
        st = aleat_cli_texts_read(&q.texts, args->context, args->pooled, args->guidance,
                                  q.x.n_dims > 0 ? q.x.dim[0] : 0, &err);
    if (!st)
        st = aleat_cli_open_for(&model, args, &q.x, &q.texts, &err);
    if (!st)
        st = question_read(&q, args, model, &err);
    if (!st)
        st = aleat_model_evaluate(model, &q.x, q.t.data, q.labels, &q.texts.view, &out,
                                  with_grad ? &q.cotangent : NULL, with_grad ? &grad : NULL, &err);
    if (!st)
        st = aleat_array_write(args->out, &out, &err);
    if (!st && with_grad)
        st = aleat_array_write(args->grad, &grad, &err);
    if (!st)
        tell(args, &out);
    aleat_array_clear(&out);
    aleat_array_clear(&grad);
    question_clear(&q);
    aleat_model_close(model);
    return aleat_cli_exit(verb, st, &err);
}
