/* token_vectors: see token_vectors.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/token_vectors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/shared_file.h"

/* Cut at each LF; what follows the last one is no line. */
static int cut_lines(struct token_vectors *v, int k)
{
    int n = 0;
    char *p = v->block[k], *end = p + v->bytes[k];
    while (p < end && n < TOKEN_VECTORS_MAX) {
        char *lf = memchr(p, '\n', (size_t)(end - p));
        if (!lf)
            break;
        *lf = 0;
        if (k == 0) {
            v->text[n] = p;
            v->len[n] = (size_t)(lf - p);
        } else {
            v->ids[n] = p;
        }
        n++;
        p = lf + 1;
    }
    return n;
}

static int load(struct token_vectors *v, const char *texts, const char *ids)
{
    memset(v, 0, sizeof *v);
    v->block[0] = shared_read(texts, &v->bytes[0]);
    v->block[1] = shared_read(ids, &v->bytes[1]);
    return v->block[0] && v->block[1] ? 0 : -1;
}

int token_vectors_lines(struct token_vectors *v, const char *name)
{
    char ids[128];
    snprintf(ids, sizeof(ids), "models/tokenizer-vectors/%s.ids.txt.gz", name);
    if (load(v, "models/tokenizer-vectors/lines.txt.gz", ids)) {
        token_vectors_free(v);
        return -1;
    }
    v->n = cut_lines(v, 0);
    return cut_lines(v, 1) == v->n ? 0 : -1;
}

/* Each string is followed by LF, a mark and LF. */
static int cut_strings(struct token_vectors *v)
{
    static const char mark[] = "\n__ggml_vocab_test__\n";
    int n = 0;
    for (char *p = v->block[0]; n < TOKEN_VECTORS_MAX;) {
        char *end = strstr(p, mark);
        if (!end)
            break;
        *end = 0;
        v->text[n] = p;
        v->len[n++] = (size_t)(end - p);
        p = end + strlen(mark);
    }
    return n;
}

int token_vectors_ggml(struct token_vectors *v, const char *name)
{
    char texts[128], ids[128];
    const char *base = "data/tokenizers/ggml/ggml-vocab";
    snprintf(texts, sizeof(texts), "%s-%s.gguf.inp", base, name);
    snprintf(ids, sizeof(ids), "%s-%s.gguf.out", base, name);
    if (load(v, texts, ids)) {
        token_vectors_free(v);
        return -1;
    }
    v->n = cut_strings(v);
    return cut_lines(v, 1) == v->n ? 0 : -1;
}

void token_vectors_free(struct token_vectors *v)
{
    free(v->block[0]);
    free(v->block[1]);
    memset(v, 0, sizeof *v);
}

int token_vectors_same(const struct token_vectors *v, int i, const int32_t *ids,
                       int n)
{
    const char *p = v->ids[i];
    for (int k = 0; k < n; k++) {
        char *end;
        long want = strtol(p, &end, 10);
        if (end == p || want != ids[k])
            return 0;
        p = end;
    }
    return strspn(p, " ") == strlen(p);
}
