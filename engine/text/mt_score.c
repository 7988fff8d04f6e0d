/* mt_score: see mt_score.h. Tokens and characters become numbers; n-grams of
 * two texts are sorted and walked side by side, which is exact and takes
 * n log n whatever the texts hold.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/mt_score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/tok_13a.h"

#define MAX_BYTES ((size_t)1 << 28)

/* A text as numbers; one of a pair whose equal units have equal numbers. */
struct units {
    int32_t *v;
    int n;
};

/* --------------------------------------------------------------- n-grams */

struct gram {
    const int32_t *p;
    int n;
};

static int by_units(const void *a, const void *b)
{
    const struct gram *x = a, *y = b;
    for (int i = 0; i < x->n; i++)
        if (x->p[i] != y->p[i])
            return x->p[i] < y->p[i] ? -1 : 1;
    return 0;
}

/* All n-grams of an order, sorted, into g; how many. */
static int grams_of(const struct units *u, int order, struct gram *g)
{
    int n = u->n >= order ? u->n - order + 1 : 0;
    for (int i = 0; i < n; i++)
        g[i] = (struct gram){u->v + i, order};
    qsort(g, (size_t)n, sizeof *g, by_units);
    return n;
}

/* How many n-grams of a stand in b as well, each as often as in both. */
static int64_t matches(const struct gram *a, int n, const struct gram *b, int m)
{
    int64_t found = 0;
    for (int i = 0, j = 0; i < n && j < m;) {
        int c = by_units(&a[i], &b[j]);
        found += c == 0;
        i += c <= 0;
        j += c >= 0;
    }
    return found;
}

/* counts: match, hyp and ref [orders] are added to. */
static int count(const struct units *hyp, const struct units *ref, int orders,
                 int64_t *const counts[3], struct err *e)
{
    struct gram *a = mem_array((size_t)hyp->n + 1, sizeof *a);
    struct gram *b = mem_array((size_t)ref->n + 1, sizeof *b);
    int ok = a != NULL && b != NULL;
    for (int k = 1; k <= orders && ok; k++) {
        int n = grams_of(hyp, k, a), m = grams_of(ref, k, b);
        counts[0][k - 1] += matches(a, n, b, m);
        counts[1][k - 1] += n;
        counts[2][k - 1] += m;
    }
    mem_free(a);
    mem_free(b);
    return ok ? 0 : err_nomem(e);
}

/* ------------------------------------------------------------------ units */

struct word {
    const char *p;
    size_t n;
    int32_t *id;
};

static int by_bytes(const void *a, const void *b)
{
    const struct word *x = a, *y = b;
    int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return c != 0 ? c : (x->n > y->n) - (x->n < y->n);
}

static int count_words(const struct buf *b)
{
    int n = 0;
    for (size_t at = 0, len; (len = tok_13a_word(b->p, b->len, &at)) > 0;
         at += len)
        n++;
    return n;
}

static int list_words(const struct buf *b, struct word *w, int32_t *id)
{
    int n = 0;
    for (size_t at = 0, len; (len = tok_13a_word(b->p, b->len, &at)) > 0;
         at += len, n++)
        w[n] = (struct word){b->p + at, len, &id[n]};
    return n;
}

/* Words of both texts get numbers by their order. */
static int number_words(const struct buf *hyp, const struct buf *ref,
                        struct units *h, struct units *r, struct err *e)
{
    size_t n = (size_t)count_words(hyp), m = (size_t)count_words(ref);
    struct word *w = mem_array(n + m + 1, sizeof *w);
    h->v = mem_array(n + 1, sizeof *h->v);
    r->v = mem_array(m + 1, sizeof *r->v);
    if (w == NULL || h->v == NULL || r->v == NULL) {
        mem_free(w);
        return err_nomem(e);
    }
    h->n = list_words(hyp, w, h->v);
    r->n = list_words(ref, w + n, r->v);
    qsort(w, n + m, sizeof *w, by_bytes);
    int32_t id = 0;
    for (size_t i = 0; i < n + m; i++) {
        id += i > 0 && by_bytes(&w[i - 1], &w[i]) != 0;
        *w[i].id = id;
    }
    mem_free(w);
    return 0;
}

