#include "aleat/features.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/npy.h"
#include "train/dataset.h"

struct aleat_image_set {
    aleat_images images;
    aleat_tensor array; // what the images are, if they come as one array,
    aleat_dataset data; // or as a data set
};

aleat_images aleat_images_slice(const aleat_images *images, int64_t first, int64_t count)
{
    aleat_images slice = *images;
    const int64_t before = first * slice.height * slice.width * slice.channels;
    slice.n = count;
    slice.bytes = slice.bytes ? slice.bytes + before : NULL;
    slice.floats = slice.floats ? slice.floats + before : NULL;
    return slice;
}

/* ---- arrays ---------------------------------------------------------------------------------- */

static bool is_channels(int64_t n)
{
    return n == 1 || n == 3;
}

/** Finds the axes of an array, which becomes bytes or f32. */
static aleat_status take_array(aleat_image_set *set, const char *path, aleat_error *err)
{
    aleat_tensor *a = &set->array;
    const int64_t *dim = a->shape.dim;
    const bool grey = a->shape.n_dims == 3;
    const bool last = a->shape.n_dims == 4 && is_channels(dim[3]);
    const bool first = a->shape.n_dims == 4 && !last && is_channels(dim[1]);
    char text[128];
    if (!(grey || last || first) || dim[0] < 1)
        return aleat_fail(err, ALEAT_ERR_SHAPE,
                          "%s: the array is %s, expected images [N,H,W,C], [N,C,H,W] or [N,H,W] of "
                          "1 or 3 channels",
                          path, aleat_shape_text(&a->shape, text, sizeof text));
    const int h = first ? 2 : 1;
    set->images = (aleat_images){.n = dim[0],
                                 .height = dim[h],
                                 .width = dim[h + 1],
                                 .channels = grey ? 1 : dim[first ? 1 : 3],
                                 .channels_first = first};
    if (a->dtype == ALEAT_U8)
        set->images.bytes = a->data;
    else if (a->dtype == ALEAT_F32)
        set->images.floats = a->data;
    else
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                          "%s: images of type %s, expected bytes (0 to 255) or float32 (0 to 1)",
                          path, aleat_dtype_name(a->dtype));
    return ALEAT_OK;
}

// Bytes as floats, or the -1 to 1 of diffusion models, would give features without a complaint.
// What resampling adds at an edge is no such thing.
static aleat_status check_floats(const aleat_images *images, const char *path, aleat_error *err)
{
    const int64_t size = images->height * images->width * images->channels;
    for (int64_t i = 0; images->floats && i < images->n * size; i++)
        if (!(images->floats[i] >= -0.1f && images->floats[i] <= 1.1f)) {
            (void)aleat_fail(err, ALEAT_ERR_ARGUMENT,
                             "%s: image %lld has the value %g, expected floats from 0 to 1", path,
                             (long long)(i / size), (double)images->floats[i]);
            aleat_hint(err, "from -1 to 1: (x + 1) / 2; from 0 to 255: as uint8");
            return ALEAT_ERR_ARGUMENT;
        }
    return ALEAT_OK;
}

/* ---- opening --------------------------------------------------------------------------------- */

