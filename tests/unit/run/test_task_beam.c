/* Beam search of targets made from sources, by the toy of ports_arch.h, against
 * a search in this file that keeps whole texts and sorts all continuations:
 * alone and in company, in steps of any size, and while states are lost. What
 * is streamed is never taken back; memory for all beams is asked for.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>

#include "engine/base/log.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/run/task/beam.h"
#include "tests/support/fake_arch.h"
#include "tests/support/job_watch.h"
#include "tests/support/ports_arch.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

#define N 16
#define MAX_SOURCE 30
#define MAX_NEW 12
#define MAX_TARGET 4

/* All rigs and pairs are of a model whose attention is looked at. */
static int shown;

/* --- the search, written plainly --- */

struct line {
    int32_t ids[MAX_TARGET + MAX_NEW];
    int n; /* behind the target's beginning */
    int ended;
    float score;
    int order; /* of equal ones */
};

struct pair {
    int32_t source[MAX_SOURCE], target[MAX_TARGET];
    int n_source, n_target;
    struct beam_params p;
    struct line want[MOST_BEAMS];
    int n_want;
};

static int by_score(const void *a, const void *b)
{
    const struct line *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->order - y->order;
}

/* Every continuation of l, behind list [n]. */
static int expand(const struct pair *p, const struct line *l, struct line *list,
                  int n)
{
    float row[PORTS_VOCAB], max = -INFINITY;
    double sum = 0;

    for (int v = 0; v < PORTS_VOCAB; v++) {
        row[v] =
            ports_logit(p->source, p->n_source, l->ids, p->n_target + l->n, v);
        max = row[v] > max ? row[v] : max;
    }
    for (int v = 0; v < PORTS_VOCAB; v++)
        sum += exp((double)row[v] - (double)max);
    for (int v = 0; v < PORTS_VOCAB; v++) {
        struct line *to = &list[n];
        if (v == FAKE_UNK || v == FAKE_BOS)
            continue; /* never drawn */
        *to = *l;
        to->ids[p->n_target + to->n++] = v;
        to->ended = v == FAKE_EOS;
        to->score = l->score + (float)((double)row[v] - (double)max - log(sum));
        to->order = n++;
    }
    return n;
}

static float per_length(const struct pair *p, const struct line *l)
{
    return l->score / (float)pow(l->n, p->p.length_penalty);
}

static void search(struct pair *p)
{
    static struct line all[MOST_BEAMS * PORTS_VOCAB], done[400];
    struct line live[MOST_BEAMS] = {{.n = 0}};
    int n_live = 1, n_done = 0, B = p->p.beams, over = 0;

    memcpy(live[0].ids, p->target, sizeof p->target);
    while (!over) {
        int n = 0, k = 0;
        for (int i = 0; i < n_live; i++)
            n = expand(p, &live[i], all, n);
        qsort(all, (size_t)n, sizeof *all, by_score);
        for (int i = 0; i < n; i++) {
            int ends = all[i].ended || all[i].n == p->p.max_tokens;
            if (ends && i < B) {
                done[n_done] = all[i];
                done[n_done].score = per_length(p, &all[i]);
                done[n_done].order = n_done;
                n_done++;
            } else if (!ends && k < B) {
                live[k++] = all[i];
            }
        }
        n_live = k;
        qsort(done, (size_t)n_done, sizeof *done, by_score);
        for (int i = 0; i < n_done; i++)
            done[i].order = i;
        n_done = n_done < B ? n_done : B;
        over = n_live == 0;
        if (n_done == B && !over) {
            struct line best = live[0];
            if (p->p.stop == BEAM_STOP_NEVER && p->p.length_penalty > 0)
                best.n = p->p.max_tokens;
            over = B == 1 || p->p.stop == BEAM_STOP_FULL ||
                   per_length(p, &best) <= done[B - 1].score;
        }
    }
    p->n_want = p->p.n_best;
    memcpy(p->want, done, sizeof *done * (size_t)p->n_want);
}

