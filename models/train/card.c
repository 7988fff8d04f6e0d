/* card: CARD.md of a checkpoint, for whoever finds it: what it is, what it was
 * made from, how good it is and how it is served. No times and no paths: one
 * training gives one text.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "models/train/train.h"

/* Where things are on this machine, what does not change the result, and what
 * has a row of its own. */
static const char *const left_out[] = {
    "--data",           "--valid",     "--out",          "--model",
    "--source",         "--target",    "--valid-source", "--valid-target",
    "--resume",         "--overwrite", "--save-minutes", "--report-seconds",
    "--seed",           "--threads",   "--record",       "--id2label",
    "--gradient-norms", NULL};

/* What somebody else named, as code in a cell of a table: of one line, without
 * what would end the code or the cell. */
static void add_code(struct buf *b, const char *s, size_t n)
{
    buf_add_char(b, '`');
    for (size_t i = 0; i < n; i++) {
        char c = s[i] == '`' ? '\'' : s[i];
        if (c == '|')
            buf_add_char(b, '\\');
        buf_add_char(b, (unsigned char)c < ' ' ? ' ' : c);
    }
    buf_add_char(b, '`');
}

static const char *base_name(const char *path, size_t *n)
{
    while (*n > 1 && path[*n - 1] == '/')
        --*n;
    for (size_t i = *n; i > 0; i--) {
        if (path[i - 1] == '/' && i < *n) {
            *n -= i;
            return path + i;
        }
    }
    return path;
}

/* The base names of "A,B:0.3". */
static void add_files(struct buf *b, const char *files)
{
    for (const char *sep = ""; *files != '\0'; sep = ", ") {
        size_t k = strcspn(files, ","), n = k;
        const char *p = base_name(files, &n);
        buf_add_str(b, sep);
        add_code(b, p, n);
        files += k + (files[k] == ',');
    }
}

static void add_word(struct buf *b, const char *words, int i)
{
    while (i-- > 0)
        words += strcspn(words, "|") + 1;
    buf_add(b, words, strcspn(words, "|"));
}

/* `--flag value` */
static void add_option(struct buf *out, const struct option *o, const void *at)
{
    const char *text;
    struct buf own, *b = &own;
    size_t n;
    buf_init(b, 1 << 16);
    buf_addf(b, "%s ", o->flag);
    switch (o->kind & OPTION_KIND) {
    case OPTION_CHOICE:
        add_word(b, o->form, *(const int *)at);
        break;
    case OPTION_REAL:
        buf_addf(b, "%g", *(const double *)at);
        break;
    case OPTION_TEXT:
        text = *(const char *const *)at;
        n = strlen(text);
        text = base_name(text, &n);
        buf_add(b, text, n);
        break;
    default:
        buf_addf(b, "%d", *(const int *)at);
    }
    add_code(out, b->p, b->len);
    out->failed |= b->failed;
    buf_fini(b);
}

static int is_left_out(const struct option *o)
{
    if (o->flag == NULL || o->flag[0] != '-')
        return 1;
    for (int i = 0; left_out[i] != NULL; i++)
        if (strcmp(o->flag, left_out[i]) == 0)
            return 1;
    return 0;
}

/* What differs from the defaults; the engine's options have no part in it. */
static int add_options(struct buf *b, const struct options *mine, struct err *e)
{
    char *argv[] = {"seqd-train"};
    struct options plain;
    const struct option *o;
    size_t at;
    memset(&plain, 0, sizeof plain);
    if (options_parse(&train_table, &plain, 1, argv, e) != 0)
        return -1;
    buf_add_str(b, "| Options that differ from the defaults |");
    size_t before = b->len;
    for (int i = 0; (o = options_row(&train_table, i, &at)) != NULL; i++) {
        const char *a = (const char *)mine + at;
        if (is_left_out(o) || at >= offsetof(struct options, engine) ||
            memcmp(a, (const char *)&plain + at, o->size) == 0)
            continue;
        buf_add_char(b, ' ');
        add_option(b, o, a);
    }
    buf_add_str(b, b->len == before ? " none |\n" : " |\n");
    return 0;
}

