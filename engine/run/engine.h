/* engine: the facade that server/ and the command-line tools see. Models are
 * loaded by name, jobs are submitted in groups, events come back from runner
 * threads. No HTTP, no JSON of requests, no architecture names here.
 *
 * Life of a job: engine_submit validates and queues a group of jobs (all or
 * none); the model's runner admits them, advances them in batches with
 * whatever else runs (continuous batching at every step) and delivers events.
 * Every accepted job gets exactly one final event (JOB_DONE or JOB_FAILED), at
 * shutdown too. A job has two references: submitter and runner. Its result
 * belongs to the runner until the final event, to the submitter after it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ENGINE_H
#define SEQD_ENGINE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"
#include "engine/run/arch.h"
#include "engine/run/engine_options.h"
#include "engine/run/targets.h"
#include "engine/text/constraint.h"
#include "engine/text/tokenizer.h"

struct class_rules;
struct engine;
struct model;
struct job;
struct
    task; /* engine/run/task/: next.h, generate.h ... each says what it takes */

/* archs: NULL-terminated list of architectures (models/registry.h). */
int engine_open(const struct engine_options *o,
                const struct model_arch *const *archs, struct engine **out,
                struct err *e);
/* engine_close: drains with timeout 0, then frees. */
void engine_close(struct engine *g);

/* engine_load: read a checkpoint (a directory, or a .gguf file) and start its
 * runner; the model is usable when this returns 0. Order of loading is the
 * order of defaults. Names match [A-Za-z0-9._-]{1,64} and are unique. */
int engine_load(struct engine *g, const char *name, const char *dir,
                struct err *e);
/* engine_load_all: the same for a list, several at a time, on as many threads
 * as compute. They are usable together, in the list's order, once all are read;
 * of several errors the first in the list is told. *stop (or NULL) turning 1:
 * no further one is begun, and those that are there are kept. */
struct model_place {
    const char *name, *dir;
};
int engine_load_all(struct engine *g, const struct model_place *list, int n,
                    const atomic_int *stop, struct err *e);

/* engine_drain: refuse new jobs with ERR_DRAINING, wait until all running ones
 * ended; after timeout_ms cancel the rest (each still gets its final event).
 * 0 when all ended by themselves, 1 when some were cancelled. */
int engine_drain(struct engine *g, int timeout_ms);
int engine_draining(const struct engine *g);
/* engine_measure: the gauges that nobody sets as they change: the memory of
 * the models. */
void engine_measure(struct engine *g);
int engine_threads(const struct engine *g);
const struct kernels *engine_kernels(const struct engine *g);
const struct engine_options *engine_get_options(const struct engine *g);
int engine_damaged(struct engine *g); /* 1: some model's file was changed */
/* engine_watch: look after the files of the models that are loaded
 * (weights_watch, with its stop); every second or so, by one thread. */
void engine_watch(struct engine *g, const atomic_int *stop);

/* Models. engine_model returns a reference (model_release): by name, or the
 * first loaded one that can do `task` (NULL: any) when name is NULL.
 * ERR_NOT_FOUND (reason "model_not_found"), ERR_UNSUPPORTED (reason
 * "task_not_supported"). */
int engine_model(struct engine *g, const char *name, const struct task *task,
                 struct model **out, struct err *e);
/* engine_models: references to all, in load order; returns the count, fills at
 * most max. */
int engine_models(struct engine *g, struct model **out, int max);
void model_retain(struct model *m);
void model_release(struct model *m);
const char *model_name(const struct model *m);
const char *model_arch_name(const struct model *m);
const struct model_info *model_get_info(const struct model *m);
/* model_can: 1 when the model has what the task needs. */
int model_can(const struct model *m, const struct task *task);
/* model_class_rules: what its checkpoint says of its labels' scores and of long
 * texts (class_rules.h). */
