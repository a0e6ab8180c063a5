#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/verbs.h"

static json_t *tensor_json(const aleat_tensor_facts *t)
{
    json_t *shape = json_array();
    for (int i = 0; i < t->n_dims; i++)
        (void)json_array_append_new(shape, json_integer(t->dim[i]));
    return json_pack("{ssssso}", "name", t->name, "dtype", t->dtype, "shape", shape);
}

// Tensors of a model or of a checkpoint; the other is NULL.
static aleat_tensor_facts tensor_of(const aleat_model *model, const aleat_checkpoint *file,
                                    int64_t i)
{
    return model ? aleat_model_tensor(model, i) : aleat_checkpoint_tensor(file, i);
}

static json_t *tensors_json(const aleat_model *model, const aleat_checkpoint *file, int64_t n)
{
    json_t *tensors = json_array();
    for (int64_t i = 0; i < n; i++) {
        const aleat_tensor_facts t = tensor_of(model, file, i);
        (void)json_array_append_new(tensors, tensor_json(&t));
    }
    return tensors;
}

static void print_json(const aleat_model *model, const aleat_model_facts *f)
{
    json_t *tensors = tensors_json(model, NULL, f->n_tensors);
    json_t *config = f->config_json ? json_loads(f->config_json, 0, NULL) : NULL;
    json_t *scheduler = f->scheduler_json ? json_loads(f->scheduler_json, 0, NULL) : NULL;
    aleat_cli_print_json(json_pack(
        "{ssssssssssss*so*sfsfsIsIsIsIsIsIsIsIsfsIsIso*so}", "path", f->path, "family", f->family,
        "role", f->role, "weights_path", f->weights_path, "weights_format", f->weights_format,
        "scheduler_path", f->scheduler_path, "scheduler", scheduler, "time_scale", f->time_scale,
        "time_offset", f->time_offset, "channels", (json_int_t)f->channels, "height",
        (json_int_t)f->height, "width", (json_int_t)f->width, "out_channels",
        (json_int_t)f->out_channels, "n_classes", (json_int_t)f->n_classes, "null_class",
        (json_int_t)f->null_class, "n_tensors", (json_int_t)f->n_tensors, "n_parameters",
        (json_int_t)f->n_parameters, "flop", f->flop, "weight_bytes", (json_int_t)f->weight_bytes,
        "plan_bytes", (json_int_t)f->plan_bytes, "config", config, "tensors", tensors));
}

static void print_tensors(const aleat_model *model, const aleat_checkpoint *file, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const aleat_tensor_facts t = tensor_of(model, file, i);
        (void)printf("  %-4s [", t.dtype);
        for (int d = 0; d < t.n_dims; d++)
            (void)printf("%s%" PRId64, d ? "," : "", t.dim[d]);
        (void)printf("] %s\n", t.name);
    }
}

static void print_text(const aleat_model *model, const aleat_model_facts *f, bool tensors)
{
    (void)printf("model        %s\n", f->path);
    (void)printf("family       %s\n", f->family);
    (void)printf("weights      %s (%s), %" PRId64 " tensors, %.2f million parameters\n",
                 f->weights_path, f->weights_format, f->n_tensors, 1e-6 * (double)f->n_parameters);
    (void)printf("scheduler    %s\n", f->scheduler_path   ? f->scheduler_path
                                      : f->scheduler_json ? "the family's own (--json shows it)"
                                                          : "none");
    if (f->time_scale != 1 || f->time_offset != 0)
        (void)printf("time         %g (s + %g) at training step s, from 0\n", f->time_scale,
                     f->time_offset);
    (void)printf("images       %" PRId64 " channels, %" PRId64 " x %" PRId64 "\n", f->channels,
                 f->height, f->width);
    if (strcmp(f->role, "classifier") == 0)
        (void)printf("output       logits of %" PRId64 " classes of noisy images\n",
                     f->out_channels);
    else if (f->out_channels != f->channels)
        (void)printf("output       %" PRId64 " channels: the prediction and a learned variance\n",
                     f->out_channels);
    if (f->n_classes)
        (void)printf("classes      0 to %" PRId64 "\n", f->n_classes - 1);
    else
        (void)printf("classes      none\n");
    (void)printf("evaluation   %.3f GFLOP an image\n", 1e-9 * f->flop);
    (void)printf("memory       %.1f MB of weights, %.1f MB of activations an image\n",
                 1e-6 * (double)f->weight_bytes, 1e-6 * (double)f->plan_bytes);
    if (tensors)
        print_tensors(model, NULL, f->n_tensors);
}

