/* train: the trainer. n workers, one per core, each with a share of every
 * batch, its own pass and its own gradient block. A step is one run of the
 * thread pool: fill the batch, forward and backward; barrier; add up the
 * gradients; barrier; update. Everything that a worker does is a function of
 * the seed, the step and its own number, so one seed gives one result for a
 * number of threads (and an OpenBLAS core type).
 *
 * What kind of net it is and what it learns is asked nowhere: the family
 * (trainable.h) and the objective (objective.h) are called.
 *
 * The weights that are validated and saved are the averaged ones where
 * averaging is on. Main thread: everything but the inside of a step.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TRAIN_H
#define SEQD_TRAIN_H

#include <stdatomic.h>

#include "engine/compute/threadpool.h"
#include "models/train/objective.h"
#include "models/train/optim.h"
#include "models/train/pairs.h"
#include "models/train/trainable.h"

#define AVERAGE_EVERY 8 /* steps between two updates of the average */

struct worker {
    struct pass pass, eval; /* eval has states of its own */
    struct feed feed;
    double loss, squares;
    int64_t right; /* eval: items with the right label */
};

struct curve_point {
    int64_t step, tokens;
    double epoch, seconds, lr, train, valid, accuracy;
};

struct curve {
    struct curve_point *v;
    int n, cap;
};

struct score {
    int64_t rows, right;
    double nats;
};

/* Of a validation: all of it, and by file. */
struct score_sum {
    struct score all, file[DATA_MAX_FILES];
    int n_files;
};

/* What a state file holds beside the blocks. */
struct progress {
    int64_t step, tokens, in_epoch; /* in_epoch: steps done of this epoch */
    int32_t epoch, since_best, optim_step, ended;
    double seconds; /* of earlier runs too */
    double best, plateau;
    double loss_sum; /* since the last validation */
    int64_t loss_rows;
    int64_t n_average;
};

/* Of the steps since norms.c last wrote. */
struct norm_sum {
    int64_t steps, clipped;
    double sum, largest;
};

struct trainer {
    struct options o;
    const struct objective *objective;
    struct net net;
    struct blas blas;
    struct pool *pool;
    struct tokenizer *tokenizer;
    struct buf vocab;     /* tokenizer.json that is yet to be written */
    struct buf setup;     /* tokenizer_config.json, likewise; may be empty */
    int out_fd;           /* --out, locked */
    struct labels labels; /* of pairs: the vocabulary's controls */
    struct pair_files train_pairs, valid_pairs;
    struct corpus train, valid;
    struct worker worker[OPTIM_MAX_WORKERS];
    int n_workers;
    struct region mem; /* of the blocks, the noise, the moments */
    real *w, *average; /* blocks; average may be NULL */
    real *last;        /* NULL, or [o.average_last] blocks, in turn */
    struct optim optim;
    struct noise noise;
    struct progress at;
    struct curve curve;
    int64_t started_us;
    const atomic_int *stop;
    struct course epoch;

    /* this step */
    struct course *course; /* the epoch, or a validation's */
    struct pass_opts opts; /* train 0: validation */
    int last_part;         /* after this batch the weights are updated */
    real *weights;         /* in use by the passes */
    double norm;           /* of all gradients, before they are clipped */
    struct norm_sum norms;
};

/* setup.c: everything that lasts: data, net, weights, workers. */
int trainer_open(struct trainer *t, const struct options *o, struct err *e);
void trainer_close(struct trainer *t);

/* loop.c: train until done or *stop; writes checkpoint, curve and state. */
int trainer_run(struct trainer *t, struct err *e);
double trainer_seconds(const struct trainer *t);
/* trainer_say: progress for a person to read, on o.log unless that is NULL. */
void trainer_say(const struct trainer *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* step.c */
int trainer_begin_epoch(struct trainer *t, struct err *e);
/* trainer_course: the batches over a corpus. r NULL: one of its files (only -1:
 * all of it) as it stands. course_fini also after an error. */
int trainer_course(struct course *c, const struct trainer *t,
                   const struct corpus *corpus, int only, struct rng *r,
                   struct err *e);
/* trainer_step: one step with this learning rate; the sum of the losses and
 * the rows they are of. Its batches (o.accumulate) count in at.in_epoch. */
void trainer_step(struct trainer *t, double lr, double *loss, int64_t *rows);
/* trainer_validate: loss and accuracy of weights w on a corpus. */
int trainer_validate(struct trainer *t, const struct corpus *c, real *w,
                     struct score_sum *s, struct err *e);

/* outdir.c: --out. outdir_open makes it if need be, takes it for this run and
 * removes what runs that were killed left half-written. ERR_IO, ERR_BUSY
 * (another run has it), ERR_INVALID (a checkpoint that is neither resumed nor
 * overwritten). */
int outdir_open(struct trainer *t, struct err *e);
/* outdir_clear: remove the old checkpoint. */
int outdir_clear(const struct trainer *t, struct err *e);
void outdir_close(struct trainer *t);

/* save.c. save_as: how a tensor of this name and shape is stored with a
 * --precision: as int8 the matrices of more than one row, with one scale an
 * output, and all else as f32.
 * save_config_text: config.json of this net. */
struct save_tensor;
void save_as(struct save_tensor *t, int precision, const char *model_type);
void save_config_text(const struct trainer *t, struct buf *b);
int save_config(const struct trainer *t, const char *dir, struct err *e);
int save_weights(const struct trainer *t, const real *w, const char *dir,
                 struct err *e);
/* save_file: name appears in dir whole or not at all. */
int save_file(const char *dir, const char *name, const struct buf *b,
              struct err *e);

/* resume.c */
int resume_save(struct trainer *t, struct err *e);
int resume_load(struct trainer *t, struct err *e);
/* resume_is_there: --out holds a training that --resume can go on with. */
int resume_is_there(const struct options *o);

/* init.c: weights from other checkpoints. */
int init_from(struct trainer *t, struct err *e);

/* card.c: CARD.md. figures: what `seqd eval` says, or NULL. */
int card_write(const struct trainer *t, const char *figures, struct err *e);

/* norms.c: a line of --gradient-norms for these weights. ERR_IO, ERR_NOMEM. */
int norms_write(struct trainer *t, real *w, struct err *e);

/* curve.c */
int curve_add(struct curve *c, const struct curve_point *p, struct err *e);
int curve_write(const struct trainer *t, struct err *e);

#endif
