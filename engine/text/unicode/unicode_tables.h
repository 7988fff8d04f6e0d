/* unicode_tables: the generated tables behind unicode.h and how they are
 * packed. Runs are ascending and reach to the next run.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_UNICODE_TABLES_H
#define SEQD_UNICODE_TABLES_H

#include <stdint.h>

/* Pages of UNI_PAGE code points, equal ones once: cp / UNI_PAGE says which, and
 * the runs of page i are those from starts[i] to starts[i + 1]: first in the
 * page << 5 | enum uni_cat; the code UNI_ALTERNATING: Lu, Ll in turn. */
#define UNI_PAGE 0x800
#define UNI_ALTERNATING 31
extern const uint8_t uni_class_pages[];
extern const uint16_t uni_class_starts[];
extern const uint16_t uni_class_runs[];

struct uni_case_run {
    uint32_t first, span; /* last - first */
    int32_t stride, delta;
};
extern const struct uni_case_run uni_lower_runs[];
extern const int n_uni_lower_runs;

/* Code points that PCRE2's oldest tables (Unicode 14) class otherwise, and how
 * far from the first of a run is one of the same class and length in UTF-8
 * that they know, the nearest of those in the same ranges of the published
 * expressions: it stands for the whole run. */
struct uni_stand_run {
    uint32_t first, span;
    int32_t delta;
};
extern const struct uni_stand_run uni_stand_runs[];
extern const int n_uni_stand_runs;

/* Code points that decompose, as runs: first << 12 | its place in uni_decomp,
 * both ascending. */
extern const uint32_t uni_decomp_runs[];
extern const int n_uni_decomp_runs;
/* first part << 7 | place of the second part in uni_seconds. */
extern const uint32_t uni_decomp[];
extern const int n_uni_decomp;
/* All second parts, ascending; the first is 0: none. */
extern const uint32_t uni_seconds[];
extern const int n_uni_seconds;
/* Places in uni_decomp of the pairs that compose, by (first, second). */
extern const uint16_t uni_comp[];
extern const int n_uni_comp;
/* Code points, ascending, whose NFKD is not their NFD: uni_compat_parts from
 * uni_compat_at[i] to uni_compat_at[i + 1]. */
extern const uint32_t uni_compat[];
extern const int n_uni_compat;
extern const uint16_t uni_compat_at[];
extern const uint32_t uni_compat_parts[];
/* first << 8 | canonical combining class; before the first run: 0. */
extern const uint32_t uni_ccc_runs[];
extern const int n_uni_ccc_runs;

#endif
