/* Sentences that follow from the numbers. The only rules: an effect is told where the interval
 * excludes what chance would give, and of several candidates the best is the one with the best
 * number. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "metrics/student.h"
#include "paper/summary.h"

// What the paper ranks by.
#define PAPERS "eps-var"

/* ---- words ----------------------------------------------------------------------------------- */

// A measure as text, good for the statement it stands in.
typedef struct words {
    char text[160];
} words;

static words number(const aleat_measure *m)
{
    words w;
    if (isnan(m->low) || isnan(m->high))
        (void)snprintf(w.text, sizeof w.text, "%.4g (no interval)", m->value);
    else
        (void)snprintf(w.text, sizeof w.text, "%.4g [%.4g, %.4g]", m->value, m->low, m->high);
    return w;
}

static words name_of(const aleat_finding *f)
{
    words w;
    (void)snprintf(w.text, sizeof w.text, "`%.60s`, %.40s (%.30s)", f->name, f->order,
                   f->estimator);
    return w;
}

static const char *where(bool within)
{
    return within ? "Within classes" : "Of all images";
}

// Of a difference, less being better.
static const char *verdict(const aleat_measure *m)
{
    static const char *const kinds[] = {"holds", "shows no effect", "fails"};
    return kinds[1 + aleat_measure_side(m, 0)];
}

/* ---- sets against random ones ---------------------------------------------------------------- */

typedef struct counts {
    int64_t all, below, around, above;
} counts;

static void count(counts *c, const aleat_measure *m)
{
    const int side = aleat_measure_side(m, 0);
    c->all++;
    c->below += side < 0;
    c->around += side == 0;
    c->above += side > 0;
}

static void tell_best(const aleat_document *doc, const aleat_findings *f, bool within)
{
    const double percent = 100 * f->confidence;
    const aleat_finding *best = aleat_findings_best(f, within, NULL, false), *worst = NULL;
    counts c = {0};
    for (int64_t i = 0; i < f->n; i++) {
        const aleat_finding *row = &f->rows[i];
        if (!aleat_finding_is_set(row) || aleat_finding_is_within(row) != within)
            continue;
        count(&c, &row->other);
        if (isfinite(row->other.value) && (!worst || row->other.value > worst->other.value))
            worst = row;
    }
    if (!best) {
        aleat_document_say(doc, "%s: no sets are told.", where(within));
        return;
    }
    aleat_document_say(doc,
                       "%s, %" PRId64 " sets (scores in both orders) stand against random subsets "
                       "of as many: %" PRId64 " are nearer to the real images, %" PRId64
                       " farther; of %" PRId64 " the %g %% interval of the difference holds 0.",
                       where(within), c.all, c.below, c.above, c.around, percent);
    if (aleat_measure_side(&best->other, 0) < 0)
        aleat_document_say(doc,
                           "**%s, %s filters best**: Fréchet distance %.5g, to random subsets %s; "
                           "z = %.3g. The interval excludes 0.",
                           where(within), name_of(best).text, best->main.value,
                           number(&best->other).text, best->z);
    else
        aleat_document_say(doc,
                           "**%s, no score in either order filters better than chance**: the best, "
                           "%s, differs from random subsets by %s, which does not lie below 0.",
                           where(within), name_of(best).text, number(&best->other).text);
    if (worst && aleat_measure_side(&worst->other, 0) > 0)
        aleat_document_say(doc, "%s, %s harms most: %s to random subsets.", where(within),
                           name_of(worst).text, number(&worst->other).text);
}

