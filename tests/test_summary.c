/* The summary of tables and figures: what it says follows from the numbers, whatever the files. */
#include "case.h"
#include "near.h"

#include <jansson.h>
#include <math.h>

#include "aleat/paper.h"
#include "base/alloc.h"
#include "io/json.h"
#include "metrics/student.h"
#include "paper/subsets.h"
#include "paper/summary.h"

static const aleat_column columns[] = {
    {.key = "estimator"}, {.key = "score"}, {.key = "order"}, ALEAT_VERDICT_COLUMNS, {0}};

static const char *own(const char *folder, const char *name)
{
    static char paths[8][512];
    static int next;
    char *text = paths[next++ % 8];
    (void)snprintf(text, sizeof paths[0], "%s/%s/%s", fixture_folder, folder, name);
    return text;
}

static json_t *settings(void)
{
    return json_pack("{sssssisIsfsI}", "family", "unet2d", "sampler", "ddim", "steps", 50, "images",
                     (json_int_t)60000, "confidence", 0.95, "subsets", (json_int_t)20);
}

static void add_set(aleat_result *r, const char *score, const char *order, double difference,
                    double half_width)
{
    json_t *row = aleat_result_row(r);
    const aleat_verdict v = {.value = 10 + difference,
                             .low = 9 + difference,
                             .high = 11 + difference,
                             .difference = difference,
                             .difference_low = difference - half_width,
                             .difference_high = difference + half_width,
                             .z = 10 * difference,
                             .p = 1 / 21.0};
    aleat_row_text(r, row, "estimator", "copies");
    aleat_row_text(r, row, "score", score);
    aleat_row_text(r, row, "order", order);
    aleat_row_count(r, row, "evaluations", 20);
    aleat_row_verdict(r, row, &v);
}

// A folder with a table1 whose highest eps-var differs from random subsets by that much.
static const char *make_folder(const char *name, double highest, double half_width, bool within)
{
    aleat_error err = {0};
    aleat_result r = {.columns = columns, .settings = settings()};
    const char *folder = scratch(name);
    assert_ok(aleat_make_dirs(folder, &err), &err);
    assert_ok(aleat_write_file(own(name, "paper.json"), "{}\n", 3, &err), &err);
    json_t *row = aleat_result_row(&r);
    aleat_row_text(&r, row, "estimator", "copies");
    aleat_row_text(&r, row, "score", "random");
    aleat_row_text(&r, row, "order", "random");
    aleat_row_interval(&r, row, "fid", 10, 9.9, 10.1);
    add_set(&r, "eps-var", "lowest", -highest, half_width);
    add_set(&r, "eps-var", "highest", highest, half_width);
    add_set(&r, "x0-var", "lowest", 0.01, half_width);
    if (within)
        add_set(&r, "x0-var", "lowest within classes", -3, half_width);
    row = aleat_result_row(&r);
    aleat_row_text(&r, row, "estimator", "mc-dropout");
    aleat_row_text(&r, row, "remark", "the network has no dropout");
    aleat_result_note(&r, "A note.");
    aleat_result_warn(&r, "few images");
    assert_ok(aleat_result_write(&r, folder, "table1", "Table 1: kept", "aleat paper table1", &err),
              &err);
    aleat_result_clear(&r);
    return folder;
}

// The document of a folder, in one line; freed by the caller.
static char *summary_of(const char *folder)
{
    aleat_error err = {0};
    aleat_mapping file = {0};
    const char *const folders[] = {folder};
    const char *path = scratch("summary.md");
    assert_ok(aleat_paper_summary(folders, 1, path, &err), &err);
    assert_ok(aleat_mapping_open(&file, path, &err), &err);
    char *text = malloc(file.len + 1), *to = text;
    assert_non_null(text);
    for (size_t i = 0; i < file.len; i++)
        if (file.data[i] != '\n')
            *to++ = (char)file.data[i];
        else if (to > text && to[-1] != ' ') // wrapped text becomes what it was
            *to++ = ' ';
        else if (i + 2 < file.len && file.data[i + 1] == ' ')
            i++;
    *to = '\0';
    for (char *at = text; (at = strstr(at, "   "));)
        memmove(at + 1, at + 3, strlen(at + 3) + 1);
    aleat_mapping_close(&file);
    return text;
}

static void assert_says(const char *text, const char *what)
{
    if (!strstr(text, what))
        fail_msg("'%s' is not in:\n%s", what, text);
}

