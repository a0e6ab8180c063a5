#include "text/utf8.h"

#include <unicode/uchar.h>

int aleat_utf8_read(const char *at, size_t len, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *p = (const unsigned char *)at;
    if (len == 0)
        return 0;
    const int bytes = p[0] < 0x80 ? 1 : p[0] < 0xc0 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    if (bytes == 0 || p[0] > 0xf4 || (size_t)bytes > len)
        return 0;
    uint32_t value = bytes == 1 ? p[0] : p[0] & (0x7fu >> bytes);
    for (int i = 1; i < bytes; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (p[i] & 0x3f);
    }
    if (value < least[bytes] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        return 0;
    *code = value;
    return bytes;
}

int aleat_utf8_write(char dst[4], uint32_t code)
{
    if (code < 0x80) {
        dst[0] = (char)code;
        return 1;
    }
    const int bytes = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (int i = bytes - 1; i > 0; i--, code >>= 6)
        dst[i] = (char)(0x80 | (code & 0x3f));
    dst[0] = (char)(0xf00 >> bytes | code);
    return bytes;
}

bool aleat_utf8_valid(const char *text, size_t len)
{
    uint32_t code;
    for (size_t i = 0; i < len;) {
        const int bytes = aleat_utf8_read(text + i, len - i, &code);
        if (!bytes)
            return false;
        i += (size_t)bytes;
    }
    return true;
}

bool aleat_utf8_is_space(uint32_t code)
{
    return (code >= 0x1c && code <= 0x1f) || u_isUWhiteSpace((UChar32)code);
}
