/* How the operations of forward mode run. Each has the primal one's inputs first, then the tangent.
 */
#include "graph/exec_ops.h"

/** in: x, tx. */
void aleat_run_groupnorm_jvp(const aleat_step *s, const aleat_exec *exec)
{
    const aleat_groupnorm g = aleat_step_groupnorm(s);
    aleat_groupnorm_jvp(exec->k, &g, s->in[0].data, s->in[1].data, s->in[1].ld, s->out.data,
                        exec->scratch, exec->threads);
}

/** in: x, tx. */
void aleat_run_layernorm_jvp(const aleat_step *s, const aleat_exec *exec)
{
    if (s->node.attrs.heads > 1) {
        aleat_exec_rows(s, exec, aleat_headnorm_jacobian_row);
        return;
    }
    const aleat_layernorm_rows r = aleat_step_layernorm(s);
    aleat_layernorm_jacobian(exec->k, &r, NULL, s->param[0], exec->threads);
}

size_t aleat_attention_jvp_step_scratch(const aleat_step *s, const aleat_exec *exec)
{
    const aleat_attention a = aleat_step_attention(s);
    return aleat_attention_jvp_scratch(exec->k, &a, exec->threads);
}

/** in: q, k, v and [tq | tk | tv] on the channel axis, or tq alone, or tq and [tk | tv]. */
void aleat_run_attention_jvp(const aleat_step *s, const aleat_exec *exec)
{
    const aleat_attention a = aleat_step_attention(s);
    const aleat_view *t = &s->in[3];
    const int64_t c = s->in[0].dims.c;
    const bool joint = t->dims.c == 3 * c;
    const aleat_view *kv = joint ? t : &s->in[4];
    const float *tk = joint ? kv->data + c : s->node.n_in == 5 ? kv->data : NULL;
    const aleat_attention_jvp g = {.q = s->in[0].data,
                                   .k = s->in[1].data,
                                   .v = s->in[2].data,
                                   .tq = t->data,
                                   .tk = tk,
                                   .tv = tk ? tk + c : NULL,
                                   .ty = s->out.data,
                                   .tq_ld = t->ld,
                                   .tk_ld = kv->ld,
                                   .tv_ld = kv->ld,
                                   .ty_ld = s->out.ld};
    aleat_attention_jvp_run(exec->k, &a, &g, exec->scratch, exec->threads);
}
