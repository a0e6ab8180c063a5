/* What a training writes down while it runs: tables that grow by a line, and their plot. */
#ifndef ALEAT_TRAIN_RECORD_H
#define ALEAT_TRAIN_RECORD_H

#include <stdint.h>
#include <stdio.h>

#include "aleat/status.h"

/**
 * Opens a CSV file for appending, after writing `header` ("step,loss") to it. Lines that are there
 * already stay if they begin with a number of at most `last`: later steps will be done again.
 */
ALEAT_MUST_USE aleat_status aleat_record_open(FILE **out, const char *path, const char *header,
                                              int64_t last, aleat_error *err);

/** Draws the loss over the steps from loss.csv and, if it is there, validation.csv. Does nothing if
 * no step has been done. */
ALEAT_MUST_USE aleat_status aleat_record_plot(const char *loss_csv, const char *validation_csv,
                                              const char *picture, aleat_error *err);

#endif
