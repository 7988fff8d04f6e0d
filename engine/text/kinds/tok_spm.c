/* tok_spm: SentencePiece's BPE. Three files ask for it:
 *
 *   GGUF "llama", and sentencepiece's own
 *                      of all pairs of neighbours whose text is an entry, the
 *                      one of the highest score is joined, of equals the
 *                      leftmost (sentencepiece, bpe_model.cc; llama.cpp)
 *   tokenizer.json     type "BPE" over characters, by ranked merges, as Llama
 *                      2 and Mistral are published
 *
 * Characters that are no entry become the bytes of their UTF-8 ("<0x0A>")
 * where the vocabulary has them, else the unknown token. O(n log n).
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/mem.h"
#include "engine/text/kinds/spm_norm.h"
#include "engine/text/kinds/spm_proto.h"
#include "engine/text/kinds/tok_bpe.h"

/* A symbol while scores are merged: bytes [at, at + len), len 0: gone. */
struct sym {
    uint32_t at, len;
    int32_t prev, next;
    int whole; /* user-defined: joined with nothing */
};

/* A pair that could be joined: of the text [at, at + len) of two symbols. */
struct pair {
    double score;
    uint32_t len;
    int32_t left, right;
};

struct spm_bpe {
    struct spm base; /* no scores: ranked merges */
    struct bpe_merges merges;
    int fuse; /* unknown characters side by side are one token */
    int ignore_merges;
};

struct coder {
    struct spm_coder base;
    struct bpe_work w;
    struct sym *sym;   /* [cap] */
    struct pair *heap; /* [2 cap] */
    size_t cap, n_heap;
};

static const struct spm_bpe *model_of(const struct spm_coder *k)
{
    return k->c->t->self;
}

/* ---------------------------------------------------------------- unknowns */

/* The character that begins at `from` is no entry. */
static int push_unknown(struct spm_coder *k, size_t from)
{
    k->c->out->n_unknown++;
    if (k->c->t->unk < 0)
        return spm_flush_unknown(k, from);
    if (!model_of(k)->fuse && spm_flush_unknown(k, from))
        return -1;
    k->unknown_from = k->unknown_from == SIZE_MAX ? from : k->unknown_from;
    return 0;
}

static int has_bytes(const struct spm *m, const char *s, size_t n)
{
    int all = m->fallback;
    for (size_t i = 0; i < n && all; i++)
        all = m->bytes.id[(unsigned char)s[i]] >= 0;
    return all;
}

static int push_bytes(struct spm_coder *k, size_t from, size_t to)
{
    return has_bytes(k->m, k->s + from, to - from) ? spm_push_bytes(k, from, to)
                                                   : push_unknown(k, from);
}

/* ------------------------------------------------------------------ scores */

static int32_t entry_at(const struct coder *k, size_t at, size_t n)
{
    int32_t id = tokenizer_lookup(k->base.c->t, k->base.s + at, n);
    return id >= 0 && spm_plain(k->base.c->t, id) ? id : -1;
}

/* Does a go before b? */
static int before(const struct pair *a, const struct pair *b)
{
    return a->score > b->score || (a->score == b->score && a->left < b->left);
}

