/* mutate: a checkpoint of which one file is damaged a little, over and over:
 * one copy of that file (the others are links) is patched or cut in place and
 * restored, so that a file of 100 MB is copied once. What is changed follows
 * from the seed and the number of the mutation.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_MUTATE_H
#define SEQD_MUTATE_H

#include <stddef.h>
#include <stdint.h>

struct mutate {
    char dir[64];   /* the copy's folder: give this to the reader */
    char file[400]; /* the copy */
    int fd;         /* of the copy */
    const uint8_t *orig;
    size_t bytes, head; /* head: bytes before the data (JSON: all) */
    int is_text;
    char what[96]; /* the mutation that is in force */
    size_t at, n;  /* the bytes that it changed */
    int is_cut;
};

/* mutate_open: `name` in the folder `dir`; the copy is in TMPDIR or /tmp. 0 or
 * -1. */
int mutate_open(struct mutate *m, const char *dir, const char *name);
void mutate_close(struct mutate *m);
/* mutate_apply: mutation i, described in m->what; mutate_undo: the file as it
 * was. 0 or -1. */
int mutate_apply(struct mutate *m, uint64_t seed, int i);
int mutate_undo(struct mutate *m);

#endif
