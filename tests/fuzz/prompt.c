/* Prompts: any bytes through both tokenizers, and through the readers of PNG texts. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "fuzz.h"
#include "text/generation.h"
#include "text/tokenizer.h"

static void tokenize(const aleat_tokenizer *tokenizer, const char *text, size_t size)
{
    int32_t ids[77];
    char *cut;
    aleat_error err = {0};
    if (aleat_tokenizer_encode_padded(tokenizer, text, size, 77, ids, &cut, &err) &&
        !err.message[0])
        abort();
    aleat_free(cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static aleat_tokenizer *tokenizers[2]; // for all inputs
    aleat_generation g;
    aleat_error err = {0};
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    for (int kind = 0; kind < 2; kind++) {
        if (!tokenizers[kind] &&
            aleat_tokenizer_bundled(&tokenizers[kind], (aleat_tokenizer_kind)kind, NULL, &err))
            abort();
        tokenize(tokenizers[kind], text, size);
    }
    if (aleat_generation_parse(&g, text, &err) && !err.message[0])
        abort();
    aleat_generation_clear(&g);
    if (aleat_generation_parse_comfyui(&g, text, &err) && !err.message[0])
        abort();
    aleat_generation_clear(&g);
    free(text);
    return 0;
}
