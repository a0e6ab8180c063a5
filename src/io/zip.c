#include "io/zip.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/error.h"
#include "io/inflate.h"

enum {
    LOCAL_LEN = 30,
    CENTRAL_LEN = 46,
    END_LEN = 22,
    LOCATOR64_LEN = 20,
    END64_LEN = 56,
    MAX_COMMENT = 0xffff,
    EXTRA_ZIP64 = 1,
    FLAG_ENCRYPTED = 1,
    METHOD_STORED = 0,
    METHOD_DEFLATED = 8
};
#define SIGNATURE_LOCAL     0x04034b50u
#define SIGNATURE_CENTRAL   0x02014b50u
#define SIGNATURE_END       0x06054b50u
#define SIGNATURE_LOCATOR64 0x07064b50u
#define SIGNATURE_END64     0x06064b50u

typedef struct directory {
    uint64_t count, offset, len;
} directory;

static uint16_t u16(const unsigned char *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t u32(const unsigned char *p)
{
    return u16(p) | (uint32_t)u16(p + 2) << 16;
}

static uint64_t u64(const unsigned char *p)
{
    return u32(p) | (uint64_t)u32(p + 4) << 32;
}

bool aleat_is_zip(const unsigned char *data, size_t len)
{
    return len >= 4 && (u32(data) == SIGNATURE_LOCAL || u32(data) == SIGNATURE_END);
}

// The end record is the last thing in the file but for a comment whose length it states.
static const unsigned char *find_end(const unsigned char *data, size_t len)
{
    if (len < END_LEN)
        return NULL;
    const size_t first = len - END_LEN > MAX_COMMENT ? len - END_LEN - MAX_COMMENT : 0;
    for (size_t at = len - END_LEN + 1; at-- > first;)
        if (u32(data + at) == SIGNATURE_END && u16(data + at + 20) == len - END_LEN - at)
            return data + at;
    return NULL;
}

static aleat_status find_directory(directory *out, const unsigned char *data, size_t len,
                                   aleat_error *err)
{
    const unsigned char *end = find_end(data, len);
    if (!end) {
        const aleat_status st =
            aleat_fail(err, ALEAT_ERR_FORMAT, "zip archive without an end record");
        aleat_hint(err, "the file is incomplete: fetch it again");
        return st;
    }
    const size_t end_at = (size_t)(end - data);
    *out = (directory){.count = u16(end + 10), .len = u32(end + 12), .offset = u32(end + 16)};
    uint64_t limit = end_at;
    bool several_disks = u16(end + 4) != u16(end + 6);
    if (end_at >= LOCATOR64_LEN && u32(end - LOCATOR64_LEN) == SIGNATURE_LOCATOR64) {
        const uint64_t at = u64(end - LOCATOR64_LEN + 8);
        if (at > end_at || end_at - at < END64_LEN + LOCATOR64_LEN ||
            u32(data + at) != SIGNATURE_END64)
            return aleat_fail(err, ALEAT_ERR_FORMAT, "zip archive with a damaged end record");
        *out = (directory){.count = u64(data + at + 32),
                           .len = u64(data + at + 40),
                           .offset = u64(data + at + 48)};
        limit = at;
        several_disks = u32(data + at + 16) != u32(data + at + 20);
    }
    if (several_disks)
        return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "zip archive in several parts");
    if (out->offset > limit || out->len > limit - out->offset ||
        out->count > out->len / CENTRAL_LEN)
        return aleat_fail(err, ALEAT_ERR_FORMAT, "zip archive with a damaged directory");
    return ALEAT_OK;
}

