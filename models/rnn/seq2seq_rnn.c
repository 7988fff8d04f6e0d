/* seq2seq_rnn: loading a recurrent encoder-decoder. The two nets load as every
 * recurrent net does (rnn_load.h), under the prefixes "encoder." and
 * "decoder."; attention and bridge are packed here.
 *
 * load and unload: the loader's thread. Afterwards everything but the folded
 * rows is immutable.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "models/rnn/seq2seq_rnn.h"

#include "engine/base/mem.h"
#include "engine/run/target_rules.h"

static const char *const ATTENTION_NAMES[] = {"", " additive", " dot",
                                              " general"};

/* Embedding, cells and table of one of the two. */
static int load_side(struct rnn_loader *l, struct rnn *m, const char *embedding,
                     const char *rnn, struct err *e)
{
    l->m = m;
    l->p_embedding = embedding;
    l->p_rnn = rnn;
    l->bias = rnn_has_tensor(l, rnn, "bias_ih_l0");
    if (rnn_load_layers(l, e))
        return -1;
    if (!rnn_takes_vectors(m))
        return rnn_open_fold(l, e);
    m->fold = mem_zalloc(sizeof *m->fold);
    return m->fold ? rnn_fold_open(m->fold, m, NULL, e) : err_nomem(e);
}

/* [H, C] whose inputs are the encoder's states: D pieces of Hp floats. */
static int load_pass(struct rnn_loader *l, struct seq2seq *m, int layer,
                     int part, struct err *e)
{
    const struct rnn *enc = m->enc;
    struct pack_rows from = {.N = m->dec->H,
                             .n_parts = enc->D,
                             .part = enc->H,
                             .part_stride = enc->Hp};
    char prefix[32];

    snprintf(prefix, sizeof prefix, "bridge.%s.%d.", part ? "c" : "h", layer);
    from.t = rnn_find_tensor(l, prefix, "weight", m->dec->H, m->C, e);
    if (!from.t || pack_tensor(&from, &m->pass[layer][part], e))
        return -1;
    m->pass_bias[layer][part] = rnn_read_bias(l, prefix, m->dec->H, e);
    return m->pass_bias[layer][part] ? 0 : -1;
}

static int load_bridge(struct rnn_loader *l, struct seq2seq *m, struct err *e)
{
    if (m->bridge == BRIDGE_COPY)
        return 0;
    for (int i = 0; i < m->dec->L; i++)
        for (int part = 0; part <= m->pass_cell; part++)
            if (load_pass(l, m, i, part, e))
                return -1;
    return 0;
}

static int load_attention(struct rnn_loader *l, struct seq2seq *m,
                          struct err *e)
{
    if (m->attention == ATTEND_NONE || m->attention == ATTEND_DOT)
        return 0;
    if (rnn_load_matrix(l, "attention.key.", "weight", m->A, m->C, &m->key, e))
        return -1;
    m->key_bias = rnn_read_bias(l, "attention.key.", m->A, e);
    if (!m->key_bias)
        return -1;
    if (m->attention == ATTEND_GENERAL)
        return 0;
    if (rnn_load_matrix(l, "attention.query.", "weight", m->A, m->dec->H,
                        &m->query, e) ||
        rnn_load_matrix(l, "attention.score.", "weight", 1, m->A, &m->score, e))
        return -1;
    m->query_bias = rnn_read_bias(l, "attention.query.", m->A, e);
    if (!m->query_bias)
        return -1;
    /* What is added to all scores of a row alike leaves its softmax. */
    return !rnn_has_tensor(l, "attention.score.", "bias") ||
                   rnn_find_tensor(l, "attention.score.", "bias", 1, 0, e)
               ? 0
               : -1;
}

static int check_all_read(const struct rnn_loader *l, struct err *e)
{
    const struct tensor *t =
        tally_unread(&l->read, NULL, l->o->options->ignore_tensors);

    return !t ? 0
              : err_set(e, ERR_UNSUPPORTED,
                        "%s: tensor '%.100s' is not part of what config.json "
                        "describes",
                        l->o->label, t->name);
}

/* A tied output may have a copy in the file: rnn_load_output compares it. */
static int check_tied(struct rnn_loader *l, struct err *e)
{
    const struct rnn *m = l->m;
    int width = m->P ? m->P : rnn_top_width(m);

    if (!l->tied)
        return 0;
    tally_mark(&l->read, "output.weight");
    return width == m->E ? 0
                         : err_set(e, ERR_FORMAT,
                                   "%s: config.json: tied output needs "
                                   "embedding_dim %d, found %d",
                                   l->o->label, width, m->E);
}

static int load_tensors(struct rnn_loader *l, struct seq2seq *m, struct err *e)
{
    l->p_projection = "attention.combine.";
    l->p_output = "output.";
    if (load_side(l, m->enc, "encoder.embedding.", "encoder.rnn.", e) ||
        load_side(l, m->dec, "decoder.embedding.", "decoder.rnn.", e) ||
        load_bridge(l, m, e) || load_attention(l, m, e) || check_tied(l, e) ||
        rnn_load_output(l, e))
        return -1;
    return check_all_read(l, e);
}

