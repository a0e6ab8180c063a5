/*
 * Diffusion: the mean over pixels of (network(x_t, t, y) - target)^2, t uniform, the target noise,
 * x0 or v. Source: Ho et al. 2020, eq. 14; v: Salimans and Ho 2022, section 4.
 */
#include "train/diffusion.h"

#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/rng.h"
#include "io/file.h"
#include "io/json.h"
#include "samplers/prediction.h"

/** Streams of one image of one step. */
enum { STREAM_CHOICES = 0, STREAM_NOISE = 1 };

/** Classes that the network must know: the data set's, and the null class if labels are dropped. */
static int64_t classes_needed(const aleat_problem *p)
{
    return p->data->classes + (p->label_drop > 0 ? 1 : 0);
}

static aleat_status adapt(const aleat_problem *p, json_t *config, aleat_denoiser_info *info,
                          aleat_error *err)
{
    static const char null_class[] = "_aleat_null_class";
    if (!info->n_classes || !p->data->classes)
        return ALEAT_OK;
    info->n_classes = classes_needed(p);
    info->null_class = p->label_drop > 0 ? p->data->classes : -1;
    int failed =
        json_object_set_new(config, "num_class_embeds", json_integer((json_int_t)info->n_classes));
    if (p->label_drop > 0)
        failed |= json_object_set_new(config, null_class, json_integer(p->data->classes));
    else
        (void)json_object_del(config, null_class);
    return failed ? aleat_fail_memory(err, "the network's configuration") : ALEAT_OK;
}

static aleat_status check(const aleat_problem *p, const aleat_denoiser_info *info, aleat_error *err)
{
    const aleat_dataset *d = p->data;
    const aleat_status st = aleat_task_check_images(d, info, err);
    if (st)
        return st;
    if (info->out_channels != info->channels)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "a network with %lld output channels for %lld: a learned variance cannot "
                          "be trained",
                          (long long)info->out_channels, (long long)info->channels);
    if (info->log_time || (info->n_times && info->n_times < p->train_steps)) {
        (void)aleat_fail(
            err, ALEAT_ERR_UNSUPPORTED,
            "a network that is told %s cannot be trained at the %lld steps of the noise "
            "schedule, which begin at 0",
            info->log_time ? "noise levels ('time_embedding_type' fourier)"
                           : "fewer times ('num_train_timesteps')",
            (long long)p->train_steps);
        aleat_hint(err, "set time_embedding_type to positional in the config");
        return ALEAT_ERR_UNSUPPORTED;
    }
    if (info->n_classes && !d->labels) {
        (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                         "the network is told classes, the data set has no labels");
        aleat_hint(err, "set num_class_embeds to null in the config");
        return ALEAT_ERR_ARGUMENT;
    }
    if (info->n_classes && info->n_classes < classes_needed(p))
        return aleat_fail(err, ALEAT_ERR_SHAPE,
                          "the network has %lld classes, the data set needs %lld",
                          (long long)info->n_classes, (long long)classes_needed(p));
    if (p->label_drop > 0 && info->null_class < 0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT,
                          "label dropping needs a null class ('_aleat_null_class' in the config)");
    return ALEAT_OK;
}

aleat_noising aleat_noising_of(const aleat_problem *p, double u)
{
    const int64_t t = (int64_t)(u * (double)p->train_steps);
    return (aleat_noising){t, sqrt(p->abar[t]), sqrt(1 - p->abar[t])};
}

void aleat_noise_and_target(const aleat_problem *p, const aleat_noising *at, float *x, float *eps,
                            int64_t count)
{
    enum { CHUNK = 256 };
    const float signal = (float)at->alpha, noise = (float)at->sigma;
    for (int64_t first = 0; first < count; first += CHUNK) {
        const int64_t n = count - first < CHUNK ? count - first : CHUNK;
        float target[CHUNK];
        aleat_prediction_target(p->prediction, at->alpha, at->sigma, x + first, eps + first, target,
                                n);
        for (int64_t i = first; i < first + n; i++) {
            x[i] = signal * x[i] + noise * eps[i];
            eps[i] = target[i - first];
        }
    }
}

static void feed(const aleat_problem *p, const aleat_denoiser_info *info, const aleat_example *e)
{
    const int64_t size = info->channels * info->height * info->width;
    float choice[3];
    aleat_rng_key key = {.seed = p->seed,
                         .image = (uint32_t)e->place,
                         .step = (uint32_t)e->step,
                         .copy = STREAM_CHOICES,
                         .purpose = ALEAT_FOR_TRAINING};
    aleat_rng_uniforms(&key, choice, 3);
    key.copy = STREAM_NOISE;
    aleat_rng_normals(&key, 0, e->target, size);
    const aleat_noising at = aleat_noising_of(p, (double)choice[0]);
    aleat_dataset_image(p->data, e->image, p->flip && choice[2] < 0.5f, info->height, info->width,
                        e->x);
    aleat_noise_and_target(p, &at, e->x, e->target, size);
    *e->t = (float)at.t;
    if (!e->label)
        return;
    const bool dropped = (double)choice[1] < p->label_drop;
    *e->label = (float)(dropped ? info->null_class : p->data->labels[e->image]);
}

static double compare(const float *out, const float *target, int64_t size, int64_t batch,
                      float *cotangent)
{
    const float scale = (float)(2 / ((double)size * (double)batch));
    double sum = 0;
    for (int64_t i = 0; i < size; i++) {
        const float d = out[i] - target[i];
        sum += (double)d * (double)d;
        cotangent[i] = scale * d;
    }
    return sum / (double)size;
}

/* ---- the files of a diffusers pipeline ------------------------------------------------------- */

static aleat_status write_json(const char *folder, const char *name, const json_t *value,
                               aleat_error *err)
{
    char *path = aleat_path_join(folder, name);
    const aleat_status st =
        path && value ? aleat_json_write(path, value, err) : aleat_fail_memory(err, name);
    aleat_free(path);
    return st;
}

static aleat_status write_files(const aleat_problem *p, const char *folder, aleat_error *err)
{
    char *scheduler = aleat_path_join(folder, "scheduler");
    json_t *index = json_pack("{s:s, s:s, s:[s, s], s:[s, s]}", "_class_name", "DDIMPipeline",
                              "_diffusers_version", "0.20.0", "scheduler", "diffusers",
                              "DDIMScheduler", "unet", "diffusers", "UNet2DModel");
    aleat_status st =
        scheduler ? aleat_make_dirs(scheduler, err) : aleat_fail_memory(err, "scheduler");
    if (!st)
        st = write_json(scheduler, "scheduler_config.json", p->scheduler, err);
    if (!st)
        st = write_json(folder, "model_index.json", index, err);
    json_decref(index);
    aleat_free(scheduler);
    return st;
}

const aleat_task aleat_task_diffusion = {
    .name = "diffusion",
    .family = "unet2d",
    .description = "the noise, x0 or v of noisy images: a model to sample from",
    .config_path = "unet/config.json",
    .weights_path = "unet/diffusion_pytorch_model.safetensors",
    .adapt = adapt,
    .check = check,
    .feed = feed,
    .compare = compare,
    .write_files = write_files,
    .validate = aleat_diffusion_validate,
    .picture = aleat_diffusion_picture,
};
