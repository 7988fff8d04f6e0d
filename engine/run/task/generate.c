/* generate: a continuation, token by token, its text made on the way.
 *
 * Stop strings are looked for in the detokenised continuation, byte by byte:
 * the one that ends first wins (of those that end together the longest), so
 * the answer does not depend on how the text was cut into tokens. While
 * streaming, the longest stop minus one byte is held back, so stop text never
 * leaks. The end token ends the text, is not part of it and not in `tokens`.
 *
 * Several choices are branches (branches.h), each with a sampler and a text of
 * its own; a single one goes on in the job's own sequence, but where the source
 * is looked at once more for its attention (alignment.h).
 *
 * All memory for the expected size is made in init; text and tokens grow by
 * doubling, and growth that fails fails the job only.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/generate.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/run/beam_search.h"
#include "engine/run/model.h"
#include "engine/run/task/alignment.h"
#include "engine/run/task/branches.h"
#include "engine/run/task/constrained.h"
#include "engine/run/task/task_impl.h"

#define MAX_STOPS 16
#define MAX_STOP_BYTES 1024
#define MAX_NEW_TOKENS (1 << 20)
#define MAX_TEXT_BYTES ((size_t)64 << 20)
#define FIRST_TOKENS 1024 /* made in init at most: larger texts double */
#define BYTES_PER_TOKEN 8 /* of a word and its space, rounded up */
#define STREAM_BITS 40    /* draws that a choice has before the next one's */

_Static_assert(MOST_CHOICES <= MOST_BRANCHES, "each choice is a branch");

struct stop {
    const char *p;
    size_t n;
};

/* One continuation. */
struct choice {
    struct sampler sampler;
    struct constrained held;
    int n_out;    /* made so far: the end of the job's tokens, or ids [n_out] */
    int32_t *ids; /* [cap] of choices that are branches */
    int cap;
    struct detok detok;
    struct buf text;
    size_t scanned; /* bytes that no stop ends in */
    size_t sent;    /* bytes that were streamed */
    int cut;        /* the text ends where a stop began */
    int done;
    double logprob;
    int n_scored;
    struct token_scores scores;
};

struct generate {
    struct choice *c; /* [n] */
    int n, n_done;
    int max_tokens, stream, forced_first;
    int apart; /* choices are branches */
    const struct constraint *constraint;
    struct branches branches;
    struct alignment alignment;
    float *row; /* [V] a copy of a row, where one is needed */
    int logprob, scores;
    double length_penalty;
    struct stop stop[MAX_STOPS];
    int n_stop;
    size_t longest_stop;
    char *stop_bytes;
    struct logit_bias *bias;     /* [n_bias] */
    struct generate_result *res; /* [n] */
};

static int copy_stops(struct generate *g, const struct generate_params *s,
                      struct err *e)
{
    size_t total = 0;
    if (s->n_stop < 0 || s->n_stop > MAX_STOPS) {
        return err_set_at(e, ERR_INVALID, "invalid_value", "stop",
                          "%d stop strings, at most %d are allowed", s->n_stop,
                          MAX_STOPS);
    }
    for (int i = 0; i < s->n_stop; i++) {
        size_t n = strlen(s->stop[i]);
        if (n < 1 || n > MAX_STOP_BYTES || !utf8_valid(s->stop[i], n)) {
            return err_set_at(e, ERR_INVALID, "invalid_value", "stop",
                              "a stop string must be 1 to %d bytes of UTF-8",
                              MAX_STOP_BYTES);
        }
        total += n;
    }
    if (total == 0)
        return 0;
    char *p = g->stop_bytes = mem_alloc(total);
    if (!p)
        return err_nomem(e);
    for (int i = 0; i < s->n_stop; i++) {
        size_t n = strlen(s->stop[i]);
        memcpy(p, s->stop[i], n);
        g->stop[i] = (struct stop){p, n};
        g->longest_stop = n > g->longest_stop ? n : g->longest_stop;
        p += n;
    }
    g->n_stop = s->n_stop;
    return 0;
}

/* Room for what is to be expected, so that steps do not allocate. */
static int make_room(struct job *j, struct generate *g, struct choice *c,
                     struct err *e)
{
    int n = g->max_tokens < FIRST_TOKENS ? g->max_tokens : FIRST_TOKENS;
    size_t bytes = (size_t)(n + 1) * BYTES_PER_TOKEN + MAX_STOP_BYTES;

