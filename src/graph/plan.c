/*
 * Planning: which nodes are needed, which of them melt into one step, in what order they run, where
 * their values lie in the arena.
 */
#include "graph/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/parallel.h"
#include "graph/engine.h"
#include "graph/plan_state.h"

/** What planning knows of a node. */
typedef struct node_info {
    bool needed;
    bool wanted; // by the caller, who expects it dense
    bool melted; // its value exists only inside another step
    int32_t uses;
    aleat_value user;   // the last one
    int half;           // ALEAT_EARLY, 0 or 1
    bool kept;          // lies in memory that lasts from run to run
    bool local;         // lies in a lane: of a root
    int level;          // of a step (step.h)
    aleat_value side;   // its second result, if that is needed
    aleat_value root;   // value whose memory this one shows a part of (itself if none)
    int64_t offset;     // channels into the root
    int64_t born, dies; // steps; of a root
    size_t place;       // bytes into the arena
    // of the node that ends a melted chain: what was melted into it
    aleat_value main; // the CONV or GROUPNORM, or ALEAT_NO_VALUE
    aleat_value x, vec, residual, scale_shift;
    double scale;
    aleat_activation act;
    int64_t upsample;
} node_info;

typedef struct planner {
    aleat_plan *plan;
    const aleat_graph *graph;
    node_info *info;
    aleat_value *order; // nodes that become steps
    int64_t n_order;
    aleat_value late;
} planner;

static const aleat_node *node_at(const planner *p, aleat_value v)
{
    return aleat_graph_node(p->graph, v);
}

static int64_t pixels(aleat_dims d)
{
    return d.h * d.w;
}

/* ---- what is needed ---------------------------------------------------------------------------
 */

/** An input says when it is there; everything else waits for the last of its inputs. In training
 * parameters change, so nothing lasts. */
static int half_of(const planner *p, aleat_value v)
{
    const aleat_node *node = node_at(p, v);
    if (node->op == ALEAT_OP_INPUT)
        return v == p->late ? 1 : node->condition ? ALEAT_EARLY : 0;
    // Images of one condition have masks of their own.
    const bool drops = node->op == ALEAT_OP_DROPOUT && p->plan->drops;
    int half = drops || p->plan->engine->training ? 0 : ALEAT_EARLY;
    for (int i = 0; i < node->n_in; i++)
        half = p->info[node->in[i]].half > half ? p->info[node->in[i]].half : half;
    return half;
}

static void mark_needed(planner *p, const aleat_value *wanted, int n_wanted)
{
    for (int i = 0; i < n_wanted; i++) {
        p->info[wanted[i]].needed = p->info[wanted[i]].wanted = true;
        p->info[wanted[i]].uses++; // the caller's
        p->info[wanted[i]].user = ALEAT_NO_VALUE;
    }
    for (aleat_value v = (aleat_value)p->graph->n_nodes - 1; v >= 0; v--) {
        if (!p->info[v].needed)
            continue;
        const aleat_node *node = node_at(p, v);
        if (node->op == ALEAT_OP_SIDE)
            p->info[node->in[0]].side = v;
        for (int i = 0; i < node->n_in; i++) {
            p->info[node->in[i]].needed = true;
            if (node->op == ALEAT_OP_SIDE) // made beside its input, not of it
                continue;
            p->info[node->in[i]].uses++;
            if (p->info[node->in[i]].uses == 1)
                p->info[node->in[i]].user = v;
        }
    }
    for (aleat_value v = 0; v < p->graph->n_nodes; v++)
        p->info[v].half = half_of(p, v);
}

/** The only user of a value, or ALEAT_NO_VALUE if there are several or it is wanted itself. */
static aleat_value only_user(const planner *p, aleat_value v)
{
    const node_info *info = &p->info[v];
    if (info->uses != 1 || info->user == ALEAT_NO_VALUE)
        return ALEAT_NO_VALUE;
    return p->info[info->user].half == info->half ? info->user : ALEAT_NO_VALUE;
}

