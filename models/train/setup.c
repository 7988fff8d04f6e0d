/* setup: opens what lasts for a whole training (train.h).
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/checkpoint.h"
#include "models/train/train.h"
#include "models/train/vectors.h"
#include "models/train/vocab.h"

#define SPIN_US 200 /* steps follow each other closely */

static int copy_file(struct checkpoint *from, const char *name, struct buf *b,
                     struct err *e)
{
    char *text = NULL;
    size_t n = 0;
    int rc = checkpoint_file(from, name, b->max, &text, &n, e);
    buf_add(b, text, n);
    mem_free(text);
    return rc;
}

static int copy_vocab(struct trainer *t, struct err *e)
{
    static const char beside[] = "tokenizer_config.json";
    struct checkpoint *from;
    const char *path = t->o.vocab_from;
    if (checkpoint_open(path, path, &from, e) != 0)
        return -1;
    int rc = copy_file(from, "tokenizer.json", &t->vocab, e);
    if (rc == 0 && checkpoint_has(from, beside))
        rc = copy_file(from, beside, &t->setup, e);
    checkpoint_close(from);
    return rc;
}

/* The tokenizer of a training that goes on is in --out; that of a new one is
 * kept as text until there is nothing left to refuse (write_new). */
static int open_tokenizer(struct trainer *t, const struct data_format *f,
                          struct err *e)
{
    struct checkpoint *out;
    int rc;
    if (t->o.resume) {
        if (checkpoint_open(t->o.out, t->o.out, &out, e) != 0)
            return -1;
        rc = tokenizer_open(out, &t->tokenizer, e);
        checkpoint_close(out);
        return rc;
    }
    buf_init(&t->vocab, (size_t)1 << 28);
    buf_init(&t->setup, (size_t)1 << 24);
    if (t->o.vocab_from != NULL)
        rc = copy_vocab(t, e);
    else
        rc = vocab_files(&t->o, f, &t->vocab, &t->setup, e);
    if (rc == 0 && (t->vocab.failed || t->setup.failed))
        rc = err_nomem(e);
    return rc != 0 ? rc
                   : tokenizer_parse_both(t->vocab.p, t->vocab.len, t->setup.p,
                                          t->setup.len, &t->tokenizer, e);
}

static void say_corpus(const struct trainer *t, const char *name,
                       const struct corpus *c)
{
    if (c->vectors != NULL) {
        trainer_say(t,
                    "%s: %d sequences, %lld vectors of %d, %d value%s each\n",
                    name, c->n_records, (long long)c->n, c->width, c->n_values,
                    c->n_values > 1 ? "s" : "");
        return;
    }
    trainer_say(t, "%s: %d %s, %lld tokens, %.2f %% unknown\n", name,
                c->n_records, t->objective->pairs ? "pairs" : "records",
                (long long)c->n,
                100 * (double)c->unknown / (double)(c->n > 0 ? c->n : 1));
    if (c->empty + c->too_long > 0)
        trainer_say(t,
                    "  left out: %lld lines with an empty side, %lld pairs "
                    "with more than %d tokens on one\n",
                    (long long)c->empty, (long long)c->too_long, t->o.max_len);
}

/* Labels and kind of record, where they are not given, are the data's. */
static int look_at_data(struct trainer *t, struct err *e)
{
    enum record_kind kind = (enum record_kind)t->o.record;
    if (t->objective->pairs)
        return pairs_controls(&t->train_pairs, &t->labels, e);
    if (t->objective->labelled)
        return t->o.id2label != NULL
                   ? labels_parse(&t->labels, t->o.id2label, e)
                   : labels_find(&t->labels, t->o.data, e);
    if (data_kind(t->o.data, &kind, e) != 0)
        return -1;
    if (t->o.record == RECORD_AUTO && kind == RECORD_PARAGRAPH)
        trainer_say(t, "the text is wrapped: lines are joined to paragraphs "
                       "(--record line takes each line by itself)\n");
    t->o.record = (int)kind;
    return 0;
}

/* Which files are read; of pairs, where there are none to validate on, a share
 * of the training's. */