static void make_pair(struct pair *p, struct rng *r)
{
    static const double penalty[] = {0, 0.5, 1, 2, -1};

    p->n_source = 1 + (int)rng_below(r, MAX_SOURCE);
    p->n_target = 1 + (int)rng_below(r, MAX_TARGET);
    for (int i = 0; i < p->n_source; i++)
        p->source[i] = FAKE_WORD + (int32_t)rng_below(r, 30);
    for (int i = 0; i < p->n_target; i++)
        p->target[i] = FAKE_WORD + (int32_t)rng_below(r, 30);
    int beams = 1 + (int)rng_below(r, 6);
    p->p =
        (struct beam_params){.beams = beams,
                             .n_best = 1 + (int)rng_below(r, (uint32_t)beams),
                             .length_penalty = penalty[rng_below(r, 5)],
                             .stop = (enum beam_stop)rng_below(r, 3),
                             .max_tokens = 1 + (int)rng_below(r, MAX_NEW),
                             .forced_first = -1,
                             .stream = (int)rng_below(r, 2),
                             .attention = shown};
    search(p);
}

/* --- the engine --- */

struct rig {
    struct engine *g;
    struct model *m;
    struct watch w;
    char dir[64];
};

static void rig_up(struct rig *r, int chain, struct engine_options o)
{
    struct err e = ERR_INIT;

    log_configure(LOG_ERROR, 0);
    memset(r, 0, sizeof *r);
    memset(&ports_stats, 0, sizeof ports_stats);
    watch_init(&r->w);
    ports_dir(shown ? PORTS_SHOWN : PORTS_PAIR, chain, r->dir);
    if (engine_open(&o, ports_archs, &r->g, &e) ||
        engine_load(r->g, "ports", r->dir, &e) ||
        engine_model(r->g, NULL, NULL, &r->m, &e))
        fail_msg("%s", e.msg);
}

static void rig_down(struct rig *r)
{
    model_release(r->m);
    engine_close(r->g);
    temp_dir_drop(r->dir);
    assert_int_equal(atomic_load(&ports_stats.violations), 0);
    watch_fini(&r->w);
}

struct heard {
    struct watch *w;
    struct job *job;
    char text[1024]; /* streamed */
    size_t n;
    int events;
};

static void on_event(void *user, const struct job_event *ev)
{
    struct heard *h = user;

    pthread_mutex_lock(&h->w->mu);
    if (ev->kind == JOB_TEXT) {
        memcpy(h->text + h->n, ev->text, ev->text_len);
        h->n += ev->text_len;
        h->events++;
    } else {
        h->w->n_final++;
        pthread_cond_broadcast(&h->w->cv);
    }
    pthread_mutex_unlock(&h->w->mu);
}

static struct job_spec spec_of(struct rig *r, const struct pair *p,
                               struct heard *h)
{
    *h = (struct heard){.w = &r->w};
    return (struct job_spec){.model = r->m,
                             .task = &task_beam,
                             .params = &p->p,
                             .in = {{.n = p->n_target, .p = p->target},
                                    {.n = p->n_source, .p = p->source}},
                             .on_event = on_event,
                             .user = h};
}

/* Token i is made from the row behind those before it. */
static void check_shown(const struct pair *p, const struct beam_result *res)
{
    const int32_t *ids = p->want[0].ids;

    assert_non_null(res->attention);
    assert_int_equal(res->n_source, p->n_source);
    for (int i = 0; i < res->best[0].n_tokens; i++)
        for (int j = 0; j < p->n_source; j++) {
            float got = res->attention[i * p->n_source + j];
            float want = ports_mean_weight(p->source, p->n_source, ids,
                                           p->n_target + i, j);
            assert_true(fabsf(got - want) < 1e-6f);
        }
}