/* ---- melting ----------------------------------------------------------------------------------
 */

/** Tries to melt the addition `add` of value `at` into the chain of `end`. */
static bool melt_add(const planner *p, node_info *end, aleat_value at, const aleat_node *add)
{
    const aleat_value other = add->in[0] == at ? add->in[1] : add->in[0];
    if (end->residual != ALEAT_NO_VALUE || end->scale != 1 || end->act != ALEAT_ACT_NONE ||
        other == at || node_at(p, other)->shared)
        return false;
    const int64_t mine = pixels(node_at(p, at)->dims), others = pixels(node_at(p, other)->dims);
    if (others == mine)
        end->residual = other;
    else if (others == 1 && add->in[0] == at && end->vec == ALEAT_NO_VALUE)
        end->vec = other;
    else
        return false;
    return true;
}

/** Tries to melt node `next`, the only user of `at`, into the chain. */
static bool melt_next(const planner *p, node_info *end, aleat_value at, const aleat_node *next)
{
    switch (next->op) {
    case ALEAT_OP_ADD: return melt_add(p, end, at, next);
    case ALEAT_OP_AFFINE:
        if (next->attrs.b != 0 || end->act != ALEAT_ACT_NONE)
            return false;
        end->scale *= next->attrs.a;
        return true;
    case ALEAT_OP_ACTIVATION:
        if (end->act != ALEAT_ACT_NONE)
            return false;
        end->act = next->attrs.act;
        return true;
    default: return false;
    }
}

/** A convolution takes additions, a factor and an activation that follow it into its epilogue, and
 * a 2x enlargement before it into its reading of the input. */
static void melt_conv(planner *p, aleat_value v)
{
    const aleat_node *conv = node_at(p, v);
    node_info chain = {.main = v,
                       .x = conv->in[0],
                       .vec = ALEAT_NO_VALUE,
                       .residual = ALEAT_NO_VALUE,
                       .scale_shift = ALEAT_NO_VALUE,
                       .scale = 1,
                       .upsample = 1};
    const aleat_node *before = node_at(p, conv->in[0]);
    if (before->op == ALEAT_OP_UPSAMPLE && only_user(p, conv->in[0]) == v && !conv->attrs.adjoint &&
        before->dims.h == 2 * node_at(p, before->in[0])->dims.h &&
        before->dims.w == 2 * node_at(p, before->in[0])->dims.w) {
        p->info[conv->in[0]].melted = true;
        chain.x = before->in[0];
        chain.upsample = 2;
    }
    aleat_value at = v;
    for (;;) {
        const aleat_value next = only_user(p, at);
        // Two convolutions may meet in one addition: the first to come has taken it, as the end of
        // its chain or as a link.
        if (next == ALEAT_NO_VALUE || p->info[next].melted ||
            p->info[next].main != ALEAT_NO_VALUE || !melt_next(p, &chain, at, node_at(p, next)))
            break;
        p->info[at].melted = true;
        at = next;
    }
    node_info *end = &p->info[at];
    end->main = v;
    end->x = chain.x;
    end->vec = chain.vec;
    end->residual = chain.residual;
    end->scale = chain.scale;
    end->act = chain.act;
    end->upsample = chain.upsample;
}

/** Group norm followed by a modulation is one pass. */
static void melt_groupnorm(planner *p, aleat_value v)
{
    const aleat_node *norm = node_at(p, v);
    const aleat_value next = only_user(p, v);
    aleat_value end = v;
    aleat_value scale_shift = ALEAT_NO_VALUE;
    aleat_activation act = norm->attrs.act;
    if (act == ALEAT_ACT_NONE && next != ALEAT_NO_VALUE &&
        node_at(p, next)->op == ALEAT_OP_SCALE_SHIFT && node_at(p, next)->in[0] == v) {
        p->info[v].melted = true;
        end = next;
        scale_shift = node_at(p, next)->in[1];
        act = node_at(p, next)->attrs.act;
    }
    p->info[end].main = v;
    p->info[end].x = norm->in[0];
    p->info[end].scale_shift = scale_shift;
    p->info[end].act = act;
}

