/* Shared by the executor's files. */
#ifndef ALEAT_GRAPH_EXEC_OPS_H
#define ALEAT_GRAPH_EXEC_OPS_H

#include "graph/step.h"
#include "kernels/attention.h"
#include "kernels/norm.h"

/** Context of a parallel range inside one step. */
typedef struct aleat_step_job {
    const aleat_step *step;
    const aleat_exec *exec;
} aleat_step_job;

/** Works on pixel p of an image of the output. */
typedef void aleat_exec_row_fn(const aleat_step *step, const aleat_exec *exec, int64_t image,
                               int64_t p);
/** Calls `row` for every pixel of every image of the output, on all threads. */
void aleat_exec_rows(const aleat_step *step, const aleat_exec *exec, aleat_exec_row_fn *row);

aleat_groupnorm aleat_step_groupnorm(const aleat_step *step);
/** Of LAYERNORM_GRAD and LAYERNORM_JVP. */
aleat_layernorm_rows aleat_step_layernorm(const aleat_step *step);
aleat_attention aleat_step_attention(const aleat_step *step);
/** A row of LAYERNORM_GRAD and LAYERNORM_JVP over several heads. */
aleat_exec_row_fn aleat_headnorm_jacobian_row;

void aleat_run_activation_grad(const aleat_step *step, const aleat_exec *exec);
void aleat_run_groupnorm_grad(const aleat_step *step, const aleat_exec *exec);
void aleat_run_layernorm_grad(const aleat_step *step, const aleat_exec *exec);
void aleat_run_scale_shift_grad(const aleat_step *step, const aleat_exec *exec);
void aleat_run_attention_grad(const aleat_step *step, const aleat_exec *exec);
size_t aleat_attention_grad_step_scratch(const aleat_step *step, const aleat_exec *exec);
void aleat_run_pad_channels(const aleat_step *step, const aleat_exec *exec);
void aleat_run_pad_tokens(const aleat_step *step, const aleat_exec *exec);
void aleat_run_sumpool(const aleat_step *step, const aleat_exec *exec);
void aleat_run_avgpool_grad(const aleat_step *step, const aleat_exec *exec);
void aleat_run_patchify(const aleat_step *step, const aleat_exec *exec);

void aleat_run_groupnorm_jvp(const aleat_step *step, const aleat_exec *exec);
void aleat_run_layernorm_jvp(const aleat_step *step, const aleat_exec *exec);
void aleat_run_attention_jvp(const aleat_step *step, const aleat_exec *exec);
size_t aleat_attention_jvp_step_scratch(const aleat_step *step, const aleat_exec *exec);
void aleat_run_dropout(const aleat_step *step, const aleat_exec *exec);
size_t aleat_dropout_scratch(const aleat_step *step, const aleat_exec *exec);
void aleat_run_conv_weight_grad(const aleat_step *step, const aleat_exec *exec);
size_t aleat_conv_weight_grad_scratch(const aleat_step *step, const aleat_exec *exec);
void aleat_run_embedding_grad(const aleat_step *step, const aleat_exec *exec);
void aleat_run_sum_pixels(const aleat_step *step, const aleat_exec *exec);
size_t aleat_sum_pixels_scratch(const aleat_step *step, const aleat_exec *exec);
void aleat_run_sum_images(const aleat_step *step, const aleat_exec *exec);
void aleat_layernorm_param_grad(const aleat_step *step, const aleat_exec *exec);

#endif