static void tell_sign(const aleat_document *doc, const aleat_findings *f, bool within)
{
    const aleat_finding *high = aleat_findings_of(f, PAPERS, "highest", within);
    const aleat_finding *low = aleat_findings_of(f, PAPERS, "lowest", within);
    if (!high || !low) {
        aleat_document_say(doc, "%s, the paper's sign is missing: no `%s` in both orders.",
                           where(within), PAPERS);
        return;
    }
    aleat_document_say(doc,
                       "**%s, the paper's sign**: its text keeps the highest `%s`, which **%s** "
                       "(%s to random subsets); its program keeps the lowest, which **%s** (%s).",
                       where(within), PAPERS, verdict(&high->other), number(&high->other).text,
                       verdict(&low->other), number(&low->other).text);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// A random subset's distance has that standard deviation about the mean of R others, times
// sqrt(1 + 1/R): z is Student's t of R - 1 degrees of freedom if the score tells nothing.
static double p_of(const aleat_findings *f, const aleat_finding *row)
{
    return aleat_student_two_sided(row->z / sqrt(1 + 1 / (double)f->subsets), f->subsets - 1);
}

// Whether several are significant together: Holm 1979.
static void tell_multiplicity(const aleat_document *doc, const aleat_findings *f)
{
    const double level = 1 - f->confidence;
    int64_t n = 0, kept = 0, nearer = 0, farther = 0;
    double *p = aleat_calloc((size_t)f->n, sizeof *p);
    if (!p) {
        aleat_document_say(doc, "Multiple comparisons are missing: no memory for them.");
        return;
    }
    for (int64_t i = 0; i < f->n; i++)
        if (aleat_finding_is_set(&f->rows[i]) && isfinite(f->rows[i].z))
            p[n++] = p_of(f, &f->rows[i]);
    qsort(p, (size_t)n, sizeof *p, ascending);
    while (kept < n && p[kept] * (double)(n - kept) <= level)
        kept++;
    for (int64_t i = 0; kept && i < f->n; i++)
        if (aleat_finding_is_set(&f->rows[i]) && p_of(f, &f->rows[i]) <= p[kept - 1])
            *(f->rows[i].z < 0 ? &nearer : &farther) += 1;
    const double least = (double)n / (double)(f->subsets + 1);
    if (n)
        aleat_document_say(doc,
                           "**Multiple comparisons**: %" PRId64
                           " sets were tried. The share of random subsets that are as near is "
                           "1/%" PRId64 " at least, after Bonferroni %.2g, which %s fall below "
                           "%.2g. By Student's t of z (%" PRId64
                           " degrees of freedom, two-sided) the smallest p is %.2g, after "
                           "Bonferroni %.2g; by Holm's method %" PRId64
                           " sets are nearer than random ones at %.2g, and %" PRId64 " farther.",
                           n, f->subsets + 1, fmin(1, least), least < level ? "can" : "cannot",
                           level, f->subsets - 1, p[0], fmin(1, p[0] * (double)n), nearer, level,
                           farther);
    aleat_free(p);
}

static bool has_within(const aleat_findings *f)
{
    for (int64_t i = 0; i < f->n; i++)
        if (aleat_finding_is_set(&f->rows[i]) && aleat_finding_is_within(&f->rows[i]))
            return true;
    return false;
}

void aleat_tell_table1(const aleat_document *doc, const aleat_findings *f)
{
    const bool within = has_within(f);
    for (int w = 0; w <= within; w++) {
        tell_best(doc, f, w);
        tell_sign(doc, f, w);
    }
    if (!within)
        aleat_document_say(doc, "Rows within classes are missing: the images have no classes, or "
                                "the table is of an earlier version.");
    tell_multiplicity(doc, f);
}

/* ---- many places: shares, copies and steps ----------------------------------------------------
 */

static bool is_first_of_place(const aleat_findings *f, int64_t i, bool within)
{
    for (int64_t j = 0; j < i; j++)
        if (aleat_finding_is_set(&f->rows[j]) && aleat_finding_is_within(&f->rows[j]) == within &&
            aleat_finding_same_place(&f->rows[j], &f->rows[i]))
            return false;
    return aleat_finding_is_set(&f->rows[i]) && aleat_finding_is_within(&f->rows[i]) == within;
}

static void tell_places(const aleat_document *doc, const aleat_findings *f, bool within,
                        const char *place, const char *places)
{
    static const char *const orders[] = {"highest", "lowest"};
    counts best = {0};
    const aleat_finding *most = NULL;
    for (int64_t i = 0; i < f->n; i++)
        if (is_first_of_place(f, i, within)) {
            const aleat_finding *row = aleat_findings_best(f, within, &f->rows[i], false);
            if (!row)
                continue;
            count(&best, &row->other);
            if (!most || row->other.value < most->other.value)
                most = row;
        }
    if (!most)
        return;
    aleat_document_say(
        doc,
        "%s, at %" PRId64 " of %" PRId64 " %s some set is nearer than random ones. The "
        "least difference is that of %s at %s %.3g%s%.40s: %s.",
        where(within), best.below, best.all, places, name_of(most).text, place, most->at,
        *most->group ? ", steps " : "", most->group, number(&most->other).text);
    for (int o = 0; o < 2; o++) {
        counts c = {0};
        for (int64_t i = 0; i < f->n; i++)
            if (aleat_finding_is_set(&f->rows[i]) && strcmp(f->rows[i].name, PAPERS) == 0 &&
                aleat_finding_is_ordered(&f->rows[i], orders[o]) &&
                aleat_finding_is_within(&f->rows[i]) == within)
                count(&c, &f->rows[i].other);
        if (c.all)
            aleat_document_say(doc,
                               "%s, keeping the %s `%s` (the paper's %s) holds at %" PRId64
                               ", fails at %" PRId64 " and shows no effect at %" PRId64
                               " of %" PRId64 " %s.",
                               where(within), orders[o], PAPERS, o ? "program" : "text", c.below,
                               c.above, c.around, c.all, places);
    }
}

void aleat_tell_shares(const aleat_document *doc, const aleat_findings *f)
{
    for (int w = 0; w <= has_within(f); w++)
        tell_places(doc, f, w, "share", "shares kept");
}

// The set of that score and order with the fewest (most) evaluations.
static const aleat_finding *end_of(const aleat_findings *f, const char *order, int sense)
{
    const aleat_finding *end = NULL;
    for (int64_t i = 0; i < f->n; i++)
        if (aleat_finding_is_set(&f->rows[i]) && strcmp(f->rows[i].name, PAPERS) == 0 &&
            aleat_finding_is_ordered(&f->rows[i], order) && isfinite(f->rows[i].evaluations) &&
            (!end || sense * f->rows[i].evaluations > sense * end->evaluations))
            end = &f->rows[i];
    return end;
}

void aleat_tell_steps(const aleat_document *doc, const aleat_findings *f)
{
    static const char *const orders[] = {"highest", "lowest"};
    tell_places(doc, f, false, "M", "settings of M and scored steps");
    for (int o = 0; o < 2; o++) {
        const aleat_finding *few = end_of(f, orders[o], -1), *many = end_of(f, orders[o], 1);
        if (!few || few == many)
            continue;
        const bool apart = few->other.high < many->other.low || many->other.high < few->other.low;
        aleat_document_say(doc,
                           "Keeping the %s `%s` differs from random by %s with %.0f evaluations "
                           "beside sampling and by %s with %.0f: the intervals %s, so that more "
                           "evaluations show %s effect.",
                           orders[o], PAPERS, number(&few->other).text, few->evaluations,
                           number(&many->other).text, many->evaluations,
                           apart ? "are apart" : "overlap", apart ? "an" : "no");
    }
}

/* ---- maps against errors --------------------------------------------------------------------- */

// AURG of a random order: docs/metrics.md.
static double chance_of(const aleat_finding *f)
{
    const json_t *rmse = json_object_get(f->row, "rmse");
    return json_is_number(rmse) ? json_number_value(rmse) / 100 : 0;
}

static const char *map_verdict(const aleat_finding *f)
{
    static const char *const kinds[] = {"does worse than a random order",
                                        "shows no difference to a random order",
                                        "finds errors better than a random order"};
    return kinds[1 + aleat_measure_side(&f->main, chance_of(f))];
}

void aleat_tell_maps(const aleat_document *doc, const aleat_findings *f)
{
    const aleat_finding *gain = NULL, *area = NULL;
    int64_t n = 0;
    for (int64_t i = 0; i < f->n; i++) {
        const aleat_finding *row = &f->rows[i];
        if (row->remark)
            continue;
        n++;
        if (isfinite(row->main.value) && (!gain || row->main.value > gain->main.value))
            gain = row;
        if (isfinite(row->other.value) && (!area || row->other.value < area->other.value))
            area = row;
    }
    if (!gain || !area) {
        aleat_document_say(doc, "No map is told.");
        return;
    }
    aleat_document_say(doc,
                       "**Best AURG of %" PRId64 " (maps in both signs): `%.60s` (%.30s), unsure "
                       "where it is %.20s**: %s, %.3g being that of a random order: it %s.",
                       n, gain->name, gain->estimator, gain->order, number(&gain->main).text,
                       chance_of(gain), map_verdict(gain));
    aleat_document_say(doc, "Best AUSE: `%.60s` (%.30s), unsure where it is %.20s: %s.", area->name,
                       area->estimator, area->order, number(&area->other).text);
    for (int64_t i = 0; i < f->n; i++)
        if (!f->rows[i].remark && strcmp(f->rows[i].name, PAPERS) == 0)
            aleat_document_say(doc, "`%s`, read as unsure where it is %.20s%s, %s: AURG %s.",
                               PAPERS, f->rows[i].order,
                               aleat_finding_is_ordered(&f->rows[i], "high") ? ", as the paper does"
                                                                             : "",
                               map_verdict(&f->rows[i]), number(&f->rows[i].main).text);
}

/* ---- guidance -------------------------------------------------------------------------------- */

static bool is_control(const aleat_finding *row)
{
    return *row->order != '+' && *row->order != '-';
}

// The row of the same strength that moved in random directions.
static const aleat_finding *control_of(const aleat_findings *f, const aleat_finding *row)
{
    for (int64_t i = 0; i < f->n; i++)
        if (is_control(&f->rows[i]) && f->rows[i].at == row->at)
            return &f->rows[i];
    return NULL;
}

// Whether it is the direction that tells.
static void tell_against_control(const aleat_document *doc, const aleat_findings *f,
                                 const aleat_finding *row)
{
    static const char *const merits[] = {"has merit", "shows no merit", "harms"};
    static const char *const sides[] = {"is better than", "does not differ from", "is worse than"};
    const aleat_finding *control = control_of(f, row);
    if (is_control(row) || !control)
        return;
    if (isfinite(row->third.value)) {
        aleat_document_say(doc,
                           "Strength %.4g, %.20s, against moves of the same sizes in random "
                           "directions: %s. The direction **%s**.",
                           row->at, row->order, number(&row->third).text,
                           merits[1 + aleat_measure_side(&row->third, 0)]);
        return;
    }
    // a table of an earlier version: two intervals that do not meet
    const int side =
        (row->other.low > control->other.high) - (row->other.high < control->other.low);
    aleat_document_say(doc,
                       "Strength %.4g, %.20s, %s moves of the same sizes in random directions "
                       "(by their intervals).",
                       row->at, row->order, sides[1 + side]);
}

void aleat_tell_guidance(const aleat_document *doc, const aleat_findings *f)
{
    static const char *const kinds[] = {"helps", "shows no effect", "harms"};
    counts c = {0};
    for (int64_t i = 0; i < f->n; i++) {
        const aleat_finding *row = &f->rows[i];
        if (!isfinite(row->at))
            continue;
        if (!is_control(row))
            count(&c, &row->other);
        aleat_document_say(doc,
                           "Strength %.4g, %s: distance %.5g, %s to "
                           "plain sampling: it **%s**.",
                           row->at,
                           is_control(row)      ? "moves of the same sizes in random directions"
                           : *row->order == '+' ? "up the gradient (+, the paper's direction)"
                                                : "down the gradient (-)",
                           row->main.value, number(&row->other).text,
                           kinds[1 + aleat_measure_side(&row->other, 0)]);
    }
    for (int64_t i = 0; i < f->n; i++)
        if (isfinite(f->rows[i].at))
            tell_against_control(doc, f, &f->rows[i]);
    aleat_document_say(doc,
                       "Of %" PRId64 " strengths and signs tried, %" PRId64 " help, %" PRId64
                       " harm and %" PRId64 " show no effect; at %g %% chance alone excludes 0 in "
                       "%.2g of them.",
                       c.all, c.below, c.above, c.around, 100 * f->confidence,
                       (1 - f->confidence) * (double)c.all);
}

/* ---- precision and recall -------------------------------------------------------------------- */

static const aleat_measure *quality(const aleat_finding *f, bool recall)
{
    return recall ? &f->other : &f->main;
}

// The random subsets that a row compares with: those of its estimator.
static const aleat_finding *random_of(const aleat_findings *f, const aleat_finding *row)
{
    for (int64_t i = 0; i < f->n; i++)
        if (!f->rows[i].remark && aleat_finding_is_ordered(&f->rows[i], "random") &&
            strcmp(f->rows[i].estimator, row->estimator) == 0)
            return &f->rows[i];
    return NULL;
}

// -1, 0, 1: below, in or above the range of random subsets.
static int side_of_random(const aleat_findings *f, const aleat_finding *row, bool recall)
{
    const aleat_finding *random = random_of(f, row);
    if (!random)
        return 0;
    const double value = quality(row, recall)->value;
    return value < quality(random, recall)->low ? -1 : value > quality(random, recall)->high;
}

void aleat_tell_precision(const aleat_document *doc, const aleat_findings *f)
{
    static const char *const places[] = {"below", "within", "above"};
    for (int recall = 0; recall < 2; recall++) {
        const aleat_finding *best = NULL;
        counts c = {0};
        for (int64_t i = 0; i < f->n; i++) {
            const aleat_finding *row = &f->rows[i];
            const double value = row->remark ? NAN : quality(row, recall)->value;
            if (!aleat_finding_is_set(row) || !isfinite(value))
                continue;
            const int side = side_of_random(f, row, recall);
            c.all++;
            c.below += side < 0;
            c.above += side > 0;
            if (!best || value > quality(best, recall)->value)
                best = row;
        }
        if (!best)
            continue;
        aleat_document_say(
            doc,
            "%s: of %" PRId64 " sets %" PRId64 " lie above and %" PRId64 " below the "
            "range of random subsets. The highest is that of %s: %s, %s that range.",
            recall ? "Recall" : "Precision", c.all, c.above, c.below, name_of(best).text,
            number(quality(best, recall)).text, places[1 + side_of_random(f, best, recall)]);
    }
    for (int o = 0; o < 2; o++) {
        const aleat_finding *row = aleat_findings_of(f, PAPERS, o ? "lowest" : "highest", false);
        if (row)
            aleat_document_say(doc,
                               "Keeping the %s `%s` (the paper's %s): precision %s the range of "
                               "random subsets, recall %s it.",
                               o ? "lowest" : "highest", PAPERS, o ? "program" : "text",
                               places[1 + side_of_random(f, row, false)],
                               places[1 + side_of_random(f, row, true)]);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

void aleat_tell_times(const aleat_document *doc, const aleat_findings *f)
{
    for (int64_t i = 0; i < f->n; i++) {
        const aleat_finding *row = &f->rows[i];
        const json_t *ratio = json_object_get(row->row, "evaluation_ratio");
        if (!row->remark && isfinite(row->other.value))
            aleat_document_say(doc,
                               "Scores of M = %.0f take %.4g times the time of plain sampling "
                               "(pairs from %.4g to %.4g) and %.4g times its evaluations.",
                               row->at, row->other.value, row->other.low, row->other.high,
                               json_is_number(ratio) ? json_number_value(ratio) : NAN);
    }
}

/* ---- damage ---------------------------------------------------------------------------------- */

void aleat_tell_damage(const aleat_document *doc, const aleat_findings *f)
{
    const aleat_finding *best = NULL;
    counts c = {0};
    for (int64_t i = 0; i < f->n; i++) {
        const aleat_finding *row = &f->rows[i];
        if (row->remark || strcmp(row->group, "all") != 0 || !isfinite(row->main.value))
            continue;
        if (!best || row->main.value > best->main.value)
            best = row;
        if (!aleat_finding_is_ordered(row, "higher")) // both orders are one number
            continue;
        const int side = aleat_measure_side(&row->main, 0.5);
        c.all++;
        c.below += side < 0;
        c.above += side > 0;
        aleat_document_say(doc, "`%.60s` (%.30s) on all damage: AUROC %s: %s.", row->name,
                           row->estimator, number(&row->main).text,
                           side > 0   ? "damaged images score higher"
                           : side < 0 ? "damaged images score lower"
                                      : "no effect");
    }
    if (!best) {
        aleat_document_say(doc, "No row tells of all damage together.");
        return;
    }
    aleat_document_say(doc,
                       "**Best at telling damaged from whole images: `%.60s` (%.30s), damaged ones "
                       "being %.20s**: AUROC %s. Of %" PRId64 " scores %" PRId64
                       " are higher and %" PRId64 " lower on damaged images; of %" PRId64
                       " the interval holds 0.5.",
                       best->name, best->estimator, best->order, number(&best->main).text, c.all,
                       c.above, c.below, c.all - c.above - c.below);
}
