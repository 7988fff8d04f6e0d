/* constraint: what a text may look like while it is being written, as a machine
 * over its bytes: a state, the bytes that may follow, whether the text may end.
 * A generating task masks the tokens whose bytes may not follow
 * (engine/run/task/constrained.h); the machine knows no tokens and no model.
 *
 * A state is plain bytes without pointers: it is copied to try a token, and to
 * begin several choices from one prompt. A machine keeps no memory elsewhere,
 * so the same bytes give the same state, whoever else is served.
 *
 * What stands in a prompt is `given`: a machine may take more there than it
 * lets a model write, as long as it knows how to go on from it. Where it does
 * not, next says so and the text is not constrained.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_CONSTRAINT_H
#define SEQD_CONSTRAINT_H

#include <stddef.h>

#define CONSTRAINT_STATE_BYTES 256

struct constraint {
    const char *name;   /* "abc" */
    const char *what;   /* "a tune in ABC notation", for messages */
    size_t state_bytes; /* <= CONSTRAINT_STATE_BYTES */
    void (*begin)(void *state);
    /* next: one byte more. 0; -1 when it may not follow: then the state holds
     * nothing that may be used. given: it stands in a prompt. */
    int (*next)(void *state, unsigned char byte, int given);
    int (*may_end)(const void *state);
};

/* constraint_find: by name; NULL: there is none of it. */
const struct constraint *constraint_find(const char *name);
/* constraint_names: of all of them, "abc", commas between, for messages. */
const char *constraint_names(void);

#endif
