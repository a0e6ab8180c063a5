#include "aleat/model.h"

#include <string.h>

#include "api/model_state.h"
#include "api/texts.h"
#include "base/alloc.h"
#include "base/error.h"
#include "base/names.h"
#include "kernels/peak.h"

static const struct {
    const char *name, *help;
    aleat_precision value;
} precisions[] = {
    {"f32", "single precision throughout", ALEAT_PRECISION_F32},
    {"bf16", "matrix products of bf16 factors, everything else f32", ALEAT_PRECISION_BF16},
};
#define N_PRECISIONS ((int)(sizeof precisions / sizeof *precisions))

const char *aleat_precision_name(int i, const char **help)
{
    return ALEAT_NAME_AT(precisions, i, help);
}

const char *aleat_attention_order_name(int i, const char **help)
{
    static const struct {
        const char *name, *help;
    } orders[] = {
        {"auto", "as in the published model of these sizes"},
        {"legacy", "head by head"},
        {"new", "all heads' queries, then keys, then values (use_new_attention_order)"},
    };
    return ALEAT_NAME_AT(orders, i, help);
}

const char *aleat_family_name(int i, const char **help)
{
    for (int k = 0; aleat_model_families[k]; k++)
        if (k == i) {
            if (help)
                *help = aleat_model_families[k]->description;
            return aleat_model_families[k]->name;
        }
    return NULL;
}

aleat_status aleat_precision_find(aleat_precision *out, const char *name, aleat_error *err)
{
    *out = precisions[0].value;
    for (int i = 0; name && i < N_PRECISIONS; i++)
        if (strcmp(name, precisions[i].name) == 0) {
            *out = precisions[i].value;
            return ALEAT_OK;
        }
    return name ? aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no precision '%s'", name)
                : ALEAT_OK;
}

static aleat_status build(aleat_model *model, const aleat_open_options *options, aleat_error *err)
{
    const aleat_network *network = &model->files.network;
    if (model->files.role == ALEAT_MODEL_FEATURES) {
        (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                         "%s: this is a classifier of clean images, not a denoiser", model->path);
        aleat_hint(err, "it gives features of images: aleat features");
        return ALEAT_ERR_UNSUPPORTED;
    }
    const aleat_network_spec spec = {
        .graph = model->files.graph,
        .x = network->x,
        .t = network->t,
        .label = network->label,
        .out = network->out,
        .context = network->context,
        .pooled = network->pooled,
        .guidance = network->guidance,
        .info = model->files.info,
        .engine = {.threads = options->threads, .precision = model->precision},
        .max_images = options->max_images,
        .memory = options->memory,
    };
    return aleat_network_denoiser(&model->denoiser, &spec, err);
}

aleat_status aleat_model_check_denoiser(const aleat_model *model, aleat_error *err)
{
    if (model->files.role == ALEAT_MODEL_DENOISER)
        return ALEAT_OK;
    (void)aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                     "%s: this is a classifier of noisy images, not a denoiser", model->path);
    aleat_hint(err, "it can guide a diffusion model, but not be sampled from");
    return ALEAT_ERR_UNSUPPORTED;
}

aleat_model_options aleat_model_wanted(const aleat_open_options *options)
{
    const char *order = options->attention_order;
    return (aleat_model_options){
        .family = options->family,
        .variant = options->variant,
        .context_tokens = options->context_tokens,
        .height = options->height,
        .width = options->width,
        .heads = options->heads,
        .head_dim = options->head_dim,
        .attention_order = order && strcmp(order, "auto") != 0 ? order : NULL,
        .noise_schedule = options->noise_schedule,
        .train_steps = options->train_steps,
        .rescale_timesteps = options->rescale_timesteps,
        .dropout = options->dropout,
    };
}

aleat_status aleat_model_open(aleat_model **out, const char *path,
                              const aleat_open_options *options, aleat_error *err)
{
    *out = NULL;
    const aleat_open_options defaults = {0};
    if (!options)
        options = &defaults;
    const aleat_model_options wanted = aleat_model_wanted(options);
    aleat_model *model = aleat_calloc(1, sizeof *model);
    if (!model)
        return aleat_fail_memory(err, path);
    aleat_status st = ALEAT_OK;
    model->path = aleat_strdup(path);
    if (!model->path)
        st = aleat_fail_memory(err, path);
    if (!st)
        st = aleat_precision_find(&model->precision, options->precision, err);
    if (!st)
        st = aleat_model_files_open(&model->files, path, &wanted, err);
    if (!st)
        st = build(model, options, err);
    if (st)
        goto done;
    if (options->raw_time) {
        model->files.time_scale = 1;
        model->files.time_offset = 0;
    }
    model->n_parameters = aleat_weights_parameters(model->files.weights);
    *out = model;
    model = NULL;
done:
    aleat_model_close(model);
    return st;
}

void aleat_model_close(aleat_model *model)
{
    if (!model)
        return;
    aleat_denoiser_destroy(&model->denoiser);
    aleat_model_files_close(&model->files);
    aleat_free(model->path);
    aleat_free(model);
}