static void melt(planner *p)
{
    for (aleat_value v = 0; v < p->graph->n_nodes; v++) {
        node_info *info = &p->info[v];
        info->main = info->x = info->vec = info->residual = info->scale_shift = ALEAT_NO_VALUE;
        info->scale = 1;
        info->upsample = 1;
        info->act = node_at(p, v)->attrs.act;
        info->root = v;
    }
    for (aleat_value v = 0; v < p->graph->n_nodes; v++) {
        if (!p->info[v].needed || p->info[v].melted)
            continue;
        if (node_at(p, v)->op == ALEAT_OP_CONV)
            melt_conv(p, v);
        else if (node_at(p, v)->op == ALEAT_OP_GROUPNORM)
            melt_groupnorm(p, v);
    }
}

/* ---- views and order --------------------------------------------------------------------------
 */

/** Whether a value is a part of, or the same as, its input's memory. Slices that are wanted are
 * copied, since the caller expects them dense, and those of constants, which lie outside the arena.
 */
static bool is_view(const planner *p, aleat_value v)
{
    const aleat_node *node = node_at(p, v);
    if (node->op == ALEAT_OP_SLICE)
        return !p->info[v].wanted && node_at(p, node->in[0])->op != ALEAT_OP_CONSTANT;
    return node->op == ALEAT_OP_DROPOUT && !p->plan->drops;
}

/** Values that no step of their own makes. */
static bool is_source(const aleat_node *node)
{
    return node->op == ALEAT_OP_INPUT || node->op == ALEAT_OP_CONSTANT || node->op == ALEAT_OP_SIDE;
}

static void make_order(planner *p)
{
    for (int half = ALEAT_EARLY; half < 2; half++)
        for (aleat_value v = 0; v < p->graph->n_nodes; v++) {
            const node_info *info = &p->info[v];
            if (info->needed && !info->melted && info->half == half && !is_source(node_at(p, v)) &&
                !is_view(p, v))
                p->order[p->n_order++] = v;
        }
    for (aleat_value v = 0; v < p->graph->n_nodes; v++) {
        const aleat_node *node = node_at(p, v);
        if (!is_view(p, v))
            continue;
        const node_info *below = &p->info[node->in[0]];
        p->info[v].root = below->root;
        p->info[v].offset = below->offset + (node->op == ALEAT_OP_SLICE ? node->attrs.begin : 0);
    }
}

/** The values that the step of node v reads, at most 6. */
static int inputs_of(const planner *p, aleat_value v, aleat_value in[6])
{
    const node_info *info = &p->info[v];
    const aleat_node *node = node_at(p, v);
    int n = 0;
    if (info->main == ALEAT_NO_VALUE) {
        for (int i = 0; i < node->n_in; i++)
            in[n++] = node->in[i];
        return n;
    }
    const aleat_value candidates[] = {info->x, info->vec, info->residual, info->scale_shift};
    for (size_t i = 0; i < sizeof candidates / sizeof *candidates; i++)
        if (candidates[i] != ALEAT_NO_VALUE)
            in[n++] = candidates[i];
    return n;
}

/* ---- memory -----------------------------------------------------------------------------------
 */

static size_t align_up(size_t n)
{
    return (n + ALEAT_ALIGN - 1) / ALEAT_ALIGN * ALEAT_ALIGN;
}

static size_t bytes_of(const planner *p, aleat_value v)
{
    const aleat_node *node = node_at(p, v);
    const int64_t images = node->shared ? 1 : p->info[v].local ? p->plan->slice : p->plan->images;
    return align_up((size_t)(images * pixels(node->dims) * node->dims.c) * sizeof(float));
}

