/* loop: epochs, schedules, validation, early stopping (train.h).
 *
 * SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "models/train/train.h"

#define PLATEAU_FACTOR 0.5
#define PLATEAU_GAIN 1e-3 /* relative gain that counts as improvement */

struct run {
    struct trainer *t;
    double report_at, save_at; /* seconds */
    double window_loss;        /* since the last report */
    int64_t window_rows, window_tokens;
    double window_start, last_gain;
    int tty;
};

void trainer_say(const struct trainer *t, const char *fmt, ...)
{
    va_list args;
    if (t->o.log == NULL)
        return;
    va_start(args, fmt);
    vfprintf(t->o.log, fmt, args);
    va_end(args);
}

double trainer_seconds(const struct trainer *t)
{
    return t->at.seconds + (double)(clock_now_us() - t->started_us) / 1e6;
}

/* Share of the training that is done: by steps or by time, whichever is more.
 */
static double done_share(const struct trainer *t)
{
    double all = (double)t->epoch.steps * t->o.epochs;
    double steps = ((double)t->at.epoch * (double)t->epoch.steps +
                    (double)t->at.in_epoch) /
                   (all > 0 ? all : 1);
    double limit = t->o.max_minutes * 60;
    double time = limit > 0 ? trainer_seconds(t) / limit : 0;
    double share = steps > time ? steps : time;
    return share < 1 ? share : 1;
}

static double learning_rate(const struct trainer *t)
{
    double lr = t->o.lr, s = done_share(t), end = t->o.lr_end;
    double warmup = t->o.warmup;
    if (t->o.schedule == SCHEDULE_COSINE)
        lr *= end + (1 - end) * 0.5 * (1 + cos(s * 3.14159265358979));
    else if (t->o.schedule == SCHEDULE_LINEAR)
        lr *= end + (1 - end) * (1 - s);
    else if (t->o.schedule == SCHEDULE_PLATEAU)
        lr *= t->at.plateau;
    else if (t->o.schedule == SCHEDULE_INVERSE_SQRT &&
             (double)t->at.step >= warmup)
        lr *= sqrt((warmup > 0 ? warmup : 1) / (double)(t->at.step + 1));
    if (t->at.step < t->o.warmup)
        lr *= (double)(t->at.step + 1) / warmup;
    return lr;
}

static void report(struct run *r, double lr)
{
    struct trainer *t = r->t;
    double now = trainer_seconds(t), share = done_share(t);
    double spent = now - r->window_start;
    double left = share > 0 ? now / share - now : 0;
    double loss =
        r->window_loss / (double)(r->window_rows > 0 ? r->window_rows : 1);
    trainer_say(t,
                "%sepoch %d/%d step %lld/%lld  loss %.4f  lr %.2e  "
                "%.0f tokens/s  left %d:%02d:%02d%s",
                r->tty ? "\r" : "", t->at.epoch + 1, t->o.epochs,
                (long long)t->at.in_epoch, (long long)t->epoch.steps, loss, lr,
                (double)r->window_tokens / (spent > 0 ? spent : 1),
                (int)(left / 3600), (int)(left / 60) % 60, (int)left % 60,
                r->tty ? "   " : "\n");
    r->report_at = now + t->o.report_seconds;
    r->window_start = now;
    r->window_loss = 0;
    r->window_rows = r->window_tokens = 0;
}

/* Is the new score better than the best? Lower is better: accuracy is taken
 * negative, with the loss to break ties. Of a classifier's files each counts as
 * much as another, however many texts it has. */
static double rank_of(const struct trainer *t, const struct score_sum *s)
{
    double nll = 0, right = 0;
    int n = 0;
    if (!t->objective->labelled)
        return s->all.nats / (double)s->all.rows;
    for (int i = 0; i < s->n_files; i++) {
        const struct score *f = &s->file[i];
        if (f->rows == 0)
            continue;
        nll += f->nats / (double)f->rows;
        right += (double)f->right / (double)f->rows;
        n++;
    }
    return (t->o.keep == KEEP_NLL ? nll : 1e-6 * nll - right) / n;
}

/* The end of a line: what people read a loss as. */
static void say_measure(const struct trainer *t, double loss, double accuracy,
                        const char *more)
{
    if (t->objective->labelled)
        trainer_say(t, "  accuracy %.4f%s\n", accuracy, more);
    else if (t->objective->vectors)
        trainer_say(t, "  root of the error %.5g%s\n", sqrt(loss), more);
    else
        trainer_say(t, "  perplexity %.2f%s\n", exp(loss), more);
}