/* The code points that are no white space. */
static int number_chars(const char *s, size_t n, struct units *u, struct err *e)
{
    u->v = mem_array(n + 1, sizeof *u->v);
    if (u->v == NULL)
        return err_nomem(e);
    for (size_t i = 0; i < n;) {
        uint32_t cp = 0xfffd;
        int len = utf8_next(s + i, n - i, &cp);
        if (!tok_13a_is_space(cp))
            u->v[u->n++] = (int32_t)cp;
        i += (size_t)(len > 0 ? len : 1);
    }
    return 0;
}

/* --------------------------------------------------------------- sentences */

static int add_words(struct mt_score *s, struct mt_text hyp, struct mt_text ref,
                     struct err *e)
{
    struct units h = {NULL, 0}, r = {NULL, 0};
    int64_t others[BLEU_ORDERS] = {0};
    int64_t *const counts[] = {s->match, s->total, others};
    struct buf a, b;
    buf_init(&a, 16 * MAX_BYTES);
    buf_init(&b, 16 * MAX_BYTES);
    int rc = tok_13a_run(hyp.p, hyp.n, &a, e) ||
                     tok_13a_run(ref.p, ref.n, &b, e) ||
                     number_words(&a, &b, &h, &r, e) ||
                     count(&h, &r, BLEU_ORDERS, counts, e)
                 ? -1
                 : 0;
    s->hyp_len += h.n;
    s->ref_len += r.n;
    mem_free(h.v);
    mem_free(r.v);
    buf_fini(&a);
    buf_fini(&b);
    return rc;
}

static int add_chars(struct mt_score *s, struct mt_text hyp, struct mt_text ref,
                     struct err *e)
{
    struct units h = {NULL, 0}, r = {NULL, 0};
    int64_t *const counts[] = {s->chars_match, s->chars_hyp, s->chars_ref};
    int rc = number_chars(hyp.p, hyp.n, &h, e) ||
                     number_chars(ref.p, ref.n, &r, e) ||
                     count(&h, &r, CHRF_ORDERS, counts, e)
                 ? -1
                 : 0;
    /* of an order that the reference has none of nothing counts */
    for (int k = 0; k < CHRF_ORDERS; k++)
        if (s->chars_ref[k] == 0)
            s->chars_hyp[k] = 0;
    mem_free(h.v);
    mem_free(r.v);
    return rc;
}

int mt_score_add(struct mt_score *s, const char *hyp, size_t n_hyp,
                 const char *ref, size_t n_ref, struct err *e)
{
    struct mt_score one = {.n = 1};
    const struct mt_text h = {hyp, n_hyp}, r = {ref, n_ref};
    if (n_hyp > MAX_BYTES || n_ref > MAX_BYTES)
        return err_set(e, ERR_TOO_LARGE, "a sentence of over %zu bytes",
                       MAX_BYTES);
    if (add_words(&one, h, r, e) != 0 || add_chars(&one, h, r, e) != 0)
        return -1;
    mt_score_sum(s, &one);
    return 0;
}

void mt_score_sum(struct mt_score *a, const struct mt_score *b)
{
    a->n += b->n;
    a->hyp_len += b->hyp_len;
    a->ref_len += b->ref_len;
    for (int k = 0; k < BLEU_ORDERS; k++) {
        a->match[k] += b->match[k];
        a->total[k] += b->total[k];
    }
    for (int k = 0; k < CHRF_ORDERS; k++) {
        a->chars_match[k] += b->chars_match[k];
        a->chars_hyp[k] += b->chars_hyp[k];
        a->chars_ref[k] += b->chars_ref[k];
    }
}

/* ------------------------------------------------------------------ scores */

static double penalty_of(int64_t hyp, int64_t ref)
{
    if (hyp >= ref)
        return 1;
    return hyp > 0 ? exp(1 - (double)ref / (double)hyp) : 0;
}

