/* generate: a continuation, token by token, its text made on the way.
 *
 * Stop strings are looked for in the detokenised continuation, byte by byte:
 * the one that ends first wins (of those that end together the longest), so
 * the answer does not depend on how the text was cut into tokens. While
 * streaming, the longest stop minus one byte is held back, so stop text never
 * leaks. The end token ends the text, is not part of it and not in `tokens`.
 *
 * All memory for the expected size is made in init; text and tokens grow by
 * doubling, and growth that fails fails the job only.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/task/generate.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/base/utf8.h"
#include "engine/run/model.h"
#include "engine/run/task/task_impl.h"

#define MAX_STOPS 16
#define MAX_STOP_BYTES 1024
#define MAX_NEW_TOKENS (1 << 20)
#define MAX_TEXT_BYTES ((size_t)64 << 20)
#define FIRST_TOKENS 1024 /* made in init at most: larger texts double */
#define BYTES_PER_TOKEN 8 /* of a word and its space, rounded up */

struct stop {
    const char *p;
    size_t n;
};

struct generate {
    struct sampler sampler;
    int max_tokens, stream;
    int n_out; /* made so far: the end of the job's tokens */
    struct detok detok;
    struct buf text;
    size_t scanned; /* bytes that no stop ends in */
    size_t sent;    /* bytes that were streamed */
    struct stop stop[MAX_STOPS];
    int n_stop;
    size_t longest_stop;
    char *stop_bytes;
    int cut; /* the text ends where a stop began */
    struct generate_result res;
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

/* Room for the text that is to be expected, so that steps do not allocate. */
static int make_room(struct job *j, struct generate *g, struct err *e)
{
    int n = g->max_tokens < FIRST_TOKENS ? g->max_tokens : FIRST_TOKENS;
    size_t bytes = (size_t)(n + 1) * BYTES_PER_TOKEN + MAX_STOP_BYTES;
    int32_t *tokens =
        mem_grow(j->tokens, (size_t)j->n_tokens + (size_t)n, sizeof *tokens);
    if (!tokens)
        return err_nomem(e);
    j->tokens = tokens;
    j->cap_tokens = j->n_tokens + n;
    buf_init(&g->text, MAX_TEXT_BYTES);
    g->text.p = mem_alloc(bytes);
    if (!g->text.p)
        return err_nomem(e);
    g->text.p[0] = 0;
    g->text.cap = bytes;
    return 0;
}

static int generate_init(struct job *j, const void *params, struct err *e)
{
    const struct generate_params *s = params;
    const struct model *m = j->model;
    struct generate *g = mem_zalloc(sizeof *g);

    j->own = g;
    if (!g)
        return err_nomem(e);
    if (s->max_tokens < 0 || s->max_tokens > MAX_NEW_TOKENS) {
        return err_set_at(e, ERR_INVALID, "invalid_value", "max_tokens",
                          "max_tokens is %d, expected 0..%d", s->max_tokens,
                          MAX_NEW_TOKENS);
    }
    g->max_tokens = s->max_tokens;
    g->stream = s->stream;
    if (copy_stops(g, s, e) || make_room(j, g, e) ||
        sampler_init(&g->sampler, &s->sample, m->info.cols[OUT_LOGITS],
                     m->forbid, m->n_forbid, j->n_tokens + s->max_tokens, e))
        return -1;
    for (int i = 0; i < j->n_tokens; i++)
        sampler_see(&g->sampler, j->tokens[i]);
    detok_init(&g->detok);
    detok_seed(m->tokenizer, &g->detok, j->tokens, j->n_tokens);
    j->scratch_vocab =
        s->sample.temperature > 0.0f ? m->info.cols[OUT_LOGITS] : 0;
    return 0;
}

static void generate_fini(struct job *j)
{
    struct generate *g = j->own;
    if (g) {
        sampler_fini(&g->sampler);
        buf_fini(&g->text);
        mem_free(g->stop_bytes);
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
    const struct generate *g = j->own;
    int want = g->max_tokens > 0 ? OUT_LOGITS : -1;

    return budget > 0 ? task_plan_input(j, budget, p, want) : 0;
}

/* The longest stop that ends at byte `end` of the text, or 0. */
static size_t stop_at(const struct generate *g, size_t end)
{
    size_t longest = 0;
    for (int i = 0; i < g->n_stop; i++) {
        const struct stop *s = &g->stop[i];
        if (s->n > longest && s->n <= end &&
            memcmp(g->text.p + end - s->n, s->p, s->n) == 0)
            longest = s->n;
    }
    return longest;
}

/* Cut the text before the first stop in it; 1 when there was one. */
static int cut_at_stop(struct generate *g)
{
    while (g->n_stop > 0 && g->scanned < g->text.len) {
        size_t n = stop_at(g, ++g->scanned);
        if (n > 0) {
            g->text.len = g->scanned - n;
            g->text.p[g->text.len] = 0;
            g->cut = 1;
            return 1;
        }
    }
    return 0;
}

/* Hand out what can no longer become part of a stop. */
static void stream_text(struct job *j, struct generate *g, int all)
{
    size_t len = g->text.len;
    size_t hold = !all && g->longest_stop > 0 ? g->longest_stop - 1 : 0;

    if (!g->stream || len <= g->sent + hold)
        return;
    size_t n = utf8_whole(g->text.p + g->sent, len - hold - g->sent);
    j->text = g->text.p + g->sent;
    j->text_len = n;
    g->sent += n;
}

/* The text could not be written: it is too long, or there is no memory. */
static int no_text(struct job *j, const struct generate *g)
{
    return g->text.full ? job_fail(j, ERR_TOO_LARGE, "context_length_exceeded",
                                   "the text has more than 64 MiB")
                        : task_out_of_memory(j);
}

static int finish(struct job *j, struct generate *g, enum finish_reason why)
{
    if (!g->cut && (detok_finish(j->model->tokenizer, &g->detok, &g->text) ||
                    g->text.failed))
        return no_text(j, g);
    if (!g->cut && cut_at_stop(g))
        why = FINISH_STOP;
    stream_text(j, g, 1);
    g->res = (struct generate_result){.text = g->text.p,
                                      .text_len = g->text.len,
                                      .tokens = j->tokens + j->n_tokens,
                                      .n_tokens = g->n_out,
                                      .finish = why};
    j->answer = &g->res;
    j->res.completion_tokens = g->n_out;
    return TASK_DONE;
}

static int keep_token(struct job *j, struct generate *g, int32_t id)
{
    if (job_add_token(j, id))
        return task_out_of_memory(j);
    g->n_out++;
    j->fresh_tokens = 1;
    sampler_see(&g->sampler, id);
    if (detok_next(j->model->tokenizer, &g->detok, id, &g->text) ||
        g->text.failed)
        return no_text(j, g);
    return 0;
}

static int generate_take(struct job *j, const struct task_ctx *x,
                         struct batch_item *first, int n)
{
    const struct model *m = x->model;
    struct generate *g = j->own;

    if (j->pos[PORT_TARGET] < j->n_all)
        return TASK_MORE;
    if (first[n - 1].n_w == 0)
        return finish(j, g, FINISH_LENGTH); /* max_tokens is 0 */
    float *row = task_row(j, x, &first[n - 1], 0, m->info.cols[OUT_LOGITS]);
    if (!row)
        return -1;
    int32_t id = sampler_pick(&g->sampler, x->k, row, x->scratch);
    if (id < 0) {
        return job_fail(j, ERR_INTERNAL, "internal_error",
                        "the model offers no token");
    }
    if (tokenizer_is_end(m->tokenizer, id))
        return finish(j, g, FINISH_STOP);
    if (keep_token(j, g, id))
        return -1;
    if (cut_at_stop(g))
        return finish(j, g, FINISH_STOP);
    int64_t len = j->n_tokens + g->n_out; /* with the token to be fed */
    int64_t context = m->info.state.port[PORT_TARGET].context_length;
    if (g->n_out >= g->max_tokens || (context > 0 && len > context))
        return finish(j, g, FINISH_LENGTH);
    stream_text(j, g, 0);
    return TASK_MORE;
}

const struct task task_generate = {.name = "generate",
                                   .output = OUT_LOGITS,
                                   .needs = TASK_TOKENS | TASK_APPEND,
                                   .init = generate_init,
                                   .fini = generate_fini,
                                   .most = generate_most,
                                   .plan = generate_plan,
                                   .take = generate_take};
