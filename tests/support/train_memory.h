/* train_memory: made-up data of which something has to be remembered, and
 * options to train on them, for the trainer's tests.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_TRAIN_MEMORY_H
#define SEQD_TRAIN_MEMORY_H

#include "engine/checkpoint/safetensors.h"
#include "tests/support/train_rig.h"

enum { SEQUENCES = 400, T = 6 };

static char vectors[128], recall[128], words[128];

static inline double chance(uint32_t *x)
{
    *x = *x * 1664525u + 1013904223u;
    return (double)(*x >> 8) / (1 << 24);
}

/* The value is the first number of the sequence, what follows is noise: who
 * forgets it has an error of 1/12. */
static inline void write_vectors(void)
{
    static float x[SEQUENCES * T * 2], y[SEQUENCES], n[SEQUENCES];
    const struct save_tensor t[] = {
        {.name = "x", .n_dims = 3, .dim = {SEQUENCES, T, 2}, .data = x},
        {.name = "y", .n_dims = 1, .dim = {SEQUENCES}, .data = y},
        {.name = "length", .n_dims = 1, .dim = {SEQUENCES}, .data = n}};
    struct err e = ERR_INIT;
    uint32_t seed = 3;
    for (int i = 0; i < SEQUENCES; i++) {
        for (int k = 0; k < T * 2; k++)
            x[i * T * 2 + k] = k % 2 ? (float)(k == 1) : (float)chance(&seed);
        y[i] = x[i * T * 2];
        n[i] = (float)(T - i % 3);
    }
    if (safetensors_save(train_rig_path(vectors, "vectors.safetensors"), t, 3,
                         NULL, 0, &e) != 0)
        fail_msg("%s", e.msg);
}

/* Two of four symbols, blanks, the two again. */
static inline void write_recall(void)
{
    FILE *f = train_rig_file(recall, "recall.txt");
    uint32_t seed = 5;
    for (int i = 0; i < 400; i++) {
        int a = (int)(4 * chance(&seed)), b = (int)(4 * chance(&seed));
        fprintf(f, "s%d s%d%s : s%d s%d\n", a, b, i % 2 ? " _ _" : " _", a, b);
    }
    fclose(f);
}

static inline void write_words(void)
{
    FILE *f = train_rig_file(words, "words.txt");
    uint32_t seed = 7;
    for (int i = 0; i < 500; i++)
        fprintf(f, "w%d w%d w%d\n", (int)(5 * chance(&seed)),
                (int)(5 * chance(&seed)), (int)(5 * chance(&seed)));
    fclose(f);
}

static const char value_words[] =
    "--task regression --batch 20 --lr 0.01 --threads 1 --precision f32 "
    "--schedule constant";
static const char text_words[] =
    "--tokenizer whitespace --hidden 24 --embedding 16 --batch 8 --lr 0.02 "
    "--threads 1 --precision f32";

static inline struct options values(const char *more, char *out,
                                    const char *name)
{
    return train_rig_options(value_words, more, vectors,
                             train_rig_path(out, name));
}

static inline struct options texts(const char *more, const char *data,
                                   char *out, const char *name)
{
    return train_rig_options(text_words, more, data, train_rig_path(out, name));
}

static inline int train_memory_open(void **state)
{
    int rc = train_rig_open(state);
    write_vectors();
    write_recall();
    write_words();
    return rc;
}

#endif
