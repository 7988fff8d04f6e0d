/* eval_pairs: see eval_pairs.h. The texts of the files stay where they were
 * read; a pair points into them, and to the next one of the same source.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/eval_pairs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/run/eval_jobs.h"
#include "engine/run/model.h"
#include "engine/run/task/beam.h"
#include "engine/text/edit_distance.h"
#include "engine/text/mt_score.h"
#include "engine/text/pair_lines.h"

#define MAX_FILE_BYTES ((size_t)4 << 30)
#define MAX_PAIRS (1 << 30)

struct one {
    struct pair p;
    int language; /* of the model's, -1: none */
    int next;     /* a further target of the source, -1: none */
    int further;  /* it is one: not a source of its own */
};

struct pair_list {
    const struct model *m;
    const struct target_language *languages;
    int n_languages, forced;
    struct one *v;
    int n, cap;
    char **text; /* [n_texts] */
    int n_texts;
    const char *named; /* the language of the file that is read, or NULL */
    size_t n_named;
};

/* ---- reading ---- */

static struct mt_text source_of(const struct one *x)
{
    return (struct mt_text){x->p.source, x->p.n_source};
}

static struct mt_text target_of(const struct one *x)
{
    return (struct mt_text){x->p.target, x->p.n_target};
}

/* The place of the pair's language among the model's. As /translate: a model
 * of one has no need to be told, nor has one that forces a first token. */
static int find_language(const struct pair_list *l, const struct pair *p,
                         int *at, struct err *e)
{
    int known = l->forced && l->m->info.target.forced_first >= 0;
    *at = p->n_language == 0 && l->n_languages == 1 ? 0 : -1;
    for (int i = 0; i < l->n_languages && p->n_language > 0; i++)
        if ((size_t)l->languages[i].n == p->n_language &&
            memcmp(l->languages[i].name, p->language, p->n_language) == 0)
            *at = i;
    if (*at < 0 && p->n_language > 0)
        return err_set(e, ERR_FORMAT, "'%.*s' is no language of the model",
                       (int)p->n_language, p->language);
    if (*at < 0 && l->n_languages > 0 && !known)
        return err_set(e, ERR_FORMAT,
                       "the model translates into %d languages: a column has "
                       "to say which (--language-column), or --language",
                       l->n_languages);
    return 0;
}

static int keep_pair(void *arg, const struct pair *p, struct err *e)
{
    struct pair_list *l = arg;
    struct pair named = *p;
    int language;
    if (l->named) {
        named.language = l->named;
        named.n_language = l->n_named;
    }
    if (find_language(l, &named, &language, e))
        return -1;
    if (l->n == MAX_PAIRS)
        return err_set(e, ERR_TOO_LARGE, "more than %d pairs", MAX_PAIRS);
    if (l->n == l->cap) {
        int cap = l->cap > MAX_PAIRS / 2 ? MAX_PAIRS : l->cap * 2 + 1024;
        struct one *v = mem_grow(l->v, (size_t)cap, sizeof *v);
        if (v == NULL)
            return err_nomem(e);
        l->v = v;
        l->cap = cap;
    }
    l->v[l->n++] = (struct one){.p = named, .language = language, .next = -1};
    return 0;
}

static int read_text(struct pair_list *l, const char *path,
                     struct pair_text *out, struct err *e)
{
    char *text;
    out->label = path;
    if (file_read_piped(path, path, MAX_FILE_BYTES, FILE_WAIT_FOREVER, &text,
                        &out->n, e))
        return -1;
    out->text = l->text[l->n_texts++] = text;
    return 0;
}

static int read_pairs(struct pair_list *l, const struct eval_pair_files *f,
                      struct err *e)
{
    struct pair_text a, b;
    int rc = 0;
    l->text = mem_zarray((size_t)f->n * 2 + 1, sizeof *l->text);
    if (l->text == NULL)
        return err_nomem(e);
    if (f->languages)
        rc = pair_lines_languages(f->languages, f->n, e);
    for (int i = 0; i < f->n && rc == 0; i++) {
        if (f->languages &&
            !(l->named = pair_lines_language(f->languages, i, &l->n_named, e)))
            return -1;
        rc = read_text(l, f->source[i], &a, e);
        if (rc == 0 && f->target == NULL)
            rc = pair_lines_table(&a, f->language, keep_pair, l, e);
        else if (rc == 0 && (rc = read_text(l, f->target[i], &b, e)) == 0)
            rc = pair_lines_two(&a, &b, keep_pair, l, e);
    }
    if (rc == 0 && l->n == 0)
        rc = err_set(e, ERR_FORMAT, "%s: no pairs",
                     f->n > 0 ? f->source[0] : "no file");
    return rc;
}

