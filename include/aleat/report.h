/*
 * A page to look at a run: one HTML file that needs neither network nor server.
 */
#ifndef ALEAT_REPORT_H
#define ALEAT_REPORT_H

#include <stdint.h>

#include "aleat/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Zero-initialise: defaults. Strings are borrowed. */
typedef struct aleat_report_options {
    const char *compare; /**< folder of a run of the same seeds to lay beside each image, or NULL */
    int64_t max_bytes;   /**< of the page, at least 200,000; 0: 20,000,000 */
    uint64_t seed;       /**< of the sample that a page of more images than fit is made of */
} aleat_report_options;

/** What went into the page. */
typedef struct aleat_report_result {
    int64_t images;   /**< of the run */
    int64_t rows;     /**< whose scores are in the page */
    int64_t pictures; /**< that are shown in the gallery, with the shown map in 8 bits */
    int64_t details;  /**< with maps as float32: what the pointer shows is what the .npy holds */
    int64_t bytes;    /**< of the page */
} aleat_report_result;

/**
 * Writes the page of a finished run (docs/formats.md). Scores come whole unless there are hundreds
 * of thousands of images; of the pictures and the maps as many as max_bytes allows, the lowest and
 * the highest by every score first, then a seeded random sample. The page says how many.
 *
 * @param run     a run folder; read row by row, so that its size is no matter
 * @param path    the .html to write, atomically; NULL: report.html in the run folder
 * @param result  filled on success; may be NULL
 * @return ALEAT_ERR_IO, ALEAT_ERR_FORMAT: the folder holds no finished run, or a damaged one;
 *         ALEAT_ERR_ARGUMENT: the run to compare with has other images, sizes, labels or seeds;
 *         ALEAT_ERR_UNSUPPORTED: one image does not fit max_bytes
 * @note   cost: one pass over each map, and compression of max_bytes
 */
ALEAT_API ALEAT_MUST_USE aleat_status aleat_report_write(const char *run, const char *path,
                                                         const aleat_report_options *options,
                                                         aleat_report_result *result,
                                                         aleat_error *err);

#ifdef __cplusplus
}
#endif
#endif
