/* A folder of PNG and JPEG files, or one of them. With subfolders each of them is a class, numbered
 * in the order of their names, as torchvision's ImageFolder has it; else the images have no labels.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/image_convert.h"
#include "io/jpeg_image.h"
#include "train/dataset_kinds.h"

#define DEEPEST 8 // folders in folders below a class

/** Files in the order in which they are read; labels beside them. */
typedef struct file_list {
    char **paths;
    int32_t *labels;
    int64_t count, room;
} file_list;

static void list_clear(file_list *list)
{
    for (int64_t i = 0; i < list->count; i++)
        aleat_free(list->paths[i]);
    aleat_free(list->paths);
    aleat_free(list->labels);
}

/** Takes `path` over. */
static aleat_status list_add(file_list *list, char *path, int32_t label, aleat_error *err)
{
    if (list->count == list->room) {
        const int64_t room = list->room ? 2 * list->room : 256;
        char **paths = aleat_realloc(list->paths, (size_t)list->room * sizeof *paths,
                                     (size_t)room * sizeof *paths);
        list->paths = paths ? paths : list->paths;
        int32_t *labels = paths ? aleat_realloc(list->labels, (size_t)list->room * sizeof *labels,
                                                (size_t)room * sizeof *labels)
                                : NULL;
        if (!labels) {
            aleat_free(path);
            return aleat_fail_memory(err, "a list of files");
        }
        list->labels = labels;
        list->room = room;
    }
    list->paths[list->count] = path;
    list->labels[list->count++] = label;
    return ALEAT_OK;
}

// Ends the name in one of `endings`, the last of which is NULL?
static bool ends_in(const char *name, const char *const *endings)
{
    const char *dot = strrchr(name, '.');
    while (dot && *endings)
        if (!strcasecmp(dot, *endings++))
            return true;
    return false;
}

static bool is_image_name(const char *name)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg", NULL};
    return ends_in(name, endings);
}

// Others would read them: a set without them would be another one.
static bool is_foreign_image_name(const char *name)
{
    static const char *const endings[] = {".webp", ".bmp", ".tif",  ".tiff", ".ppm",
                                          ".pgm",  ".gif", ".avif", NULL};
    return ends_in(name, endings);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

// By bytes, whatever the user's language: the order decides which class is which number.
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

typedef aleat_status entry_fn(void *ctx, char *path, const char *name, aleat_error *err);

/** Calls for every visible entry of a folder, by name; `path` is the callee's to keep or free. */
static aleat_status for_entries(const char *folder, entry_fn *fn, void *ctx, aleat_error *err)
{
    struct dirent **entries = NULL;
    const int n = scandir(folder, &entries, is_visible, by_name);
    if (n < 0)
        return aleat_fail_errno(err, "cannot list", folder);
    aleat_status st = ALEAT_OK;
    for (int i = 0; i < n; i++) {
        char *path = st ? NULL : aleat_path_join(folder, entries[i]->d_name);
        if (!st)
            st = path ? fn(ctx, path, entries[i]->d_name, err) : aleat_fail_memory(err, folder);
        free(entries[i]);
    }
    free(entries);
    return st;
}

typedef struct class_walk {
    file_list *list;
    int32_t label;
    int depth;
} class_walk;

/** Images of one class, in folders within its folder, too. */
static aleat_status add_entry(void *ctx, char *path, const char *name, aleat_error *err)
{
    const class_walk *walk = ctx;
    aleat_status st = ALEAT_OK;
    if (is_image_name(name) && aleat_is_file(path))
        return list_add(walk->list, path, walk->label, err);
    if (is_foreign_image_name(name) && aleat_is_file(path)) {
        st = aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "%s: only PNG and JPEG are read", path);
        aleat_hint(err, "convert it, or take it out of the folder");
    } else if (walk->label >= 0 && aleat_is_dir(path)) {
        class_walk below = {walk->list, walk->label, walk->depth + 1};
        st = walk->depth < DEEPEST ? for_entries(path, add_entry, &below, err)
                                   : aleat_fail(err, ALEAT_ERR_UNSUPPORTED,
                                                "%s: folders too deep in one another", path);
    }
    aleat_free(path);
    return st;
}

typedef struct root_walk {
    file_list *list;
    int32_t classes;
} root_walk;

static aleat_status add_class(void *ctx, char *path, const char *name, aleat_error *err)
{
    root_walk *walk = ctx;
    (void)name;
    aleat_status st = ALEAT_OK;
    if (aleat_is_dir(path)) {
        const int64_t before = walk->list->count;
        class_walk below = {walk->list, walk->classes++, 0};
        st = walk->classes <= ALEAT_DATASET_MOST_CLASSES
                 ? for_entries(path, add_entry, &below, err)
                 : aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "%s: more than %d classes", path,
                              ALEAT_DATASET_MOST_CLASSES);
        if (!st && walk->list->count == before) {
            st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: a class without a PNG or JPEG", path);
            aleat_hint(err, "every folder in a folder of images is a class");
        }
    }
    aleat_free(path);
    return st;
}

