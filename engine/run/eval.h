/* eval: a checkpoint's score on data, through the engine that serves it, so
 * that what is measured is what is served. One line of JSON for `seqd eval`
 * and for `seqd-train eval` alike:
 *
 *   language models  {"tokens", "nats", "perplexity", "unk_share"}: tokens
 *                    scored, their negative log-likelihood, the share of
 *                    unknown ones; of files and sub-words "word_perplexity",
 *                    to be held beside that of words: by what stands between
 *                    white space, and the end of each text. Of files that are
 *                    scored whole "bits_per_byte", to be held beside that of
 *                    any vocabulary that reads the same texts and lacks nothing
 *                    of them: by the UTF-8 bytes of the texts as they are cut,
 *                    with one for the end of each, where ends are scored
 *   classifiers      {"items", "accuracy", "nll", "ece", ...}: those of
 *                    label_figures.h; of several files "files" besides, the
 *                    same of each
 *
 * Runs on the caller's thread, which waits.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_EVAL_H
#define SEQD_EVAL_H

#include "engine/base/buf.h"
#include "engine/run/engine.h"
#include "engine/run/eval_texts.h"

/* eval_score: negative log-likelihood of a token stream (task/score.h). The
 * state is carried from the first to the last token; window > 0: it is emptied
 * every `window` tokens and the first of each window is not scored.
 * engine_submit's errors, those of a job. */
struct eval_score {
    int64_t tokens; /* scored */
    double nats;    /* sum */
};
int eval_score(struct engine *g, struct model *m, const int32_t *ids, int64_t n,
               int64_t window, struct eval_score *out, struct err *e);

/* eval_stream: ids [n] as one text. eval_score's errors. */
int eval_stream(struct engine *g, struct model *m, const int32_t *ids,
                int64_t n, const struct eval_options *o, struct buf *out,
                struct err *e);
/* eval_files: the texts of files (engine/text/records.h), one after the other.
 * A language model of words or characters scores them with the end token
 * around each, as it was trained; RECORD_AUTO is what config.json's
 * "seqd_record" says, else what the first file looks like. A sub-word model
 * without that key scores files as they stand unless a kind is given, and has
 * no end token around them. A classifier takes
 * labelled ones, of its labels' names or numbers, or of those of o->labels.
 * Besides: ERR_NOT_FOUND, ERR_IO, ERR_FORMAT, with file and line; ERR_INVALID
 * (labels of a model that has none, or others); eval_labels'. */
int eval_files(struct engine *g, struct model *m, const char *const *paths,
               int n, const struct eval_options *o, struct buf *out,
               struct err *e);

#endif