// Takes 64-bit values from the extra field for those that the 32-bit fields leave out.
static bool read_zip64(aleat_zip_entry *entry, const unsigned char *extra, size_t len)
{
    while (len >= 4) {
        const size_t size = u16(extra + 2);
        if (size > len - 4)
            return false;
        if (u16(extra) == EXTRA_ZIP64) {
            const unsigned char *at = extra + 4, *end = at + size;
            uint64_t *const fields[] = {&entry->size, &entry->packed, &entry->header};
            for (int i = 0; i < 3; i++)
                if (*fields[i] == UINT32_MAX) {
                    if (end - at < 8)
                        return false;
                    *fields[i] = u64(at);
                    at += 8;
                }
        }
        extra += 4 + size;
        len -= 4 + size;
    }
    return true;
}

// Reads one record of the directory; false if it does not fit in `left` bytes.
static bool read_central(aleat_zip_entry *entry, const unsigned char *record, size_t left,
                         size_t *used)
{
    if (left < CENTRAL_LEN || u32(record) != SIGNATURE_CENTRAL)
        return false;
    const size_t name_len = u16(record + 28), extra_len = u16(record + 30);
    *used = CENTRAL_LEN + name_len + extra_len + u16(record + 32);
    if (*used > left)
        return false;
    *entry = (aleat_zip_entry){.name = (const char *)record + CENTRAL_LEN,
                               .name_len = name_len,
                               .flags = u16(record + 8),
                               .method = u16(record + 10),
                               .crc = u32(record + 16),
                               .packed = u32(record + 20),
                               .size = u32(record + 24),
                               .header = u32(record + 42)};
    return read_zip64(entry, record + CENTRAL_LEN + name_len, extra_len);
}

// Finds the content behind the local header. `limit`: where the directory begins.
static bool locate(aleat_zip_entry *entry, const unsigned char *data, uint64_t limit)
{
    if (entry->header > limit || limit - entry->header < LOCAL_LEN)
        return false;
    const unsigned char *local = data + entry->header;
    const size_t skip = LOCAL_LEN + (size_t)u16(local + 26) + u16(local + 28);
    const uint64_t left = limit - entry->header;
    if (u32(local) != SIGNATURE_LOCAL || skip > left || entry->packed > left - skip ||
        u16(local + 26) != entry->name_len ||
        memcmp(local + LOCAL_LEN, entry->name, entry->name_len) != 0)
        return false;
    entry->data = local + skip;
    return entry->method != METHOD_STORED || entry->packed == entry->size;
}

static int compare_places(const void *a, const void *b)
{
    const aleat_zip_entry *x = a, *y = b;
    return (x->header > y->header) - (x->header < y->header);
}

static int compare_text(const char *a, size_t a_len, const char *b, size_t b_len)
{
    const int order = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return order ? order : (a_len > b_len) - (a_len < b_len);
}

static int compare_names(const void *a, const void *b)
{
    const aleat_zip_entry *x = a, *y = b;
    return compare_text(x->name, x->name_len, y->name, y->name_len);
}

static aleat_status fail_entry(const aleat_zip_entry *entry, aleat_status status, const char *what,
                               aleat_error *err)
{
    return aleat_fail(err, status, "zip entry '%.*s': %s", (int)entry->name_len, entry->name, what);
}

// No two entries may share bytes or a name, and none may inflate to more than deflate can hold
// (callers allocate by `size`). Leaves the entries sorted by name.
static aleat_status check_entries(aleat_zip *zip, const unsigned char *data, aleat_error *err)
{
    const size_t n = (size_t)zip->count;
    qsort(zip->entries, n, sizeof *zip->entries, compare_places);
    for (size_t i = 0; i < n; i++)
        if (zip->entries[i].size / ALEAT_INFLATE_RATIO > zip->entries[i].packed)
            return fail_entry(&zip->entries[i], ALEAT_ERR_FORMAT, "claims an impossible size", err);
    for (size_t i = 1; i < n; i++) {
        const aleat_zip_entry *before = &zip->entries[i - 1];
        if ((uint64_t)(before->data - data) + before->packed > zip->entries[i].header)
            return fail_entry(&zip->entries[i], ALEAT_ERR_FORMAT, "overlaps another", err);
    }
    qsort(zip->entries, n, sizeof *zip->entries, compare_names);
    for (size_t i = 1; i < n; i++)
        if (!compare_names(&zip->entries[i - 1], &zip->entries[i]))
            return fail_entry(&zip->entries[i], ALEAT_ERR_FORMAT, "is there twice", err);
    return ALEAT_OK;
}

