#include "api/samples.h"

#include "base/error.h"
#include "io/file.h"
#include "io/npy.h"

aleat_status aleat_samples_write(const char *path, const char *rows, int64_t *labels, int64_t n,
                                 aleat_error *err)
{
    aleat_mapping map = {0};
    aleat_npy_reader *reader = NULL;
    aleat_status st = aleat_npy_reader_open(&reader, rows, NULL, err);
    if (!st)
        st = aleat_mapping_open(&map, rows, err);
    if (st)
        goto done;
    const aleat_shape *dims = aleat_npy_reader_shape(reader), one = aleat_shape_of(1, n);
    size_t bytes = 0;
    if (!aleat_shape_bytes(dims, ALEAT_U8, &bytes) || bytes > map.len) {
        st = aleat_fail(err, ALEAT_ERR_FORMAT, "%s: is not the array that was written", rows);
        goto done;
    }
    // the array's bytes end the file; aleat_npz_write only reads them
    unsigned char *images = (unsigned char *)(uintptr_t)map.data + (map.len - bytes);
    const aleat_named_array arrays[] = {
        {"arr_0", aleat_tensor_view(ALEAT_U8, dims, images)},
        {"arr_1", aleat_tensor_view(ALEAT_I64, &one, labels)},
    };
    st = aleat_npz_write(path, arrays, 2, false, err);
done:
    aleat_mapping_close(&map);
    aleat_npy_reader_free(reader);
    return st;
}
