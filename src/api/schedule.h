/* Names and schedules that the calls of this layer share. */
#ifndef ALEAT_API_SCHEDULE_H
#define ALEAT_API_SCHEDULE_H

#include "aleat/sampling.h"
#include "api/model_state.h"
#include "samplers/config.h"
#include "samplers/plan.h"
#include "uncertainty/copies.h"

/**
 * The sampler's settings: from the file `schedule`, or else the model's own scheduler. `sampler`
 * NULL: the scheduler's own class. To be cleared by aleat_sampler_config_clear().
 * ALEAT_ERR_ARGUMENT if the model has no scheduler and `schedule` is NULL.
 */
ALEAT_MUST_USE aleat_status aleat_schedule_of(aleat_sampler_config *out,
                                              const aleat_model_files *files, const char *path,
                                              const char *schedule, const char *sampler,
                                              aleat_error *err);

/** The plan of a run with these options; to be freed by aleat_sampling_plan_free(). */
ALEAT_MUST_USE aleat_status aleat_schedule_plan(aleat_sampling_plan **out,
                                                const aleat_model_files *files, const char *path,
                                                const aleat_sampling_options *options,
                                                aleat_error *err);

/** The clip mode called `name`; NULL: auto. */
ALEAT_MUST_USE aleat_status aleat_clip_find(aleat_clip_mode *out, const char *name,
                                            aleat_error *err);

/** The i with names(i) equal to `name`, 0 if `name` is NULL. ALEAT_ERR_ARGUMENT: there is none;
 * `what` is the kind of thing, for the message. */
ALEAT_MUST_USE aleat_status aleat_name_find(int *out, const char *(*names)(int, const char **),
                                            const char *name, const char *what, aleat_error *err);

#endif
