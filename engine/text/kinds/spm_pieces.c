/* spm_pieces: what both kinds of SentencePiece model take from its own file:
 * pieces, scores, what happens to spaces. What the file asks for and this does
 * not do is refused by its name.
 * Source: sentencepiece, normalizer.cc, model_interface.cc.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/kinds/spm_proto.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/text/kinds/spm_norm.h"

#define MAX_SCORE 1e30 /* sums stay finite */

static const unsigned attr_of[] = {
    [SPM_PIECE_UNKNOWN] = TOK_CONTROL | TOK_UNKNOWN,
    [SPM_PIECE_CONTROL] = TOK_CONTROL,
    [SPM_PIECE_USER] = 0,
    [SPM_PIECE_UNUSED] = TOK_UNUSED,
    [SPM_PIECE_BYTE] = TOK_BYTE,
};

static int check(const struct tok_source *s)
{
    const struct spm_proto *p = s->proto;
    if (p->suffix)
        return tok_refuse(s, "trainer_spec", "treat_whitespace_as_suffix");
    if (p->denormalize)
        return tok_refuse(s, "denormalizer_spec", "precompiled_charsmap");
    for (int i = 0; i < p->n; i++) {
        if (p->piece[i].type == SPM_PIECE_BYTE && !p->fallback)
            return err_set(s->e, ERR_FORMAT,
                           "%s: piece %d is a byte, but byte_fallback is off",
                           s->label, i);
        if (!(fabsf(p->piece[i].score) <= (float)MAX_SCORE))
            return err_set(s->e, ERR_FORMAT, "%s: piece %d has the score %g",
                           s->label, i, (double)p->piece[i].score);
    }
    return 0;
}

/* Entries, their scores and attributes; added tokens are behind them. */
static int put_pieces(struct tokenizer *t, const struct tok_source *s)
{
    struct spm *m = t->self;
    int64_t n = s->proto->n;
    size_t bytes = 0;
    for (int i = 0; i < s->proto->n; i++)
        bytes += s->proto->piece[i].len;
    tok_added_size(s, &n, &bytes);
    m->score = mem_zarray((size_t)n + 1, sizeof *m->score);
    if (!m->score)
        return err_nomem(s->e);
    if (tok_vocab_begin(t, s, n, bytes))
        return -1;
    for (int i = 0; i < s->proto->n; i++) {
        const struct spm_piece *p = &s->proto->piece[i];
        m->score[i] = p->score;
        if (tok_vocab_set(t, s, i, p->text, p->len))
            return -1;
        t->attr[i] = (uint16_t)attr_of[p->type];
    }
    t->unk = s->proto->unk;
    return tok_added_json(t, s) || tok_vocab_end(t, s, 1) ? -1 : 0;
}

/* User-defined entries; of several that begin at a place the longest counts. */
static int index_users(struct tokenizer *t, const struct tok_source *s)
{
    struct spm *m = t->self;
    int n = 0;
    for (int i = 0; i < s->proto->n; i++)
        n += s->proto->piece[i].type == SPM_PIECE_USER;
    if (n == 0)
        return 0;
    m->norm.of = t;
    if (tok_index_begin(&m->norm.user, n, s->e))
        return -1;
    for (int i = 0; i < s->proto->n; i++)
        if (s->proto->piece[i].type == SPM_PIECE_USER)
            tok_index_add(&m->norm.user, t, i, 0);
    return tok_index_end(&m->norm.user, s);
}

static int put_steps(struct spm_norm *m, const struct tok_source *s)
{
    const struct spm_proto *p = s->proto;
    unsigned how = (p->prefix ? SPM_DUMMY : 0) |
                   (p->squeeze ? SPM_SQUEEZE : 0) | (p->escape ? 0 : SPM_BARE);
    m->strips = !p->escape   ? SPM_STRIP_NOT
                : p->squeeze ? SPM_STRIP_LEAD
                : p->prefix  ? SPM_STRIP_ONE
                             : SPM_STRIP_NOT;
    if (p->n_chars && spm_chars_read(&m->chars, s, p->chars, p->n_chars))
        return -1;
    if ((p->n_chars || m->user.n) && spm_norm_add(m, s, SPM_CHARS, 0))
        return -1;
    return spm_norm_add(m, s, SPM_SENTENCE, how);
}

/* Each byte has its piece. */
static int check_bytes(const struct tokenizer *t, const struct tok_source *s)
{
    int n = 0;
    for (int i = 0; i < s->proto->n; i++)
        n += s->proto->piece[i].type == SPM_PIECE_BYTE;
    return n == 256 || !((const struct spm *)t->self)->fallback
               ? 0
               : err_set(s->e, ERR_FORMAT,
                         "%s: byte_fallback with %d pieces of bytes, expected "
                         "256",
                         s->label, n);
}

int spm_pieces(struct tokenizer *t, const struct tok_source *s)
{
    struct spm *m = t->self;
    m->fallback = s->proto->fallback;
    return check(s) || put_pieces(t, s) || check_bytes(t, s) ||
                   index_users(t, s) || put_steps(&m->norm, s)
               ? -1
               : 0;
}