static int name_files(struct trainer *t, struct err *e)
{
    const struct options *o = &t->o;
    int own = o->valid != NULL || o->valid_source != NULL;
    if (!t->objective->pairs)
        return o->source != NULL || o->target != NULL ||
                       o->valid_source != NULL || o->valid_target != NULL ||
                       o->language_column || o->language != NULL
                   ? err_set(e, ERR_INVALID,
                             "pairs of texts are for --arch seq2seq-...")
               : o->data == NULL || o->valid == NULL || o->out == NULL
                   ? err_set(e, ERR_INVALID,
                             "train needs --data, --valid and --out")
                   : 0;
    if (o->out == NULL)
        return err_set(e, ERR_INVALID, "train needs --out");
    if ((o->data != NULL) == (o->source != NULL) ||
        (o->source != NULL) != (o->target != NULL))
        return err_set(e, ERR_INVALID,
                       "pairs are in --data, or in --source and --target");
    if ((o->valid != NULL && o->valid_source != NULL) ||
        (o->valid_source != NULL) != (o->valid_target != NULL))
        return err_set(e, ERR_INVALID,
                       "pairs to validate on are in --valid, or in "
                       "--valid-source and --valid-target");
    if (o->language_column && (o->source != NULL || o->valid_source != NULL))
        return err_set(e, ERR_INVALID,
                       "--language-column is of tables: --data and --valid");
    if (o->language_column && o->language != NULL)
        return err_set(e, ERR_INVALID,
                       "the languages are in a column (--language-column), or "
                       "those of the files (--language)");
    if (own && o->hold_out_given)
        return err_set(e, ERR_INVALID,
                       "--hold-out is for trainings without --valid");
    t->train_pairs = (struct pair_files){.table = o->data,
                                         .source = o->source,
                                         .target = o->target,
                                         .language = o->language_column,
                                         .languages = o->language,
                                         .hold_out = own ? 0 : o->hold_out};
    t->valid_pairs = t->train_pairs;
    t->valid_pairs.held_out = 1;
    if (own) {
        t->valid_pairs.table = o->valid;
        t->valid_pairs.source = o->valid_source;
        t->valid_pairs.target = o->valid_target;
    }
    return 0;
}

static int open_vectors(struct trainer *t, struct err *e)
{
    const struct corpus *a = &t->train, *b = &t->valid;
    if (vectors_read(&t->train, t->o.data, e) != 0 ||
        vectors_read(&t->valid, t->o.valid, e) != 0)
        return -1;
    say_corpus(t, "training", a);
    say_corpus(t, "validation", b);
    return a->width == b->width && a->n_values == b->n_values
               ? 0
               : err_set(e, ERR_FORMAT,
                         "--valid has vectors of %d with %d values, --data of "
                         "%d with %d",
                         b->width, b->n_values, a->width, a->n_values);
}

static int open_data(struct trainer *t, struct err *e)
{
    if (t->o.resume && !resume_is_there(&t->o))
        return err_set(e, ERR_NOT_FOUND,
                       "%s: holds no training that could go on (no state.bin): "
                       "leave --resume out to begin one",
                       t->o.out);
    if (t->objective->vectors)
        return open_vectors(t, e);
    if (look_at_data(t, e) != 0)
        return -1;
    struct data_format f = {.labelled = t->objective->labelled,
                            .masked = t->objective->masked,
                            .record = (enum record_kind)t->o.record,
                            .max_len = t->o.max_len,
                            .reverse = t->o.reverse,
                            .labels = &t->labels};
    if (t->objective->pairs) {
        f.pairs = &t->train_pairs;
        f.controls = &t->labels;
        f.add_eos = 1;
    }
    if (open_tokenizer(t, &f, e) != 0 ||
        corpus_read(&t->train, t->o.data, &f, t->tokenizer, e) != 0)
        return -1;
    if (t->objective->pairs)
        f.pairs = &t->valid_pairs;
    if (corpus_read(&t->valid, t->o.valid, &f, t->tokenizer, e) != 0)
        return -1;
    trainer_say(t, "vocabulary: %d entries\n", tokenizer_size(t->tokenizer));
    say_corpus(t, "training", &t->train);
    say_corpus(t, "validation", &t->valid);
    if (f.labelled && t->labels.n < 2)
        return err_set(e, ERR_FORMAT,
                       "the training data has fewer than two "
                       "labels");
    return 0;
}

