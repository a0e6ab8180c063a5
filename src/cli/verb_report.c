#include "cli/verbs.h"

int aleat_cli_write_report(const aleat_cli_verb *verb, const aleat_cli_args *args)
{
    aleat_error err = {0};
    aleat_report_result r = {0};
    const aleat_report_options options = {
        .compare = args->compare, .max_bytes = args->max_size * 1000000, .seed = args->seed};
    const aleat_status st = aleat_report_write(args->operand, args->page, &options, &r, &err);
    if (!st && args->json)
        aleat_cli_print_json(json_pack("{ss* sIsIsIsIsI}", "page", args->page, "images",
                                       (json_int_t)r.images, "scores", (json_int_t)r.rows,
                                       "pictures", (json_int_t)r.pictures, "details",
                                       (json_int_t)r.details, "bytes", (json_int_t)r.bytes));
    else if (!st && !args->quiet)
        (void)fprintf(stderr,
                      "aleat: %s: %s%s, %.1f MB: %lld of %lld images, %lld of them with exact "
                      "maps\n",
                      verb->name, args->page ? args->page : args->operand,
                      args->page ? "" : "/report.html", (double)r.bytes / 1e6,
                      (long long)r.pictures, (long long)r.images, (long long)r.details);
    return aleat_cli_exit(verb, st, &err);
}