static void find_lifetimes(planner *p, const aleat_value *wanted, int n_wanted)
{
    const int64_t end = p->n_order;
    for (aleat_value v = 0; v < p->graph->n_nodes; v++) {
        p->info[v].born = node_at(p, v)->op == ALEAT_OP_INPUT ? -1 : end;
        p->info[v].dies = -1;
        if (node_at(p, v)->op == ALEAT_OP_INPUT) // there before the first step, read or not
            p->info[v].dies = end;
    }
    for (int64_t i = 0; i < p->n_order; i++) {
        aleat_value in[6];
        const int n = inputs_of(p, p->order[i], in);
        p->info[p->order[i]].born = i;
        if (p->info[p->order[i]].dies < i)
            p->info[p->order[i]].dies = i;
        const aleat_value side = p->info[p->order[i]].side;
        if (side)
            p->info[side].born = p->info[side].dies = i;
        for (int j = 0; j < n; j++) {
            node_info *root = &p->info[p->info[in[j]].root];
            // The second half may be run again: what it takes from the first one stays.
            const int64_t last = p->info[p->order[i]].half > root->half ? end : i;
            root->dies = root->dies < last ? last : root->dies; // inputs stay to the end
        }
    }
    for (int i = 0; i < n_wanted; i++)
        p->info[p->info[wanted[i]].root].dies = end;
    for (aleat_value v = 0; v < p->graph->n_nodes; v++)
        p->info[v].kept = p->info[v].half == ALEAT_EARLY && p->info[v].dies == end;
}

typedef struct block {
    size_t size;
    aleat_value value;
    int64_t born, dies;
} block;

static int larger_first(const void *a, const void *b)
{
    const block *x = a, *y = b;
    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    return x->value < y->value ? -1 : 1;
}

/** The lowest place for a block that no block placed before and alive at the same time overlaps. */
static size_t place_for(const planner *p, const block *blocks, int64_t n, const block *b)
{
    size_t place = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int64_t i = 0; i < n; i++) {
            const size_t begin = p->info[blocks[i].value].place, end = begin + blocks[i].size;
            if (blocks[i].dies < b->born || b->dies < blocks[i].born || end <= place ||
                begin >= place + b->size)
                continue;
            place = end;
            moved = true;
        }
    }
    return place;
}

/** Values with memory of their own: results of steps and inputs. */
static bool owns_memory(const planner *p, aleat_value v)
{
    return p->info[v].needed && !p->info[v].melted && p->info[v].root == v &&
           node_at(p, v)->op != ALEAT_OP_CONSTANT;
}

/** Gives the blocks their places; the bytes they take together. Sorts them. */
static size_t place_blocks(planner *p, block *blocks, int64_t n)
{
    size_t bytes = 0;
    qsort(blocks, (size_t)n, sizeof *blocks, larger_first);
    for (int64_t i = 0; i < n; i++) {
        const size_t place = place_for(p, blocks, i, &blocks[i]);
        p->info[blocks[i].value].place = place;
        if (place + blocks[i].size > bytes)
            bytes = place + blocks[i].size;
    }
    return bytes;
}

static aleat_status place_values(planner *p, aleat_error *err)
{
    aleat_plan *plan = p->plan;
    block *blocks = aleat_alloc((size_t)p->graph->n_nodes * sizeof *blocks);
    if (!blocks)
        return aleat_fail_memory(err, "planning memory");
    int64_t n = 0, n_local = 0;
    for (int local = 1; local >= 0; local--)
        for (aleat_value v = 0; v < p->graph->n_nodes; v++) {
            const node_info *info = &p->info[v];
            if (!owns_memory(p, v) || info->kept || info->local != local)
                continue;
            blocks[n] = (block){bytes_of(p, v), v, info->born, info->dies};
            if (plan->n_slices > 1 && !local) { // slices are at different steps
                blocks[n].born = -1;
                blocks[n].dies = p->n_order;
            }
            n++;
            n_local += local;
        }
    for (aleat_value v = 0; v < p->graph->n_nodes; v++)
        if (owns_memory(p, v) && p->info[v].kept) {
            p->info[v].place = plan->kept_bytes;
            plan->kept_bytes += bytes_of(p, v);
        }
    plan->lane_bytes = place_blocks(p, blocks, n_local);
    const size_t whole = place_blocks(p, blocks + n_local, n - n_local);
    for (aleat_value v = 0; v < p->graph->n_nodes; v++)
        if (p->info[v].local)
            p->info[v].place += whole;
    plan->arena_bytes = whole + (size_t)plan->lanes * plan->lane_bytes;
    aleat_free(blocks);
    return ALEAT_OK;
}

