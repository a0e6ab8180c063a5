/*
 * A graph's values in double, one operation after the other as graph.h defines them: what plans are
 * compared with. Knows nothing of fusion, views, packing or memory.
 */
#ifndef ALEAT_TESTS_INTERPRETER_H
#define ALEAT_TESTS_INTERPRETER_H

#include "graph/graph.h"

typedef struct interpreter interpreter;

interpreter *interpreter_new(const aleat_graph *graph, int64_t images);
void interpreter_free(interpreter *in);
/* The value [images, h, w, c]: to be filled for inputs before interpreter_run(). */
double *interpreter_value(interpreter *in, aleat_value v);
void interpreter_run(interpreter *in);

#endif