    if (g->apart) {
        c->cap = n + 1;
        c->ids = mem_array((size_t)c->cap, sizeof *c->ids);
        if (!c->ids)
            return err_nomem(e);
    } else {
        int32_t *tokens = mem_grow(j->tokens, (size_t)j->n_tokens + (size_t)n,
                                   sizeof *tokens);
        if (!tokens)
            return err_nomem(e);
        j->tokens = tokens;
        j->cap_tokens = j->n_tokens + n;
    }
    buf_init(&c->text, MAX_TEXT_BYTES);
    c->text.p = mem_alloc(bytes);
    if (!c->text.p)
        return err_nomem(e);
    c->text.p[0] = 0;
    c->text.cap = bytes;
    return 0;
}

static int init_choice(struct job *j, struct generate *g, int i,
                       const struct sample_params *p, struct err *e)
{
    const struct model *m = j->model;
    struct choice *c = &g->c[i];

    if (make_room(j, g, c, e) ||
        sampler_init(&c->sampler, p, m->info.cols[OUT_LOGITS], m->forbid,
                     m->n_forbid, j->n_tokens + g->max_tokens, e))
        return -1;
    c->scores.on = g->scores > 0;
    c->scores.n_top = g->scores - c->scores.on;
    c->sampler.n_drawn = (uint64_t)i << STREAM_BITS;
    for (int k = 0; k < j->n_tokens; k++)
        sampler_see(&c->sampler, j->tokens[k]);
    detok_init(&c->detok);
    if (m->info.state.n_ports == 1)
        detok_seed(m->tokenizer, &c->detok, j->tokens, j->n_tokens);
    return 0;
}

static int check(const struct generate_params *s, int V, struct err *e)
{
    if (s->max_tokens < 0 || s->max_tokens > MAX_NEW_TOKENS) {
        return err_set_at(e, ERR_INVALID, "invalid_value", "max_tokens",
                          "max_tokens is %d, expected 0..%d", s->max_tokens,
                          MAX_NEW_TOKENS);
    }
    if (s->n < 0 || s->n > MOST_CHOICES) {
        return err_set_at(e, ERR_INVALID, "invalid_value", "n",
                          "n is %d, expected 1..%d", s->n, MOST_CHOICES);
    }
    if (s->scores < 0 || s->scores > 1 + MOST_TOP_TOKENS) {
        return err_set_at(e, ERR_INVALID, "invalid_value", "logprobs",
                          "logprobs must be from 0 to %d", MOST_TOP_TOKENS);
    }
    if (s->n > 1 && s->stream) {
        return err_set_at(e, ERR_INVALID, "invalid_value", "n",
                          "several choices are not streamed");
    }
    if (s->forced_first < 0 || s->forced_first > V) {
        return err_set_at(e, ERR_INVALID, "invalid_value", "target",
                          "the first token is not one of the vocabulary");
    }
    return 0;
}

/* A copy, and ids that the vocabulary has. */
static int copy_bias(struct generate *g, struct sample_params *p, int V,
                     struct err *e)
{
    for (int i = 0; i < p->n_bias; i++)
        if (p->bias[i].id < 0 || p->bias[i].id >= V)
            return err_set_at(e, ERR_INVALID, "invalid_value", "logit_bias",
                              "%d is no token of the vocabulary, which has %d",
                              (int)p->bias[i].id, V);
    if (p->n_bias == 0)
        return 0;
    g->bias = mem_array((size_t)p->n_bias, sizeof *g->bias);
    if (!g->bias)
        return err_nomem(e);
    memcpy(g->bias, p->bias, (size_t)p->n_bias * sizeof *g->bias);
    p->bias = g->bias;
    return 0;
}

static int generate_init(struct job *j, const void *params, struct err *e)
{
    const struct generate_params *s = params;
    int V = j->model->info.cols[OUT_LOGITS];
    struct constrained held;
    struct sample_params sample = s->sample;
    struct generate *g = mem_zalloc(sizeof *g);

    j->own = g;
    if (!g)
        return err_nomem(e);
    if (check(s, V, e))
        return -1;
    g->n = s->n > 1 ? s->n : 1;
    g->max_tokens = s->max_tokens;
    g->stream = s->stream;
    g->constraint = s->constraint;
    g->logprob = s->logprob;
    g->scores = s->scores;
    g->length_penalty = s->length_penalty;
    g->apart = g->n > 1 || s->attention;
    g->forced_first = s->forced_first - 1;
    if (g->forced_first < 0)
        g->forced_first = j->model->info.target.forced_first;
    g->c = mem_zarray((size_t)g->n, sizeof *g->c);
    g->res = mem_zarray((size_t)g->n, sizeof *g->res);
    int copied = g->n > 1 || g->logprob || g->scores;
    if (copied)
        g->row = mem_floats((size_t)V);
    if (!g->c || !g->res || (copied && !g->row))
        return err_nomem(e);
    if (copy_stops(g, s, e) || copy_bias(g, &sample, V, e) ||
        constrained_begin(&held, j, s->constraint, s->constraint_must, e) ||
        (s->attention && alignment_init(&g->alignment, j, e)))
        return -1;
    for (int i = 0; i < g->n; i++)
        if (init_choice(j, g, i, &sample, e))
            return -1;
    for (int i = 0; i < g->n; i++)
        g->c[i].held = held;
    if (g->apart)
        branches_begin(j, g->n + g->alignment.on);
    j->scratch_vocab = s->sample.temperature > 0.0f || g->scores > 1 ? V : 0;
    return 0;
}

