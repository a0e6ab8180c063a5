/* The table of sections: what the summary takes of each item. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "paper/paper.h"
#include "paper/summary.h"

/* ---- rows ------------------------------------------------------------------------------------ */

// Of each score the better order, and all that are no sets.
static bool shows_better_order(const aleat_findings *f, int64_t i)
{
    const aleat_finding *row = &f->rows[i];
    return !aleat_finding_is_set(row) ||
           row == aleat_findings_best(f, aleat_finding_is_within(row), row, true);
}

// At each place the best set.
static bool shows_best(const aleat_findings *f, int64_t i)
{
    const aleat_finding *row = &f->rows[i];
    return row == aleat_findings_best(f, aleat_finding_is_within(row), row, false);
}

// A line for each score, a column for each kind of damage.
enum { KINDS = 16 };
typedef struct damage_table {
    aleat_column columns[2 + KINDS + 1];
    char key[KINDS][16], heading[KINDS][96];
    int n;
} damage_table;

static int column_of(damage_table *d, const aleat_finding *f)
{
    char heading[96];
    (void)snprintf(heading, sizeof heading, isfinite(f->at) ? "%.60s %.4g" : "%.60s", f->group,
                   f->at);
    for (int k = 0; k < d->n; k++)
        if (strcmp(d->heading[k], heading) == 0)
            return k;
    if (d->n == KINDS)
        return -1;
    memcpy(d->heading[d->n], heading, sizeof heading);
    (void)snprintf(d->key[d->n], sizeof d->key[0], "auroc-%d", d->n);
    d->columns[2 + d->n] = (aleat_column){
        .key = d->key[d->n], .heading = d->heading[d->n], .digits = 3, .interval = true};
    return d->n++;
}

static json_t *line_of(aleat_result *table, const aleat_finding *f)
{
    for (size_t i = 0; i < json_array_size(table->rows); i++) {
        json_t *line = json_array_get(table->rows, i);
        const char *score = json_string_value(json_object_get(line, "score"));
        const char *estimator = json_string_value(json_object_get(line, "estimator"));
        if (score && estimator && !strcmp(score, f->name) && !strcmp(estimator, f->estimator))
            return line;
    }
    json_t *line = aleat_result_row(table);
    aleat_row_text(table, line, "estimator", f->estimator);
    aleat_row_text(table, line, "score", f->name);
    return line;
}

static aleat_status put_damage(const aleat_document *doc, const aleat_findings *f, aleat_error *err)
{
    aleat_result table = {0};
    damage_table d = {.columns = {{.key = "estimator", .heading = "estimator"},
                                  {.key = "score", .heading = "AUROC of"}}};
    for (int64_t i = 0; i < f->n; i++) {
        const aleat_finding *row = &f->rows[i];
        if (row->remark || strcmp(row->order, "higher") != 0)
            continue;
        const int k = column_of(&d, row);
        if (k >= 0)
            aleat_row_interval(&table, line_of(&table, row), d.key[k], row->main.value,
                               row->main.low, row->main.high);
    }
    table.columns = d.columns;
    const aleat_status st = aleat_result_print(&doc->file, &table, err);
    aleat_result_clear(&table);
    return st;
}

/* ---- sections -------------------------------------------------------------------------------- */

static const aleat_section sections[] = {
    {.keys = {.item = "table1",
              .name = "score",
              .order = "order",
              .main = "fid",
              .other = "difference"},
     .columns = aleat_paper_table1_columns,
     .shows = shows_better_order,
     .tell = aleat_tell_table1},
    {.keys = {.item = "fig3",
              .name = "score",
              .order = "order",
              .at = "share",
              .main = "fid",
              .other = "difference"},
     .columns = aleat_paper_fig3_columns,
     .shows = shows_best,
     .sorted = true,
     .tell = aleat_tell_shares},
    {.keys = {.item = "fig11",
              .name = "score",
              .order = "order",
              .group = "steps",
              .at = "copies",
              .main = "fid",
              .other = "difference"},
     .columns = aleat_paper_fig11_columns,
     .shows = shows_best,
     .tell = aleat_tell_steps},
    {.keys = {.item = "fig10",
              .name = "score",
              .order = "order",
              .group = "file",
              .at = "rank",
              .main = "value"}},
    {.keys = {.item = "table2", .name = "map", .order = "unsure", .main = "aurg", .other = "ause"},
     .columns = aleat_paper_table2_columns,
     .tell = aleat_tell_maps},
    {.keys = {.item = "corruptions",
              .name = "score",
              .order = "order",
              .group = "damage",
              .at = "strength",
              .main = "auroc"},
     .put = put_damage,
     .tell = aleat_tell_damage},
    {.keys = {.item = "table3",
              .order = "sign",
              .at = "strength",
              .main = "fid",
              .other = "difference",
              .third = "direction"},
     .columns = aleat_paper_table3_columns,
     .tell = aleat_tell_guidance},
    {.keys = {.item = "table4",
              .name = "score",
              .order = "order",
              .main = "precision",
              .other = "recall"},
     .columns = aleat_paper_table4_columns,
     .tell = aleat_tell_precision},
    {.keys = {.item = "table5", .at = "copies", .main = "seconds", .other = "ratio"},
     .columns = aleat_paper_table5_columns,
     .tell = aleat_tell_times},
};

const aleat_section *aleat_summary_section(int i)
{
    return i >= 0 && i < (int)(sizeof sections / sizeof *sections) ? &sections[i] : NULL;
}
