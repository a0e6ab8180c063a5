/* JSON configurations: parses, and reads every key as every type. */
#include <stdlib.h>

#include "fuzz.h"
#include "io/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    aleat_json json, sub;
    const char *key, *text = NULL, *texts[4];
    json_t *value;
    if (aleat_json_parse(&json, data, size, "input", NULL))
        return 0;
    json_object_foreach(json.root, key, value)
    {
        bool truth = false;
        int64_t whole = 0, list[4];
        double real = 0, reals[4];
        int count = 0;
        aleat_error err = {0};
        aleat_status st = aleat_json_bool(&json, key, &truth, &err);
        st |= aleat_json_int(&json, key, &whole, &err);
        st |= aleat_json_double(&json, key, &real, &err);
        st |= aleat_json_string(&json, key, &text, &err);
        st |= aleat_json_ints(&json, key, list, 4, &count, &err);
        st |= aleat_json_doubles(&json, key, reals, 4, &count, &err);
        st |= aleat_json_strings(&json, key, texts, 4, &count, &err);
        st |= aleat_json_object(&json, key, &sub, &err);
        aleat_json_clear(&sub);
        if (st && !err.message[0])
            abort(); // an error must say something
    }
    aleat_json_clear(&json);
    return 0;
}