static void generate_fini(struct job *j)
{
    struct generate *g = j->own;

    for (int i = 0; g && g->c && i < g->n; i++) {
        sampler_fini(&g->c[i].sampler);
        buf_fini(&g->c[i].text);
        mem_free(g->c[i].ids);
        token_scores_fini(&g->c[i].scores);
    }
    if (g) {
        alignment_fini(&g->alignment);
        mem_free(g->stop_bytes);
        mem_free(g->bias);
        mem_free(g->c);
        mem_free(g->res);
        mem_aligned_free(g->row);
        mem_free(g);
    }
}

static void generate_most(const struct job *j, int64_t n[MAX_PORTS])
{
    const struct generate *g = j->own;
    int64_t context = j->model->info.state.port[PORT_TARGET].context_length;
    int64_t most =
        (int64_t)j->n_tokens + (g->max_tokens > 0 ? g->max_tokens - 1 : 0);

    n[PORT_TARGET] = context > 0 && most > context ? context : most;
}

static int generate_plan(struct job *j, int budget, struct batch_plan *p)
{
    struct generate *g = j->own;
    int want = g->max_tokens > 0 ? OUT_LOGITS : -1;

    if (!g->apart)
        return budget > 0 ? task_plan_input(j, budget, p, want) : 0;
    if (alignment_begun(&g->alignment))
        return alignment_plan(&g->alignment, j, budget, p);
    if (alignment_hold(&g->alignment, j, p))
        return 0;
    for (int i = 0; i < g->branches.n; i++) {
        g->branches.b[i].ids = g->c[i].ids;
        g->branches.b[i].n = g->c[i].n_out;
    }
    return branches_plan(j, &g->branches, budget, p);
}

/* The longest stop that ends at byte `end` of the text, or 0. */
static size_t stop_at(const struct generate *g, const struct choice *c,
                      size_t end)
{
    size_t longest = 0;
    for (int i = 0; i < g->n_stop; i++) {
        const struct stop *s = &g->stop[i];
        if (s->n > longest && s->n <= end &&
            memcmp(c->text.p + end - s->n, s->p, s->n) == 0)
            longest = s->n;
    }
    return longest;
}

/* Cut the text before the first stop in it; 1 when there was one. */
static int cut_at_stop(const struct generate *g, struct choice *c)
{
    while (g->n_stop > 0 && c->scanned < c->text.len) {
        size_t n = stop_at(g, c, ++c->scanned);
        if (n > 0) {
            c->text.len = c->scanned - n;
            c->text.p[c->text.len] = 0;
            c->cut = 1;
            return 1;
        }
    }
    return 0;
}

/* Hand out what can no longer become part of a stop. */
static void stream_text(struct job *j, const struct generate *g,
                        struct choice *c, int all)
{
    size_t len = c->text.len;
    size_t hold = !all && g->longest_stop > 0 ? g->longest_stop - 1 : 0;

    if (!g->stream || len <= c->sent + hold)
        return;
    size_t n = utf8_whole(c->text.p + c->sent, len - hold - c->sent);
    j->text = c->text.p + c->sent;
    j->text_len = n;
    c->sent += n;
}

/* The text could not be written: it is too long, or there is no memory. */
static int no_text(struct job *j, const struct choice *c)
{
    return c->text.full ? job_fail(j, ERR_TOO_LARGE, "context_length_exceeded",
                                   "the text has more than 64 MiB")
                        : task_out_of_memory(j);
}

