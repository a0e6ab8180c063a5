/*
 * libaleat: pretrained diffusion models on the processor, with pixel-wise uncertainty.
 *
 * Open a model (model.h), encode prompts (text.h), sample from it or measure its uncertainty
 * (sampling.h), let a whole run be written to a folder (run.h), train one (train.h). Every function
 * that can fail returns an aleat_status and takes an aleat_error (status.h). Nothing here is
 * global: models may be used side by side, but one model by one thread at a time.
 *
 * SPDX-License-Identifier: MIT
 */
#ifndef ALEAT_ALEAT_H
#define ALEAT_ALEAT_H

#include "aleat/array.h"
#include "aleat/filter.h"
#include "aleat/judge.h"
#include "aleat/metrics.h"
#include "aleat/corrupt.h"
#include "aleat/features.h"
#include "aleat/checkpoint.h"
#include "aleat/laplace.h"
#include "aleat/model.h"
#include "aleat/prompts.h"
#include "aleat/replay.h"
#include "aleat/reconstruct.h"
#include "aleat/paper.h"
#include "aleat/report.h"
#include "aleat/run.h"
#include "aleat/sampling.h"
#include "aleat/status.h"
#include "aleat/train.h"
#include "aleat/threshold.h"
#include "aleat/vae.h"
#include "aleat/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Version of the library, "0.1.0": static text. */
ALEAT_API const char *aleat_version(void);

#ifdef __cplusplus
}
#endif
#endif