/* pairs: NULL, or in place of files. */
static void add_corpus(struct buf *b, const char *name, const char *files,
                       const struct pair_files *pairs, const struct corpus *c)
{
    buf_addf(b, "| %s | ", name);
    if (pairs != NULL)
        files = pairs->table != NULL ? pairs->table : pairs->source;
    add_files(b, files);
    if (pairs != NULL && pairs->table == NULL) {
        buf_add_str(b, " to ");
        add_files(b, pairs->target);
    }
    if (pairs != NULL && pairs->hold_out > 0)
        buf_addf(b, ", %s%g %% of the sources by their hash",
                 pairs->held_out ? "" : "without ", 100 * pairs->hold_out);
    if (c->vectors != NULL) {
        buf_addf(b, ": %d sequences, %lld vectors |\n", c->n_records,
                 (long long)c->n);
        return;
    }
    buf_addf(b, ": %d %s, %lld tokens, %.2f %% unknown", c->n_records,
             pairs != NULL ? "pairs" : "records", (long long)c->n,
             100 * (double)c->unknown / (double)c->n);
    if (c->empty + c->too_long > 0)
        buf_addf(b,
                 "; left out: %lld lines with an empty side, %lld pairs "
                 "that are too long",
                 (long long)c->empty, (long long)c->too_long);
    buf_add_str(b, " |\n");
}

static void add_scores(struct buf *b, const struct trainer *t,
                       const char *figures)
{
    const struct curve_point *best = t->curve.v;
    int right = t->objective->labelled && t->o.keep != KEEP_NLL;
    for (int i = 1; i < t->curve.n; i++) {
        const struct curve_point *p = &t->curve.v[i];
        double a = right ? p->accuracy - 1e-6 * p->valid : -p->valid;
        double z = right ? best->accuracy - 1e-6 * best->valid : -best->valid;
        best = a > z ? p : best;
    }
    if (t->curve.n > 0) {
        buf_addf(b, "| Best validation | step %lld: %.*f%s",
                 (long long)best->step, t->objective->vectors ? 6 : 4,
                 best->valid, t->objective->vectors ? "" : " nats");
        if (t->objective->vectors)
            buf_addf(b, ", mean squared error");
        else if (t->objective->labelled)
            buf_addf(b, ", accuracy %.4f", best->accuracy);
        else
            buf_addf(b, " a token, perplexity %.2f", exp(best->valid));
        buf_add_str(b, " |\n");
    }
    if (figures != NULL)
        buf_addf(b, "| `seqd eval` on the validation data | `%.*s` |\n",
                 (int)strcspn(figures, "\n"), figures);
}

/* The folder's name where it is a plain word, else what stands for it. */
static void add_name(struct buf *b, const struct trainer *t)
{
    size_t n = strlen(t->o.out);
    const char *name = base_name(t->o.out, &n);
    size_t plain = 0;
    while (plain < n && ((unsigned char)name[plain] >= 0x80 ||
                         strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
                                "abcdefghijklmnopqrstuvwxyz.",
                                name[plain]) != NULL))
        plain++;
    if (plain == n && name[0] != '.' && name[0] != '-')
        buf_add(b, name, n);
    else
        buf_add_str(b, "DIR");
}

/* A net that only starts others: it reads from the end, or has no mask. */
static const char *starts(const struct trainer *t)
{
    if (t->objective->labelled || t->objective->pairs)
        return NULL;
    if (t->o.reverse)
        return "--init-reverse";
    if (t->objective->masked)
        return tokenizer_mask(t->tokenizer) < 0 ? "--init" : NULL;
    return t->o.arch == ARCH_BERT ? "--init" : NULL;
}

/* The first language of a vocabulary for pairs, as /translate takes it. */
static void add_target(struct buf *b, const struct labels *controls)
{
    if (controls->n > 1)
        buf_addf(b, ", \"target\": \"%.*s\"",
                 (int)strlen(controls->name[1]) - 4, controls->name[1] + 2);
}