/* One choice is complete; TASK_DONE with the last one. */
static int finish(struct job *j, struct generate *g, struct choice *c,
                  enum finish_reason why)
{
    if (!c->cut && (detok_finish(j->model->tokenizer, &c->detok, &c->text) ||
                    c->text.failed))
        return no_text(j, c);
    if (!c->cut && cut_at_stop(g, c))
        why = FINISH_STOP;
    stream_text(j, g, c, 1);
    c->done = 1;
    g->res[c - g->c] = (struct generate_result){
        .text = c->text.p,
        .text_len = c->text.len,
        .tokens = g->apart ? c->ids : j->tokens + j->n_tokens,
        .n_tokens = c->n_out,
        .finish = why,
        .logprob = c->logprob,
        .n_scored = c->n_scored,
        .constraint = g->constraint,
        .constrained = c->held.c != NULL,
        .scores = c->scores.on ? &c->scores : NULL,
        .score = score_per_length(c->logprob, c->n_scored, g->length_penalty),
        .n = g->n};
    j->answer = g->res;
    j->res.completion_tokens += c->n_out;
    return ++g->n_done == g->n ? TASK_DONE : TASK_MORE;
}

static int add_id(struct job *j, const struct generate *g, struct choice *c,
                  int32_t id)
{
    if (!g->apart)
        return job_add_token(j, id);
    if (c->n_out == c->cap) {
        int32_t *ids = mem_grow(c->ids, (size_t)c->cap * 2, sizeof *ids);
        if (!ids)
            return -1;
        c->ids = ids;
        c->cap *= 2;
    }
    c->ids[c->n_out] = id;
    return 0;
}

static int keep_token(struct job *j, const struct generate *g, struct choice *c,
                      int32_t id)
{
    if (add_id(j, g, c, id))
        return task_out_of_memory(j);
    if (sampler_made(&c->sampler, id) || token_scores_keep(&c->scores))
        return task_out_of_memory(j);
    c->n_out++;
    j->fresh_tokens = 1;
    sampler_see(&c->sampler, id);
    constrained_see(&c->held, j->model, id);
    if (detok_next(j->model->tokenizer, &c->detok, id, &c->text) ||
        c->text.failed)
        return no_text(j, c);
    return 0;
}

/* Is there room for one more token only? */
static int is_last(const struct job *j, const struct generate *g,
                   const struct choice *c)
{
    int64_t context = j->model->info.state.port[PORT_TARGET].context_length;

    return c->n_out + 1 >= g->max_tokens ||
           (context > 0 && (int64_t)j->n_tokens + c->n_out + 1 > context);
}

/* What the model's rules say of this place. */
static void ban(const struct job *j, const struct generate *g,
                const struct choice *c, float *row)
{
    const struct model *m = j->model;
    const struct row_bans bans = {.n_vocab = m->info.cols[OUT_LOGITS],
                                  .min_new = m->info.target.min_new,
                                  .end = m->end,
                                  .n_end = m->n_end,
                                  .no_repeat = m->info.target.no_repeat,
                                  .prefix = j->tokens,
                                  .n_prefix = j->n_tokens};
    row_bans_apply(&bans, g->apart ? c->ids : j->tokens + j->n_tokens, c->n_out,
                   row);
}

#define NO_TOKEN (-2) /* of pick: the constraint leaves none */

/* The next token of a row, which is overwritten unless there is a copy; -1: it
 * failed. */
static int32_t pick(struct job *j, const struct task_ctx *x,
                    const struct generate *g, struct choice *c, float *row)
{
    int V = x->model->info.cols[OUT_LOGITS];
    double base = 0;
    float max = 0, *work = g->row ? g->row : row;

    c->n_scored++;
    if (c->n_out == 0 && g->forced_first >= 0) {
        token_scores_forced(&c->scores, g->forced_first);
        return g->forced_first;
    }
    if (g->logprob || g->scores)
        base = log_softmax_base(x->k, V, row, &max);
    if (g->scores)
        token_scores_row(&c->scores, x->k, row, V, max, base, x->scratch);
    if (g->row)
        memcpy(work, row, (size_t)V * sizeof *row);
    ban(j, g, c, work);
    if (!constrained_mask(&c->held, x->model, work))
        return NO_TOKEN;
    int32_t id = sampler_pick(&c->sampler, x->k, work, x->scratch);
    if (id < 0 && c->held.c)
        return NO_TOKEN;
    if (id < 0) {
        return job_fail(j, ERR_INTERNAL, "internal_error",
                        "the model offers no token");
    }
    if (g->scores)
        token_scores_pick(&c->scores, id, row[id], max, base);
    if (g->logprob)
        c->logprob += (double)row[id] - (double)max - base;
    return id;
}