static size_t held_bytes(const struct seq2seq *m)
{
    size_t n = sizeof *m + rnn_held_bytes(m->enc) + rnn_held_bytes(m->dec);

    n += m->query.bytes + m->key.bytes + m->score.bytes;
    for (int i = 0; i < m->dec->L; i++)
        n += m->pass[i][0].bytes + m->pass[i][1].bytes;
    return n;
}

static void fill_info(const struct rnn_loader *l, struct seq2seq *m,
                      struct model_info *info)
{
    const struct rnn *enc = m->enc, *dec = m->dec;
    int attends = m->attention != ATTEND_NONE;
    struct port source = {.name = "source", .whole = 1, .n_ids = enc->V};

    if (attends) {
        source.context_length = m->max_source;
        source.page_tokens = ATTN_KEYS;
        source.page_bytes = seq2seq_page_bytes(m);
    }
    snprintf(m->summary, sizeof m->summary, "%s %d-%d%s > %d-%d x%d%s",
             dec->kind->name, enc->E, enc->H,
             enc->D == 2 ? " bidirectional" : "", dec->E, dec->H, dec->L,
             ATTENTION_NAMES[m->attention]);
    info->state = (struct state_layout){
        .fixed_bytes = rnn_state_floats(dec) * sizeof(float), .n_ports = 2};
    info->state.port[PORT_TARGET].name = "target";
    info->state.port[PORT_SOURCE] = source;
    info->cols[OUT_LOGITS] = dec->V;
    info->cols[OUT_HIDDEN] = dec->H;
    info->cols[OUT_ATTENTION] = attends;
    info->n_layers = info->n_heads = attends;
    info->max_chain = RNN_MAX_CHAIN;
    info->parameters = weights_parameters(l->w);
    info->token_flops = 2 * rnn_token_work(dec);
    info->row_flops = 2 * ((uint64_t)dec->V * (uint64_t)dec->output.K +
                           (uint64_t)dec->P * (uint64_t)dec->projection.K);
    info->fast = dec->fast;
    info->memory_bytes = held_bytes(m);
    info->summary = m->summary;
}

static void seq2seq_unload(void *self)
{
    struct seq2seq *m = self;

    if (!m)
        return;
    rnn_unload(m->enc);
    rnn_unload(m->dec);
    pack_fini(&m->query);
    pack_fini(&m->key);
    pack_fini(&m->score);
    mem_aligned_free(m->query_bias);
    mem_aligned_free(m->key_bias);
    for (int i = 0; i < SEQ2SEQ_MAX_LAYERS; i++)
        for (int part = 0; part < 2; part++) {
            pack_fini(&m->pass[i][part]);
            mem_aligned_free(m->pass_bias[i][part]);
        }
    mem_free(m);
}

/* ERR_FORMAT names the key or the tensor; ERR_NOMEM. */
static int seq2seq_load(const struct load_opts *o, struct checkpoint *c,
                        struct model_info *info, void **self, struct err *e)
{
    struct rnn_loader l = {.o = o,
                           .w = checkpoint_weights(c, e),
                           .h = checkpoint_hparams(c, e),
                           .info = info};
    struct seq2seq *m;
    int rc;

    memset(info, 0, sizeof *info);
    if (!l.w || !l.h)
        return -1;
    m = mem_zalloc(sizeof *m);
    if (!m)
        return err_nomem(e);
    m->enc = mem_zalloc(sizeof *m->enc);
    m->dec = mem_zalloc(sizeof *m->dec);
    rc = !m->enc || !m->dec
             ? err_nomem(e)
             : tally_open(&l.read, l.w, e) ||
                   seq2seq_read_config(m, o, l.h, e) ||
                   hparams_bool_or(l.h, "tie_word_embeddings", 0, &l.tied, e) ||
                   load_tensors(&l, m, e) ||
                   target_read(c, m->dec->V, &info->target, e);
    tally_close(&l.read);
    if (rc) {
        seq2seq_unload(m);
        return -1;
    }
    weights_drop_pages(l.w, NULL); /* a step touches a few rows of one */
    fill_info(&l, m, info);
    *self = m;
    return 0;
}

static size_t seq2seq_table_bytes(const void *self)
{
    const struct seq2seq *m = self;

    return atomic_load(&m->enc->fold->taken) +
           atomic_load(&m->dec->fold->taken);
}

const struct model_arch seq2seq_rnn_arch = {
    .name = "seq2seq-rnn",
    .load = seq2seq_load,
    .unload = seq2seq_unload,
    .table_bytes = seq2seq_table_bytes,
    .scratch_bytes = seq2seq_scratch_bytes,
    .step = seq2seq_step,
};
