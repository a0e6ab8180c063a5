/* .npz: a zip archive of .npy entries. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/file.h"
#include "io/npy_format.h"
#include "io/zip.h"

static aleat_status add_array(aleat_zip_writer *zip, const aleat_named_array *array, bool compress,
                              aleat_error *err)
{
    unsigned char header[ALEAT_NPY_HEADER];
    size_t header_len = 0, bytes = 0;
    const aleat_tensor *tensor = &array->array;
    if (!aleat_shape_bytes(&tensor->shape, tensor->dtype, &bytes))
        return aleat_fail(err, ALEAT_ERR_SHAPE, "too large to be written");
    char *name = aleat_asprintf("%s.npy", array->name);
    if (!name)
        return aleat_fail_memory(err, "name");
    aleat_status st = aleat_npy_header(header, &header_len, tensor->dtype, &tensor->shape, err);
    if (!st) {
        const aleat_zip_piece pieces[] = {{header, header_len}, {tensor->data, bytes}};
        st = aleat_zip_add(zip, name, pieces, bytes ? 2 : 1, compress, err);
    }
    aleat_free(name);
    return st;
}

aleat_status aleat_npz_write(const char *path, const aleat_named_array *arrays, int count,
                             bool compress, aleat_error *err)
{
    aleat_atomic_file file;
    aleat_zip_writer zip = {.file = &file};
    aleat_status st = aleat_atomic_open(&file, path, err);
    for (int i = 0; i < count && !st; i++) {
        st = add_array(&zip, &arrays[i], compress, err);
        if (st)
            aleat_error_in(err, "%s: array '%s'", path, arrays[i].name);
    }
    if (!st)
        st = aleat_zip_finish(&zip, err);
    if (!st)
        st = aleat_atomic_commit(&file, err);
    aleat_zip_writer_clear(&zip);
    aleat_atomic_abandon(&file);
    return st;
}

aleat_status aleat_npz_find(const aleat_zip_entry **out, const aleat_zip *zip, const char *name,
                            aleat_error *err)
{
    char *member = aleat_asprintf("%s.npy", name);
    if (!member)
        return aleat_fail_memory(err, name);
    aleat_status st = ALEAT_OK;
    *out = aleat_zip_find(zip, member, strlen(member));
    if (!*out) {
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "no array '%s' in it", name);
        if (zip->count > 0)
            aleat_hint(err, "the first of its %lld entries is '%.*s'", (long long)zip->count,
                       (int)zip->entries[0].name_len, zip->entries[0].name);
    }
    aleat_free(member);
    return st;
}

static aleat_status read_member(aleat_tensor *out, const aleat_zip *zip, const char *name,
                                aleat_error *err)
{
    const aleat_zip_entry *entry;
    aleat_status st = aleat_npz_find(&entry, zip, name, err);
    if (st)
        return st;
    unsigned char *bytes = aleat_alloc((size_t)entry->size);
    if (!bytes)
        return aleat_fail(err, ALEAT_ERR_MEMORY, "out of memory: array '%s' has %llu bytes", name,
                          (unsigned long long)entry->size);
    st = aleat_zip_read(entry, bytes, err);
    if (!st)
        st = aleat_npy_parse(out, bytes, (size_t)entry->size, err);
    aleat_free(bytes);
    return st;
}

aleat_status aleat_npz_read(aleat_tensor *out, const char *path, const char *name, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_mapping file;
    aleat_zip zip = {0};
    aleat_status st = aleat_mapping_open(&file, path, err);
    if (st)
        return st;
    st = aleat_zip_open(&zip, file.data, file.len, err);
    if (!st)
        st = read_member(out, &zip, name, err);
    if (st)
        aleat_error_in(err, "%s", path);
    aleat_zip_close(&zip);
    aleat_mapping_close(&file);
    return st;
}