static int next_token(struct job *j, const struct task_ctx *x,
                      struct generate *g, struct choice *c, float *row)
{
    const struct model *m = x->model;

    if (g->max_tokens == 0)
        return finish(j, g, c, FINISH_LENGTH);
    if (m->info.target.forced_last >= 0 && is_last(j, g, c)) {
        c->n_scored++;
        return finish(j, g, c, FINISH_LENGTH);
    }
    int32_t id = pick(j, x, g, c, row);
    if (id == NO_TOKEN)
        return finish(j, g, c, FINISH_CONSTRAINT);
    if (id < 0)
        return -1;
    if (tokenizer_is_end(m->tokenizer, id))
        return finish(j, g, c, FINISH_STOP);
    if (keep_token(j, g, c, id))
        return -1;
    if (cut_at_stop(g, c))
        return finish(j, g, c, FINISH_STOP);
    int64_t len = j->n_tokens + c->n_out; /* with the token to be fed */
    int64_t context = m->info.state.port[PORT_TARGET].context_length;
    if (c->n_out >= g->max_tokens || (context > 0 && len > context))
        return finish(j, g, c, FINISH_LENGTH);
    stream_text(j, g, c, 0);
    return TASK_MORE;
}

/* --- choices that are branches --- */

/* The row behind the prompt is read by all of them. */
static int begin_choices(struct job *j, const struct task_ctx *x,
                         struct generate *g, float *row)
{
    int from[MOST_CHOICES], rc = TASK_MORE;

    for (int i = 0; i < g->n; i++)
        from[i] = -1;
    branches_replace(j, &g->branches, from, g->n);
    for (int i = 0; i < g->n && rc >= 0; i++)
        rc = next_token(j, x, g, &g->c[i], row);
    return rc;
}

/* All choices are complete: the best one is read once more. */
static int show_best(struct job *j, struct generate *g)
{
    struct generate_result *best = g->res;

    for (int i = 1; i < g->n; i++)
        if (g->res[i].score > best->score)
            best = &g->res[i];
    if (alignment_begin(&g->alignment, j, best->tokens, best->n_tokens))
        return -1;
    best->attention = g->alignment.weights;
    return best->n_tokens > 0 ? TASK_MORE : TASK_DONE;
}

static int take_choices(struct job *j, const struct task_ctx *x,
                        struct generate *g, struct batch_item *first, int n)
{
    const struct batch_item *item[MOST_BRANCHES];
    int at[MOST_BRANCHES], V = x->model->info.cols[OUT_LOGITS], rc = TASK_MORE;
    int found = branches_take(&g->branches, first, n, item, at);

    for (int k = 0; k < found && rc >= 0; k++) {
        float *row = task_row(j, x, item[k], 0, V);
        if (!row)
            return -1;
        if (at[k] < 0) {
            rc = begin_choices(j, x, g, row);
            continue;
        }
        g->branches.b[at[k]].open = 1;
        rc = next_token(j, x, g, &g->c[at[k]], row);
    }
    for (int i = 0; i < g->branches.n; i++) {
        if (g->c[i].done)
            branches_end(j, &g->branches.b[i]);
        if (g->c[i].n_out > j->branch_rows)
            j->branch_rows = g->c[i].n_out;
    }
    return rc == TASK_DONE && g->alignment.on ? show_best(j, g) : rc;
}

static int generate_take(struct job *j, const struct task_ctx *x,
                         struct batch_item *first, int n)
{
    struct generate *g = j->own;
    int V = x->model->info.cols[OUT_LOGITS];

    if (alignment_begun(&g->alignment))
        return alignment_take(&g->alignment, j, x, first);
    if (g->apart)
        return take_choices(j, x, g, first, n);
    if (j->pos[PORT_TARGET] < j->n_all)
        return TASK_MORE;
    if (first[n - 1].n_w == 0)
        return finish(j, g, g->c, FINISH_LENGTH); /* max_tokens is 0 */
    float *row = task_row(j, x, &first[n - 1], 0, V);
    return row ? next_token(j, x, g, g->c, row) : -1;
}

static void generate_lost(struct job *j)
{
    struct generate *g = j->own;
    branches_lost(&g->branches);
    alignment_lost(&g->alignment);
}

const struct task task_generate = {.name = "generate",
                                   .output = OUT_LOGITS,
                                   .needs = TASK_TOKENS | TASK_APPEND |
                                            TASK_ANY_SOURCE,
                                   .init = generate_init,
                                   .fini = generate_fini,
                                   .most = generate_most,
                                   .plan = generate_plan,
                                   .take = generate_take,
                                   .lost = generate_lost};
