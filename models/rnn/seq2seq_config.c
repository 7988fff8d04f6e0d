/* seq2seq_config: what config.json says of a recurrent encoder-decoder.
 *
 * SPDX-License-Identifier: MIT */
#include "models/rnn/seq2seq_rnn.h"

#define MAX_V (1 << 24)
#define MAX_DIM 65536
#define MAX_SOURCE 65536 /* scores of one row in a thread's scratch */

static const char *const CELLS[] = {"lstm", "gru", NULL};
static const char *const ATTENTIONS[] = {"none", "additive", "dot", "general",
                                         NULL};
static const char *const PLACES[] = {"output", "input", NULL};
static const char *const BRIDGES[] = {"copy", "linear", "tanh", NULL};

struct reader {
    struct seq2seq *m;
    const char *label;
    const struct hparams *h;
};

static int read_dim(const struct reader *r, const char *key, int max, int *v,
                    struct err *e)
{
    int64_t x;

    if (hparams_int(r->h, key, 1, max, &x, e))
        return -1;
    *v = (int)x;
    return 0;
}

static int read_dim_or(const struct reader *r, const char *key, int dflt,
                       int *v, struct err *e)
{
    int64_t x;

    if (hparams_int_or(r->h, key, 1, MAX_DIM, dflt, &x, e))
        return -1;
    *v = (int)x;
    return 0;
}

/* A key that only makes sense beside another value of a second one. */
static int refuse(const struct reader *r, const char *key, const char *found,
                  const char *expected, struct err *e)
{
    return err_set(e, ERR_FORMAT, "%s: config.json: '%s' is %s, expected %s",
                   r->label, key, found, expected);
}

static void set_widths(struct rnn *m)
{
    m->R = m->H;
    m->Hp = m->Rp = cell_pad(m->H);
    m->I = m->E;
}

static int read_nets(const struct reader *r, struct err *e)
{
    struct rnn *enc = r->m->enc, *dec = r->m->dec;
    int cell, both;
    int64_t layers;

    if (hparams_choice(r->h, "cell", CELLS, NULL, &cell, e) ||
        read_dim(r, "source_vocab_size", MAX_V, &enc->V, e) ||
        read_dim(r, "vocab_size", MAX_V, &dec->V, e) ||
        read_dim(r, "embedding_dim", MAX_DIM, &dec->E, e) ||
        read_dim_or(r, "encoder_embedding_dim", dec->E, &enc->E, e) ||
        read_dim(r, "hidden_size", MAX_DIM, &dec->H, e) ||
        read_dim_or(r, "encoder_hidden_size", dec->H, &enc->H, e) ||
        hparams_int_or(r->h, "num_layers", 1, SEQ2SEQ_MAX_LAYERS, 1, &layers,
                       e) ||
        hparams_bool_or(r->h, "bidirectional", 0, &both, e))
        return -1;
    enc->kind = dec->kind = cell ? &cell_gru : &cell_lstm;
    enc->L = dec->L = (int)layers;
    enc->D = both ? 2 : 1;
    dec->D = 1;
    dec->n_out = dec->V;
    set_widths(enc);
    set_widths(dec);
    r->m->C = enc->D * enc->H;
    r->m->Cp = cell_pad(r->m->C);
    return 0;
}

static int read_bridge(const struct reader *r, struct err *e)
{
    struct seq2seq *m = r->m;
    int kind, has_c = m->dec->kind->has_c;

    if (hparams_choice(r->h, "bridge", BRIDGES, "copy", &kind, e) ||
        hparams_bool_or(r->h, "bridge_cell", has_c, &m->pass_cell, e))
        return -1;
    m->bridge = (enum seq2seq_bridge)kind;
    if (m->pass_cell && !has_c)
        return refuse(r, "bridge_cell", "true", "false for cell \"gru\"", e);
    if (kind == BRIDGE_COPY && m->enc->D == 2)
        return refuse(r, "bridge", "\"copy\"",
                      "\"linear\" or \"tanh\" where 'bidirectional' is true",
                      e);
    if (kind == BRIDGE_COPY && m->enc->H != m->dec->H)
        return refuse(r, "bridge", "\"copy\"",
                      "\"linear\" or \"tanh\" where 'encoder_hidden_size' is "
                      "not 'hidden_size'",
                      e);
    return 0;
}

