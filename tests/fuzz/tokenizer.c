/* Tokenizer files (spiece.model, tokenizer.json, merges): opens, and encodes a text that meets
 * every part of the normaliser. */
#include <stdlib.h>

#include "fuzz.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] =
        " A caf\xc3\xa9 \xef\xac\x81ne\t\xe6\x9d\xb1\xf0\x9f\x90\xb1's  x</s> ";
    aleat_tokenizer *tokenizer;
    aleat_error err = {0};
    if (aleat_tokenizer_open_memory(&tokenizer, data, size, "input", &err)) {
        if (!err.message[0])
            abort(); // an error must say something
        return 0;
    }
    aleat_ids ids;
    if (aleat_tokenizer_encode(tokenizer, text, sizeof text - 1, &ids, &err))
        abort();
    aleat_ids_clear(&ids);
    aleat_tokenizer_free(tokenizer);
    return 0;
}