/* What options ask of a vocabulary that not each has. */
static int check_vocabulary(const struct trainer *t, struct err *e)
{
    const struct options *o = &t->o;
    if (o->apart && !t->objective->fresh)
        return err_set(e, ERR_INVALID,
                       "--apart is for language models of --arch rnn and gpt2");
    if (o->apart && tokenizer_eos(t->tokenizer) < 0)
        return err_set(e, ERR_INVALID,
                       "--apart needs a vocabulary with an end token");
    if (o->unk_rate > 0 && tokenizer_unk(t->tokenizer) < 0)
        return err_set(e, ERR_INVALID,
                       "--unk-rate needs a vocabulary with an unknown entry: "
                       "sub-words have none, nor have characters that are all "
                       "there");
    if (o->softmax == SOFTMAX_SAMPLED && o->smoothing > 0)
        return err_set(e, ERR_INVALID,
                       "--label-smoothing has no part in --softmax sampled: "
                       "one of them");
    if (o->softmax == SOFTMAX_SAMPLED && o->noise == NOISE_LOG_UNIFORM &&
        tokenizer_level(t->tokenizer) == TOK_LEVEL_SUBWORD)
        return err_set(e, ERR_INVALID,
                       "--noise log-uniform needs entries in the order of "
                       "their counts, and sub-words are in that of their "
                       "merges: --noise unigram");
    return 0;
}

static int plan(struct trainer *t, struct err *e)
{
    struct options o = t->o;
    int outputs = t->objective->labelled ? t->labels.n : t->train.n_values;
    o.inputs = t->train.width;
    o.vocab_size = t->tokenizer != NULL ? tokenizer_size(t->tokenizer) : 0;
    if (t->tokenizer != NULL && check_vocabulary(t, e) != 0)
        return -1;
    if (t->objective->check != NULL && t->objective->check(t, e) != 0)
        return -1;
    return net_plan(&t->net, &o, outputs, e);
}

static int open_optim(struct trainer *t, struct err *e)
{
    static const enum optim_kind kinds[] = {OPTIM_SGD, OPTIM_ADAM, OPTIM_ADAMW,
                                            OPTIM_MUON};
    const struct options *o = &t->o;
    t->optim = (struct optim){.kind = kinds[o->optimizer],
                              .beta1 = (real)o->beta1,
                              .beta2 = (real)o->beta2,
                              .eps = (real)1e-8, /* PyTorch's */
                              .weight_decay = (real)o->weight_decay,
                              .momentum = (real)o->momentum,
                              .lazy = o->lazy,
                              .blas = &t->blas};
    t->optim.sampled =
        o->softmax == SOFTMAX_SAMPLED && t->net.C == 0 && o->samples < t->net.V;
    return optim_init(&t->optim, &t->mem, &t->net, t->w, t->n_workers, e);
}

/* Log-uniform noise needs entries in order of frequency; counts do not. */
static int open_noise(struct trainer *t, struct err *e)
{
    int V = t->net.V;
    if (!t->optim.sampled)
        return 0;
    int64_t *count = mem_zarray((size_t)V, sizeof *count);
    if (count == NULL)
        return err_nomem(e);
    for (int64_t i = 0; i < t->train.n; i++)
        count[t->train.ids[i]]++;
    if (tokenizer_eos(t->tokenizer) >= 0)
        count[tokenizer_eos(t->tokenizer)] += t->train.n_records;
    int rc = noise_init(&t->noise, &t->mem, V, t->o.samples,
                        t->o.noise == NOISE_LOG_UNIFORM ? NULL : count,
                        t->o.noise_power, e);
    mem_free(count);
    return rc;
}

static int open_worker(struct trainer *t, struct worker *w, struct err *e)
{
    const struct options *o = &t->o;
    struct feed_size most = t->objective->most(t);
    int T = most.T, N = most.N, B = most.B;
    if (t->net.context > 0 && T > t->net.context)
        return err_set(e, ERR_INVALID,
                       "texts of %d tokens do not fit --context %d: lower "
                       "--max-len",
                       T, t->net.context);
    if (N > 1 << 24)
        return err_set(e, ERR_TOO_LARGE,
                       "%d sequences of %d tokens are too "
                       "many for one step",
                       B, T);
    if (feed_init(&w->feed, &most, e) != 0 ||
        pass_init(&w->pass, &t->net, &t->blas, N, B,
                  t->optim.sampled ? o->samples : 0, e) != 0 ||
        pass_init(&w->eval, &t->net, &t->blas, N, B, 0, e) != 0)
        return -1;
    w->pass.drop = (struct dropout){.word = (real)o->drop_word,
                                    .embedding = (real)o->drop_embedding,
                                    .between = (real)o->drop_between,
                                    .output = (real)o->drop_output,
                                    .recurrent = (real)o->drop_recurrent,
                                    .variational = o->variational,
                                    .attention = (real)o->drop_attention};
    w->pass.penalty = (struct penalty){.ar = (real)o->ar, .tar = (real)o->tar};
    return 0;
}