/* ---- slices -----------------------------------------------------------------------------------
 * A batch can be run slice by slice, each thread with slices of its own: what a step leaves is then
 * still in the cache when the next one reads it, and threads wait for each other once and not after
 * every step. No result depends on it, as none depends on the batch.
 */

/** Sums over the batch, as gradients of parameters are, wait for all slices. */
static void find_levels(planner *p)
{
    for (aleat_value v = 0; v < p->graph->n_nodes; v++) {
        const aleat_node *node = node_at(p, v);
        bool sums = false;
        int level = 0;
        for (int i = 0; i < node->n_in; i++) {
            sums |= node->shared && !node_at(p, node->in[i])->shared;
            level = p->info[node->in[i]].level > level ? p->info[node->in[i]].level : level;
        }
        if (node->op != ALEAT_OP_SIDE) // which is there together with its input
            level = level ? 2 : sums;
        p->info[v].level = level;
    }
}

/** Whether every slice of the batch can do without the others until the sums. */
static bool can_slice(const planner *p)
{
    if (p->plan->engine->memory)
        return false;
    for (int64_t i = 0; i < p->n_order; i++) {
        const aleat_node *node = node_at(p, p->order[i]);
        for (int j = 0; j < node->n_in; j++)
            if (!node->shared && p->info[node->in[j]].level)
                return false;
    }
    return true;
}

/** Values that a slice alone needs lie in its lane; what sums read stays to the end. Returns the
 * bytes of the others. */
static size_t place_in_lanes(planner *p)
{
    size_t bytes = 0;
    for (int64_t i = 0; i < p->n_order; i++) {
        aleat_value in[6];
        const int n = inputs_of(p, p->order[i], in);
        for (int j = 0; j < n && p->info[p->order[i]].level; j++)
            p->info[p->info[in[j]].root].dies = p->n_order;
    }
    for (aleat_value v = 0; v < p->graph->n_nodes; v++) {
        node_info *info = &p->info[v];
        info->local = owns_memory(p, v) && info->half != ALEAT_EARLY && info->dies != p->n_order &&
                      !node_at(p, v)->shared;
        if (owns_memory(p, v) && !info->local && !info->kept)
            bytes += bytes_of(p, v);
    }
    return bytes;
}

/**
 * Below 4 images a slice reads the weights too often, above 8 its values leave the second cache
 * (docs/speed.md). As many slices for each thread: the last one is at most an image late, which may
 * cost a sixteenth.
 */
static void choose_slices(planner *p, const aleat_value *wanted, int n_wanted)
{
    enum { LEAST_IMAGES = 4, MOST_IMAGES = 8, SHARE = 16 };
    // Cotangents that wait for the sums at the end of a training step take about as much memory as
    // values that wait for the reverse half: too much for large networks.
    const size_t most_bytes = (size_t)2 << 30;
    aleat_plan *plan = p->plan;
    const int64_t n = plan->images, threads = plan->engine->threads;
    plan->n_slices = plan->lanes = 1;
    plan->slice = n;
    const int64_t late = (threads - n % threads) % threads;
    if (n < LEAST_IMAGES * threads || n <= LEAST_IMAGES || late * SHARE > n || !can_slice(p))
        return;
    plan->n_slices = threads * ((n + threads * MOST_IMAGES - 1) / (threads * MOST_IMAGES));
    plan->slice = (n + plan->n_slices - 1) / plan->n_slices;
    plan->lanes = (int)threads;
    if (place_in_lanes(p) <= most_bytes || !plan->engine->training)
        return;
    plan->n_slices = plan->lanes = 1;
    plan->slice = n;
    find_lifetimes(p, wanted, n_wanted);
    for (aleat_value v = 0; v < p->graph->n_nodes; v++)
        p->info[v].local = false;
}

