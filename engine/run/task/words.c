/* words: the most likely next words of a model of sub-words. The paths of
 * tokens that a word may begin with are searched best-first: each round takes
 * the most likely open ones, runs them as one batch, each on a fork of the
 * prompt's sequence, and reads off their rows how likely the word ends there
 * and what goes on with it.
 *
 *   P(word) = sum over its paths of P(path) P(a token that ends it | path)
 *
 * Paths that spell the same text are one word. covered_mass is the probability
 * of all words that the search has ended; tokens that are never offered take
 * their share of neither. Forks live for one step, so the search holds no
 * memory of states between steps, and a path is run whole: with the same bits
 * however its round was cut into steps. Without the bounds below (which small
 * vocabularies never meet) the result is that of trying everything.
 *
 * With a prefix (typed.h) a path takes only tokens that spell it, wherever
 * tokens end, until it is spelled; from there on all is as without. P(word) is
 * not divided by the probability of the prefix, so that it says the same at
 * each letter; how far the search goes is measured by that probability.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/words.h"

#include <math.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/run/model.h"
#include "engine/run/sampler.h"
#include "engine/run/subwords.h"
#include "engine/run/task/next_impl.h"
#include "engine/run/typed.h"

#define MIN_SCALED (-1e4f) /* as in next.c */
/* Bounds of the search: rows of one round and in all; what goes on with the
 * prompt, with a path; tokens and bytes of a word; the least likely path. */
#define MOST_PER_ROUND 32
#define LEAST_PER_ROUND 8
#define MOST_ROWS 256
#define FIRST_PATHS 512
#define NEXT_PATHS 128
#define MOST_TOKENS WORDS_MOST_TOKENS
#define MOST_BYTES 96
#define LEAST_PATH 1e-7
/* A path that is less likely than this part of the last word wanted is left:
 * no word behind it could come in. */
#define WORTH 0.25
/* A path with a prefix that has less than this part, by the words wanted, of
 * what begins so is left: a word that comes once in a hundred times where five
 * are wanted is found when more of it is typed. */
#define LEAST_SHARE 0.05

_Static_assert(MOST_TOKENS <= TASK_LEAST_TOKENS, "a path is run whole");

struct path {
    double p;
    int64_t order; /* in which it was found */
    int32_t ids[MOST_TOKENS];
    int n;
    int at; /* bytes of the prefix, -1: all of it */
    unsigned forms;
    int bytes;
    char text[MOST_BYTES]; /* behind the prefix */
};

struct word {
    double p;
    int32_t id;                    /* of the first path's first token */
    char text[MOST_BYTES * 3 + 1]; /* U+FFFD takes three bytes for one */
};

struct search {
    int top_k;
    float temperature;
    int apart; /* no letter comes first */
    struct typed typed;
    enum word_state typed_end; /* where the prefix ends */
    double typed_mass;         /* of all paths that came to its end */
    int rooted;                /* the prompt's row has been read */
    struct path *open;         /* a heap, the likeliest first */
    int n_open, cap_open;
    int64_t n_found;
    struct word *word;
    int n_words, cap_words;
    double covered;
    int n_rows; /* run so far */
    /* The round: paths, those before n_done are read. */
    struct path round[MOST_PER_ROUND];
    int n_round, n_done;
    struct candidate *best; /* [FIRST_PATHS] */
    struct prediction *pred;
    struct next_result res;
};

static void words_fini(struct job *j)
{
    struct search *s = j->own;
    if (s) {
        mem_free(s->open);
        mem_free(s->word);
        mem_free(s->best);
        mem_free(s->pred);
        mem_free(s);
    }
}

static int words_init(struct job *j, const void *params, struct err *e)
{
    const struct next_params *p = params;
    struct search *s = mem_zalloc(sizeof *s);

    j->own = s;
    if (!s)
        return err_nomem(e);
    if (!j->model->word_kind) {
        return err_set_at(e, ERR_UNSUPPORTED, "task_not_supported", "level",
                          "model '%s' is not one of sub-words", j->model->name);
    }
    if (next_check(p, e))
        return -1;
    s->top_k = p->top_k;
    s->temperature = p->temperature;
    s->apart = p->apart;
    typed_set(&s->typed, p->prefix, j->model->no_capitals, p->apart);
    s->typed_end = subwords_state(s->typed.text, (size_t)s->typed.n);
    if (s->typed_end == WORD_MARKS)
        s->typed_end = WORD_OPEN; /* "well-" may become "well-known" */
    s->best = mem_array(FIRST_PATHS, sizeof *s->best);
    s->pred = mem_array((size_t)s->top_k, sizeof *s->pred);
    j->most_rows = MOST_PER_ROUND;
    j->scratch_vocab = j->model->info.cols[OUT_LOGITS];
    if (!s->best || !s->pred)
        return err_nomem(e);
    return p->attention ? task_show_attention(j, e) : 0;
}

