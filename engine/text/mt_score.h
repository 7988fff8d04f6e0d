/* mt_score: how near translations are to references, as sacreBLEU's corpus
 * scores are (Post 2018), with one reference for each or several:
 *
 *   BLEU   Papineni et al. 2002, of 1 to 4 tokens of tok_13a.h; the first order
 *          without a match counts half a one, the next a quarter ("exp"). Of
 *          several references an n-gram counts as often as in that which has it
 *          most often, and the length is that of the nearest, or shorter one
 *   chrF2  Popović 2015, of 1 to 6 characters without white space, beta 2. Of
 *          several references that with the best score is taken
 *
 * Counts of sentences are added up and make a score once, at the end.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MT_SCORE_H
#define SEQD_MT_SCORE_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define BLEU_ORDERS 4
#define CHRF_ORDERS 6
/* Behind the number of references. */
#define BLEU_SIGNATURE "case:mixed|eff:no|tok:13a|smooth:exp"
#define CHRF_SIGNATURE "case:mixed|eff:yes|nc:6|nw:0|space:no"

struct mt_score {
    int64_t n;                 /* sentences */
    int least_refs, most_refs; /* of a sentence */
    /* [order - 1]; tokens of hypotheses and references */
    int64_t match[BLEU_ORDERS], total[BLEU_ORDERS], hyp_len, ref_len;
    int64_t chars_match[CHRF_ORDERS], chars_hyp[CHRF_ORDERS];
    int64_t chars_ref[CHRF_ORDERS];
};

struct mt_text {
    const char *p;
    size_t n;
};
/* mt_score_add: one sentence and its references [n_ref], one or more, valid
 * UTF-8. ERR_NOMEM, and ERR_TOO_LARGE for over 2^28 bytes; s is as before then.
 */
int mt_score_add(struct mt_score *s, struct mt_text hyp,
                 const struct mt_text *ref, int n_ref, struct err *e);
/* mt_score_sum: those of b, too. */
void mt_score_sum(struct mt_score *a, const struct mt_score *b);

/* Of 100; precisions in percent, brevity penalty 0 to 1. */
struct bleu {
    double score, precision[BLEU_ORDERS], penalty;
};
struct bleu mt_score_bleu(const struct mt_score *s);
double mt_score_chrf(const struct mt_score *s);
/* mt_score_signatures: members of JSON: "signature" of BLEU, "chrf2",
 * "chrf_signature". They begin with the number of references, "nrefs:var" where
 * sentences have different ones. */
void mt_score_signatures(const struct mt_score *s, struct buf *out);

/* A corpus, and its sentences by the length of their source in words between
 * white space: 1-5, 6-10, 11-15, 16-20, over 20. An empty source is in none. */
#define MT_LENGTHS 5
struct mt_report {
    struct mt_score all, by_length[MT_LENGTHS];
    int has_source;
};
/* mt_report_length: which of them, or -1. mt_report_words: "1-5" ... "21+". */
extern const char *const mt_report_words[MT_LENGTHS];
int mt_report_length(struct mt_text source);
/* mt_report_add: source NULL: not known. Errors of mt_score_add. */
int mt_report_add(struct mt_report *r, struct mt_text hyp,
                  const struct mt_text *ref, int n_ref, struct mt_text source,
                  struct err *e);
/* mt_report_sum: a sentence that was scored already. */
void mt_report_sum(struct mt_report *r, const struct mt_score *one,
                   struct mt_text source);
/* mt_report_write: a line of JSON: {"sentences", "bleu", "precisions", "bp",
 * "ratio", "hyp_len", "ref_len", "signature", "chrf2", "chrf_signature"}, where
 * sources are known "by_source_length": [{"words", "sentences", "bleu",
 * "chrf2"}, ...]. */
int mt_report_write(const struct mt_report *r, struct buf *out, struct err *e);

#endif