static void check(const struct pair *p, const struct heard *h)
{
    const struct beam_result *res = beam_result(h->job);
    int made = 0;

    if (job_error(h->job)->code)
        fail_msg("%s", job_error(h->job)->msg);
    assert_int_equal(res->n, p->n_want);
    for (int i = 0; i < res->n; i++) {
        const struct beam_text *b = &res->best[i];
        const struct line *l = &p->want[i];
        assert_int_equal(b->n_tokens, l->n - l->ended);
        assert_memory_equal(b->tokens, l->ids + p->n_target,
                            (size_t)b->n_tokens * sizeof *b->tokens);
        assert_int_equal(b->finish, l->ended ? FINISH_STOP : FINISH_LENGTH);
        assert_true(fabsf(b->score - l->score) < 1e-4f * (1 + fabsf(b->score)));
        made += b->n_tokens;
    }
    assert_int_equal(job_result(h->job)->completion_tokens, made);
    if (p->p.attention)
        check_shown(p, res);
    else
        assert_null(res->attention);
    if (p->p.stream) {
        assert_int_equal(h->n, res->best[0].text_len);
        assert_memory_equal(h->text, res->best[0].text, h->n);
    } else {
        assert_int_equal(h->events, 0);
    }
}

/* How many sources were read. */
static int check_pairs(struct engine_options o, int chain, int company)
{
    struct pair *p = mem_array(N, sizeof *p);
    struct heard *h = mem_array(N, sizeof *h);
    struct job_spec spec[N];
    struct job *job[N];
    struct err e = ERR_INIT;
    struct rng rng;
    struct rig r;
    int events = 0;

    rng_init(&rng, 7);
    rig_up(&r, chain, o);
    for (int i = 0; i < N; i++) {
        make_pair(&p[i], &rng);
        spec[i] = spec_of(&r, &p[i], &h[i]);
    }
    for (int i = 0; i < N; i += company) {
        if (engine_submit(r.g, spec + i, company, job + i, &e))
            fail_msg("%s %s", e.param, e.msg);
        assert_int_equal(watch_wait(&r.w, i + company), 0);
    }
    for (int i = 0; i < N; i++) {
        h[i].job = job[i];
        check(&p[i], &h[i]);
        events += h[i].events > 1;
        job_release(job[i]);
    }
    assert_true(events > 0); /* some streams came in parts */
    int sources = atomic_load(&ports_stats.sources);
    rig_down(&r);
    mem_free(p);
    mem_free(h);
    return sources;
}

static void test_beams_alone_and_in_company(void **state)
{
    static const int budget[] = {1, 5, 1024};
    for (int b = 0; b < 3; b++)
        for (int chain = 0; chain < 3; chain += 2) {
            struct engine_options o = {.n_threads = 1 + b % 2,
                                       .step_tokens = budget[b],
                                       .max_rows = b == 1 ? 4 : 0};
            /* One source for all beams, however many there are. */
            assert_int_equal(check_pairs(o, chain, 1), N);
            assert_int_equal(check_pairs(o, chain, N), N);
        }
}

static void test_beams_survive_lost_states(void **state)
{
    /* Enough for two or three jobs of the largest size. */
    struct engine_options o = {.n_threads = 2, .state_bytes = 6000};
    int again = 0;
    for (int k = 0; k < 5; k++) {
        again += check_pairs(o, 2, N) - N;
        o.state_bytes += 1500;
    }
    assert_true(again > 0); /* sources that had to be read twice */
}

/* The same searches, whose best texts are read once more. */
static void test_beams_show_where_the_best_text_looks(void **state)
{
    struct engine_options o = {.n_threads = 2, .state_bytes = 7000};
    int again = 0;

    shown = 1;
    test_beams_alone_and_in_company(state);
    for (int k = 0; k < 5; k++) {
        again += check_pairs(o, 2, N) - N;
        o.state_bytes += 1500;
    }
    shown = 0;
    assert_true(again > 0);
}

