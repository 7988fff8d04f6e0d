/* mt_score: see mt_score.h. Tokens and characters become numbers; n-grams of
 * two texts are sorted and walked side by side, which is exact and takes
 * n log n whatever the texts hold.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/mt_score.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/text/tok_13a.h"

#define MAX_BYTES ((size_t)1 << 28)

/* A text as numbers; of texts whose equal units have equal numbers. */
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

/* Marks each of the sorted n-grams of a that stands in b as well, as often as
 * it does there: of equal ones the first. How many. */
static int64_t matches(const struct gram *a, int n, const struct gram *b, int m,
                       char *found)
{
    int64_t all = 0;
    for (int i = 0, j = 0; i < n && j < m;) {
        int c = by_units(&a[i], &b[j]);
        found[i] |= c == 0;
        all += c == 0;
        i += c <= 0;
        j += c >= 0;
    }
    return all;
}

/* What n-grams of a text are sorted in. */
struct count_work {
    struct gram *hyp, *ref;
    char *found; /* [hyp] in any reference */
};

static int open_work(struct count_work *w, const struct units *hyp,
                     const struct units *ref, int n_ref, struct err *e)
{
    int most = 0;
    for (int i = 0; i < n_ref; i++)
        most = ref[i].n > most ? ref[i].n : most;
    w->hyp = mem_array((size_t)hyp->n + 1, sizeof *w->hyp);
    w->ref = mem_array((size_t)most + 1, sizeof *w->ref);
    w->found = mem_zarray((size_t)hyp->n + 1, 1);
    return w->hyp != NULL && w->ref != NULL && w->found != NULL ? 0
                                                                : err_nomem(e);
}

static void close_work(struct count_work *w)
{
    mem_free(w->hyp);
    mem_free(w->ref);
    mem_free(w->found);
}

/* Of a text and its references: match counts an n-gram as often as it stands in
 * the text and in the reference that has it most often; hyp all of the text. */