/* ---- steps ------------------------------------------------------------------------------------
 */

static void make_view(planner *p, aleat_value v)
{
    const node_info *info = &p->info[v];
    const aleat_dims whole = node_at(p, info->root)->dims;
    aleat_view *view = &p->plan->views[v];
    view->dims = node_at(p, v)->dims;
    view->ld = whole.c;
    if (node_at(p, v)->op == ALEAT_OP_CONSTANT)
        return; // its data is a parameter: set by load_constant()
    view->image_ld = node_at(p, info->root)->shared ? 0 : pixels(whole) * whole.c;
    char *memory = p->info[info->root].kept ? p->plan->kept : p->plan->values.data;
    view->data = (float *)(void *)(memory + p->info[info->root].place) + info->offset;
    view->local = p->info[info->root].local;
    if (p->info[v].kept && owns_memory(p, v) && view->image_ld)
        p->plan->conditioned[p->plan->n_conditioned++] = *view;
}

static aleat_status load_constant(planner *p, aleat_value v, aleat_error *err)
{
    const float *values;
    const aleat_status st =
        aleat_engine_plain(p->plan->engine, node_at(p, v)->param[0], &values, err);
    // Steps only read their inputs; the view's pointer is not const because outputs share the type.
    p->plan->views[v].data = (float *)(uintptr_t)values;
    return st;
}

static aleat_view view_or_none(const planner *p, aleat_value v)
{
    return v == ALEAT_NO_VALUE ? (aleat_view){0} : p->plan->views[v];
}

/** Multiply-adds as written, for reporting. */
static double flop_of(const aleat_step *s)
{
    const double out = (double)(pixels(s->out.dims) * s->out.dims.c);
    if (s->node.op == ALEAT_OP_CONV)
        return 2 * out *
               (double)(s->in[0].dims.c * s->node.attrs.conv.kernel_h *
                        s->node.attrs.conv.kernel_w);
    if (s->node.op == ALEAT_OP_CONV_WEIGHT_GRAD)
        return 2 * out * (double)pixels(s->in[1].dims);
    if (s->node.op == ALEAT_OP_ATTENTION)
        return 4 * out * (double)pixels(s->in[1].dims);
    if (s->node.op == ALEAT_OP_ATTENTION_GRAD ||
        s->node.op == ALEAT_OP_ATTENTION_JVP) // five products of the size of the scores
        return 10 * (double)(pixels(s->in[0].dims) * pixels(s->in[1].dims) * s->in[0].dims.c);
    return 0;
}

/** A step whose values are all the same for every image runs once. */
static int64_t images_of(const planner *p, const aleat_node *node)
{
    for (int i = 0; i < node->n_in; i++)
        if (!node_at(p, node->in[i])->shared)
            return p->plan->images;
    return node->shared ? 1 : p->plan->images;
}

static aleat_status make_step(planner *p, aleat_value v, aleat_step *step, aleat_error *err)
{
    const node_info *info = &p->info[v];
    const aleat_value main = info->main == ALEAT_NO_VALUE ? v : info->main;
    const aleat_node *node = node_at(p, main);
    *step = (aleat_step){.node = *node,
                         .images = images_of(p, node),
                         .out = p->plan->views[v],
                         .side = view_or_none(p, info->side ? info->side : ALEAT_NO_VALUE),
                         .upsample = info->upsample,
                         .vec = view_or_none(p, info->vec),
                         .residual = view_or_none(p, info->residual),
                         .scale_shift = view_or_none(p, info->scale_shift),
                         .scale = info->scale,
                         .act = info->act,
                         .half = info->half,
                         .level = info->level,
                         .bf16 = p->plan->engine->precision == ALEAT_PRECISION_BF16};
    for (int i = 0; i < node->n_in; i++)
        step->in[i] = p->plan->views[i == 0 && info->x != ALEAT_NO_VALUE ? info->x : node->in[i]];
    aleat_status st = ALEAT_OK;
    if (node->op == ALEAT_OP_EMBEDDING)
        step->table = p->graph->params[node->param[0]].weight;
    const bool elsewhere = node->op == ALEAT_OP_CONV || step->table;
    for (int i = elsewhere; i < ALEAT_NODE_PARAMS && !st; i++)
        st = aleat_engine_plain(p->plan->engine, node->param[i], &step->param[i], err);
    if (!st && node->op == ALEAT_OP_CONV)
        st = aleat_engine_packed(p->plan->engine, node, &step->packed, err);
    p->plan->flop += flop_of(step);
    return st;
}