static void test_beams_share_the_pages_of_the_source(void **state)
{
    struct engine_options o = {.n_threads = 1};
    struct rig r;
    struct rng rng;
    struct heard h;
    struct pair p;
    struct job_spec s;
    struct err e = ERR_INIT;

    rng_init(&rng, 3);
    rig_up(&r, 0, o);
    do
        make_pair(&p, &rng);
    while (p.p.beams < 4 || p.p.max_tokens < 6);
    s = spec_of(&r, &p, &h);
    assert_int_equal(engine_submit(r.g, &s, 1, &h.job, &e), 0);
    assert_int_equal(watch_wait(&r.w, 1), 0);
    check(&p, &h);
    assert_true(atomic_load(&ports_stats.shared) >= 6);
    job_release(h.job);
    rig_down(&r);
}

/* A language that the target begins with: its probability is 1. */
static void test_beams_begin_with_a_forced_token(void **state)
{
    struct engine_options o = {.n_threads = 1};
    struct rig r;
    struct rng rng;
    struct heard h;
    struct pair p;
    struct err e = ERR_INIT;

    rng_init(&rng, 5);
    rig_up(&r, 0, o);
    make_pair(&p, &rng);
    p.p = (struct beam_params){.beams = 3,
                               .n_best = 3,
                               .length_penalty = 0,
                               .max_tokens = 1,
                               .forced_first = 20};
    struct job_spec s = spec_of(&r, &p, &h);
    assert_int_equal(engine_submit(r.g, &s, 1, &h.job, &e), 0);
    assert_int_equal(watch_wait(&r.w, 1), 0);
    const struct beam_result *res = beam_result(h.job);
    assert_int_equal(res->n, 1); /* there are no others */
    assert_int_equal(res->best[0].n_tokens, 1);
    assert_int_equal(res->best[0].tokens[0], 20);
    assert_true(fabsf(res->best[0].score) < 1e-9f);
    job_release(h.job);
    /* The rest is that of a target which has it in front. */
    struct pair q = p;
    q.p.forced_first = -1;
    q.target[q.n_target % MAX_TARGET] = 20;
    q.n_target += q.n_target < MAX_TARGET;
    q.p.max_tokens = q.p.n_best = q.p.beams = 4;
    p.p = q.p;
    p.p.max_tokens = 5;
    p.p.forced_first = 20;
    search(&q);
    s = spec_of(&r, &p, &h);
    assert_int_equal(engine_submit(r.g, &s, 1, &h.job, &e), 0);
    assert_int_equal(watch_wait(&r.w, 2), 0);
    res = beam_result(h.job);
    assert_int_equal(res->n, 4);
    for (int i = 0; i < 4; i++) {
        const struct line *l = &q.want[i];
        assert_int_equal(res->best[i].n_tokens, 1 + l->n - l->ended);
        assert_memory_equal(res->best[i].tokens + 1, l->ids + q.n_target,
                            (size_t)(l->n - l->ended) * sizeof(int32_t));
    }
    job_release(h.job);
    rig_down(&r);
}

static void refuse(struct rig *r, struct pair p, const char *param,
                   enum err_code code)
{
    struct heard h;
    struct job_spec s = spec_of(r, &p, &h);
    struct err e = ERR_INIT;

    assert_int_equal(engine_submit(r->g, &s, 1, &h.job, &e), -1);
    assert_int_equal(e.code, code);
    assert_string_equal(e.param, param);
}

