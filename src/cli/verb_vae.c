#include "cli/verbs.h"

// What the two verbs read and make.
typedef struct work {
    aleat_vae *vae;
    aleat_array in, noise, cotangent;       // read
    aleat_array out, mean, logvar, latents; // made
    aleat_array grad;
} work;

static void work_clear(work *w)
{
    aleat_array *const arrays[] = {&w->in,   &w->noise,  &w->cotangent, &w->out,
                                   &w->mean, &w->logvar, &w->latents,   &w->grad};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        aleat_array_clear(arrays[i]);
    aleat_vae_close(w->vae);
}

static bool fits(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    if (!args->cotangent == !args->grad)
        return true;
    aleat_cli_complain(verb->name, "--cotangent and --grad go together");
    return false;
}

static aleat_status read_inputs(work *w, const aleat_cli_args *args, const char *in,
                                aleat_error *err)
{
    aleat_status st = aleat_array_read(&w->in, in, err);
    if (!st && args->noise)
        st = aleat_array_read(&w->noise, args->noise, err);
    if (!st && args->cotangent)
        st = aleat_array_read(&w->cotangent, args->cotangent, err);
    return st ? st : aleat_cli_open_vae(&w->vae, args, err);
}

static aleat_status write_if(const char *path, const aleat_array *array, aleat_error *err)
{
    return path ? aleat_array_write(path, array, err) : ALEAT_OK;
}

static void tell(const aleat_cli_verb *verb, const aleat_cli_args *args, const aleat_array *out)
{
    if (args->json) {
        json_t *shape = json_array();
        for (int i = 0; i < out->n_dims; i++)
            (void)json_array_append_new(shape, json_integer(out->dim[i]));
        aleat_cli_print_json(
            json_pack("{ss*ss*so}", "out", args->out, "grad", args->grad, "shape", shape));
    } else if (!args->quiet) {
        (void)fprintf(stderr, "aleat: %s: wrote %s\n", verb->name, args->out);
    }
}

int aleat_cli_decode(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    if (!fits(verb, args))
        return ALEAT_EXIT_USAGE;
    aleat_error err = {0};
    work w = {0};
    const bool with_grad = args->grad != NULL;
    aleat_status st = read_inputs(&w, args, args->latents, &err);
    if (!st)
        st = aleat_vae_decode(w.vae, &w.in, &w.out, with_grad ? &w.cotangent : NULL,
                              with_grad ? &w.grad : NULL, &err);
    if (!st)
        st = aleat_array_write(args->out, &w.out, &err);
    if (!st)
        st = write_if(args->grad, &w.grad, &err);
    if (!st)
        tell(verb, args, &w.out);
    work_clear(&w);
    return aleat_cli_exit(verb, st, &err);
}

int aleat_cli_encode(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    if (!fits(verb, args))
        return ALEAT_EXIT_USAGE;
    aleat_error err = {0};
    work w = {0};
    const bool with_grad = args->grad != NULL, draw = args->sample || args->noise;
    aleat_status st = read_inputs(&w, args, args->images, &err);
    if (!st)
        st = aleat_vae_encode(w.vae, &w.in, &w.mean, &w.logvar, with_grad ? &w.cotangent : NULL,
                              with_grad ? &w.grad : NULL, &err);
    if (!st && draw && !args->noise)
        st = aleat_vae_noise(&w.mean, args->seed, &w.noise, &err);
    if (!st)
        st = aleat_vae_latents(w.vae, &w.mean, draw ? &w.logvar : NULL, draw ? &w.noise : NULL,
                               &w.latents, &err);
    if (!st)
        st = aleat_array_write(args->out, &w.latents, &err);
    if (!st)
        st = write_if(args->mean, &w.mean, &err);
    if (!st)
        st = write_if(args->logvar, &w.logvar, &err);
    if (!st)
        st = write_if(args->grad, &w.grad, &err);
    if (!st)
        tell(verb, args, &w.latents);
    work_clear(&w);
    return aleat_cli_exit(verb, st, &err);
}