static void the_sign_and_the_best_follow_from_intervals(void **state)
{
    (void)state;
    char *text = summary_of(make_folder("holds", -1, 0.5, true));
    assert_says(text, "its text keeps the highest `eps-var`, which **holds** (-1 [-1.5, -0.5]");
    assert_says(text, "its program keeps the lowest, which **fails** (1 [0.5, 1.5])");
    assert_says(text, "**Of all images, `eps-var`, highest (copies) filters best**: Fréchet "
                      "distance 9, to random subsets -1 [-1.5, -0.5]");
    assert_says(text, "Of all images, 3 sets (scores in both orders) stand against random subsets "
                      "of as many: 1 are nearer to the real images, 1 farther; of 1 the 95 %");
    assert_says(text, "**Within classes, `x0-var`, lowest within classes (copies) filters best**");
    assert_says(text, "Within classes, the paper's sign is missing");
    assert_says(text, "4 sets were tried. The share of random subsets that are as near is 1/21 at "
                      "least, after Bonferroni 0.19, which cannot fall below 0.05.");
    // z = -10, -30 and 10 of 4 stay by Holm at 0.05, z = 0.1 does not
    assert_says(text, "by Holm's method 2 sets are nearer than random ones at 0.05, and 1 farther");
    assert_says(text, "Missing, mc-dropout: the network has no dropout.");
    assert_says(text, "Missing items: fig3, fig11, fig10, table2, corruptions, table3, table4, "
                      "table5.");
    assert_says(text, "Warning: few images.");
    assert_says(text, "A note.");
    free(text);
    text = summary_of(make_folder("fails", 1, 0.5, false));
    assert_says(text, "its text keeps the highest `eps-var`, which **fails**");
    assert_says(text, "its program keeps the lowest, which **holds**");
    assert_says(text, "Rows within classes are missing");
    free(text);
    text = summary_of(make_folder("nothing", -0.25, 0.25, false)); // the ends touch 0
    assert_says(text, "its text keeps the highest `eps-var`, which **shows no effect**");
    assert_says(text, "its program keeps the lowest, which **shows no effect**");
    assert_says(text, "**Of all images, no score in either order filters better than chance**: the "
                      "best, `eps-var`, highest (copies), differs from random subsets by -0.25 "
                      "[-0.5, 0]");
    free(text);
}

static void figures_are_found_from_where_the_document_is(void **state)
{
    (void)state;
    aleat_error err = {0};
    const char *const folders[] = {make_folder("figures", -1, 0.5, false),
                                   make_folder("other", 1, 0.5, true)};
    char text[16384];
    assert_ok(aleat_write_file(own("figures", "table1.png"), "x", 1, &err), &err);
    assert_ok(aleat_make_dirs(own("docs", "deep"), &err), &err);
    static const struct {
        const char *folder, *name, *link;
    } places[] = {{"docs", "deep/r.md", "(../../figures/table1.png)"},
                  {"figures", "r.md", "(table1.png)"},
                  {"other", "r.md", "(../figures/table1.png)"}};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        const char *path = own(places[i].folder, places[i].name);
        assert_ok(aleat_paper_summary(folders, 2, path, &err), &err);
        FILE *file = fopen(path, "r");
        assert_non_null(file);
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        (void)fclose(file);
        assert_says(text, places[i].link);
        assert_says(text, "## Filtering, all folders");
        for (const char *line = text; line; line = strchr(line + 1, '\n'))
            if (line[1] != '|' && line[1] != '#' && line[1] != '!')
                assert_in_range(strcspn(line + 1, "\n"), 0, 120);
    }
}

static void add_guided(json_t *rows, const char *sign, double difference, const char *direction)
{
    json_t *row = json_pack("{sssfsfsfsfsfsf}", "sign", sign, "strength", 1.0, "evaluations", 16.0,
                            "fid", 4 + difference, "difference", difference, "difference_low",
                            difference - 0.25, "difference_high", difference + 0.25);
    json_t *interval = direction ? json_loads(direction, 0, NULL) : json_object();
    assert_int_equal(json_object_update(row, interval), 0);
    json_decref(interval);
    assert_int_equal(json_array_append_new(rows, row), 0);
}