/* By language, source, and place in the files. */
static int by_source(const void *a, const void *b)
{
    const struct one *x = *(const struct one *const *)a;
    const struct one *y = *(const struct one *const *)b;
    size_t n = x->p.n_source < y->p.n_source ? x->p.n_source : y->p.n_source;
    int c = x->language - y->language;
    c = c != 0 ? c : memcmp(x->p.source, y->p.source, n);
    if (c == 0 && x->p.n_source != y->p.n_source)
        c = x->p.n_source < y->p.n_source ? -1 : 1;
    return c != 0 ? c : (x > y) - (x < y);
}

static int is_same_source(const struct one *x, const struct one *y)
{
    return x->language == y->language && x->p.n_source == y->p.n_source &&
           memcmp(x->p.source, y->p.source, x->p.n_source) == 0;
}

/* Targets of one source become one list, in the order of the files. */
static int join_targets(struct pair_list *l, struct err *e)
{
    struct one **v = mem_array((size_t)l->n, sizeof *v);
    if (v == NULL)
        return err_nomem(e);
    for (int i = 0; i < l->n; i++)
        v[i] = &l->v[i];
    qsort(v, (size_t)l->n, sizeof *v, by_source);
    for (int i = 1; i < l->n; i++)
        if (is_same_source(v[i - 1], v[i])) {
            v[i - 1]->next = (int)(v[i] - l->v);
            v[i]->further = 1;
        }
    mem_free(v);
    return 0;
}

/* ---- scores ---- */

struct errors {
    int64_t n, exact, edits, tokens;
};

struct language_score {
    struct mt_score mt, all_mt;
    struct errors errors;
};

struct score {
    struct mt_report report;
    struct mt_score all_mt; /* with all targets of a source */
    struct errors all, by_length[MT_LENGTHS];
    struct language_score *language; /* [n_languages] */
    int64_t target_tokens, unfinished, truncated, us;
};

static void add_errors(struct errors *a, const struct errors *b)
{
    a->n += b->n;
    a->exact += b->exact;
    a->edits += b->edits;
    a->tokens += b->tokens;
}

/* The least edits; of equal ones the first reference. */
static int count_errors(const struct pair_list *l, const struct one *x,
                        struct mt_text hyp, struct errors *out, struct err *e)
{
    int64_t edits, tokens;
    *out = (struct errors){.n = 1, .edits = -1};
    for (const struct one *r = x; r; r = r->next >= 0 ? &l->v[r->next] : NULL) {
        struct mt_text ref = target_of(r);
        if (edit_distance(hyp, ref, &edits, &tokens, e))
            return -1;
        if (out->edits < 0 || edits < out->edits) {
            out->edits = edits;
            out->tokens = tokens;
        }
        out->exact |= hyp.n == ref.n && memcmp(hyp.p, ref.p, hyp.n) == 0;
    }
    return 0;
}

/* The scores of one sentence, of its first target and of all of them. */
static int score_one(const struct pair_list *l, const struct one *x,
                     struct mt_text hyp, struct mt_score *first,
                     struct mt_score *all, struct err *e)
{
    struct mt_text *ref;
    int n = 0, rc = 0;
    for (const struct one *r = x; r; r = r->next >= 0 ? &l->v[r->next] : NULL)
        n++;
    if ((ref = mem_array((size_t)n, sizeof *ref)) == NULL)
        return err_nomem(e);
    n = 0;
    for (const struct one *r = x; r; r = r->next >= 0 ? &l->v[r->next] : NULL)
        ref[n++] = target_of(r);
    rc = mt_score_add(first, hyp, ref, 1, e);
    if (rc == 0 && n == 1)
        *all = *first;
    else if (rc == 0)
        rc = mt_score_add(all, hyp, ref, n, e);
    mem_free(ref);
    return rc;
}