// A file that is no denoiser that can be opened: what it says of itself, what it looks like, and
// why it is not one. An autoencoder is a kind of its own.
static aleat_status tell_of_file(const aleat_cli_args *args, const char *reason)
{
    aleat_checkpoint *file = NULL;
    aleat_vae *vae = NULL;
    aleat_cli_args as_decoder = *args;
    as_decoder.decoder = args->operand;
    const bool decodes = aleat_cli_open_vae(&vae, &as_decoder, NULL) == ALEAT_OK;
    const char *path = decodes ? aleat_vae_describe(vae).weights_path : args->operand;
    const aleat_status st = aleat_checkpoint_open(&file, path, NULL);
    if (st)
        goto done;
    const aleat_checkpoint_facts f = aleat_checkpoint_describe(file);
    const char *family = decodes ? "autoencoder_kl" : NULL;
    if (args->json) {
        json_t *like =
            f.resembles ? json_pack("{sssf}", "kind", f.resembles, "share", f.share) : json_null();
        json_t *config = vae ? json_loads(aleat_vae_describe(vae).config_json, 0, NULL) : NULL;
        aleat_cli_print_json(json_pack(
            "{ssssssss?sIsIss*so*soso}", "path", args->operand, "weights_format", f.format,
            "weights_path", f.path, "family", family, "n_tensors", (json_int_t)f.n_tensors,
            "n_parameters", (json_int_t)f.n_parameters, "reason", family ? NULL : reason, "config",
            config, "resembles", like, "tensors", tensors_json(NULL, file, f.n_tensors)));
    } else {
        (void)printf("file         %s\n", args->operand);
        (void)printf("family       %s\n", family ? family : "unknown");
        (void)printf("weights      %s, %" PRId64 " tensors, %.2f million parameters\n", f.format,
                     f.n_tensors, 1e-6 * (double)f.n_parameters);
        if (f.resembles)
            (void)printf("resembles    %s: %.0f %% of its tensor names fit\n", f.resembles,
                         100 * f.share);
        else
            (void)printf("resembles    nothing known\n");
        if (!family)
            (void)printf("not opened   %s\n", reason);
        print_tensors(NULL, file, f.n_tensors);
    }
done:
    aleat_vae_close(vae);
    aleat_checkpoint_close(file);
    return st;
}

static int write_tensor(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    aleat_error err = {0};
    aleat_checkpoint *file = NULL;
    aleat_array values = {0};
    aleat_status st = aleat_checkpoint_open(&file, args->operand, &err);
    if (!st)
        st = aleat_checkpoint_read(file, args->tensor, &values, &err);
    if (!st)
        st = aleat_array_write(args->out, &values, &err);
    aleat_array_clear(&values);
    aleat_checkpoint_close(file);
    return aleat_cli_exit(verb, st, &err);
}

int aleat_cli_info(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    if (!args->tensor != !args->out) {
        aleat_cli_complain(verb->name, "--tensor and --out go together");
        return ALEAT_EXIT_USAGE;
    }
    if (args->tensor)
        return write_tensor(verb, args);
    aleat_error err = {0};
    aleat_model *model = NULL;
    aleat_status st = aleat_cli_open(&model, args, &err);
    if (!st)
        st = aleat_model_measure(model, &err);
    if (!st) {
        const aleat_model_facts facts = aleat_model_describe(model);
        if (args->json)
            print_json(model, &facts);
        else
            print_text(model, &facts, args->tensors);
    }
    aleat_model_close(model);
    if (st && tell_of_file(args, err.message) == ALEAT_OK)
        return ALEAT_EXIT_DONE;
    return aleat_cli_exit(verb, st, &err);
}
