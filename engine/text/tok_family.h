/* tok_family: what a class of tokenizer has beside its SentencePiece file.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TOK_FAMILY_H
#define SEQD_TOK_FAMILY_H

#include "engine/text/tokenizer_impl.h"

struct tok_family {
    const char *class; /* tokenizer_class without "Tokenizer" and "Fast" */
    const char *file;  /* that it has, where no class is named */
    int begins, ends;  /* the begin and the end token are put around a text */
    int extra_ids;     /* T5's sentinels, where no file lists them */
    int fairseq;       /* ids of its own, else (mapped) those of vocab.json */
    int mapped;
};

#endif