static int add_translation(struct score *s, const struct pair_list *l,
                           const struct one *x, struct mt_text hyp,
                           struct err *e)
{
    struct mt_score first = {.n = 0}, all = {.n = 0};
    struct errors one;
    int at = mt_report_length(source_of(x));
    if (count_errors(l, x, hyp, &one, e) ||
        score_one(l, x, hyp, &first, &all, e))
        return -1;
    mt_report_sum(&s->report, &first, source_of(x));
    mt_score_sum(&s->all_mt, &all);
    add_errors(&s->all, &one);
    if (at >= 0)
        add_errors(&s->by_length[at], &one);
    if (x->p.n_language == 0)
        return 0;
    struct language_score *y = &s->language[x->language];
    add_errors(&y->errors, &one);
    mt_score_sum(&y->mt, &first);
    mt_score_sum(&y->all_mt, &all);
    return 0;
}

/* ---- translations ---- */

struct translator {
    struct engine *g;
    struct model *m;
    const struct pair_list *l;
    struct beam_params params;
    struct token_list tokens;
    int32_t *ids; /* of a group */
    size_t n_ids, cap_ids;
    struct score *s;
    struct file_part *file; /* or NULL */
};

/* A source as /translate has it: its first tokens where it is too long, the
 * language in front, what the tokenizer puts behind. */
static int add_source(struct translator *t, const struct one *x,
                      struct span *out, struct err *e)
{
    const struct tokenizer *tk = model_source_tokenizer(t->m);
    int lead = x->language >= 0 && !t->l->forced, before, after;
    int room = model_max_tokens(t->m, PORT_SOURCE) - lead;
    struct token_list *v = &t->tokens;
    tokenizer_around(tk, &before, &after);
    if (tokenizer_level(tk) != TOK_LEVEL_SUBWORD && !tokenizer_add_bos(tk) &&
        before > 0)
        before = after = 0;
    v->n = v->n_unknown = 0;
    if (tokenizer_encode(tk, x->p.source, x->p.n_source,
                         before + after ? TOK_ADD_SPECIAL : 0, INT32_MAX, v, e))
        return -1;
    if (v->n + lead == 0)
        return err_set(
            e, ERR_FORMAT, "the vocabulary has no part of the source '%.*s'",
            x->p.n_source < 60 ? (int)x->p.n_source : 60, x->p.source);
    int cut = v->n > room ? v->n - room : 0;
    t->s->truncated += cut > 0;
    if (before + after > v->n - cut)
        before = after = 0;
    size_t need = t->n_ids + (size_t)(v->n - cut + lead);
    if (need > t->cap_ids) {
        int32_t *ids = mem_grow(t->ids, need * 2, sizeof *ids);
        if (ids == NULL)
            return err_nomem(e);
        t->ids = ids;
        t->cap_ids = need * 2;
    }
    int32_t *to = t->ids + t->n_ids;
    for (int i = 0; i < v->n; i++) {
        if (i == before && lead)
            *to++ = t->l->languages[x->language].id;
        if (i < v->n - after - cut || i >= v->n - after)
            *to++ = v->v[i].id;
    }
    *out = (struct span){.n = (int)(to - t->ids - (ptrdiff_t)t->n_ids)};
    t->n_ids += (size_t)out->n;
    return 0;
}

/* One line, whatever the model made. */
static void make_line(const struct beam_text *b, struct buf *out)
{
    buf_clear(out);
    buf_add(out, b->text, b->text_len);
    for (size_t i = 0; i < out->len; i++)
        if ((unsigned char)out->p[i] < 0x20)
            out->p[i] = ' ';
    while (out->len > 0 && out->p[out->len - 1] == ' ')
        out->len--;
}

