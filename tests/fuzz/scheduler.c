/* A scheduler_config.json for every sampler: parses, and plans a few steps. */
#include <stdlib.h>

#include "fuzz.h"
#include "io/json.h"
#include "samplers/plan.h"

static void plan(const aleat_json *json, const char *sampler)
{
    aleat_sampler_config config;
    aleat_error err = {0};
    if (aleat_sampler_config_parse(&config, json, sampler, &err)) {
        if (!err.message[0])
            abort(); // an error must say something
        return;
    }
    static const int steps[] = {1, 7};
    for (int i = 0; i < 2; i++) {
        aleat_sampling_plan *made = NULL;
        if (!aleat_sampling_plan_new(&made, &config, steps[i], &err))
            json_decref(aleat_sampling_plan_json(made));
        aleat_sampling_plan_free(made);
    }
    aleat_sampler_config_clear(&config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    aleat_json json;
    if (aleat_json_parse(&json, data, size, "input", NULL))
        return 0;
    plan(&json, NULL);
    for (const aleat_sampler_kind *k = aleat_samplers(); k->name; k++)
        plan(&json, k->name);
    aleat_json_clear(&json);
    return 0;
}
