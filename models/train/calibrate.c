/* calibrate: see calibrate.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/calibrate.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/hparams.h"
#include "engine/run/class_rules.h"
#include "engine/run/eval_labels.h"
#include "engine/run/label_figures.h"
#include "models/train/config_edit.h"
#include "models/train/data.h"
#include "models/train/scaling.h"
#include "models/train/train.h"
#include "models/train/train_eval.h"

#define TEMPERATURE "seqd_temperature"
#define BIAS "seqd_bias"
#define NUMBER_BYTES 32

/* The texts of all files, file f's from first[f] on. */
struct gathered {
    const struct eval_texts *texts; /* of the present file */
    const struct eval_choice *choice;
    int C; /* chosen labels, in the model's order */
    int id[MODEL_MAX_LABELS];
    int n, cap, n_files, first[DATA_MAX_FILES + 1];
    float *z; /* [cap][C] */
    int *label;
    double *weight;
};

/* A rule for the chosen labels, and how config.json has it. */
struct rule {
    double temperature[MODEL_MAX_LABELS], bias[MODEL_MAX_LABELS];
    int has_bias;
};

static int grow(struct gathered *d, struct err *e)
{
    if (d->n < d->cap)
        return 0;
    int cap = d->cap * 2 + 1024;
    float *z = mem_grow(d->z, (size_t)cap * (size_t)d->C, sizeof *z);
    d->z = z != NULL ? z : d->z;
    int *label = mem_grow(d->label, (size_t)cap, sizeof *label);
    d->label = label != NULL ? label : d->label;
    if (z == NULL || label == NULL)
        return err_nomem(e);
    d->cap = cap;
    return 0;
}

static int keep_answer(void *arg, int i, const struct classify_result *r,
                       struct err *e)
{
    struct gathered *d = arg;
    if (grow(d, e) != 0)
        return -1;
    float *z = d->z + (size_t)d->n * (size_t)d->C;
    for (int l = 0; l < r->n; l++) {
        z[l] = r->logits[r->label[l]];
        if (r->label[l] == d->texts->label[i])
            d->label[d->n] = l;
    }
    d->n++;
    return 0;
}

static int gather_file(struct engine *g, struct model *m, const char *path,
                       const struct eval_options *o, struct gathered *d,
                       struct err *e)
{
    struct eval_texts t;
    d->texts = &t;
    int rc = eval_texts_read(&t, m, &path, 1, d->choice, o, e);
    if (rc == 0)
        rc = eval_answers(g, m, &t, d->choice, o, keep_answer, d, e);
    eval_texts_fini(&t);
    d->first[++d->n_files] = d->n;
    return rc;
}

/* Each file has the same weight in all. */
static int weigh(struct gathered *d, struct err *e)
{
    d->weight = mem_array((size_t)d->n + 1, sizeof *d->weight);
    if (d->weight == NULL)
        return err_nomem(e);
    for (int f = 0; f < d->n_files; f++)
        for (int i = d->first[f]; i < d->first[f + 1]; i++)
            d->weight[i] =
                1.0 / d->n_files / (double)(d->first[f + 1] - d->first[f]);
    return 0;
}

static void sort_ids(struct gathered *d, const struct model *m)
{
    int all = model_get_info(m)->cols[OUT_CLASS];
    for (int l = 0; l < all; l++)
        for (int i = 0; i < d->choice->n; i++)
            if (d->choice->id[i] == l)
                d->id[d->C++] = l;
}

static void gathered_fini(struct gathered *d)
{
    mem_free(d->z);
    mem_free(d->label);
    mem_free(d->weight);
}

/* --- the rule --- */

/* What the checkpoint says now. */
static void present_rule(const struct model *m, const struct gathered *d,
                         struct rule *r)
{
    const struct class_rules *c = model_class_rules(m);
    for (int l = 0; l < d->C; l++) {
        r->temperature[l] = c->temperature ? c->temperature[d->id[l]] : 1;
        r->bias[l] = c->bias ? c->bias[d->id[l]] : 0;
    }
}

/* As it is written: what is reported is of these numbers. */
static double rounded(double v)
{
    char text[NUMBER_BYTES];
    snprintf(text, sizeof text, "%.6g", v);
    return strtod(text, NULL);
}