static int take_translation(struct translator *t, const struct one *x,
                            const struct job *j, struct err *e)
{
    struct buf line;
    if (eval_failed(j, e))
        return -1;
    const struct beam_text *b = &beam_result(j)->best[0];
    int ended = b->finish == FINISH_STOP, rc = -1;
    t->s->target_tokens += b->n_tokens + ended;
    t->s->unfinished += !ended;
    buf_init(&line, (size_t)1 << 30);
    make_line(b, &line);
    size_t from = 0;
    while (from < line.len && line.p[from] == ' ')
        from++;
    struct mt_text hyp = {line.p ? line.p + from : "", line.len - from};
    if (line.failed)
        err_nomem(e);
    else
        rc = add_translation(t->s, t->l, x, hyp, e);
    /* a full disk is told when the file is committed */
    if (rc == 0 && t->file) {
        fwrite(hyp.p, 1, hyp.n, t->file->f);
        fputc('\n', t->file->f);
    }
    buf_fini(&line);
    return rc;
}

static int run_group(struct translator *t, const struct one *const *x, int n,
                     struct err *e)
{
    struct job_spec spec[EVAL_GROUP];
    struct job *job[EVAL_GROUP] = {NULL};
    struct beam_params params[EVAL_GROUP];
    int rc = 0;
    t->n_ids = 0;
    for (int i = 0; i < n && rc == 0; i++) {
        const int32_t *start = &model_get_info(t->m)->target.start;
        params[i] = t->params;
        if (x[i]->language >= 0 && t->l->forced)
            params[i].forced_first = t->l->languages[x[i]->language].id;
        spec[i] = (struct job_spec){
            .model = t->m, .task = &task_beam, .params = &params[i]};
        spec[i].in[PORT_TARGET] = (struct span){.p = start, .n = 1};
        rc = add_source(t, x[i], &spec[i].in[PORT_SOURCE], e);
    }
    const int32_t *ids = t->ids;
    for (int i = 0; i < n && rc == 0; i++) {
        spec[i].in[PORT_SOURCE].p = ids;
        ids += spec[i].in[PORT_SOURCE].n;
    }
    int64_t began = clock_now_us();
    if (rc == 0)
        rc = eval_jobs(t->g, spec, n, job, e);
    t->s->us += clock_now_us() - began;
    for (int i = 0; i < n && job[i]; i++) {
        rc = rc ? rc : take_translation(t, x[i], job[i], e);
        job_release(job[i]);
    }
    return rc;
}

static int run_all(struct translator *t, const struct eval_pair_options *o,
                   struct err *e)
{
    const struct one *group[EVAL_GROUP];
    const struct pair_list *l = t->l;
    for (int i = 0; i < l->n;) {
        int n = 0;
        for (; i < l->n && n < EVAL_GROUP; i++)
            if (!l->v[i].further)
                group[n++] = &l->v[i];
        if (n > 0 && run_group(t, group, n, e)) /* 0: further targets alone */
            return -1;
        if (o->progress)
            o->progress(o->ctx, i, l->n);
    }
    return 0;
}

/* ---- the line ---- */

static void write_errors(const struct errors *x, struct buf *out)
{
    double n = x->n > 0 ? (double)x->n : 1;
    double tokens = x->tokens > 0 ? (double)x->tokens : 1;
    buf_addf(out, "\"exact\": %.6f, \"token_error_rate\": %.6f",
             (double)x->exact / n, (double)x->edits / tokens);
}

/* Nothing where no source has a second target. */
static void write_all_targets(const struct mt_score *s, struct buf *out)
{
    if (s->most_refs < 2)
        return;
    buf_addf(out, ", \"all_references\": {\"bleu\": %.4f, ",
             mt_score_bleu(s).score);
    mt_score_signatures(s, out);
    buf_add_char(out, '}');
}

static void write_languages(const struct score *s, const struct pair_list *l,
                            struct buf *out)
{
    int told = 0;
    for (int i = 0; i < l->n_languages; i++) {
        const struct language_score *x = &s->language[i];
        if (x->mt.n == 0)
            continue;
        buf_add_str(out, told++ ? ", " : ", \"languages\": {");
        buf_add_json_string(out, l->languages[i].name,
                            (size_t)l->languages[i].n);
        buf_addf(out,
                 ": {\"sentences\": %lld, \"bleu\": %.4f, \"chrf2\": %.4f, ",
                 (long long)x->mt.n, mt_score_bleu(&x->mt).score,
                 mt_score_chrf(&x->mt));
        write_errors(&x->errors, out);
        write_all_targets(&x->all_mt, out);
        buf_add_char(out, '}');
    }
    if (told)
        buf_add_char(out, '}');
}