/* The prompt, a word's tokens and the page that a fork copies. */
static void words_most(const struct job *j, int64_t n[MAX_PORTS])
{
    n[PORT_TARGET] +=
        MOST_TOKENS + j->model->info.state.port[PORT_TARGET].page_tokens;
}

/* --- words and paths --- */

static int add_word(struct job *j, struct search *s, const char *text,
                    int32_t id, double p)
{
    s->covered += p;
    for (int i = 0; i < s->n_words; i++) {
        if (strcmp(s->word[i].text, text) == 0) {
            s->word[i].p += p;
            return 0;
        }
    }
    if (s->n_words == s->cap_words) {
        int cap = s->cap_words ? s->cap_words * 2 : 64;
        struct word *w = mem_grow(s->word, (size_t)cap, sizeof *w);
        if (!w)
            return task_out_of_memory(j);
        s->word = w;
        s->cap_words = cap;
    }
    struct word *w = &s->word[s->n_words++];
    w->p = p;
    w->id = id;
    size_t n = strlen(text);
    n = n < sizeof(w->text) ? n : sizeof(w->text) - 1;
    memcpy(w->text, text, n);
    w->text[n] = 0;
    return 0;
}

static int end_path(struct job *j, struct search *s, const struct path *a,
                    double p)
{
    char text[sizeof(((struct word *)0)->text)];
    subwords_text(a->text, (size_t)a->bytes, text, sizeof(text));
    return add_word(j, s, text, a->ids[0], p);
}

/* Which of two comes first: equal ones as they were found. */
static int is_before(const struct path *a, const struct path *b)
{
    return a->p != b->p ? a->p > b->p : a->order < b->order;
}

static void heap_add(struct search *s, const struct path *a)
{
    int i = s->n_open++;
    for (int up; i > 0 && is_before(a, &s->open[up = (i - 1) / 2]); i = up)
        s->open[i] = s->open[up];
    s->open[i] = *a;
}

static void heap_take(struct search *s, struct path *a)
{
    *a = s->open[0];
    const struct path *last = &s->open[--s->n_open];
    int i = 0;
    for (int k; (k = 2 * i + 1) < s->n_open; i = k) {
        k += k + 1 < s->n_open && is_before(&s->open[k + 1], &s->open[k]);
        if (!is_before(&s->open[k], last))
            break;
        s->open[i] = s->open[k];
    }
    s->open[i] = *last;
}

/* The path that nothing has been added to. */
static struct path no_path(const struct search *s)
{
    return (struct path){
        .p = 1.0, .at = s->typed.n > 0 ? 0 : -1, .forms = s->typed.first};
}

/* Where a path that has spelled the prefix stands. */
static enum word_state state_of(const struct search *s, const struct path *a)
{
    return a->bytes == 0 && s->typed.n > 0
               ? s->typed_end
               : subwords_state(a->text, (size_t)a->bytes);
}

/* The least likely path that is kept. */
static double least_path(const struct search *s)
{
    return s->typed.n > 0 ? s->typed_mass * LEAST_SHARE / s->top_k : LEAST_PATH;
}

/* Count the bytes of a piece as the prefix's; *piece [*n] is what is behind
 * it. 0 when it is another beginning, or a space comes behind it. */
static int spell(struct search *s, struct path *a, const char **piece,
                 size_t *n)
{
    uint32_t cp;
    int rest;

    a->forms = typed_step(&s->typed, a->forms, a->at, *piece, *n, &rest);
    if (!a->forms)
        return 0;
    if (rest < 0) {
        a->at += (int)*n;
        *n = 0;
        return 1;
    }
    *piece += *n - (size_t)rest;
    *n = (size_t)rest;
    a->at = -1;
    s->typed_mass += a->p;
    return utf8_next(*piece, *n, &cp) == 0 || !utf8_is_space(cp);
}

