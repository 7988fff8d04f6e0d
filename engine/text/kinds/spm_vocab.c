/* spm_vocab: entries of SentencePiece vocabularies: marks are spaces, "<0x0A>"
 * is a byte, and control tokens come from no plain text.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/gguf.h"
#include "engine/text/kinds/spm_norm.h"

#define BYTE_ENTRY 6 /* "<0x00>" */

void spm_bytes_find(struct spm_bytes *b, struct tokenizer *t)
{
    b->all = 1;
    for (unsigned k = 0; k < 256; k++) {
        char text[8];
        snprintf(text, sizeof(text), "<0x%02X>", k);
        b->id[k] = tokenizer_lookup(t, text, BYTE_ENTRY);
        if (b->id[k] < 0)
            b->all = 0;
        else
            t->attr[b->id[k]] |= TOK_BYTE;
    }
}

static int hex_digit(char c)
{
    return c >= 'A' ? c - 'A' + 10 : c - '0';
}

static int is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F');
}

static size_t piece_of(const struct tokenizer *t, int32_t id, char *out)
{
    const char *s = t->text[id];
    size_t n = t->len[id], len = 0;
    if (t->attr[id] & (TOK_CONTROL | TOK_ADDED)) {
        memcpy(out, s, n);
        return n;
    }
    if ((t->attr[id] & TOK_BYTE) && n == BYTE_ENTRY && is_hex(s[3]) &&
        is_hex(s[4])) {
        out[0] = (char)(16 * hex_digit(s[3]) + hex_digit(s[4]));
        return 1;
    }
    for (size_t i = 0; i < n;) {
        if (n - i >= SPM_MARK_BYTES &&
            memcmp(s + i, SPM_MARK_UTF8, SPM_MARK_BYTES) == 0) {
            out[len++] = ' ';
            i += SPM_MARK_BYTES;
        } else {
            out[len++] = s[i++];
        }
    }
    return len;
}

int spm_pieces(struct tokenizer *t, const struct tok_source *s)
{
    return tok_pieces(t, s, piece_of);
}

int spm_detok(const struct tokenizer *t, const struct spm_norm *m,
              struct detok *d, int32_t id, struct buf *out)
{
    size_t n;
    const char *s = tokenizer_piece(t, id, &n);
    int is_prefix = m->strips && !d->begun && n > 0 && s[0] == ' ' &&
                    !(t->attr[id] & (TOK_ADDED | TOK_BYTE));
    return detok_bytes(d, s + is_prefix, n - (size_t)is_prefix, out);
}

int spm_scores(const struct tokenizer *t, const struct tok_source *s,
               float **out)
{
    int key = gguf_find(s->gguf, "tokenizer.ggml.scores");
    *out = NULL;
    if (key < 0 || gguf_type(s->gguf, key) != GGUF_ARRAY ||
        gguf_elem(s->gguf, key) != GGUF_F32 ||
        gguf_len(s->gguf, key) < (size_t)t->n) {
        return tok_bad(s, "tokenizer.ggml.scores is not a list of a number for "
                          "each token");
    }
    float *v = mem_array((size_t)t->n + 1, sizeof *v);
    if (!v)
        return err_nomem(s->e);
    *out = v;
    for (int id = 0; id < t->n; id++) {
        double x = 0;
        gguf_float(s->gguf, key, (size_t)id, &x);
        if (!isfinite(x)) {
            return tok_bad(s, "tokenizer.ggml.scores holds a number that is "
                              "not finite");
        }
        v[id] = (float)x;
    }
    return 0;
}

int spm_plain(const struct tokenizer *t, int32_t id)
{
    return !(t->attr[id] & (TOK_CONTROL | TOK_UNUSED | TOK_BYTE));
}