static int write_line(const struct score *s, const struct pair_list *l,
                      struct buf *out, struct err *e)
{
    double seconds = (double)s->us / 1e6;
    if (mt_report_write(&s->report, out, e))
        return -1;
    out->len -= 2; /* its end: what follows belongs to the same line */
    write_all_targets(&s->all_mt, out);
    buf_add_str(out, ", ");
    write_errors(&s->all, out);
    buf_add_str(out, ", \"errors_by_source_length\": [");
    for (int k = 0; k < MT_LENGTHS; k++) {
        buf_addf(out, "%s{\"words\": \"%s\", \"sentences\": %lld, ",
                 k > 0 ? ", " : "", mt_report_words[k],
                 (long long)s->by_length[k].n);
        write_errors(&s->by_length[k], out);
        buf_add_char(out, '}');
    }
    buf_addf(out,
             "], \"target_tokens\": %lld, \"unfinished\": %lld, "
             "\"truncated\": %lld, \"seconds\": %.3f, "
             "\"tokens_per_second\": %.1f",
             (long long)s->target_tokens, (long long)s->unfinished,
             (long long)s->truncated, seconds,
             seconds > 0 ? (double)s->target_tokens / seconds : 0);
    write_languages(s, l, out);
    buf_add_str(out, "}\n");
    return out->failed ? err_nomem(e) : 0;
}

/* ---- all of it ---- */

static int translate(struct translator *t, const struct eval_pair_options *o,
                     struct err *e)
{
    struct file_part file;
    int rc = 0;
    if (o->output) {
        rc = file_part_open(&file, o->output, e);
        t->file = rc == 0 ? &file : NULL;
    }
    if (rc == 0)
        rc = run_all(t, o, e);
    if (t->file) {
        struct err late = ERR_INIT;
        int written = file_part_commit(&file, rc == 0 && !ferror(file.f),
                                       rc == 0 ? e : &late);
        rc = rc ? rc : written;
    }
    return rc;
}

/* As /translate has it of the same request. */
static struct beam_params params_of(const struct model *m,
                                    const struct eval_pair_options *o)
{
    const struct target_rules *t = &model_get_info(m)->target;
    int beams = t->beams > 0 ? t->beams : EVAL_BEAMS;
    int most = t->max_new > 0 ? t->max_new : EVAL_TARGET;

    return (struct beam_params){
        .beams = o->beams > 0 ? o->beams : beams,
        .n_best = 1,
        .length_penalty =
            isnan(o->length_penalty) ? t->length_penalty : o->length_penalty,
        .stop = t->stop,
        .max_tokens = o->max_target > 0 ? o->max_target : most,
        .forced_first = -1};
}

int eval_pairs(struct engine *g, struct model *m,
               const struct eval_pair_files *f,
               const struct eval_pair_options *o, struct buf *out,
               struct err *e)
{
    struct pair_list l = {.m = m};
    struct score *s = mem_zalloc(sizeof *s);
    struct translator t = {
        .g = g, .m = m, .l = &l, .s = s, .params = params_of(m, o)};
    l.n_languages = model_languages(m, &l.languages, &l.forced);
    if (s)
        s->language =
            mem_zarray((size_t)l.n_languages + 1, sizeof *s->language);
    int rc = s && s->language ? 0 : err_nomem(e);
    if (rc == 0)
        rc = read_pairs(&l, f, e);
    if (rc == 0)
        rc = join_targets(&l, e);
    if (rc == 0)
        rc = translate(&t, o, e);
    if (rc == 0)
        rc = write_line(s, &l, out, e);
    for (int i = 0; i < l.n_texts; i++)
        mem_free(l.text[i]);
    mem_free(l.text);
    mem_free(l.v);
    mem_free(t.ids);
    token_list_fini(&t.tokens);
    if (s)
        mem_free(s->language);
    mem_free(s);
    return rc;
}