static int find_rule(const struct options *o, const struct gathered *d,
                     struct rule *r, struct err *e)
{
    const struct scaling_texts t = {.n_labels = d->C,
                                    .n = d->n,
                                    .z = d->z,
                                    .label = d->label,
                                    .weight = d->weight};
    int at_bound;
    if (scaling_fit((enum scaling_kind)o->scaling, &t, r->temperature, r->bias,
                    &at_bound, e) != 0)
        return -1;
    r->has_bias = o->scaling == SCALING_VECTOR;
    for (int l = 0; l < d->C; l++) {
        r->temperature[l] = rounded(r->temperature[l]);
        r->bias[l] = rounded(r->bias[l]);
    }
    if (at_bound && o->log != NULL)
        fprintf(o->log,
                "a temperature is at its bound: the texts do not say it\n");
    return 0;
}

static void add_list(struct buf *b, const double *v, int n)
{
    for (int l = 0; l < n; l++)
        buf_addf(b, "%s%.6g", l > 0 ? ", " : "[", v[l]);
    buf_add_char(b, ']');
}

static void add_temperature(struct buf *b, const struct options *o,
                            const struct gathered *d, const struct rule *r)
{
    if (o->scaling == SCALING_ONE)
        buf_addf(b, "%.6g", r->temperature[0]);
    else
        add_list(b, r->temperature, d->C);
}

/* --- figures --- */

static int count_texts(const struct gathered *d, int file, const struct rule *r,
                       struct label_figures *f, struct err *e)
{
    double p[MODEL_MAX_LABELS];
    if (label_figures_init(f, d->C, e) != 0)
        return -1;
    for (int i = d->first[file]; i < d->first[file + 1]; i++) {
        const float *z = d->z + (size_t)i * (size_t)d->C;
        double sum = 0, max = -INFINITY;
        int best = 0;
        for (int l = 0; l < d->C; l++) {
            p[l] = (double)z[l] / r->temperature[l] + r->bias[l];
            best = p[l] > p[best] ? l : best;
            max = p[best];
        }
        for (int l = 0; l < d->C; l++)
            sum += p[l] = exp(p[l] - max);
        label_figures_add(f, d->label[i], best, p[d->label[i]] / sum,
                          p[best] / sum);
    }
    return 0;
}

static void add_figures(struct buf *b, const char *when,
                        const struct label_figures *f)
{
    buf_addf(b, ", \"%s\": {", when);
    label_figures_write(f, NULL, 1, b);
    buf_add_char(b, '}');
}

/* Before and after of each file; the means of nll. */
static int add_files(struct buf *b, const struct gathered *d, char *const *path,
                     const struct rule rule[2], double nll[2], struct err *e)
{
    static const char *const when[] = {"before", "after"};
    struct label_figures f = {0};
    int rc = 0;
    nll[0] = nll[1] = 0;
    for (int i = 0; i < d->n_files && rc == 0; i++) {
        buf_add_str(b, i > 0 ? ", {\"file\": " : "{\"file\": ");
        buf_add_json_string(b, path[i], strlen(path[i]));
        for (int k = 0; k < 2 && rc == 0; k++) {
            rc = count_texts(d, i, &rule[k], &f, e);
            if (rc == 0) {
                nll[k] += label_figures_nll(&f) / d->n_files;
                add_figures(b, when[k], &f);
            }
            label_figures_fini(&f);
        }
        buf_add_char(b, '}');
    }
    return rc;
}

static int report(const struct options *o, const struct gathered *d,
                  char *const *path, const struct rule rule[2], struct buf *out,
                  struct err *e)
{
    struct buf files;
    double nll[2];
    buf_init(&files, out->max);
    int rc = add_files(&files, d, path, rule, nll, e);
    buf_add_str(out, "{\"temperature\": ");
    add_temperature(out, o, d, &rule[1]);
    if (rule[1].has_bias) {
        buf_add_str(out, ", \"bias\": ");
        add_list(out, rule[1].bias, d->C);
    }
    buf_addf(out,
             ", \"nll\": {\"before\": %.6f, \"after\": %.6f}, "
             "\"files\": [%s]}\n",
             nll[0], nll[1], files.p != NULL ? files.p : "");
    if (rc == 0 && (files.failed || out->failed))
        rc = err_nomem(e);
    buf_fini(&files);
    return rc;
}

/* --- config.json --- */

static int read_config(const char *dir, char path[FILE_PATH_BYTES], char **text,
                       size_t *n, struct err *e)
{
    int len = snprintf(path, FILE_PATH_BYTES, "%s/config.json", dir);
    *text = NULL;
    if (len < 0 || len >= FILE_PATH_BYTES || !file_exists(path))
        return err_set(e, ERR_INVALID,
                       "--model %.200s: calibrate needs a directory with a "
                       "config.json",
                       dir);
    return file_read(path, path, HPARAMS_MAX_BYTES, text, n, e);
}