/* from and one token more, of probability p in all. */
static int add_path(struct job *j, struct search *s, const struct path *from,
                    int32_t id, double p)
{
    const struct tokenizer *t = j->model->tokenizer;
    struct path a = *from;
    size_t n;
    const char *piece = tokenizer_piece(t, id, &n);

    a.p = p;
    if (a.at >= 0 && !spell(s, &a, &piece, &n))
        return 0;
    if (p < least_path(s) || !(p > 0) || a.n == MOST_TOKENS ||
        n > (size_t)(MOST_BYTES - a.bytes))
        return 0;
    memcpy(a.text + a.bytes, piece, n);
    a.bytes += (int)n;
    a.ids[a.n++] = id;
    if (a.at < 0 && state_of(s, &a) == WORD_WHOLE)
        return end_path(j, s, &a, p); /* whatever follows */
    if (s->n_open == s->cap_open) {
        int cap = s->cap_open ? s->cap_open * 2 : FIRST_PATHS;
        struct path *o = mem_grow(s->open, (size_t)cap, sizeof *o);
        if (!o)
            return task_out_of_memory(j);
        s->open = o;
        s->cap_open = cap;
    }
    a.order = s->n_found++;
    heap_add(s, &a);
    return 0;
}

/* --- rows --- */

/* exp((row - max) / temperature) into e [V]; the sum of all. */
static double weigh(const struct search *s, const struct task_ctx *x,
                    const float *row, float *e)
{
    int V = x->model->info.cols[OUT_LOGITS];
    float max = x->k->row_max(V, row);
    double sum = 0;

    for (int i = 0; i < V; i++) {
        float d = (row[i] - max) / s->temperature;
        e[i] = d < MIN_SCALED ? MIN_SCALED : d;
    }
    x->k->vexp(V, e, e);
    for (int i = 0; i < V; i++)
        sum += (double)e[i];
    return sum;
}

/* Leave only the tokens that spell the prefix on from a in a row [V]. */
static void keep_typed(const struct search *s, const struct task_ctx *x,
                       const struct path *a, float *row)
{
    const struct model *m = x->model;
    int V = m->info.cols[OUT_LOGITS], rest;

    for (int i = 0; i < V; i++) {
        size_t n;
        const char *piece = tokenizer_piece(m->tokenizer, i, &n);
        int out = m->word_kind[i] == WORD_NEVER || m->word_kind[i] == WORD_END;
        if (out || !typed_step(&s->typed, a->forms, a->at, piece, n, &rest))
            row[i] = -INFINITY;
    }
}

/* Leave only the tokens that a word may begin with in a row [V]. */
static void keep_first(const struct search *s, const struct task_ctx *x,
                       float *row)
{
    const uint8_t *kind = x->model->word_kind;
    int V = x->model->info.cols[OUT_LOGITS];

    for (int i = 0; i < V; i++) {
        int out =
            kind[i] == WORD_NEVER || kind[i] == WORD_END ||
            (s->apart && (kind[i] == WORD_LETTER || kind[i] == WORD_REST));
        if (out)
            row[i] = -INFINITY;
    }
}

/* Leave only the tokens that go on with the word of a path in a row [V]; the
 * sum of e over those that end it. */
static double keep_more(const struct search *s, const struct task_ctx *x,
                        const struct path *a, const float *e, float *row)
{
    const uint8_t *kind = x->model->word_kind;
    int V = x->model->info.cols[OUT_LOGITS];
    enum word_state at = state_of(s, a);
    double end = 0;

    for (int i = 0; i < V; i++) {
        if (subwords_goes_on(at, kind[i]))
            continue;
        end += kind[i] == WORD_NEVER ? 0 : (double)e[i];
        row[i] = -INFINITY;
    }
    return end;
}

/* A row after a path: words that end here, paths that go on. */
static int read_row(struct job *j, struct search *s, const struct task_ctx *x,
                    const struct path *a, float *row)
{
    int V = x->model->info.cols[OUT_LOGITS], most = FIRST_PATHS;
    float *e = x->scratch->e;
    double sum = weigh(s, x, row, e);

    if (a->at >= 0) {
        keep_typed(s, x, a, row);
    } else if (a->n == 0) {
        keep_first(s, x, row);
    } else {
        double end = keep_more(s, x, a, e, row);
        if (end_path(j, s, a, a->p * (end / sum)))
            return -1;
        most = NEXT_PATHS;
    }
    int found = sampler_top(x->k, row, V, most, s->best);
    for (int i = 0; i < found; i++) {
        int32_t id = s->best[i].id;
        if (add_path(j, s, a, id, a->p * ((double)e[id] / sum)))
            return -1;
    }
    return 0;
}

/* --- rounds --- */