static aleat_status make_steps(planner *p, aleat_error *err)
{
    aleat_plan *plan = p->plan;
    const int64_t memory = plan->engine->memory;
    const bool in_file = memory && plan->arena_bytes > (size_t)memory / 4 * 3;
    const aleat_status made = aleat_arena_new(&plan->values, plan->arena_bytes, in_file, err);
    if (made == ALEAT_ERR_IO)
        return made;
    plan->kept = aleat_calloc(plan->kept_bytes, 1);
    if (made || !plan->kept)
        return aleat_fail(err, ALEAT_ERR_MEMORY,
                          "out of memory: %lld images need %zu MB of working memory",
                          (long long)plan->images, (plan->arena_bytes + plan->kept_bytes) >> 20);
    for (aleat_value v = 0; v < p->graph->n_nodes; v++) {
        if (!p->info[v].needed || p->info[v].melted)
            continue;
        make_view(p, v);
        if (node_at(p, v)->op == ALEAT_OP_CONSTANT) {
            const aleat_status st = load_constant(p, v, err);
            if (st)
                return st;
        }
    }
    for (int64_t i = 0; i < p->n_order; i++) {
        const aleat_status st = make_step(p, p->order[i], &plan->steps[i], err);
        if (st)
            return st;
        plan->n_steps++;
    }
    return ALEAT_OK;
}

static int longer_first(const void *a, const void *b)
{
    const aleat_sum_step *x = a, *y = b;
    if (x->flop != y->flop)
        return x->flop > y->flop ? -1 : 1;
    return x->step < y->step ? -1 : 1;
}

static aleat_status list_sums(aleat_plan *plan, aleat_error *err)
{
    if (plan->n_slices == 1)
        return ALEAT_OK;
    plan->sums = aleat_calloc((size_t)plan->n_steps + 1, sizeof *plan->sums);
    if (!plan->sums)
        return aleat_fail_memory(err, "a plan");
    for (int64_t i = 0; i < plan->n_steps; i++)
        if (plan->steps[i].level == 1)
            plan->sums[plan->n_sums++] = (aleat_sum_step){i, flop_of(&plan->steps[i])};
    qsort(plan->sums, (size_t)plan->n_sums, sizeof *plan->sums, longer_first);
    return ALEAT_OK;
}

/** Scratch of a step for so many images. */
static size_t scratch_of(const aleat_step *step, int64_t images, const aleat_exec *exec)
{
    const aleat_op_exec *op = aleat_op_exec_of(step->node.op);
    aleat_step s = *step;
    s.images = images;
    return align_up(op->scratch ? op->scratch(&s, exec) : 0);
}