aleat_model_facts aleat_model_describe(const aleat_model *model)
{
    const aleat_denoiser_info *info = &model->files.info;
    const aleat_network_stats stats = aleat_network_denoiser_stats(&model->denoiser);
    const aleat_dims dims = aleat_graph_dims(model->files.graph, model->files.network.out);
    return (aleat_model_facts){
        .path = model->path,
        .family = model->files.family,
        .weights_path = aleat_weights_path(model->files.weights),
        .weights_format = aleat_weights_format(model->files.weights),
        .config_json = model->files.config_text,
        .scheduler_path = model->files.scheduler_path,
        .scheduler_json = model->files.scheduler_path ? NULL : model->files.scheduler_text,
        .time_scale = model->files.time_scale,
        .time_offset = model->files.time_offset,
        .role = model->files.role == ALEAT_MODEL_CLASSIFIER ? "classifier" : "denoiser",
        .precision = precisions[model->precision].name,
        .threads = stats.threads,
        .channels = info->channels,
        .height = info->height,
        .width = info->width,
        .out_channels = info->out_channels,
        .out_height = dims.h,
        .out_width = dims.w,
        .n_classes = info->n_classes,
        .null_class = info->null_class,
        .context_tokens = info->context_tokens,
        .context_dim = info->context_dim,
        .pooled_dim = info->pooled_dim,
        .takes_guidance = info->takes_guidance,
        .n_tensors = aleat_weights_count(model->files.weights),
        .n_parameters = model->n_parameters,
        .flop = stats.flop,
        .weight_bytes = stats.weight_bytes,
        .plan_bytes = stats.plan_bytes,
    };
}

aleat_status aleat_model_measure(aleat_model *model, aleat_error *err)
{
    return aleat_network_denoiser_measure(&model->denoiser, err);
}

double aleat_model_peak(const aleat_model *model)
{
    const aleat_network_stats stats = aleat_network_denoiser_stats(&model->denoiser);
    return aleat_kernels_peak(aleat_kernels_for(aleat_cpu_isa()),
                              model->precision == ALEAT_PRECISION_BF16, stats.threads);
}

const char *aleat_model_class_name(const aleat_model *model, int64_t label)
{
    return aleat_class_name(&model->files.class_names, label);
}

aleat_tensor_facts aleat_model_tensor(const aleat_model *model, int64_t i)
{
    return aleat_weight_facts(aleat_weights_at(model->files.weights, i));
}

// The array must be n of `want`'s dimensions c, h, w; n is the caller's or, at first, any.
static aleat_status check_images(const aleat_array *array, int64_t n, aleat_dims want,
                                 const char *what, aleat_error *err)
{
    const int64_t *dim = array->dim;
    if (array->n_dims == 4 && dim[0] == n && n > 0 && dim[1] == want.c && dim[2] == want.h &&
        dim[3] == want.w)
        return ALEAT_OK;
    char text[128];
    aleat_shape shape = {.n_dims = array->n_dims};
    memcpy(shape.dim, dim, sizeof shape.dim);
    return aleat_fail(err, ALEAT_ERR_SHAPE, "%s is %s, this network wants [%s,%lld,%lld,%lld]",
                      what, aleat_shape_text(&shape, text, sizeof text), n > 0 ? "N" : "1 or more",
                      (long long)want.c, (long long)want.h, (long long)want.w);
}

static aleat_status new_images(aleat_array *out, int64_t n, aleat_dims dims, aleat_error *err)
{
    const int64_t dim[4] = {n, dims.c, dims.h, dims.w};
    return aleat_array_new(out, 4, dim, err);
}

aleat_status aleat_model_evaluate(aleat_model *model, const aleat_array *x, const float *t,
                                  const int32_t *labels, const aleat_texts *texts, aleat_array *out,
                                  const aleat_array *cotangent, aleat_array *grad, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    if (grad)
        memset(grad, 0, sizeof *grad);
    const aleat_denoiser *d = &model->denoiser;
    const int64_t n = x->n_dims > 0 ? x->dim[0] : 0;
    const aleat_dims in = {d->info.height, d->info.width, d->info.channels};
    const aleat_dims raw = aleat_graph_dims(model->files.graph, model->files.network.out);
    aleat_text_list list = {0};
    aleat_status st = ALEAT_OK;
    if (!cotangent != !grad)
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT, "a cotangent and a gradient go together");
    if (!st)
        st = check_images(x, n, in, "x", err);
    if (!st && cotangent)
        st = check_images(cotangent, n, raw, "the cotangent", err);
    if (!st && cotangent && !d->ops->backward)
        st = aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "this network has no gradients");
    if (!st)
        st = aleat_text_list_make(&list, &d->info, texts, n, err);
    if (!st)
        st = new_images(out, n, raw, err);
    if (!st && cotangent)
        st = new_images(grad, n, in, err);
    if (st)
        goto done;
    const aleat_batch batch = {.n = n,
                               .height = x->dim[2],
                               .width = x->dim[3],
                               .x = x->data,
                               .t = t,
                               .condition = {labels, list.pointers}};
    if (!grad) {
        st = aleat_denoiser_predict(d, &batch, out->data, err);
    } else {
        st = d->ops->forward_keep(d->self, &batch, out->data, err);
        if (!st)
            st = d->ops->backward(d->self, cotangent->data, grad->data, err);
    }
done:
    aleat_text_list_clear(&list);
    if (st) {
        aleat_array_clear(out);
        aleat_array_clear(grad);
    }
    return st;
}