// Neither "helps" nor "harms" by itself says that it is the direction that does.
static void a_direction_is_judged_by_its_control(void **state)
{
    (void)state;
    aleat_error err = {0};
    const char *folder = make_folder("guided", -1, 0.5, false);
    for (int paired = 1; paired >= 0; paired--) {
        json_t *rows = json_array();
        add_guided(rows, "+", -0.75,
                   paired ? "{\"direction\": 0.25, \"direction_low\": 0.125, "
                            "\"direction_high\": 0.375}"
                          : NULL);
        add_guided(rows, "-", -1.25,
                   paired ? "{\"direction\": -0.25, \"direction_low\": -0.5, "
                            "\"direction_high\": 0.125}"
                          : NULL);
        add_guided(rows, "random", -1, NULL);
        json_t *o = json_pack("{sssssoso}", "item", "table3", "title", "T", "settings", settings(),
                              "rows", rows);
        assert_ok(aleat_json_write(own("guided", "table3.json"), o, &err), &err);
        json_decref(o);
        char *text = summary_of(folder);
        assert_says(text, "Strength 1, up the gradient (+, the paper's direction): distance 3.25, "
                          "-0.75 [-1, -0.5] to plain sampling: it **helps**.");
        if (paired) {
            assert_says(text, "Strength 1, +, against moves of the same sizes in random "
                              "directions: 0.25 [0.125, 0.375]. The direction **harms**.");
            assert_says(text, "Strength 1, -, against moves of the same sizes in random "
                              "directions: -0.25 [-0.5, 0.125]. The direction **shows no merit**.");
        } else {
            assert_says(text, "Strength 1, +, does not differ from moves of the same sizes in "
                              "random directions (by their intervals).");
        }
        free(text);
    }
}

// Every item has a section, and its keys are needed.
static void each_item_is_read_and_checked(void **state)
{
    (void)state;
    aleat_error err = {0};
    const char *item;
    const aleat_section *section;
    int items = 0, sections = 0;
    while ((section = aleat_summary_section(sections)))
        sections++;
    for (; (item = aleat_paper_item_name(items, NULL)); items++) {
        for (int i = 0; i < sections; i++)
            if (strcmp(aleat_summary_section(i)->keys.item, item) == 0)
                section = aleat_summary_section(i);
        assert_non_null(section);
        const aleat_finding_keys *k = &section->keys;
        const char *const folders[] = {make_folder(item, -1, 0.5, true)};
        char name[64];
        (void)snprintf(name, sizeof name, "%s.json", item);
        const char *const needed[] = {k->main, k->order, k->name};
        for (int without = -1; without < 3; without++) {
            if (without >= 0 && !needed[without])
                continue;
            json_t *row = json_pack("{sssf}", "estimator", "copies", "evaluations", 6.0);
            for (int i = 0; i < 3; i++)
                if (i != without && needed[i])
                    (void)json_object_set_new(row, needed[i],
                                              i ? json_string("highest") : json_real(0.25));
            json_t *o = json_pack("{sssssos[o]}", "item", item, "title", "T", "settings",
                                  settings(), "rows", row);
            assert_ok(aleat_json_write(own(item, name), o, &err), &err);
            json_decref(o);
            const aleat_status st = aleat_paper_summary(folders, 1, own(item, "r.md"), &err);
            if (without < 0)
                assert_ok(st, &err);
            else
                assert_failed(st, ALEAT_ERR_FORMAT, &err, needed[without]);
        }
        section = NULL;
    }
    assert_int_equal(items, sections);
}

static void hostile_files_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *path, *value, *says; // path: a key, or a key of row 2
    } cases[] = {{"rows", "7", "'rows' is no array"},
                 {"rows", "[7]", "row 1 is no object"},
                 {"rows", "[{}]", "row 1"},
                 {"row.fid", "\"near\"", "row 2: 'fid' is a string"},
                 {"row.fid_low", "[]", "'fid_low'"},
                 {"row.fid_low", "1e300", "'fid_low' is above 'fid_high'"},
                 {"row.score", "5", "'score'"},
                 {"row.score", "null", "'score'"},
                 {"row.score", "\"a\\nb\"", "'score' is no line"},
                 {"row.order", "{}", "'order'"},
                 {"row.z", "true", "'z'"},
                 {"row.evaluations", "\"6\"", "'evaluations'"},
                 {"row.estimator", "1", "'estimator'"},
                 {"row.remark", "1", "'remark'"},
                 {"item", "\"table2\"", "tells 'table2'"},
                 {"item", "null", "'item'"},
                 {"title", "3", "'title'"},
                 {"title", "\"# a\\n# b\"", "'title' is no line"},
                 {"command", "[]", "'command'"},
                 {"settings", "[]", "'settings'"},
                 {"settings", "{}", "'confidence'"},
                 {"settings", "{\"confidence\": 2, \"subsets\": 20}", "a confidence of 2"},
                 {"settings", "{\"confidence\": 0.9, \"subsets\": 1}", "1 random subsets"},
                 {"settings", "{\"confidence\": 0.9, \"subsets\": \"x\"}", "'subsets'"},
                 {"notes", "[1]", "'notes' is no array of strings"},
                 {"warnings", "\"w\"", "'warnings'"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        aleat_error err = {0};
        const char *const folders[] = {make_folder("hostile", -1, 0.5, true)};
        const char *path = cases[i].path;
        json_t *o = json_load_file(own("hostile", "table1.json"), 0, NULL);
        json_t *in = strncmp(path, "row.", 4) ? o : json_array_get(json_object_get(o, "rows"), 1);
        assert_int_equal(json_object_set_new(in, in == o ? path : path + 4,
                                             json_loads(cases[i].value, JSON_DECODE_ANY, NULL)),
                         0);
        assert_ok(aleat_json_write(own("hostile", "table1.json"), o, &err), &err);
        json_decref(o);
        assert_failed(aleat_paper_summary(folders, 1, own("hostile", "r.md"), &err),
                      ALEAT_ERR_FORMAT, &err, cases[i].says);
        assert_says(err.message, "hostile: table1.json");
        assert_false(aleat_is_file(own("hostile", "r.md")));
    }
    aleat_error err = {0};
    const char *const folders[] = {scratch("hostile")}, *const none[] = {scratch("none")};
    assert_ok(aleat_write_file(own("hostile", "table1.json"), "{\"item\"", 7, &err), &err);
    assert_failed(aleat_paper_summary(folders, 1, own("hostile", "r.md"), &err), ALEAT_ERR_FORMAT,
                  &err, "table1.json:1:");
    assert_failed(aleat_paper_summary(none, 1, own("hostile", "r.md"), &err), ALEAT_ERR_ARGUMENT,
                  &err, "holds no tables");
    assert_failed(aleat_paper_summary(none, 0, own("hostile", "r.md"), &err), ALEAT_ERR_ARGUMENT,
                  &err, "no folder");
}

