/* regex: the regular expressions of a tokenizer.json, which are Oniguruma's
 * (Hugging Face tokenizers searches with it), run by PCRE2. regex_syntax.c
 * writes them anew where the two libraries read one text in two ways, and
 * refuses what it does not know; 12,000 expressions made at random cut texts
 * as Hugging Face does, but for one that repeats what may be nothing. Of
 * Unicode's tables PCRE2 may have old ones: a text is shown to it through
 * uni_stand_in (unicode.h), which keeps the category of a character, and in
 * \p{Han} and its like the script of most.
 *
 * A search goes back over the text at each place where it may begin, so an
 * expression can ask for more time than there is. PCRE2's own limits begin
 * anew at each place and see no work but steps back, so they bound nothing
 * here. An expression of a file is compiled with a call-out before each of its
 * items instead: the call counts one, and the distance since the call before.
 * regex_steps is the most for a text, whatever it is cut into and however many
 * expressions cut it (2 MB end after 2 s at worst); the published ones take 1
 * to 7 a byte. The speed of the machine does not enter.
 * Expressions that are known to be linear (pretok_names.c) are not counted.
 *
 * Where no page may be both written and executed (systemd's
 * MemoryDenyWriteExecute, some of SELinux) PCRE2 makes no machine code and
 * interprets.
 *
 * A regex is immutable; a work belongs to one thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_REGEX_H
#define SEQD_REGEX_H

#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

struct regex;

/* regex_open: the expression s [n]; `counted`: it may take any time, so its
 * steps are counted. NULL with ERR_UNSUPPORTED (the message says why, in a few
 * words: no file, no expression), ERR_NOMEM. */
struct regex *regex_open(const char *s, size_t n, int counted, struct err *e);
void regex_close(struct regex *r);

/* regex_steps: what there are for a text of n bytes. */
int64_t regex_steps(size_t n);

struct regex_work {
    void *data, *context; /* PCRE2's */
    int64_t *left;        /* steps of the text */
    size_t last;          /* the place of the step before */
};
void regex_work_fini(struct regex_work *w);
/* regex_work_begin: before searches that take their steps from `left`.
 * ERR_NOMEM. */
int regex_work_begin(struct regex_work *w, int64_t *left, struct err *e);

/* A match: bytes at[0] to at[1]; none yet when all is 0. */
struct regex_match {
    size_t at[2];
    int any;
};
/* regex_next: the next match in valid UTF-8 s [n] behind m, into m; a match of
 * nothing where m ends is none. 1, 0 without one, or -1: ERR_INVALID when it
 * takes too many steps, ERR_NOMEM. */
int regex_next(const struct regex *r, struct regex_work *w, const char *s,
               size_t n, struct regex_match *m, struct err *e);

/* ------------------------------------------------------- between its files */

/* regex_translate: the expression as PCRE2 writes it, appended to out.
 * ERR_UNSUPPORTED, ERR_NOMEM. */
int regex_translate(const char *s, size_t n, struct buf *out, struct err *e);

#endif