static void test_beams_that_are_wrong_are_named(void **state)
{
    struct engine_options o = {.n_threads = 1, .state_bytes = 3000};
    struct rig r;
    struct rng rng;
    struct pair p, good = {0};

    rng_init(&rng, 3);
    rig_up(&r, 0, o);
    make_pair(&good, &rng);
    good.p = (struct beam_params){.beams = 2,
                                  .n_best = 1,
                                  .length_penalty = 1,
                                  .max_tokens = 4,
                                  .forced_first = -1};
    for (int i = 0; i < 7; i++) {
        static const char *const param[] = {
            "beams",          "beams",      "n_best", "n_best",
            "length_penalty", "max_tokens", "target"};
        p = good;
        p.p.beams = i == 0 ? 0 : i == 1 ? MOST_BEAMS + 1 : 2;
        p.p.n_best = i == 2 ? 0 : i == 3 ? 3 : 1;
        p.p.length_penalty = i == 4 ? NAN : 1;
        p.p.max_tokens = i == 5 ? 0 : 4;
        p.p.forced_first = i == 6 ? PORTS_VOCAB : -1;
        refuse(&r, p, param[i], ERR_INVALID);
    }
    p = good; /* its beams do not fit, one of them would */
    p.p.beams = p.p.n_best = MOST_BEAMS;
    p.p.max_tokens = 30;
    refuse(&r, p, "input[0]", ERR_TOO_LARGE);
    rig_down(&r);
}

static void test_beams_that_cannot_be_shown_are_refused(void **state)
{
    static int32_t many[MODEL_MAX_SHOWN + 1];
    struct rig r;
    struct rng rng;
    struct pair p;
    struct heard h;
    struct err e = ERR_INIT;
    struct job_spec s;

    for (int i = 0; i <= MODEL_MAX_SHOWN; i++)
        many[i] = FAKE_WORD + i % 30;
    rng_init(&rng, 3);
    make_pair(&p, &rng);
    p.p.attention = 1;
    rig_up(&r, 0, (struct engine_options){.n_threads = 1});
    refuse(&r, p, "attention", ERR_UNSUPPORTED);
    rig_down(&r);
    shown = 1;
    rig_up(&r, 0, (struct engine_options){.n_threads = 1});
    s = spec_of(&r, &p, &h);
    s.in[PORT_SOURCE] = (struct span){.n = MODEL_MAX_SHOWN + 1, .p = many};
    assert_int_equal(engine_submit(r.g, &s, 1, &h.job, &e), -1);
    assert_int_equal(e.code, ERR_INVALID);
    assert_string_equal(e.param, "attention");
    p.p = (struct beam_params){.beams = 1,
                               .n_best = 1,
                               .length_penalty = 1,
                               .max_tokens = 200,
                               .forced_first = -1,
                               .attention = 1};
    p.n_source = 1;
    for (int found = 0; !found && p.source[0] < PORTS_VOCAB; p.source[0]++) {
        int before = r.w.n_final;
        s = spec_of(&r, &p, &h);
        assert_int_equal(engine_submit(r.g, &s, 1, &h.job, &e), 0);
        assert_int_equal(watch_wait(&r.w, before + 1), 0);
        const struct err *said = job_error(h.job);
        found = said->code != 0;
        if (found) {
            assert_int_equal(said->code, ERR_INVALID);
            assert_string_equal(said->param, "attention");
            assert_non_null(strstr(said->msg, "shown for at most 64"));
        } else {
            assert_true(beam_result(h.job)->best[0].n_tokens <=
                        MODEL_MAX_SHOWN);
        }
        job_release(h.job);
        if (p.source[0] == PORTS_VOCAB - 1)
            assert_true(found);
    }
    rig_down(&r);
    shown = 0;
}

/* Each allocation of two searches and of choices fails once: the job fails or
 * is refused, and the next one is as if nothing had been. */