static void lack_of_memory_leaves_no_document(void **state)
{
    (void)state;
    const char *const folders[] = {make_folder("memory", -1, 0.5, true)};
    const char *path = own("memory", "r.md");
    uint64_t n = 1;
    for (; n < 500; n++) {
        aleat_error err = {0};
        aleat_alloc_fail_at(n);
        const aleat_status st = aleat_paper_summary(folders, 1, path, &err);
        aleat_alloc_fail_at(0);
        if (!st)
            break;
        assert_int_equal(st, ALEAT_ERR_MEMORY);
        assert_false(aleat_is_file(path));
    }
    assert_in_range(n, 10, 499);
}

static void tails_of_student_are_the_closed_forms(void **state)
{
    (void)state;
    for (double t = -3; t < 40; t += 0.7) {
        const double inside = fabs(t) / sqrt(2 + t * t);
        assert_near(aleat_student_two_sided(t, 1), 1 - 2 / acos(-1) * atan(fabs(t)), 1e-14,
                    "aleat_student_two_sided(t, 1)");
        assert_near(aleat_student_two_sided(t, 2), 1 - inside, 1e-14,
                    "aleat_student_two_sided(t, 2)");
    }
    // tables of the 97.5 % quantile, to their digits
    assert_near(aleat_student_two_sided(3.182446, 3), 0.05, 1e-7,
                "aleat_student_two_sided(3.182446, 3)");
    assert_near(aleat_student_two_sided(2.093024, 19), 0.05, 1e-7,
                "aleat_student_two_sided(2.093024, 19)");
    assert_near(aleat_student_two_sided(1.984217, 99), 0.05, 1e-6,
                "aleat_student_two_sided(1.984217, 99)");
    assert_true(isnan(aleat_student_two_sided(NAN, 5)));
    // far tails keep their digits, where 1 less the middle has none: the closed form of 2 degrees
    // of freedom is 1 / t^2 (1 + O(t^-2)); the others by mpmath
    assert_true(fabs(aleat_student_two_sided(1e8, 2) * 1e16 - 1) < 1e-12);
    assert_true(fabs(aleat_student_two_sided(25, 19) / 5.326859187347013e-16 - 1) < 1e-12);
    assert_true(fabs(aleat_student_two_sided(60, 19) / 3.9760616847072806e-23 - 1) < 1e-12);
    assert_true(fabs(aleat_student_two_sided(60, 99) / 1.181860607222029e-79 - 1) < 1e-12);
    assert_true(aleat_student_two_sided(1e300, 19) >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sign_and_the_best_follow_from_intervals),
        cmocka_unit_test(figures_are_found_from_where_the_document_is),
        cmocka_unit_test(a_direction_is_judged_by_its_control),
        cmocka_unit_test(each_item_is_read_and_checked),
        cmocka_unit_test(hostile_files_are_refused_by_name),
        cmocka_unit_test(lack_of_memory_leaves_no_document),
        cmocka_unit_test(tails_of_student_are_the_closed_forms),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