aleat_status aleat_zip_open(aleat_zip *out, const unsigned char *data, size_t len, aleat_error *err)
{
    memset(out, 0, sizeof *out);
    aleat_zip zip = {0};
    directory dir = {0};
    aleat_status st = find_directory(&dir, data, len, err);
    if (st)
        goto done;
    zip.entries = aleat_calloc((size_t)dir.count, sizeof *zip.entries);
    if (!zip.entries) {
        st = aleat_fail_memory(err, "directory of a zip archive");
        goto done;
    }
    const unsigned char *record = data + dir.offset;
    for (size_t left = (size_t)dir.len, used = 0; zip.count < (int64_t)dir.count; zip.count++) {
        aleat_zip_entry *entry = &zip.entries[zip.count];
        if (!read_central(entry, record, left, &used)) {
            st = aleat_fail(err, ALEAT_ERR_FORMAT, "zip archive with a damaged directory");
            goto done;
        }
        if (!locate(entry, data, dir.offset)) {
            st = fail_entry(entry, ALEAT_ERR_FORMAT, "is not where the directory says", err);
            goto done;
        }
        record += used;
        left -= used;
    }
    st = check_entries(&zip, data, err);
    if (st)
        goto done;
    *out = zip;
    memset(&zip, 0, sizeof zip);
done:
    aleat_zip_close(&zip);
    return st;
}

void aleat_zip_close(aleat_zip *zip)
{
    if (!zip)
        return;
    aleat_free(zip->entries);
    memset(zip, 0, sizeof *zip);
}

const aleat_zip_entry *aleat_zip_find(const aleat_zip *zip, const char *name, size_t len)
{
    int64_t low = 0, high = zip->count;
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        const aleat_zip_entry *entry = &zip->entries[middle];
        const int order = compare_text(name, len, entry->name, entry->name_len);
        if (order == 0)
            return entry;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

const unsigned char *aleat_zip_view(const aleat_zip_entry *entry)
{
    return entry->method == METHOD_STORED && !(entry->flags & FLAG_ENCRYPTED) ? entry->data : NULL;
}

static aleat_status inflate_entry(const aleat_zip_entry *entry, void *dst, aleat_error *err)
{
    aleat_inflater *inflater;
    aleat_status st =
        aleat_inflate_open(&inflater, entry->data, (size_t)entry->packed, ALEAT_INFLATE_RAW, err);
    if (!st)
        st = aleat_inflate_read(inflater, dst, (size_t)entry->size, err);
    if (!st)
        st = aleat_inflate_finish(inflater, err);
    if (st)
        aleat_error_in(err, "zip entry '%.*s'", (int)entry->name_len, entry->name);
    aleat_inflate_free(inflater);
    return st;
}

aleat_status aleat_zip_read(const aleat_zip_entry *entry, void *dst, aleat_error *err)
{
    aleat_status st = ALEAT_OK;
    if (entry->flags & FLAG_ENCRYPTED)
        return fail_entry(entry, ALEAT_ERR_UNSUPPORTED, "is encrypted", err);
    if (entry->method == METHOD_STORED)
        memcpy(dst, entry->data, (size_t)entry->size);
    else if (entry->method == METHOD_DEFLATED)
        st = inflate_entry(entry, dst, err);
    else
        return fail_entry(entry, ALEAT_ERR_UNSUPPORTED, "is neither stored nor deflated", err);
    if (!st && crc32_z(0, dst, (size_t)entry->size) != entry->crc)
        st = fail_entry(entry, ALEAT_ERR_FORMAT, "has a wrong checksum: the file is damaged", err);
    return st;
}