/* A training of pairs has no figures of its own but the validation's. */
static void add_scoring(struct buf *b, const struct trainer *t)
{
    buf_add_str(b,
                "\nWhat they translate is scored (BLEU and chrF2 as sacreBLEU "
                "has them, with their\nsignatures) on pairs that they have "
                "not seen:\n\n    seqd-train eval --model ");
    add_name(b, t);
    buf_add_str(b, t->train_pairs.table != NULL
                       ? " --data FILE"
                       : " --source FILE --target FILE");
    if (t->train_pairs.language)
        buf_add_str(b, " --language-column");
    else if (t->labels.n > 2)
        buf_add_str(b, " --language NAME");
    buf_add_str(b, "\n");
}

static void add_use(struct buf *b, const struct trainer *t)
{
    int masked = t->objective->masked;
    buf_add_str(b, "\nThe weights are those of the best validation. ");
    if (t->objective->vectors) {
        buf_add_str(b, "seqd serves no nets of vectors.\n");
        return;
    }
    if (starts(t) != NULL) {
        buf_addf(b,
                 "They are not to be served: `seqd-train train %s` starts "
                 "another net from them.\n",
                 starts(t));
        return;
    }
    buf_add_str(b, "To serve them, beside this folder:\n\n    seqd --model "
                   "my-model=");
    add_name(b, t);
    buf_addf(b,
             "\n    curl -s localhost:8080/%s -d '{\"input\": \"some "
             "%s\"",
             t->objective->pairs      ? "translate"
             : t->objective->labelled ? "sentiment"
                                      : "predict",
             masked ? tokenizer_text(t->tokenizer, tokenizer_mask(t->tokenizer))
                    : "words");
    if (t->objective->pairs)
        add_target(b, &t->labels);
    buf_add_str(b, "}'\n");
    if (t->objective->pairs)
        add_scoring(b, t);
}

static void add_labels(struct buf *b, const struct labels *l)
{
    for (int i = 0; i < l->n; i++) {
        buf_add_str(b, i == 0 ? "| Labels | " : ", ");
        add_code(b, l->name[i], strlen(l->name[i]));
    }
    buf_add_str(b, l->n > 0 ? " |\n" : "");
}

int card_write(const struct trainer *t, const char *figures, struct err *e)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_add_str(&b, "# ");
    add_name(&b, t);
    buf_addf(&b, "\n\n%s, trained by `seqd-train`.\n\n| | |\n|---|---|\n",
             t->objective->pairs      ? "From one text to another"
             : t->objective->labelled ? "A classifier of texts"
             : t->objective->vectors  ? "Values from sequences of vectors"
             : t->objective->masked   ? "A model of masked words"
                                      : "A language model");
    buf_addf(&b, "| Net | %s; %zu parameters, ", t->net.name, t->net.n);
    if (t->objective->vectors)
        buf_addf(&b, "%d inputs, %d outputs |\n", t->net.I, t->net.C);
    else
        buf_addf(&b, "%d entries |\n", tokenizer_size(t->tokenizer));
    int pairs = t->objective->pairs;
    if (!pairs)
        add_labels(&b, &t->labels);
    add_corpus(&b, "Training data", t->o.data, pairs ? &t->train_pairs : NULL,
               &t->train);
    add_corpus(&b, "Validation data", t->o.valid,
               pairs ? &t->valid_pairs : NULL, &t->valid);
    if (!t->objective->labelled && !pairs && !t->objective->vectors)
        buf_addf(&b, "| Record | %s |\n",
                 records_kind_name((enum record_kind)t->o.record));
    int rc = add_options(&b, &t->o, e);
    buf_addf(&b, "| Steps | %lld, %lld tokens |\n| Seed | %d, %d worker%s |\n",
             (long long)t->at.step, (long long)t->at.tokens, t->o.seed,
             t->n_workers, t->n_workers > 1 ? "s" : "");
    add_scores(&b, t, figures);
    add_use(&b, t);
    if (rc == 0)
        rc = save_file(t->o.out, "CARD.md", &b, e);
    buf_fini(&b);
    return rc;
}