/* The rule in the place of what there was. */
static int write_config(const struct options *o, const struct gathered *d,
                        const struct rule *r, struct err *e)
{
    char path[FILE_PATH_BYTES], *text;
    size_t n;
    struct buf t, b, with, both;
    buf_init(&t, HPARAMS_MAX_BYTES);
    buf_init(&b, HPARAMS_MAX_BYTES);
    buf_init(&with, HPARAMS_MAX_BYTES);
    buf_init(&both, HPARAMS_MAX_BYTES);
    add_temperature(&t, o, d, r);
    add_list(&b, r->bias, d->C);
    int rc = read_config(o->model, path, &text, &n, e);
    if (rc == 0 && (t.failed || b.failed))
        rc = err_nomem(e);
    if (rc == 0)
        rc = config_put(text, n, TEMPERATURE, t.p, &with, e);
    if (rc == 0)
        rc = config_put(with.p, with.len, BIAS, r->has_bias ? b.p : NULL, &both,
                        e);
    if (rc == 0)
        rc = save_file(o->model, "config.json", &both, e);
    mem_free(text);
    buf_fini(&t);
    buf_fini(&b);
    buf_fini(&with);
    buf_fini(&both);
    return rc;
}

/* --- the command --- */

static int check_model(const struct model *m, const struct options *o,
                       struct err *e)
{
    const struct model_info *info = model_get_info(m);
    if (!model_can(m, &task_classify) || model_tokenizer(m) == NULL)
        return err_set(e, ERR_UNSUPPORTED,
                       "calibrate is for classifiers of texts");
    if (eval_has_labels(m, e) != 0)
        return -1;
    if (info->scores != SCORE_SOFTMAX)
        return err_set(e, ERR_UNSUPPORTED,
                       "calibrate is for labels that exclude each other");
    if (o->labels != NULL && o->scaling != SCALING_ONE)
        return err_set(e, ERR_INVALID,
                       "--scaling %s wants texts of all labels: not with "
                       "--labels",
                       o->scaling == SCALING_LABELS ? "labels" : "vector");
    return 0;
}

static int gather(const struct options *o, struct engine *g, struct model *m,
                  char *const *path, int n, struct gathered *d, struct err *e)
{
    const struct eval_options eo = {.max_len = o->cut ? o->max_len : 0};
    sort_ids(d, m);
    for (int i = 0; i < n; i++)
        if (gather_file(g, m, path[i], &eo, d, e) != 0)
            return -1;
    return weigh(d, e);
}

static int calibrate_model(const struct options *o, struct engine *g,
                           struct model *m, char *const *path, int n,
                           struct buf *out, struct err *e)
{
    struct gathered *d = mem_zalloc(sizeof *d);
    struct eval_choice *c = mem_zalloc(sizeof *c);
    struct rule *rule = mem_zarray(2, sizeof *rule);
    int rc = d != NULL && c != NULL && rule != NULL ? 0 : err_nomem(e);
    if (rc == 0)
        rc = check_model(m, o, e) || eval_choose(m, o->labels, c, e) ? -1 : 0;
    if (rc == 0) {
        d->choice = c;
        rc = gather(o, g, m, path, n, d, e);
    }
    if (rc == 0) {
        present_rule(m, d, &rule[0]);
        rc = find_rule(o, d, &rule[1], e) || report(o, d, path, rule, out, e)
                 ? -1
                 : write_config(o, d, &rule[1], e);
    }
    if (d != NULL)
        gathered_fini(d);
    mem_free(d);
    mem_free(c);
    mem_free(rule);
    return rc;
}

int calibrate_run(const struct options *o, struct buf *out, struct err *e)
{
    char config[FILE_PATH_BYTES], *text = NULL, *path[DATA_MAX_FILES];
    struct engine *g = NULL;
    struct model *m = NULL;
    size_t size;
    int n = 0;
    if (o->model == NULL || o->data == NULL)
        return err_set(e, ERR_INVALID, "calibrate needs --model and --data");
    int rc = read_config(o->model, config, &text, &size, e);
    mem_free(text); /* it is there, and can be read */
    if (rc == 0)
        rc = eval_paths(o->data, "--data", path, &n, e);
    if (rc == 0)
        rc = eval_open(o, o->model, &g, &m, e);
    if (rc == 0)
        rc = calibrate_model(o, g, m, path, n, out, e);
    eval_shut(g, m);
    eval_paths_free(path, n);
    return rc;
}
