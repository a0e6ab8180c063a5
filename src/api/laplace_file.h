/* Reading what aleat_model_laplace() wrote. */
#ifndef ALEAT_API_LAPLACE_FILE_H
#define ALEAT_API_LAPLACE_FILE_H

#include "api/model_state.h"
#include "uncertainty/posterior.h"

/** The posterior of a file, which must have been fitted to this very model: ALEAT_ERR_ARGUMENT if
 * it was not, ALEAT_ERR_FORMAT if it is no such file. */
ALEAT_MUST_USE aleat_status aleat_laplace_open(aleat_posterior **out, const aleat_model *model,
                                               const char *path, aleat_error *err);

#endif
