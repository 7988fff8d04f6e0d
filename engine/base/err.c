/* err: see err.h. The message is formatted in place, so that recording an
 * error needs no memory.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/err.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/utf8.h"

static const char *const code_names[] = {
    [ERR_NONE] = "none",
    [ERR_INVALID] = "invalid",
    [ERR_NOT_FOUND] = "not_found",
    [ERR_TOO_LARGE] = "too_large",
    [ERR_UNSUPPORTED] = "unsupported",
    [ERR_BUSY] = "busy",
    [ERR_CANCELLED] = "cancelled",
    [ERR_TIMEOUT] = "timeout",
    [ERR_DRAINING] = "draining",
    [ERR_FORMAT] = "format",
    [ERR_IO] = "io",
    [ERR_NOMEM] = "nomem",
    [ERR_INTERNAL] = "internal",
};

/* Text that fills its room was cut: not inside a code point, please. */
static void cut_whole(char *text, size_t size)
{
    size_t n = strlen(text);
    if (n + 1 == size)
        text[utf8_whole(text, n)] = 0;
}

/* A line break in a quoted piece of input must not break a log line. */
__attribute__((format(printf, 3, 0))) static int
set_v(struct err *e, enum err_code code, const char *fmt, va_list ap)
{
    e->code = code;
    vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
    cut_whole(e->msg, sizeof(e->msg));
    for (char *p = e->msg; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    return -1;
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    if (!e || e->code != ERR_NONE)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    set_v(e, code, fmt, ap);
    va_end(ap);
    return -1;
}

int err_set_at(struct err *e, enum err_code code, const char *reason,
               const char *param, const char *fmt, ...)
{
    if (!e || e->code != ERR_NONE)
        return -1;
    va_list ap;
    va_start(ap, fmt);
    set_v(e, code, fmt, ap);
    va_end(ap);
    e->reason = reason;
    snprintf(e->param, sizeof(e->param), "%s", param ? param : "");
    cut_whole(e->param, sizeof(e->param));
    return -1;
}

int err_nomem(struct err *e)
{
    return err_set(e, ERR_NOMEM, "out of memory");
}

void err_clear(struct err *e)
{
    memset(e, 0, sizeof *e);
}

const char *err_code_name(enum err_code code)
{
    if ((unsigned)code >= sizeof(code_names) / sizeof(code_names[0]))
        return "unknown";
    return code_names[code];
}
