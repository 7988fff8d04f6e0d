/* unicode_tables: the generated tables behind unicode.h and how they are
 * packed. Runs are ascending and reach to the next run.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_UNICODE_TABLES_H
#define SEQD_UNICODE_TABLES_H

#include <stdint.h>

/* first << 8 | enum uni_cat; the code UNI_ALTERNATING: Lu, Ll in turn. */
#define UNI_ALTERNATING 31
extern const uint32_t uni_class_runs[];
extern const int n_uni_class_runs;

struct uni_case_run {
    uint32_t first, last;
    int32_t stride, delta;
};
extern const struct uni_case_run uni_lower_runs[];
extern const int n_uni_lower_runs;

/* Code points that PCRE2's oldest tables (Unicode 14) class otherwise, and one
 * of the same class and length in UTF-8 that they know, the nearest of those in
 * the same ranges of the published expressions. */
struct uni_stand_run {
    uint32_t first, last, as;
};
extern const struct uni_stand_run uni_stand_runs[];
extern const int n_uni_stand_runs;

/* code point << 42 | first part << 21 | second part or 0, ascending. */
extern const uint64_t uni_decomp[];
extern const int n_uni_decomp;
/* Indices into uni_decomp of the pairs that compose, by (first, second). */
extern const uint16_t uni_comp[];
extern const int n_uni_comp;
/* first << 8 | canonical combining class; before the first run: 0. */
extern const uint32_t uni_ccc_runs[];
extern const int n_uni_ccc_runs;

#endif