/** All images of the folder; *classes is 0 for images without labels. */
static aleat_status list_images(file_list *list, int32_t *classes, const char *path,
                                aleat_error *err)
{
    root_walk root = {list, 0};
    class_walk flat = {list, -1, 0};
    aleat_status st = for_entries(path, add_class, &root, err);
    const int64_t labelled = list->count;
    if (!st)
        st = for_entries(path, add_entry, &flat, err);
    if (!st && labelled && list->count > labelled)
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: images beside folders of classes, such as '%s'",
                        path, aleat_path_base(list->paths[labelled]));
    *classes = root.classes;
    return st;
}

static aleat_status read_image(aleat_image *out, const char *path, aleat_error *err)
{
    aleat_mapping file = {0};
    aleat_status st = aleat_mapping_open(&file, path, err);
    if (st)
        return st;
    st = aleat_is_jpeg(file.data, file.len) ? aleat_jpeg_read_memory(out, file.data, file.len, err)
                                            : aleat_png_read_memory(out, file.data, file.len, err);
    if (st)
        aleat_error_in(err, "%s", path);
    aleat_mapping_close(&file);
    return st;
}

/** The first image decides what the others must be. */
static aleat_status begin(aleat_dataset *out, const aleat_image *first, int64_t count,
                          const aleat_dataset_options *o, const char *path, aleat_error *err)
{
    size_t bytes;
    out->height = o->size ? o->size : first->height;
    out->width = o->size ? o->size : first->width;
    out->channels = o->channels == 1 || o->channels == 3 ? o->channels : first->channels;
    if (!aleat_size_mul((size_t)(out->height * out->width * out->channels), (size_t)count, &bytes))
        return aleat_fail_memory(err, path);
    out->pixels = aleat_alloc(bytes);
    return out->pixels ? ALEAT_OK : aleat_fail_memory(err, path);
}

static aleat_status take_image(aleat_dataset *out, const aleat_image *image,
                               const aleat_dataset_options *o, const char *path, aleat_error *err)
{
    uint8_t *to = out->pixels + out->count * out->height * out->width * out->channels;
    if (o->size) {
        aleat_image_fit(to, image, o->size, (int)out->channels);
    } else if (image->height != out->height || image->width != out->width) {
        (void)aleat_fail(err, ALEAT_ERR_SHAPE,
                         "%s: %lldx%lld pixels, the first image has %lldx%lld", path,
                         (long long)image->height, (long long)image->width, (long long)out->height,
                         (long long)out->width);
        aleat_hint(err, "--size N cuts and resamples all images to N x N");
        return ALEAT_ERR_SHAPE;
    } else {
        aleat_image_channels(to, (int)out->channels, image->pixels, image->channels,
                             image->height * image->width);
    }
    out->count++;
    return ALEAT_OK;
}

bool aleat_is_image_folder(const char *path)
{
    return aleat_is_dir(path);
}

aleat_status aleat_read_image_folder(aleat_dataset *out, const char *path, aleat_dataset_part part,
                                     const aleat_dataset_options *options, aleat_error *err)
{
    file_list list = {0};
    aleat_image image = {0};
    if (part == ALEAT_DATA_HELD_OUT)
        return ALEAT_OK;
    aleat_status st = list_images(&list, &out->classes, path, err);
    if (!st && list.count == 0)
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: no .png, .jpg or .jpeg in it", path);
    for (int64_t i = 0; i < list.count && !st; i++) {
        st = read_image(&image, list.paths[i], err);
        if (!st && i == 0)
            st = begin(out, &image, list.count, options, path, err);
        if (!st)
            st = take_image(out, &image, options, list.paths[i], err);
        aleat_image_clear(&image);
    }
    if (!st && out->classes) {
        out->labels = list.labels;
        list.labels = NULL;
    }
    list_clear(&list);
    return st;
}

bool aleat_is_image_file(const char *path)
{
    return is_image_name(path) && aleat_is_file(path);
}

aleat_status aleat_read_image_file(aleat_dataset *out, const char *path, aleat_dataset_part part,
                                   const aleat_dataset_options *options, aleat_error *err)
{
    aleat_image image = {0};
    if (part == ALEAT_DATA_HELD_OUT)
        return ALEAT_OK;
    aleat_status st = read_image(&image, path, err);
    if (!st)
        st = begin(out, &image, 1, options, path, err);
    if (!st)
        st = take_image(out, &image, options, path, err);
    aleat_image_clear(&image);
    return st;
}
