/* data: training text as token ids. A corpus is a list of records: lines,
 * paragraphs or tunes for a language model, labelled texts for a classifier.
 * Read once, read-only afterwards.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_DATA_H
#define SEQD_DATA_H

#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/base/rng.h"
#include "engine/text/records.h"
#include "engine/text/tokenizer.h"
#include "models/train/train_options.h"

#define DATA_MAX_FILES 32
#define DATA_MAX_LABELS 1024
#define DATA_MAX_BYTES ((size_t)4 << 30) /* of a file */
#define DATA_MOST_SHARE 100.0
#define DATA_MAX_RECORDS (1 << 30) /* they and their order are counted by int */

struct labels {
    char *name[DATA_MAX_LABELS];
    int n;
};
/* labels_parse: "negative,positive". */
int labels_parse(struct labels *l, const char *text, struct err *e);
/* labels_add: a name more. labels_has: is it there? */
int labels_add(struct labels *l, const char *s, size_t n, struct err *e);
int labels_has(const struct labels *l, const char *s, size_t n);
/* labels_find: those of the files: 0 to the largest if all are numbers, else
 * their names by bytes. ERR_FORMAT also when they look like no labels. */
int labels_find(struct labels *l, const char *files, struct err *e);
void labels_fini(struct labels *l);

struct corpus {
    int32_t *ids; /* [n] */
    int64_t n, cap;
    int64_t *start; /* [n_records + 1] */
    int32_t *label; /* [n_records], classifier */
    float *soft;    /* NULL, or [n_records, n_labels] shares of the labels */
    int n_labels;
    int *n_source;  /* [n_records], pairs: tokens of the source (pairs.h) */
    float *vectors; /* NULL, or [n, width] in place of ids (vectors.h) */
    float *values;  /* [n_records, n_values], of these */
    int width, n_values;
    int n_records, cap_records;
    int64_t unknown;         /* pieces that the vocabulary lacks */
    int64_t empty, too_long; /* pairs that are left out */
    int n_files;
    int first[DATA_MAX_FILES + 1]; /* records of a file */
    double share[DATA_MAX_FILES];  /* taken in an epoch */
};

struct pair_files;

/* How files are cut into records. */
struct data_format {
    int labelled;            /* records have labels */
    int masked;              /* the vocabulary has an entry for masked tokens */
    enum record_kind record; /* of what is not labelled */
    int max_len;             /* labelled: tokens kept; pairs: most of a side */
    int reverse;             /* not labelled: each record from its end */
    struct labels *labels;   /* labelled; a label may also be a share for
                                each of them, "0.1,0.2,0.7" */
    const struct pair_files
        *pairs; /* or NULL: these, whatever files are given */
    const struct labels *controls; /* or NULL: entries that are no words */
    int add_eos; /* the end token follows each text, none begins it */
};

/* corpus_read: files "A,B:0.3" (0.3 of the records in each epoch; 2.5: all of
 * them twice and half of them once more). The message of an error names file
 * and line. */
int corpus_read(struct corpus *c, const char *files,
                const struct data_format *f, const struct tokenizer *t,
                struct err *e);
void corpus_fini(struct corpus *c);
/* corpus_reserve: room for a record more, of so many tokens. ERR_TOO_LARGE
 * (DATA_MAX_RECORDS are there), ERR_NOMEM. */
int corpus_reserve(struct corpus *c, int tokens, struct err *e);
/* corpus_close_record: what was appended to ids is a record of this file. */
void corpus_close_record(struct corpus *c, int file);

/* corpus_most: records of an epoch, at most. */
int64_t corpus_most(const struct corpus *c);
/* corpus_order: the records of an epoch into order [corpus_most]: the share of
 * each file, shuffled when asked. Returns their number. A function of the
 * generator's state alone. r NULL: those of file `only` (-1: of all) as they
 * stand. */
int corpus_order(const struct corpus *c, int shuffle, int only, struct rng *r,
                 int32_t *order);

void data_shuffle(struct rng *r, int n, int32_t *v);

/* corpus_stream: "</s> record </s> record </s>" of the records in order, with
 * the token `frame` (-1: none) around each. out: taken over by the caller
 * (mem_free); *n its length. */
int corpus_stream(const struct corpus *c, const int32_t *order, int n_order,
                  int32_t frame, int32_t **out, int64_t *n, struct err *e);

/* vocab_build: the tokenizer.json of a vocabulary from the files o->data into
 * out (vocab.h). */
int vocab_build(const struct options *o, const struct data_format *f,
                struct buf *out, struct err *e);

/* data_each: fn for every record of the files, with file index and share; of
 * pairs each end is one. */
typedef int data_fn(void *arg, int file, const struct record *r, struct err *e);
int data_each(const char *files, const struct data_format *f, double *share,
              int *n_files, data_fn *fn, void *arg, struct err *e);
/* data_first_file: the first of files "A,B:0.3": its path (mem_free), the bytes
 * that it takes there, and the share of its records. NULL: ERR_NOMEM. */
char *data_first_file(const char *files, size_t *n, double *share,
                      struct err *e);
/* data_kind: what RECORD_AUTO is for the first of the files. */
int data_kind(const char *files, enum record_kind *kind, struct err *e);

#endif