/** One scratch area, as large as the most demanding step wants it. */
static aleat_status make_scratch(aleat_plan *plan, aleat_error *err)
{
    // Slices differ by an image at most, and more images may want less: Winograd's groups of tiles
    // are of equal size.
    const int64_t smaller = plan->images / plan->n_slices;
    for (int64_t i = 0; i < plan->n_steps; i++) {
        const aleat_step *step = &plan->steps[i];
        const bool sliced = aleat_step_is_sliced(plan, step);
        const bool in_lane = sliced || (plan->n_slices > 1 && step->level == 1);
        const aleat_exec exec = {.k = plan->engine->k,
                                 .threads = in_lane ? 1 : plan->engine->threads};
        if (!aleat_op_exec_of(step->node.op)->run)
            return aleat_fail(err, ALEAT_ERR_UNSUPPORTED, "no way to run '%s'",
                              aleat_op_name(step->node.op));
        size_t bytes = scratch_of(step, sliced ? plan->slice : step->images, &exec);
        if (sliced && scratch_of(step, smaller, &exec) > bytes)
            bytes = scratch_of(step, smaller, &exec);
        if (in_lane && bytes > plan->lane_scratch)
            plan->lane_scratch = bytes;
        if (!in_lane && bytes > plan->scratch_bytes)
            plan->scratch_bytes = bytes;
    }
    if (plan->lane_scratch * (size_t)plan->lanes > plan->scratch_bytes)
        plan->scratch_bytes = plan->lane_scratch * (size_t)plan->lanes;
    const int64_t memory = plan->engine->memory;
    const bool in_file = memory && plan->scratch_bytes > (size_t)memory / 4;
    return aleat_arena_new(&plan->scratch, plan->scratch_bytes, in_file, err);
}

static aleat_status make_plan(aleat_plan **out, aleat_engine *engine, int64_t images,
                              const aleat_value *wanted, int n_wanted, aleat_value late, bool drops,
                              aleat_error *err)
{
    *out = NULL;
    const int64_t n = engine->graph->n_nodes;
    aleat_plan *plan = aleat_calloc(1, sizeof *plan);
    planner p = {.plan = plan, .graph = engine->graph, .late = late};
    p.info = aleat_calloc((size_t)n, sizeof *p.info);
    p.order = aleat_calloc((size_t)n, sizeof *p.order);
    aleat_status st = aleat_graph_check(engine->graph, err);
    if (plan) {
        plan->engine = engine;
        plan->images = images;
        plan->drops = drops;
        plan->n_views = n;
        plan->views = aleat_calloc((size_t)n, sizeof *plan->views);
        plan->steps = aleat_calloc((size_t)n, sizeof *plan->steps);
        plan->dropout_images = aleat_calloc((size_t)images, sizeof *plan->dropout_images);
        plan->dropout_passes = aleat_calloc((size_t)images, sizeof *plan->dropout_passes);
        plan->conditioned = aleat_calloc((size_t)n, sizeof *plan->conditioned);
        plan->condition = aleat_calloc((size_t)images, sizeof *plan->condition);
    }
    if (!plan || !p.info || !p.order || !plan->views || !plan->steps || !plan->dropout_images ||
        !plan->dropout_passes || !plan->conditioned || !plan->condition)
        st = aleat_fail_memory(err, "a plan");
    if (st)
        goto done;
    mark_needed(&p, wanted, n_wanted);
    melt(&p);
    make_order(&p);
    find_lifetimes(&p, wanted, n_wanted);
    plan->distinct = images;
    for (int64_t i = 0; i < images; i++)
        plan->condition[i] = (int32_t)i;
    find_levels(&p);
    choose_slices(&p, wanted, n_wanted);
    st = place_values(&p, err);
    if (!st)
        st = make_steps(&p, err);
    if (!st)
        st = list_sums(plan, err);
    if (!st)
        st = make_scratch(plan, err);
    if (st)
        goto done;
    *out = plan;
    plan = NULL;
done:
    aleat_plan_free(plan);
    aleat_free(p.info);
    aleat_free(p.order);
    return st;
}

aleat_status aleat_plan_new(aleat_plan **out, aleat_engine *engine, int64_t images,
                            const aleat_value *wanted, int n_wanted, aleat_value late,
                            aleat_error *err)
{
    return make_plan(out, engine, images, wanted, n_wanted, late, engine->training, err);
}

aleat_status aleat_plan_new_dropping(aleat_plan **out, aleat_engine *engine, int64_t images,
                                     const aleat_value *wanted, int n_wanted, aleat_value late,
                                     aleat_error *err)
{
    return make_plan(out, engine, images, wanted, n_wanted, late, true, err);
}