static int read_score(const struct reader *r, struct err *e)
{
    struct seq2seq *m = r->m;
    int H = m->dec->H;

    if (m->attention == ATTEND_ADDITIVE) {
        if (read_dim_or(r, "attention_dim", H, &m->A, e))
            return -1;
    } else if (hparams_has(r->h, "attention_dim")) {
        return refuse(r, "attention_dim", "there",
                      "only with attention \"additive\"", e);
    } else {
        m->A = H;
    }
    m->Ap = cell_pad(m->A);
    if (m->attention == ATTEND_DOT && m->C != H)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: attention \"dot\" needs an encoder "
                       "of 'hidden_size' %d outputs, found %d",
                       r->label, H, m->C);
    return 0;
}

/* Where the context goes, and what is made of it before the output. */
static int read_context(const struct reader *r, struct err *e)
{
    struct seq2seq *m = r->m;
    const char *place = m->attention == ATTEND_ADDITIVE ? "input" : "output";
    int late, early;

    if (hparams_choice(r->h, "context_into", PLACES, place, &early, e) ||
        hparams_bool_or(r->h, "output_context", 1, &late, e))
        return -1;
    if (!early && !late)
        return refuse(r, "output_context", "false",
                      "true where 'context_into' is \"output\"", e);
    m->early = early;
    m->dec->I += early ? m->C : 0;
    m->dec->more = late ? m->C : 0;
    if (!hparams_has(r->h, "combine_dim"))
        return 0;
    if (!late)
        return refuse(r, "combine_dim", "there",
                      "only where the output reads the context", e);
    m->dec->squash = 1;
    return read_dim(r, "combine_dim", MAX_DIM, &m->dec->P, e);
}

static int read_attention(const struct reader *r, struct err *e)
{
    static const char *const own[] = {"attention_dim", "context_into",
                                      "output_context", "combine_dim",
                                      "max_source_length"};
    struct seq2seq *m = r->m;
    int kind;

    if (hparams_choice(r->h, "attention", ATTENTIONS, NULL, &kind, e))
        return -1;
    m->attention = (enum seq2seq_attention)kind;
    if (kind != ATTEND_NONE) {
        int64_t most;

        if (hparams_int_or(r->h, "max_source_length", 1, MAX_SOURCE, 4096,
                           &most, e))
            return -1;
        m->max_source = (int)most;
        return read_score(r, e) || read_context(r, e) ? -1 : 0;
    }
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (hparams_has(r->h, own[i]))
            return refuse(r, own[i], "there",
                          "only where 'attention' is not \"none\"", e);
    return 0;
}

int seq2seq_read_config(struct seq2seq *m, const struct load_opts *o,
                        const struct hparams *h, struct err *e)
{
    const struct reader r = {.m = m, .label = o->label, .h = h};
    int64_t start;

    if (read_nets(&r, e) || read_bridge(&r, e) || read_attention(&r, e) ||
        hparams_bool_or(h, "reverse_source", 0, &m->backwards, e) ||
        hparams_int(h, "decoder_start_token_id", 0, m->dec->V - 1, &start, e))
        return -1;
    if (o->n_vocab_tokenizer && o->n_vocab_tokenizer != m->dec->V)
        return err_set(e, ERR_FORMAT,
                       "%s: tokenizer.json has %d entries, config.json's "
                       "'vocab_size' is %d",
                       o->label, o->n_vocab_tokenizer, m->dec->V);
    return 0;
}