static void test_beams_survive_each_failed_allocation(void **state)
{
    struct generate_params choices = {
        .max_tokens = 9,
        .n = 4,
        .logprob = 1,
        .attention = shown,
        .sample = {.temperature = 1, .top_p = 1, .repetition_penalty = 1}};
    int failed = 0, refused = 0, reached = 1;
    struct pair p[2];
    struct rng rng;

    rng_init(&rng, 9);
    do
        make_pair(&p[0], &rng);
    while (p[0].p.beams < 4 || p[0].p.max_tokens < 8);
    p[0].p.stream = 1;
    p[1] = p[0];
    for (long n = 1; reached; n++) {
        struct heard h[3], after;
        struct job_spec spec[3], again;
        struct job *job[3];
        struct err e = ERR_INIT;
        struct rig r;

        assert_true(n < 600);
        rig_up(&r, 0, (struct engine_options){.n_threads = 1});
        for (int i = 0; i < 3; i++)
            spec[i] = spec_of(&r, &p[i / 2], &h[i]);
        spec[2].task = &task_generate;
        spec[2].params = &choices;
        mem_fail_at(n);
        int rc = engine_submit(r.g, spec, 3, job, &e), done = 0;
        if (rc) {
            assert_int_equal(e.code, ERR_NOMEM);
            refused++;
        } else {
            assert_int_equal(watch_wait(&r.w, done = 3), 0);
            reached = n < 80; /* what only speeds things up is not missed */
            for (int i = 0; i < 3; i++) {
                const struct err *why = job_error(job[i]);
                if (why->code) {
                    assert_int_equal(why->code, ERR_NOMEM);
                    failed++;
                    reached = 1;
                }
                job_release(job[i]);
            }
        }
        mem_fail_at(0);
        again = spec_of(&r, &p[0], &after); /* it goes on */
        assert_int_equal(engine_submit(r.g, &again, 1, &after.job, &e), 0);
        assert_int_equal(watch_wait(&r.w, done + 1), 0);
        check(&p[0], &after);
        job_release(after.job);
        rig_down(&r);
    }
    print_message("%d refused, %d failed\n", refused, failed);
    assert_true(refused > 10 && failed > 5);
}

static void test_beams_take_logarithms_of_their_own(void **state)
{
    struct rng r;

    rng_init(&r, 4);
    for (int i = 0; i < 20000; i++) {
        double x = exp(60 * rng_uniform(&r) - 20), want = log(x);
        assert_true(fabs(log_natural(x) - want) <= 4e-16 * (1 + fabs(want)));
    }
    assert_true(fabs(log_natural(1)) <= 0);
}

/* The longest texts and the steepest penalties that can be asked for. */
static void test_beams_of_any_length_have_scores_that_are_numbers(void **state)
{
    static const struct {
        double sum;
        int n;
        double penalty;
    } rows[] = {{-5000, 8192, -10},  {-5000, 8192, 10}, {-1e6, 1 << 20, -10},
                {-1e6, 1 << 20, 10}, {0, 1 << 20, -10}, {0, 1 << 20, 10}};

    for (size_t i = 0; i < COUNT(rows); i++) {
        float s = score_per_length(rows[i].sum, rows[i].n, rows[i].penalty);
        assert_true(isfinite(s) && s <= 0);
        assert_true(rows[i].penalty > 0 || rows[i].sum >= 0 || s < -1e30f);
    }
    assert_true(fabsf(score_per_length(-3, 4, 1) + 0.75f) <= 0);
    assert_true(fabsf(score_per_length(-3, 4, -2) + 48) <= 0);
}

static void test_beams_that_are_shown_survive_them(void **state)
{
    shown = 1;
    test_beams_survive_each_failed_allocation(state);
    shown = 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_beams_alone_and_in_company),
        cmocka_unit_test(test_beams_survive_lost_states),
        cmocka_unit_test(test_beams_show_where_the_best_text_looks),
        cmocka_unit_test(test_beams_that_cannot_be_shown_are_refused),
        cmocka_unit_test(test_beams_share_the_pages_of_the_source),
        cmocka_unit_test(test_beams_begin_with_a_forced_token),
        cmocka_unit_test(test_beams_that_are_wrong_are_named),
        cmocka_unit_test(test_beams_of_any_length_have_scores_that_are_numbers),
        cmocka_unit_test(test_beams_take_logarithms_of_their_own),
        cmocka_unit_test(test_beams_survive_each_failed_allocation),
        cmocka_unit_test(test_beams_that_are_shown_survive_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