const struct class_rules *model_class_rules(const struct model *m);
/* model_tokenizer: NULL when no port of the model takes tokens. */
const struct tokenizer *model_tokenizer(const struct model *m);
/* model_languages: what a model that translates can translate into (targets.h);
 * the count. 0: it is not said. */
int model_languages(const struct model *m, const struct target_language **list,
                    int *forced);
/* model_constraint: what its texts are held to where a request says nothing
 * (config.json's seqd_constraint); NULL: nothing. model_can_constrain: 1 when
 * its vocabulary can serve a constraint. */
const struct constraint *model_constraint(const struct model *m);
int model_can_constrain(const struct model *m);
/* model_source_tokenizer: of what a model with two streams reads; most have one
 * tokenizer for both. TOK_ADD_SPECIAL puts the end token behind a source. */
const struct tokenizer *model_source_tokenizer(const struct model *m);
/* model_digest: weights_digest. NULL: *stop (NULL: never) became true. */
const char *model_digest(const struct model *m, const atomic_int *stop);
const char *model_dtype(const struct model *m); /* of most bytes */
int64_t model_created(const struct model *m);   /* wall clock, seconds */
size_t model_memory(const struct model *m);     /* bytes held now */
double model_load_seconds(const struct model *m);
/* model_max_tokens: rows that an item may bring to a port. */
int model_max_tokens(const struct model *m, int port);

enum job_event_kind {
    JOB_TEXT,  /* text [text_len]: whole code points, stop text held back */
    JOB_DONE,  /* final: job_result() may be read from now on */
    JOB_FAILED /* final: job_error() may be read from now on */
};

struct job_event {
    enum job_event_kind kind;
    struct job *job;
    const char *text; /* valid during the call */
    size_t text_len;
};

struct job_spec {
    struct model *model; /* kept until the job is released */
    const struct task *task;
    const void *params;        /* the task's own (its header); copied */
    struct span in[MAX_PORTS]; /* by port, copied; of tokens the begin token
                                  included by the caller; n 0: nothing */
    int64_t deadline_us;       /* clock_now_us() time; 0: none */
    uint64_t client;           /* who asks: clients share a model fairly */
    /* on_event runs on the runner's thread: append, note, return; it must not
     * block, submit or release. */
    void (*on_event)(void *user, const struct job_event *ev);
    void *user;
};

/* What every job answers; the rest is its task's (job_answer). */
struct job_result {
    int cached_tokens; /* of the prompt, found in shared pages */
    int prompt_tokens; /* of the source, where the model has one */
    int completion_tokens;
    int64_t queue_us, run_us;
    /* [n_layers][n_heads][n_tokens][n_tokens], of models with a source its
     * rows last, when its task was asked for attention, else NULL */
    const float *attention;
};

/* engine_submit: queue n jobs of one model, all or none; jobs[i] gets the
 * submitter's reference. ERR_INVALID (param "input[i]"), ERR_BUSY (reason
 * "queue_full"), ERR_DRAINING, ERR_UNSUPPORTED, ERR_TOO_LARGE, ERR_NOMEM. */
int engine_submit(struct engine *g, const struct job_spec *specs, int n,
                  struct job **jobs, struct err *e);
/* job_cancel: any thread; the job ends at the next step with JOB_FAILED and
 * ERR_CANCELLED (or DONE, if it was faster). */
void job_cancel(struct job *j);
/* job_pause: any thread, from on_event too: with `on` the job makes no step
 * after the present one, until it is called with 0. A paused job has no place
 * among those that run; it keeps its state as long as nobody needs the memory,
 * and goes on with the same bits in any case. Its deadline goes on. */
void job_pause(struct job *j, int on);
void job_release(struct job *j);
const struct job_result *job_result(const struct job *j);
const struct err *job_error(const struct job *j);
/* job_answer: the result struct of task t, after JOB_DONE; NULL when the job is
 * another task's. Its header has a function of the right type. */
const void *job_answer(const struct job *j, const struct task *t);

#endif