static void heap_push(struct coder *k, struct pair v)
{
    size_t i = k->n_heap++;
    while (i > 0 && before(&v, &k->heap[(i - 1) / 2])) {
        k->heap[i] = k->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    k->heap[i] = v;
}

static struct pair heap_pop(struct coder *k)
{
    struct pair top = k->heap[0], v = k->heap[--k->n_heap];
    size_t i = 0;
    for (;;) {
        size_t c = 2 * i + 1;
        if (c >= k->n_heap)
            break;
        c += c + 1 < k->n_heap && before(&k->heap[c + 1], &k->heap[c]);
        if (!before(&k->heap[c], &v))
            break;
        k->heap[i] = k->heap[c];
        i = c;
    }
    k->heap[i] = v;
    return top;
}

/* The pair of symbol i and the one after it, if its text is an entry. */
static void offer(struct coder *k, int32_t i)
{
    int32_t next = i >= 0 ? k->sym[i].next : -1;
    if (next < 0 || k->sym[i].whole || k->sym[next].whole)
        return;
    uint32_t len = k->sym[i].len + k->sym[next].len;
    int32_t id = entry_at(k, k->sym[i].at, len);
    if (id >= 0)
        heap_push(k, (struct pair){k->base.m->score[id], len, i, next});
}

/* Symbols: the characters of s[from, to), and user-defined entries. Returns
 * their number. */
static int32_t lay_out(struct coder *k, size_t from, size_t to)
{
    const struct spm_norm *m = &k->base.m->norm;
    int32_t n = 0;
    for (size_t i = from; i < to;) {
        uint32_t cp;
        const struct tok_entry *u =
            m->user.n
                ? tok_index_longest(&m->user, m->of, 0, k->base.s + i, to - i)
                : NULL;
        size_t used = u ? u->len : tok_decode(k->base.s, to, i, &cp);
        k->sym[n] =
            (struct sym){(uint32_t)i, (uint32_t)used, n - 1, n + 1, u != NULL};
        i += used;
        n++;
    }
    if (n > 0)
        k->sym[n - 1].next = -1;
    return n;
}

static void merge_all(struct coder *k)
{
    while (k->n_heap > 0) {
        struct pair p = heap_pop(k);
        struct sym *a = &k->sym[p.left], *b = &k->sym[p.right];
        if (a->len == 0 || b->len == 0 || a->len + b->len != p.len)
            continue; /* one of them has grown or gone since */
        a->len = p.len;
        a->next = b->next;
        b->len = 0;
        if (a->next >= 0)
            k->sym[a->next].prev = p.left;
        offer(k, a->prev);
        offer(k, p.left);
    }
}

static int reserve_syms(struct coder *k, size_t n)
{
    if (n <= k->cap)
        return 0;
    mem_free(k->sym);
    mem_free(k->heap);
    k->sym = mem_array(n, sizeof *k->sym);
    /* n - 1 pairs at first, and each merge takes one and offers two. */
    k->heap = mem_array(2 * n, sizeof *k->heap);
    k->cap = k->sym && k->heap ? n : 0;
    return k->cap ? 0 : err_nomem(k->base.c->e);
}

static int word_by_score(struct coder *k, size_t from, size_t to)
{
    if (reserve_syms(k, to - from))
        return -1;
    int32_t n = lay_out(k, from, to);
    k->n_heap = 0;
    for (int32_t i = 0; i < n; i++)
        offer(k, i);
    merge_all(k);
    for (int32_t i = n > 0 ? 0 : -1; i >= 0; i = k->sym[i].next) {
        size_t at = k->sym[i].at, end = at + k->sym[i].len;
        int32_t id = entry_at(k, at, end - at);
        if (id >= 0 ? spm_push(&k->base, id, at, end)
                    : push_bytes(&k->base, at, end))
            return -1;
    }
    return 0;
}

/* ------------------------------------------------------------------ merges */

static int32_t add_node(struct bpe_work *w, size_t i, int32_t id, int32_t last)
{
    int32_t at = (int32_t)i;
    w->node[at] = (struct bpe_node){id, last, -1, UINT32_MAX};
    if (last >= 0)
        w->node[last].next = at;
    return at;
}

/* A character is a symbol, or its bytes are; node i is at byte i of the word.
 */
static void lay_out_nodes(struct coder *k, size_t from, size_t to)
{
    int32_t last = -1;
    for (size_t i = from; i < to;) {
        uint32_t cp;
        size_t used = tok_decode(k->base.s, to, i, &cp);
        int32_t id = entry_at(k, i, used);
        int bytes = id < 0 && has_bytes(k->base.m, k->base.s + i, used);
        for (size_t b = 0; b < (bytes ? used : 1); b++) {
            id = bytes ? k->base.m->bytes.id[(unsigned char)k->base.s[i + b]]
                       : id;
            last = add_node(&k->w, i + b - from, id, last);
        }
        i += used;
    }
}

static int word_by_rank(struct coder *k, size_t from, size_t to)
{
    int32_t whole =
        model_of(&k->base)->ignore_merges ? entry_at(k, from, to - from) : -1;
    if (whole >= 0)
        return spm_push(&k->base, whole, from, to);
    if (bpe_reserve(&k->w, to - from, k->base.c->e))
        return -1;
    lay_out_nodes(k, from, to);
    bpe_run(&model_of(&k->base)->merges, &k->w, 0);
    for (int32_t i = 0; i >= 0; i = k->w.node[i].next) {
        const struct bpe_node *node = &k->w.node[i];
        size_t at = from + (size_t)i;
        size_t end = node->next >= 0 ? from + (size_t)node->next : to;
        if (node->id >= 0 ? spm_push(&k->base, node->id, at, end)
                          : push_unknown(&k->base, at))
            return -1;
    }
    return 0;
}

/* ---------------------------------------------------------------- encoding */

static int word(struct spm_coder *base, size_t from, size_t to)
{
    struct coder *k = (struct coder *)base;
    return base->m->score ? word_by_score(k, from, to)
                          : word_by_rank(k, from, to);
}

static int encode(struct tok_encoder *c, const char *s, size_t n)
{
    struct coder k = {.cap = 0};
    int rc = spm_encode(&k.base, c, s, n, word);
    bpe_work_fini(&k.w);
    mem_free(k.sym);
    mem_free(k.heap);
    return rc;
}

/* ----------------------------------------------------------------- loading */

static void close_spm(void *self)
{
    struct spm_bpe *m = self;
    spm_fini(&m->base);
    bpe_merges_fini(&m->merges);
    mem_free(m);
}

static const struct tok_ops ops = {.name = "SentencePiece BPE",
                                   .level = TOK_LEVEL_SUBWORD,
                                   .encode = encode,
                                   .detok = spm_detok,
                                   .close = close_spm};

static int load_gguf(struct spm_bpe *m, struct tokenizer *t,
                     const struct tok_source *s)
{
    int prefix = tok_gguf_int(s, "tokenizer.ggml.add_space_prefix", 1) != 0;
    t->bos = 1; /* llama's own, where the file says nothing */
    t->eos = 2;
    t->unk = 0;
    t->add_bos = 1;
    m->base.fallback = 1;
    m->base.norm.strips = prefix;
    if ((prefix && spm_norm_add(&m->base.norm, s, SPM_PREPEND, ' ')) ||
        spm_norm_add(&m->base.norm, s, SPM_SPACES, 0) || tok_vocab_gguf(t, s))
        return -1;
    return spm_scores(t, s, &m->base.score);
}

static int load_json(struct spm_bpe *m, struct tokenizer *t,
                     const struct tok_source *s)
{
    if (json_number(json_get(s->model, "dropout")) > 0)
        return tok_refuse(s, "model", "BPE with dropout");
    if (json_string_len(json_get(s->model, "continuing_subword_prefix")) ||
        json_string_len(json_get(s->model, "end_of_word_suffix")))
        return tok_refuse(s, "model", "BPE with marks on words");
    return spm_norm_json(&m->base.norm, s) ||
                   tok_flag(s, s->model, "byte_fallback", 0,
                            &m->base.fallback) ||
                   tok_flag(s, s->model, "fuse_unk", 0, &m->fuse) ||
                   tok_flag(s, s->model, "ignore_merges", 0,
                            &m->ignore_merges) ||
                   tok_vocab_json(t, s, 1) ||
                   bpe_read_json_merges(&m->merges, t, s, 0) ||
                   tok_named(s, t, s->model, "unk_token", &t->unk)
               ? -1
               : 0;
}

static int load_proto(struct spm_bpe *m, struct tokenizer *t,
                      const struct tok_source *s)
{
    for (int id = 0; id < s->proto->n; id++)
        if (s->proto->piece[id].type == SPM_PIECE_UNUSED)
            return tok_refuse(s, "model", "BPE with unused pieces");
    m->fuse = 1;
    return spm_pieces(t, s);
}

int tok_spm_load(struct tokenizer *t, const struct tok_source *s)
{
    struct spm_bpe *m = mem_zalloc(sizeof *m);
    if (!m)
        return err_nomem(s->e);
    t->self = m;
    t->ops = &ops;
    if (s->gguf    ? load_gguf(m, t, s)
        : s->proto ? load_proto(m, t, s)
                   : load_json(m, t, s))
        return -1;
    if (spm_load(t, s))
        return -1;
    return !s->gguf && t->unk < 0 && !m->base.bytes.all
               ? tok_refuse(s, "model", "BPE without unk_token")
               : 0;
}