static int open_workers(struct trainer *t, struct err *e)
{
    if (pool_open(t->n_workers, SPIN_US, &t->pool, e) != 0)
        return -1;
    for (int i = 0; i < t->n_workers; i++) {
        t->optim.pass[i] = &t->worker[i].pass;
        if (open_worker(t, &t->worker[i], e) != 0)
            return -1;
    }
    return 0;
}

static int count_workers(const struct options *o)
{
    int n = o->threads > 0 ? o->threads : pool_default_threads();
    n = n < OPTIM_MAX_WORKERS ? n : OPTIM_MAX_WORKERS;
    return n < o->batch ? n : o->batch;
}

static int open_weights(struct trainer *t, struct err *e)
{
    t->w = region_take(&t->mem, t->net.n, sizeof(real));
    if (t->o.average != AVERAGE_NONE)
        t->average = region_take(&t->mem, t->net.n, sizeof(real));
    if (t->o.average == AVERAGE_LAST)
        t->last = region_take(&t->mem, (size_t)t->o.average_last * t->net.n,
                              sizeof(real));
    if (region_check(&t->mem, e) != 0)
        return -1;
    net_initialise(&t->net, (uint64_t)t->o.seed, t->w);
    return t->o.resume ? 0 : init_from(t, e);
}

/* What a checkpoint has beside its weights, in place of what was there. */
static int write_new(struct trainer *t, struct err *e)
{
    if (t->o.overwrite && outdir_clear(t, e) != 0)
        return -1;
    if ((t->vocab.len > 0 &&
         save_file(t->o.out, "tokenizer.json", &t->vocab, e) != 0) ||
        (t->setup.len > 0 &&
         save_file(t->o.out, "tokenizer_config.json", &t->setup, e) != 0))
        return -1;
    buf_fini(&t->vocab);
    buf_fini(&t->setup);
    return save_config(t, t->o.out, e);
}

int trainer_open(struct trainer *t, const struct options *o, struct err *e)
{
    memset(t, 0, sizeof *t);
    t->o = *o;
    t->out_fd = -1;
    t->objective = trainables[o->arch]->objective(o);
    t->n_workers = count_workers(o);
    t->at.best = 1e30;
    t->at.plateau = 1;
    t->started_us = clock_now_us();
    if (name_files(t, e) != 0 || outdir_open(t, e) != 0 ||
        blas_open(&t->blas, e) != 0 ||
        (o->products && blas_use_bf16(&t->blas, e) != 0) ||
        open_data(t, e) != 0 || plan(t, e) != 0 || open_weights(t, e) != 0 ||
        open_optim(t, e) != 0 || open_noise(t, e) != 0 ||
        open_workers(t, e) != 0)
        return -1;
    trainer_say(t, "%s, %zu parameters; %d threads, OpenBLAS %s, %s%s%s\n",
                t->net.name, t->net.n, t->n_workers, t->blas.core, REAL_NAME,
                t->blas.bf16 ? ", large products in bf16 by " : "",
                t->blas.bf16 ? bf16_unit_name(t->blas.bf16) : "");
    if (o->resume)
        return resume_load(t, e);
    return write_new(t, e);
}

void trainer_close(struct trainer *t)
{
    course_fini(&t->epoch);
    for (int i = 0; i < OPTIM_MAX_WORKERS; i++) {
        pass_fini(&t->worker[i].pass);
        pass_fini(&t->worker[i].eval);
        feed_fini(&t->worker[i].feed);
    }
    if (t->pool != NULL)
        pool_close(t->pool);
    net_fini(&t->net);
    region_fini(&t->mem);
    corpus_fini(&t->train);
    corpus_fini(&t->valid);
    labels_fini(&t->labels);
    mem_free(t->curve.v);
    if (t->tokenizer != NULL)
        tokenizer_close(t->tokenizer);
    buf_fini(&t->vocab);
    buf_fini(&t->setup);
    blas_close(&t->blas);
    outdir_close(t);
}