static int count_union(const struct units *hyp, const struct units *ref,
                       int n_ref, int orders, int64_t *match, int64_t *total,
                       struct err *e)
{
    struct count_work w;
    int rc = open_work(&w, hyp, ref, n_ref, e);
    for (int k = 1; k <= orders && rc == 0; k++) {
        int n = grams_of(hyp, k, w.hyp);
        memset(w.found, 0, (size_t)n);
        for (int i = 0; i < n_ref; i++)
            matches(w.hyp, n, w.ref, grams_of(&ref[i], k, w.ref), w.found);
        for (int i = 0; i < n; i++)
            match[k - 1] += w.found[i];
        total[k - 1] += n;
    }
    close_work(&w);
    return rc;
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

/* Words of all texts [n] get numbers by their order. */
static int number_words(const struct buf *text, int n, struct units *u,
                        struct err *e)
{
    size_t all = 0, at = 0;
    int ok = 1;
    for (int i = 0; i < n; i++) {
        int words = count_words(&text[i]);
        u[i].v = mem_array((size_t)words + 1, sizeof *u[i].v);
        ok &= u[i].v != NULL;
        all += (size_t)words;
    }
    struct word *w = ok ? mem_array(all + 1, sizeof *w) : NULL;
    if (w == NULL)
        return err_nomem(e);
    for (int i = 0; i < n; i++, at += (size_t)u[i - 1].n)
        u[i].n = list_words(&text[i], w + at, u[i].v);
    qsort(w, all, sizeof *w, by_bytes);
    int32_t id = 0;
    for (size_t i = 0; i < all; i++) {
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

/* The length of the reference that is nearest; of two the shorter one. */
static int nearest_length(int hyp, const struct units *ref, int n)
{
    int best = ref[0].n;
    for (int i = 1; i < n; i++) {
        int d = abs(ref[i].n - hyp) - abs(best - hyp);
        if (d < 0 || (d == 0 && ref[i].n < best))
            best = ref[i].n;
    }
    return best;
}

/* The text and its references, cut; one after the other. */
struct cut {
    struct buf *text;
    struct units *units;
    int n;
};

static int cut_words(struct cut *c, struct mt_text hyp,
                     const struct mt_text *ref, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < c->n; i++)
        buf_init(&c->text[i], 16 * MAX_BYTES);
    for (int i = 0; i < c->n && rc == 0; i++) {
        struct mt_text t = i == 0 ? hyp : ref[i - 1];
        rc = tok_13a_run(t.p, t.n, &c->text[i], e);
    }
    return rc == 0 ? number_words(c->text, c->n, c->units, e) : -1;
}

static int add_words(struct mt_score *s, struct mt_text hyp,
                     const struct mt_text *ref, int n_ref, struct err *e)
{
    struct cut c = {.n = 1 + n_ref};
    c.text = mem_zarray((size_t)c.n, sizeof *c.text);
    c.units = mem_zarray((size_t)c.n, sizeof *c.units);
    int ok = c.text != NULL && c.units != NULL;
    int rc = !ok ? err_nomem(e) : cut_words(&c, hyp, ref, e);
    if (rc == 0)
        rc = count_union(c.units, c.units + 1, n_ref, BLEU_ORDERS, s->match,
                         s->total, e);
    if (rc == 0) {
        s->hyp_len += c.units->n;
        s->ref_len += nearest_length(c.units->n, c.units + 1, n_ref);
    }
    for (int i = 0; i < c.n && ok; i++) {
        buf_fini(&c.text[i]);
        mem_free(c.units[i].v);
    }
    mem_free(c.text);
    mem_free(c.units);
    return rc;
}

/* The counts of chrF against one reference. */
static int count_chars(const struct units *hyp, const struct units *ref,
                       struct mt_score *s, struct err *e)
{
    struct count_work w;
    int rc = open_work(&w, hyp, ref, 1, e);
    for (int k = 1; k <= CHRF_ORDERS && rc == 0; k++) {
        int n = grams_of(hyp, k, w.hyp), m = grams_of(ref, k, w.ref);
        s->chars_match[k - 1] = matches(w.hyp, n, w.ref, m, w.found);
        /* of an order that the reference has none of nothing counts */
        s->chars_hyp[k - 1] = m > 0 ? n : 0;
        s->chars_ref[k - 1] = m;
    }
    close_work(&w);
    return rc;
}

/* Of several references that with the best score, of equal ones the first. */
static int add_chars(struct mt_score *s, struct mt_text hyp,
                     const struct mt_text *ref, int n_ref, struct err *e)
{
    struct units h = {NULL, 0};
    double best = -1;
    int rc = number_chars(hyp.p, hyp.n, &h, e);
    for (int i = 0; i < n_ref && rc == 0; i++) {
        struct mt_score one = {.n = 0};
        struct units r = {NULL, 0};
        rc = number_chars(ref[i].p, ref[i].n, &r, e) ||
                     count_chars(&h, &r, &one, e)
                 ? -1
                 : 0;
        mem_free(r.v);
        double score = mt_score_chrf(&one);
        if (rc != 0 || score <= best)
            continue;
        best = score;
        memcpy(s->chars_match, one.chars_match, sizeof s->chars_match);
        memcpy(s->chars_hyp, one.chars_hyp, sizeof s->chars_hyp);
        memcpy(s->chars_ref, one.chars_ref, sizeof s->chars_ref);
    }
    mem_free(h.v);
    return rc;
}

int mt_score_add(struct mt_score *s, struct mt_text hyp,
                 const struct mt_text *ref, int n_ref, struct err *e)
{
    struct mt_score one = {.n = 1, .least_refs = n_ref, .most_refs = n_ref};
    size_t most = hyp.n;
    for (int i = 0; i < n_ref; i++)
        most = ref[i].n > most ? ref[i].n : most;
    if (most > MAX_BYTES)
        return err_set(e, ERR_TOO_LARGE, "a sentence of over %zu bytes",
                       MAX_BYTES);
    if (add_words(&one, hyp, ref, n_ref, e) != 0 ||
        add_chars(&one, hyp, ref, n_ref, e) != 0)
        return -1;
    mt_score_sum(s, &one);
    return 0;
}

void mt_score_sum(struct mt_score *a, const struct mt_score *b)
{
    if (a->n == 0 || (b->n > 0 && b->least_refs < a->least_refs))
        a->least_refs = b->least_refs;
    if (b->most_refs > a->most_refs)
        a->most_refs = b->most_refs;
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
    /* in sacreBLEU's order: of equal references it takes the first */
    double score = (1 + beta2) * precision * recall;
    return 100 * (score / (beta2 * precision + recall));
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

int mt_report_add(struct mt_report *r, struct mt_text hyp,
                  const struct mt_text *ref, int n_ref, struct mt_text source,
                  struct err *e)
{
    struct mt_score one = {.n = 0};
    if (mt_score_add(&one, hyp, ref, n_ref, e) != 0)
        return -1;
    mt_report_sum(r, &one, source);
    return 0;
}

void mt_report_sum(struct mt_report *r, const struct mt_score *one,
                   struct mt_text source)
{
    int k = source.p != NULL ? mt_report_length(source) : -1;
    mt_score_sum(&r->all, one);
    r->has_source |= source.p != NULL;
    if (k >= 0)
        mt_score_sum(&r->by_length[k], one);
}

void mt_score_signatures(const struct mt_score *s, struct buf *out)
{
    char n[16] = "var";
    if (s->least_refs == s->most_refs)
        snprintf(n, sizeof n, "%d", s->n > 0 ? s->most_refs : 1);
    buf_addf(
        out,
        "\"signature\": \"nrefs:%s|" BLEU_SIGNATURE
        "\", \"chrf2\": %.4f, \"chrf_signature\": \"nrefs:%s|" CHRF_SIGNATURE
        "\"",
        n, mt_score_chrf(s), n);
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
             "\"ref_len\": %lld, ",
             b.penalty, s->ref_len > 0 ? (double)s->hyp_len / ref : 0,
             (long long)s->hyp_len, (long long)s->ref_len);
    mt_score_signatures(s, out);
    if (r->has_source)
        write_lengths(r, out);
    buf_add_str(out, "}\n");
    return out->failed ? err_nomem(e) : 0;
}