struct bleu mt_score_bleu(const struct mt_score *s)
{
    struct bleu b = {.penalty = penalty_of(s->hyp_len, s->ref_len)};
    double halved = 1, logs = 0;
    int any = 0;
    for (int k = 0; k < BLEU_ORDERS; k++)
        any |= s->match[k] > 0;
    for (int k = 0; k < BLEU_ORDERS && any && s->total[k] > 0; k++) {
        double total = (double)s->total[k];
        if (s->match[k] == 0)
            halved *= 2;
        b.precision[k] = s->match[k] == 0 ? 100 / (halved * total)
                                          : 100 * (double)s->match[k] / total;
    }
    for (int k = 0; k < BLEU_ORDERS; k++) {
        if (b.precision[k] == 0) /* no n-gram of this order anywhere */
            return b;
        logs += log(b.precision[k]);
    }
    b.score = b.penalty * exp(logs / BLEU_ORDERS);
    return b;
}

double mt_score_chrf(const struct mt_score *s)
{
    double precision = 0, recall = 0, beta2 = 4;
    int orders = 0;
    for (int k = 0; k < CHRF_ORDERS; k++) {
        if (s->chars_hyp[k] == 0 || s->chars_ref[k] == 0)
            continue;
        precision += (double)s->chars_match[k] / (double)s->chars_hyp[k];
        recall += (double)s->chars_match[k] / (double)s->chars_ref[k];
        orders++;
    }
    if (precision + recall == 0)
        return 0;
    precision /= orders;
    recall /= orders;
    return 100 * (1 + beta2) * precision * recall /
           (beta2 * precision + recall);
}

/* ----------------------------------------------------------------- reports */

const char *const mt_report_words[MT_LENGTHS] = {"1-5", "6-10", "11-15",
                                                 "16-20", "21+"};

int mt_report_length(struct mt_text source)
{
    int n = 0;
    for (size_t at = 0, len; (len = tok_13a_word(source.p, source.n, &at)) > 0;
         at += len)
        n++;
    return n == 0 ? -1 : n > 20 ? MT_LENGTHS - 1 : (n - 1) / 5;
}

int mt_report_add(struct mt_report *r, struct mt_text hyp, struct mt_text ref,
                  struct mt_text source, struct err *e)
{
    struct mt_score one = {.n = 0};
    if (mt_score_add(&one, hyp.p, hyp.n, ref.p, ref.n, e) != 0)
        return -1;
    mt_score_sum(&r->all, &one);
    r->has_source |= source.p != NULL;
    int k = source.p != NULL ? mt_report_length(source) : -1;
    if (k >= 0)
        mt_score_sum(&r->by_length[k], &one);
    return 0;
}

static void write_lengths(const struct mt_report *r, struct buf *out)
{
    buf_add_str(out, ", \"by_source_length\": [");
    for (int k = 0; k < MT_LENGTHS; k++) {
        const struct mt_score *s = &r->by_length[k];
        buf_addf(out,
                 "%s{\"words\": \"%s\", \"sentences\": %lld, \"bleu\": %.4f, "
                 "\"chrf2\": %.4f}",
                 k > 0 ? ", " : "", mt_report_words[k], (long long)s->n,
                 mt_score_bleu(s).score, mt_score_chrf(s));
    }
    buf_add_str(out, "]");
}

int mt_report_write(const struct mt_report *r, struct buf *out, struct err *e)
{
    const struct mt_score *s = &r->all;
    struct bleu b = mt_score_bleu(s);
    double ref = s->ref_len > 0 ? (double)s->ref_len : 1;
    buf_addf(out, "{\"sentences\": %lld, \"bleu\": %.4f, \"precisions\": [",
             (long long)s->n, b.score);
    for (int k = 0; k < BLEU_ORDERS; k++)
        buf_addf(out, "%s%.4f", k > 0 ? ", " : "", b.precision[k]);
    buf_addf(out,
             "], \"bp\": %.6f, \"ratio\": %.6f, \"hyp_len\": %lld, "
             "\"ref_len\": %lld, \"signature\": \"" BLEU_SIGNATURE
             "\", \"chrf2\": %.4f, \"chrf_signature\": \"" CHRF_SIGNATURE "\"",
             b.penalty, s->ref_len > 0 ? (double)s->hyp_len / ref : 0,
             (long long)s->hyp_len, (long long)s->ref_len, mt_score_chrf(s));
    if (r->has_source)
        write_lengths(r, out);
    buf_add_str(out, "}\n");
    return out->failed ? err_nomem(e) : 0;
}
