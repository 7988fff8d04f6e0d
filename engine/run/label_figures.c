/* label_figures: see label_figures.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/label_figures.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"

#define LEAST_P 1e-30 /* of a label that got none: its log is a number */

int label_figures_init(struct label_figures *f, int n, struct err *e)
{
    *f = (struct label_figures){.n = n};
    f->confusion = mem_zarray((size_t)n * (size_t)n, sizeof *f->confusion);
    return f->confusion ? 0 : err_nomem(e);
}

void label_figures_fini(struct label_figures *f)
{
    mem_free(f->confusion);
    f->confusion = NULL;
}

void label_figures_add(struct label_figures *f, int label, int best, double p,
                       double sure)
{
    int bin = (int)(sure * FIGURE_BINS);

    bin = bin < FIGURE_BINS ? bin : FIGURE_BINS - 1;
    f->items++;
    f->right += best == label;
    f->nll -= log(p > LEAST_P ? p : LEAST_P);
    f->sure[bin] += sure;
    f->correct[bin] += best == label;
    f->confusion[(size_t)label * (size_t)f->n + (size_t)best]++;
}

void label_figures_join(struct label_figures *f,
                        const struct label_figures *from)
{
    f->items += from->items;
    f->right += from->right;
    f->nll += from->nll;
    for (int i = 0; i < FIGURE_BINS; i++) {
        f->sure[i] += from->sure[i];
        f->correct[i] += from->correct[i];
    }
    for (size_t i = 0; i < (size_t)f->n * (size_t)f->n; i++)
        f->confusion[i] += from->confusion[i];
}

static double texts(const struct label_figures *f)
{
    return f->items > 0 ? (double)f->items : 1;
}

double label_figures_nll(const struct label_figures *f)
{
    return f->nll / texts(f);
}

double label_figures_ece(const struct label_figures *f)
{
    double ece = 0;

    for (int i = 0; i < FIGURE_BINS; i++)
        ece += fabs(f->sure[i] - f->correct[i]) / texts(f);
    return ece;
}

/* What was counted of one label; NAN where there is nothing to divide by. */
struct one {
    int64_t support;
    double precision, recall, f1;
};

static double share(int64_t part, int64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : (double)NAN;
}

static struct one count(const struct label_figures *f, int l)
{
    size_t n = (size_t)f->n, at = (size_t)l;
    int64_t right = f->confusion[at * n + at], given = 0;
    struct one o = {0};

    for (size_t k = 0; k < n; k++) {
        o.support += f->confusion[at * n + k];
        given += f->confusion[k * n + at];
    }
    o.precision = share(right, given);
    o.recall = share(right, o.support);
    o.f1 = share(2 * right, given + o.support);
    return o;
}

static void add_number(struct buf *out, const char *key, double v)
{
    if (isnan(v))
        buf_addf(out, ", \"%s\": null", key);
    else
        buf_addf(out, ", \"%s\": %.6f", key, v);
}

static void add_macro(const struct label_figures *f, struct buf *out)
{
    double f1 = 0, recall = 0;
    int n_f1 = 0, n_recall = 0;

    for (int l = 0; l < f->n; l++) {
        struct one o = count(f, l);
        f1 += isnan(o.f1) ? 0 : o.f1;
        n_f1 += !isnan(o.f1);
        recall += isnan(o.recall) ? 0 : o.recall;
        n_recall += !isnan(o.recall);
    }
    add_number(out, "macro_f1", n_f1 > 0 ? f1 / n_f1 : 0);
    add_number(out, "macro_recall", n_recall > 0 ? recall / n_recall : 0);
}

static void add_labels(const struct label_figures *f, const char *const *names,
                       struct buf *out)
{
    for (int l = 0; l < f->n; l++) {
        struct one o = count(f, l);
        buf_add_str(out, l ? ", {\"label\": " : ", \"labels\": [{\"label\": ");
        buf_add_json_string(out, names[l], strlen(names[l]));
        add_number(out, "precision", o.precision);
        add_number(out, "recall", o.recall);
        add_number(out, "f1", o.f1);
        buf_addf(out, ", \"support\": %lld}", (long long)o.support);
    }
    buf_add_char(out, ']');
}

static void add_confusion(const struct label_figures *f, struct buf *out)
{
    size_t n = (size_t)f->n;

    for (size_t l = 0; l < n; l++) {
        buf_add_str(out, l ? "], [" : ", \"confusion\": [[");
        for (size_t k = 0; k < n; k++)
            buf_addf(out, "%s%lld", k ? ", " : "",
                     (long long)f->confusion[l * n + k]);
    }
    buf_add_str(out, "]]");
}

void label_figures_write(const struct label_figures *f,
                         const char *const *names, int brief, struct buf *out)
{
    buf_addf(out,
             "\"items\": %lld, \"accuracy\": %.6f, \"nll\": %.6f, "
             "\"ece\": %.6f",
             (long long)f->items, (double)f->right / texts(f),
             label_figures_nll(f), label_figures_ece(f));
    if (brief)
        return;
    add_macro(f, out);
    if (f->n > FIGURE_MOST_LISTED)
        return;
    add_labels(f, names, out);
    add_confusion(f, out);
}
