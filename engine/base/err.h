/* err: errors are values. A function that can fail returns 0 or -1 and fills
 * the caller's struct err; the first message wins, so that the place nearest
 * to the cause is what the user reads. Messages never carry a path, a pointer
 * or errno text to clients: the loader that knows the file says its name.
 * Thread: a struct err belongs to one thread at a time.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_ERR_H
#define SEQD_ERR_H

#include <stdarg.h>

enum err_code {
    ERR_NONE,
    ERR_INVALID,     /* the caller's input is wrong */
    ERR_NOT_FOUND,   /* no such model, file, tensor */
    ERR_TOO_LARGE,   /* over a stated limit */
    ERR_UNSUPPORTED, /* well-formed, but not something we do */
    ERR_BUSY,        /* queue full: try again */
    ERR_CANCELLED,
    ERR_TIMEOUT,  /* the deadline passed */
    ERR_DRAINING, /* shutting down */
    ERR_FORMAT,   /* a file breaks its specification */
    ERR_IO,
    ERR_NOMEM,
    ERR_INTERNAL
};

struct err {
    enum err_code code;
    const char *reason; /* static string: "context_length_exceeded", or NULL */
    char param[64];     /* the input that is at fault: "input[3]", or "" */
    char msg[256];      /* lower case, no full stop, no newline */
};

#define ERR_INIT                                                               \
    {                                                                          \
        ERR_NONE, 0, "", ""                                                    \
    }

/* err_set: record an error unless one is recorded already. e may be NULL.
 * Always returns -1, so that callers write `return err_set(...)`. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* err_set_at: the same with an API reason (static string or NULL) and the name
 * of the parameter at fault (copied, cut to 63 bytes; NULL for none). */
int err_set_at(struct err *e, enum err_code code, const char *reason,
               const char *param, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));

/* err_nomem: the standard out-of-memory error; always -1. */
int err_nomem(struct err *e);

/* err_clear: make e reusable. */
void err_clear(struct err *e);

/* err_code_name: "invalid", "not_found" ... for logs. Static string. */
const char *err_code_name(enum err_code code);

#endif
