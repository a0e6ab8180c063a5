#include <math.h>
#include <stdlib.h>

#include "cli/verbs.h"

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

// One line for each evaluation; the full tables are for --json.
static void print_table(const json_t *plan)
{
    const json_t *steps = json_object_get(plan, "coefficients"), *step;
    const json_t *sigmas = json_object_get(plan, "sigmas");
    size_t k;
    printf("sampler %s, the network predicts %s, %lld evaluations\n\n",
           json_string_value(json_object_get(plan, "sampler")),
           json_string_value(json_object_get(plan, "prediction")),
           (long long)json_integer_value(json_object_get(plan, "evaluations")));
    printf("%6s %10s %12s %12s %14s\n", "step", "timestep", "alpha", "sigma", "sigma/alpha");
    json_array_foreach((json_t *)(uintptr_t)steps, k, step)
    {
        const json_t *ratio = json_array_get(sigmas, k);
        printf("%6lld %10g %12.8f %12.8f %14.8g\n",
               (long long)json_integer_value(json_object_get(step, "step")),
               number(step, "timestep"), number(step, "alpha"), number(step, "sigma"),
               json_is_null(ratio) ? (double)INFINITY : json_number_value(ratio));
    }
    printf("%6s %10s %12s %12s %14.8g\n", "end", "", "", "",
           json_number_value(json_array_get(sigmas, json_array_size(sigmas) - 1)));
}

int aleat_cli_schedule(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    aleat_error err = {0};
    char *text = NULL;
    const aleat_sampling_options options = aleat_cli_sampling(args);
    const aleat_open_options model = aleat_cli_open_options(args);
    aleat_status st = aleat_schedule_json(&text, args->operand, &options, &model, &err);
    if (!st && args->json) {
        (void)puts(text);
    } else if (!st) {
        json_t *plan = json_loads(text, 0, NULL);
        if (plan)
            print_table(plan);
        else
            st = aleat_cli_fail(&err, ALEAT_ERR_MEMORY, "out of memory: schedule");
        json_decref(plan);
    }
    free(text);
    return aleat_cli_exit(verb, st, &err);
}
