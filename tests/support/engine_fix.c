/* engine_fix: see engine_fix.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/engine_fix.h"

#include "engine/base/log.h"
#include "tests/support/temp_dir.h"
#include "tests/support/unit.h"

void fix_open(struct fix *f, const struct fake_config *c,
              const struct engine_options *options)
{
    struct engine_options o = options ? *options : (struct engine_options){0};
    struct err e = ERR_INIT;

    for (int i = 0; i < 8000; i++)
        fix_words[i] = FAKE_WORD + i % 40;
    log_configure(LOG_ERROR, 0);
    memset(f, 0, sizeof *f);
    fake_reset();
    watch_init(&f->w);
    f->w.stamp = &fake_stats.steps;
    o.flush = watch_flush;
    o.ctx = &f->w;
    o.n_threads = o.n_threads ? o.n_threads : 2;
    fake_dir(c, f->dir);
    assert_int_equal(engine_open(&o, fake_archs, &f->g, &e), 0);
    if (engine_load(f->g, "fake", f->dir, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(engine_model(f->g, NULL, NULL, &f->m, &e), 0);
}

void fix_shut(struct fix *f)
{
    atomic_store(&fake_stats.hold, 0);
    model_release(f->m);
    engine_close(f->g);
    temp_dir_drop(f->dir);
}

void fix_close(struct fix *f)
{
    fix_shut(f);
    fix_check(f);
}

void fix_end(struct fix *f, struct watched *j, int n)
{
    watch_release(j, n);
    fix_close(f);
}

void fix_check(struct fix *f)
{
    watch_fini(&f->w);
    assert_int_equal(atomic_load(&fake_stats.violations), 0);
    assert_int_equal(f->w.n_late, 0);
    assert_int_equal(f->w.unflushed, 0);
    assert_int_equal(f->w.bad_text, 0);
}

int32_t fix_words[8000];

const struct task *const fix_tasks[3] = {&task_next, &task_classify,
                                         &task_generate};

struct flat_spec fix_spec(const struct fix *f, const struct task *task,
                          const int32_t *ids, int n)
{
    struct flat_spec s = {
        .model = f->m,
        .task = task,
        .tokens = ids,
        .n_tokens = n,
        .top_k = 5,
        .temperature = 1.0f,
        .max_tokens = 8,
        .sample = {.top_p = 1.0f, .repetition_penalty = 1.0f}};
    return s;
}

void fix_specs(const struct fix *f, struct flat_spec *s, int n,
               const struct task *task, int len, int more)
{
    for (int i = 0; i < n; i++)
        s[i] = fix_spec(f, task, fix_words, len + i * more);
}

void fix_hold(struct fix *f, struct flat_spec *s, int n, struct watched *j,
              int pass)
{
    atomic_store(&fake_stats.hold, 1);
    fix_submit(f, s, n, j);
    fake_pass(pass);
}

void fix_go(struct fix *f, int n)
{
    atomic_store(&fake_stats.hold, 0);
    assert_int_equal(watch_wait(&f->w, n), 0);
}

void fix_refused(struct fix *f, struct flat_spec *s, int n, struct watched *j,
                 enum err_code code, const char *reason, const char *param)
{
    struct err e = ERR_INIT;
    assert_int_equal(watch_submit(&f->w, f->g, s, n, j, &e), -1);
    assert_int_equal(e.code, code);
    if (reason)
        assert_string_equal(e.reason, reason);
    if (param)
        assert_string_equal(e.param, param);
}

void fix_submit(struct fix *f, struct flat_spec *s, int n, struct watched *j)
{
    struct err e = ERR_INIT;
    if (watch_submit(&f->w, f->g, s, n, j, &e))
        fail_msg("%s", e.msg);
}

void fix_run(struct fix *f, struct flat_spec *s, int n, struct watched *j)
{
    int before = f->w.n_final;
    fix_submit(f, s, n, j);
    assert_int_equal(watch_wait(&f->w, before + n), 0);
}