static aleat_status open_array(aleat_image_set *set, const char *path, const char *split,
                               aleat_error *err)
{
    if (split && strcmp(split, "any") != 0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: an array has no split '%s'", path, split);
    aleat_status st = aleat_npy_read(&set->array, path, err);
    if (!st)
        st = take_array(set, path, err);
    return st ? st : check_floats(&set->images, path, err);
}

static aleat_status open_data(aleat_image_set *set, const char *path, const char *split,
                              int64_t size, aleat_error *err)
{
    const bool any = split && strcmp(split, "any") == 0;
    const bool test = any || (split && strcmp(split, "test") == 0);
    if (split && !test && strcmp(split, "train") != 0)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "there is no split '%s', but train and test",
                          split);
    const aleat_dataset_part part = test ? ALEAT_DATA_HELD_OUT : ALEAT_DATA_TRAIN;
    const aleat_dataset_options options = {.size = size};
    aleat_status st = aleat_dataset_open(&set->data, path, part, &options, err);
    if (!st && any && !set->data.count)
        st = aleat_dataset_open(&set->data, path, ALEAT_DATA_TRAIN, &options, err);
    if (st)
        return st;
    if (!set->data.count)
        return aleat_fail(err, ALEAT_ERR_ARGUMENT, "%s: holds no images for tests", path);
    set->images = (aleat_images){.n = set->data.count,
                                 .height = set->data.height,
                                 .width = set->data.width,
                                 .channels = set->data.channels,
                                 .bytes = set->data.pixels};
    return ALEAT_OK;
}

// A run without samples.npz is not a folder of pictures: those of its maps would count as images.
static aleat_status check_no_run(const char *path, aleat_error *err)
{
    char *whole = aleat_path_join(path, "run.json");
    char *part = aleat_path_join(path, "shards/settings.json");
    aleat_status st = whole && part ? ALEAT_OK : aleat_fail_memory(err, path);
    if (!st && aleat_is_file(part)) {
        st = aleat_fail(err, ALEAT_ERR_IO, "%s: holds a run that is not finished", path);
        aleat_hint(err, "the command that began it goes on with it");
    } else if (!st && aleat_is_file(whole)) {
        st = aleat_fail(err, ALEAT_ERR_IO, "%s: holds a run without pictures", path);
        aleat_hint(err, "latents need a decoder: 'aleat generate --decoder'");
    }
    aleat_free(whole);
    aleat_free(part);
    return st;
}

aleat_status aleat_image_set_open(aleat_image_set **out, const char *path, const char *split,
                                  aleat_error *err)
{
    const aleat_status st = aleat_image_set_open_sized(out, path, split, 0, err);
    if (st == ALEAT_ERR_SHAPE)
        aleat_hint(err, "a set has images of one size: bring them to one first");
    return st;
}

aleat_status aleat_image_set_open_sized(aleat_image_set **out, const char *path, const char *split,
                                        int64_t size, aleat_error *err)
{
    *out = NULL;
    aleat_image_set *set = aleat_calloc(1, sizeof *set);
    char *run = aleat_path_join(path, "samples.npz");
    aleat_status st = set && run ? ALEAT_OK : aleat_fail_memory(err, path);
    if (!st && (size < 0 || size > UINT16_MAX))
        st = aleat_fail(err, ALEAT_ERR_ARGUMENT, "images of size %lld", (long long)size);
    if (!st && !aleat_is_file(run))
        st = check_no_run(path, err);
    if (!st)
        st = aleat_path_ends_in(path, ".npy")
                 ? open_array(set, path, split, err)
                 : open_data(set, aleat_is_file(run) ? run : path, split,
                             aleat_is_file(run) ? 0 : size, err);
    aleat_free(run);
    if (st)
        aleat_image_set_close(set);
    else
        *out = set;
    return st;
}

void aleat_image_set_close(aleat_image_set *set)
{
    if (!set)
        return;
    aleat_tensor_clear(&set->array);
    aleat_dataset_clear(&set->data);
    aleat_free(set);
}

aleat_images aleat_image_set_images(const aleat_image_set *set)
{
    return set->images;
}

const int32_t *aleat_image_set_labels(const aleat_image_set *set)
{
    return set->data.labels;
}

int64_t aleat_image_set_classes(const aleat_image_set *set, int64_t n)
{
    bool seen[ALEAT_DATASET_MOST_CLASSES] = {false};
    int64_t classes = 0;
    for (int64_t i = 0; set->data.labels && i < n && i < set->images.n; i++) {
        bool *is = &seen[set->data.labels[i]];
        classes += !*is;
        *is = true;
    }
    return classes;
}