/* The files of a validation apart, where there are several. */
static int say_files(const struct trainer *t, const struct score_sum *s,
                     struct err *e)
{
    const char *files = t->o.valid;
    size_t n;
    double share;
    for (int i = 0; i < s->n_files && s->n_files > 1 && files != NULL; i++) {
        const struct score *f = &s->file[i];
        char *path = data_first_file(files, &n, &share, e);
        if (path == NULL)
            return -1;
        const char *name = strrchr(path, '/');
        double rows = (double)(f->rows > 0 ? f->rows : 1);
        trainer_say(t, "  %-24s %.5g", name != NULL ? name + 1 : path,
                    f->nats / rows);
        say_measure(t, f->nats / rows, (double)f->right / rows, "");
        mem_free(path);
        files += n + (files[n] == ',');
    }
    return 0;
}

static int keep_best(struct trainer *t, const struct score_sum *s,
                     const real *w, struct err *e)
{
    double rank = rank_of(t, s);
    double gain = t->at.best - rank;
    if (t->at.best < 1e29 && gain < PLATEAU_GAIN * fabs(t->at.best))
        t->at.plateau *= PLATEAU_FACTOR;
    if (!(gain > 0)) {
        t->at.since_best++;
        return 0;
    }
    t->at.best = rank;
    t->at.since_best = 0;
    return save_weights(t, w, t->o.out, e);
}

static int use_average(const struct trainer *t)
{
    int early =
        t->o.average == AVERAGE_TAIL && t->at.epoch + 1 < t->o.average_from;
    return t->average != NULL && t->at.n_average > 0 && !early;
}

/* The checkpoint of this validation in the place of the oldest, and their mean.
 */
static void average_last(struct trainer *t)
{
    int64_t cap = t->o.average_last, n = t->at.n_average++ + 1;
    size_t size = t->net.n;
    memcpy(t->last + (size_t)((n - 1) % cap) * size, t->w, size * sizeof(real));
    n = n < cap ? n : cap;
    memcpy(t->average, t->last, size * sizeof(real));
    for (int64_t i = 1; i < n; i++)
        vec_add(size, t->last + (size_t)i * size, t->average);
    vec_scale(size, (real)(1 / (double)n), t->average);
}

/* --average trigger: when a validation, the last of the curve, is worse than
 * the best of all before it but the last `patience`, the weights are averaged
 * from here on; the first of them are these. */
static void look_at_trigger(struct trainer *t)
{
    int before = t->curve.n - 1 - t->o.average_patience;
    double best = INFINITY;
    if (t->o.average != AVERAGE_TRIGGER || t->at.n_average > 0)
        return;
    for (int i = 0; i < before; i++)
        best = t->curve.v[i].valid < best ? t->curve.v[i].valid : best;
    if (!(t->curve.v[t->curve.n - 1].valid > best))
        return;
    memcpy(t->average, t->w, t->net.n * sizeof(real));
    t->at.n_average = 1;
    trainer_say(t, "the weights are averaged from here on\n");
}

static int validate(struct trainer *t, double lr, struct err *e)
{
    struct score_sum s;
    if (t->o.average == AVERAGE_LAST)
        average_last(t);
    real *w = use_average(t) ? t->average : t->w;
    if (trainer_validate(t, &t->valid, w, &s, e) != 0)
        return -1;
    double nll = s.all.nats / (double)s.all.rows;
    struct curve_point p = {
        .step = t->at.step,
        .tokens = t->at.tokens,
        .epoch = t->at.epoch + (double)t->at.in_epoch / (double)t->epoch.steps,
        .seconds = trainer_seconds(t),
        .lr = lr,
        .valid = nll,
        .accuracy = (double)s.all.right / (double)s.all.rows};
    p.train =
        t->at.loss_sum / (double)(t->at.loss_rows > 0 ? t->at.loss_rows : 1);
    t->at.loss_sum = 0;
    t->at.loss_rows = 0;
    if (!isfinite(nll))
        return err_set(e, ERR_INTERNAL, "validation loss is not finite");
    if (keep_best(t, &s, w, e) != 0 || curve_add(&t->curve, &p, e) != 0)
        return -1;
    trainer_say(t, "%sepoch %.2f  %.0f s  train %.5g  valid %.5g",
                isatty(2) ? "\r" : "", p.epoch, p.seconds, p.train, p.valid);
    say_measure(t, nll, p.accuracy, t->at.since_best == 0 ? "  best" : "");
    if (say_files(t, &s, e) != 0)
        return -1;
    look_at_trigger(t);
    if (norms_write(t, w, e) != 0)
        return -1;
    return curve_write(t, e) != 0 ? -1 : card_write(t, NULL, e);
}