/* Words by probability, equal ones by their bytes. */
static int is_better(const struct word *a, const struct word *b)
{
    return a->p != b->p ? a->p > b->p : strcmp(a->text, b->text) < 0;
}

/* Put the k best words first, in order. */
static int sort_words(struct search *s, int k)
{
    k = k < s->n_words ? k : s->n_words;
    for (int i = 0; i < k; i++) {
        int best = i;
        for (int m = i + 1; m < s->n_words; m++)
            best = is_better(&s->word[m], &s->word[best]) ? m : best;
        struct word w = s->word[i];
        s->word[i] = s->word[best];
        s->word[best] = w;
    }
    return k;
}

/* Take the best open paths for the next round; 0 when the search is over. */
static int next_round(struct search *s)
{
    int most = 2 * s->top_k;
    double least = s->typed.n > 0 ? least_path(s) : 0;

    most = most < LEAST_PER_ROUND ? LEAST_PER_ROUND : most;
    most = most > MOST_PER_ROUND ? MOST_PER_ROUND : most;
    if (most > MOST_ROWS - s->n_rows)
        most = MOST_ROWS - s->n_rows;
    if (sort_words(s, s->top_k) == s->top_k &&
        least < WORTH * s->word[s->top_k - 1].p)
        least = WORTH * s->word[s->top_k - 1].p;
    s->n_round = s->n_done = 0;
    while (s->n_round < most && s->n_open > 0 && s->open[0].p >= least)
        heap_take(s, &s->round[s->n_round++]);
    s->n_rows += s->n_round;
    return s->n_round;
}

/* Words that were cut by the context's end are not searched to it. */
static int fits(const struct job *j, const struct path *a)
{
    int64_t context = j->model->info.state.port[PORT_TARGET].context_length;
    return context == 0 || (int64_t)j->n_tokens + a->n <= context;
}

static int words_plan(struct job *j, int budget, struct batch_plan *p)
{
    struct search *s = j->own;
    int planned = 0;

    if (j->pos[PORT_TARGET] < j->n_all)
        return task_plan_input(j, budget, p, s->rooted ? -1 : OUT_LOGITS);
    for (int i = s->n_done; i < s->n_round; i++) {
        const struct path *a = &s->round[i];
        struct span in = {.unit = UNIT_TOKENS, .n = a->n, .p = a->ids};
        struct want w = {.kind = OUT_LOGITS, .from = a->n - 1, .n = 1};
        struct seq *fork;
        if (a->n > budget - planned && p->b.n_item > 0)
            break;
        int rc = job_fork(j, p->store, j->seq, &fork);
        if (rc) {
            batch_starve(p, j, rc);
            break;
        }
        job_drop(j, fork); /* after this step */
        if (batch_add(p, j, fork, PORT_TARGET, &in, &w, 1) == 0)
            break;
        planned += a->n;
    }
    return planned;
}

static int finish(struct job *j, struct search *s)
{
    int n = sort_words(s, s->top_k);
    for (int i = 0; i < n; i++) {
        s->pred[i] = (struct prediction){.id = s->word[i].id,
                                         .prob = (float)s->word[i].p,
                                         .logprob = (float)log(s->word[i].p),
                                         .text = s->word[i].text};
    }
    s->res = (struct next_result){s->pred, n, s->covered, s->typed.text};
    j->answer = &s->res;
    return TASK_DONE;
}

static int words_take(struct job *j, const struct task_ctx *x,
                      struct batch_item *first, int n)
{
    struct search *s = j->own;
    int V = x->model->info.cols[OUT_LOGITS];
    const struct path root = no_path(s);

    for (int i = 0; i < n; i++) {
        if (first[i].n_w == 0)
            continue; /* a part of the prompt */
        float *row = task_row(j, x, &first[i], 0, V);
        if (!row ||
            read_row(j, s, x, s->rooted ? &s->round[s->n_done] : &root, row))
            return -1;
        s->n_done += s->rooted;
        s->rooted = 1;
        j->uncut = 0; /* all has been seen that is to be shown */
    }
    while (s->rooted && s->n_done == s->n_round) {
        if (!next_round(s))
            return finish(j, s);
        while (s->n_done < s->n_round && !fits(j, &s->round[s->n_done]))
            s->n_done++;
    }
    return TASK_MORE;
}

const struct task task_words = {.name = "words",
                                .output = OUT_LOGITS,
                                .needs = TASK_TOKENS | TASK_APPEND,
                                .forks = 1,
                                .init = words_init,
                                .fini = words_fini,
                                .most = words_most,
                                .plan = words_plan,
                                .take = words_take};
