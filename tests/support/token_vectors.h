/* token_vectors: texts and the ids that other programs give them, from the
 * data beside the repository (its READMEs say how they were made).
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TOKEN_VECTORS_H
#define SEQD_TOKEN_VECTORS_H

#include <stddef.h>
#include <stdint.h>

#define TOKEN_VECTORS_MAX 4096

struct token_vectors {
    char *block[2];
    size_t bytes[2];
    const char *text[TOKEN_VECTORS_MAX]; /* may hold NUL; terminated */
    size_t len[TOKEN_VECTORS_MAX];
    const char *ids[TOKEN_VECTORS_MAX]; /* numbers, space between */
    int n;
};

/* token_vectors_lines: the 3,000 lines with the ids of "gpt2" ...;
 * token_vectors_ggml: the 46 strings of "gpt-2" ... 0, or -1 when the data is
 * not there (or not whole: n is not 0 then). */
int token_vectors_lines(struct token_vectors *v, const char *name);
int token_vectors_ggml(struct token_vectors *v, const char *name);
void token_vectors_free(struct token_vectors *v);
/* token_vectors_same: 1 when ids [n] are those of text i. */
int token_vectors_same(const struct token_vectors *v, int i, const int32_t *ids,
                       int n);

#endif