/* Learning rates of what came from --init (Howard and Ruder 2018: layers below
 * learn later and slower). */
static void set_rates(struct trainer *t)
{
    double epoch = t->at.epoch +
                   (double)t->at.in_epoch / (double)t->epoch.steps -
                   t->o.freeze_epochs;
    for (int i = 0; i < t->net.n_tensors; i++) {
        struct net_tensor *x = &t->net.t[i];
        int below = t->net.layer - x->layer;
        if (!x->from_start || x->fixed)
            continue;
        x->lr_mult =
            epoch < 0 || epoch < t->o.unfreeze * below
                ? (real)0
                : (real)(t->o.lr_scale_init * pow(t->o.lr_layer, below)) *
                      x->rate;
    }
}

static void start_tail(struct trainer *t)
{
    if (t->o.average == AVERAGE_TAIL && t->at.epoch + 1 <= t->o.average_from)
        t->at.n_average = 0; /* the next update replaces the average */
}

/* However short its time, a training makes a step, which is validated. */
static int is_over(const struct trainer *t)
{
    return t->at.epoch >= t->o.epochs ||
           (t->o.max_minutes > 0 && t->at.step > 0 &&
            trainer_seconds(t) >= t->o.max_minutes * 60) ||
           (t->o.patience > 0 && t->at.since_best >= t->o.patience);
}

/* One step and what is due after it. */
static int advance(struct run *r, struct err *e)
{
    struct trainer *t = r->t;
    double loss, lr = learning_rate(t);
    int64_t rows, tokens = t->at.tokens;
    set_rates(t);
    trainer_step(t, lr, &loss, &rows);
    if (!isfinite(loss))
        return err_set(e, ERR_INTERNAL,
                       "the loss is not finite at step %lld: lower --lr",
                       (long long)t->at.step);
    t->at.step++;
    t->at.loss_sum += loss;
    t->at.loss_rows += rows;
    r->window_loss += loss;
    r->window_rows += rows;
    r->window_tokens += t->at.tokens - tokens;
    if (trainer_seconds(t) >= r->report_at)
        report(r, lr);
    int last = t->at.in_epoch == t->epoch.steps;
    int due = t->o.eval_every > 0 ? t->at.step % t->o.eval_every == 0 : last;
    if (due && validate(t, lr, e) != 0)
        return -1;
    if (trainer_seconds(t) >= r->save_at) {
        r->save_at = trainer_seconds(t) + t->o.save_minutes * 60;
        return resume_save(t, e);
    }
    return 0;
}

static int run_epoch(struct run *r, struct err *e)
{
    struct trainer *t = r->t;
    if (trainer_begin_epoch(t, e) != 0)
        return -1;
    start_tail(t);
    while (t->at.in_epoch < t->epoch.steps && !*t->stop) {
        if (advance(r, e) != 0)
            return -1;
        if (is_over(t))
            return 0;
    }
    if (t->at.in_epoch == t->epoch.steps) {
        t->at.epoch++;
        t->at.in_epoch = 0;
    }
    return 0;
}

/* An epoch cut short by time has not been validated since; nor has one whose
 * training goes on when its time is over. */
static int validate_rest(struct trainer *t, struct err *e)
{
    if (t->at.loss_rows == 0)
        return 0;
    if (t->epoch.steps == 0 && trainer_begin_epoch(t, e) != 0)
        return -1;
    return validate(t, learning_rate(t), e);
}

int trainer_run(struct trainer *t, struct err *e)
{
    struct run r = {.t = t, .tty = isatty(2)};
    r.window_start = trainer_seconds(t);
    r.report_at = r.window_start + 2;
    r.save_at = r.window_start + t->o.save_minutes * 60;
    if (t->at.step == 0 && norms_write(t, t->w, e) != 0)
        return -1;
    while (!*t->stop && !is_over(t))
        if (run_epoch(&r, e) != 0)
            return -1;
    if (*t->stop) {
        trainer_say(t, "stopped: --resume goes on from here\n");
        return resume_save(t, e);
    }
    return validate_rest(t, e) != 0 ? -1 : resume_save(t, e);
}
