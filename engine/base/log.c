/* log: see log.h. A line is formatted in a fixed block on the stack, so that
 * logging works when memory has run out; what does not fit is cut.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/clock.h"

#define LINE_BYTES 2048
#define FIELDS_BYTES 1024

static atomic_int log_level = LOG_INFO;
static atomic_int log_json;
static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t lost, lost_unsaid; /* lines; under write_lock */
static int log_fd = STDERR_FILENO; /* likewise */
static int cut;                    /* there ends a part of a line; likewise */

static const char *const level_names[] = {"error", "warn", "info", "debug"};

struct line {
    size_t len;
    char p[LINE_BYTES];
};

void log_configure(enum log_level level, int as_json)
{
    atomic_store(&log_level, (int)level);
    atomic_store(&log_json, as_json != 0);
}

int log_enabled(enum log_level level)
{
    return (int)level <= atomic_load_explicit(&log_level, memory_order_relaxed);
}

/* Room for the closing brace and the line feed is kept. */
static void add(struct line *l, const char *s, size_t n)
{
    size_t room = LINE_BYTES - 8 - l->len;
    if (n > room)
        n = room;
    memcpy(l->p + l->len, s, n);
    l->len += n;
}

static void add_str(struct line *l, const char *s)
{
    add(l, s, strlen(s));
}

/* A JSON string; it is closed even when its end is cut. */
static void add_quoted(struct line *l, const char *s, size_t n)
{
    add(l, "\"", 1);
    for (size_t i = 0; i < n && l->len + 16 < LINE_BYTES; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\') {
            char esc[2] = {'\\', (char)c};
            add(l, esc, 2);
        } else if (c < 0x20) {
            char esc[8];
            snprintf(esc, sizeof(esc), "\\u%04x", c);
            add(l, esc, 6);
        } else {
            add(l, s + i, 1);
        }
    }
    add(l, "\"", 1);
}

static void add_time(struct line *l)
{
    int64_t us = clock_wall_us();
    time_t sec = (time_t)(us / 1000000);
    struct tm tm;
    char text[40];
    gmtime_r(&sec, &tm);
    size_t n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(text + n, sizeof(text) - n, ".%03dZ",
                          (int)(us / 1000 % 1000));
    add(l, text, n);
}

/* The end, or " key=". */
static int is_next(const char *s)
{
    return !*s || (*s == ' ' && s[1 + strcspn(s + 1, " =\"")] == '=');
}

/* The end of a value that starts at s: white space, or the closing quote. What
 * is between quotes is as it came, with quotes of its own. */
static const char *value_end(const char *s)
{
    if (*s != '"')
        return s + strcspn(s, " ");
    for (s++; *s && (*s != '"' || !is_next(s + 1)); s++)
        continue;
    return *s ? s + 1 : s;
}

/* A number of JSON that a double holds: what looks like one, up to 15 digits.
 * Names stay texts whatever they look like. */
static int is_number(const char *key, size_t n_key, const char *v, size_t n)
{
    static const char *const texts[] = {"id", "model", "client", "host",
                                        "version"};
    size_t minus = n > 0 && *v == '-', i = minus, digits = 0, dots = 0;
    for (size_t k = 0; k < sizeof texts / sizeof *texts; k++)
        if (strlen(texts[k]) == n_key && memcmp(texts[k], key, n_key) == 0)
            return 0;
    for (; i < n; i++) {
        digits += v[i] >= '0' && v[i] <= '9';
        dots += v[i] == '.';
    }
    if (digits + dots + minus != n || digits == 0 || digits > 15 || dots > 1)
        return 0;
    v += minus;
    n -= minus;
    return *v != '.' && v[n - 1] != '.' && (*v != '0' || n == 1 || v[1] == '.');
}

/* "k=v k="v w"" to ,"k":1,"k":"v w". */
static void add_json_fields(struct line *l, const char *s)
{
    while (*(s += strspn(s, " "))) {
        size_t key = strcspn(s, "= ");
        const char *v = s + key;
        const char *end = v;
        if (*v == '=') {
            v++;
            end = value_end(v);
        }
        size_t need = (size_t)(end - s) * 2 + 32;
        if (l->len + need > LINE_BYTES)
            return; /* whole pairs only, so that the line stays JSON */
        add(l, ",", 1);
        add_quoted(l, s, key);
        add(l, ":", 1);
        if (*v == '"' && end - v >= 2 && end[-1] == '"')
            add_quoted(l, v + 1, (size_t)(end - v) - 2);
        else if (is_number(s, key, v, (size_t)(end - v)))
            add(l, v, (size_t)(end - v));
        else
            add_quoted(l, v, (size_t)(end - v));
        s = end;
    }
}

static void add_json_head(struct line *l, const char *level, const char *module,
                          const char *event)
{
    add_str(l, "{\"ts\":\"");
    add_time(l);
    add_str(l, "\",\"level\":");
    add_quoted(l, level, strlen(level));
    add_str(l, ",\"module\":");
    add_quoted(l, module, strlen(module));
    add_str(l, ",\"event\":");
    add_quoted(l, event, strlen(event));
}

/* Opening waits for nobody, should it be a pipe or a terminal: neither is
 * taken. */
int log_open(const char *path, struct err *e)
{
    struct stat st;
    int fd = open(
        path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
        0640);
    if (fd < 0 && errno != ENXIO)
        return err_set(e, ERR_IO, "the log file %.160s cannot be opened: %s",
                       path, strerror(errno));
    if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        if (fd >= 0)
            close(fd);
        return err_set(e, ERR_IO, "the log file %.160s is not a regular file",
                       path);
    }
    pthread_mutex_lock(&write_lock);
    int old = log_fd;
    log_fd = fd;
    cut = 0;
    pthread_mutex_unlock(&write_lock);
    if (old != STDERR_FILENO)
        close(old);
    return 0;
}

/* A terminal with room may have less of it than a line takes, and then write()
 * waits for who reads it. O_NONBLOCK on what stands at 2 would change it for
 * the other programs that share it: it is opened once more. -1: no terminal. */
static int terminal(void)
{
    static int fd = -1; /* under write_lock */
    if (!isatty(STDERR_FILENO))
        return -1;
    if (fd < 0)
        fd = open("/proc/self/fd/2",
                  O_WRONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    return fd;
}

/* A pipe that nobody reads must not stop who logs: 1 when the line is out, 0
 * when there is no room for it now, or no place. A pipe with room has a page of
 * it, which is more than a line; a disk that fills up takes a part of one, and
 * the next line is not to begin in the middle of it. */
static int write_now(const char *p, size_t n)
{
    struct pollfd fd = {log_fd, POLLOUT, 0};
    int to = log_fd;
    if (log_fd == STDERR_FILENO) {
        if (send(log_fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return 1;
        if (errno == EAGAIN || errno == EWOULDBLOCK || poll(&fd, 1, 0) == 0)
            return 0;
        to = terminal() >= 0 ? terminal() : to;
    }
    if (cut && write(to, "\n", 1) != 1)
        return 0;
    ssize_t done = write(to, p, n);
    cut = done > 0 && done < (ssize_t)n;
    return done == (ssize_t)n;
}

/* A line of what happened, without its end. */
static void make_line(struct line *l, const char *level, const char *module,
                      const char *event, const char *fields)
{
    const char *const part[] = {level, module, event, fields};
    l->len = 0;
    if (atomic_load_explicit(&log_json, memory_order_relaxed)) {
        add_json_head(l, level, module, event);
        add_json_fields(l, fields);
        add_str(l, "}");
    } else {
        add_time(l);
        for (int i = 0; i < 4; i++) {
            if (part[i][0]) {
                add_str(l, " ");
                add_str(l, part[i]);
            }
        }
    }
    l->p[l->len++] = '\n';
}

static void write_line(const struct line *l)
{
    char text[32];
    struct line said;
    pthread_mutex_lock(&write_lock);
    if (lost_unsaid > 0) {
        snprintf(text, sizeof text, "n=%llu", (unsigned long long)lost_unsaid);
        make_line(&said, "warn", "log", "lines_lost", text);
        lost_unsaid = write_now(said.p, said.len) ? 0 : lost_unsaid;
    }
    if (lost_unsaid > 0 || !write_now(l->p, l->len)) {
        lost++;
        lost_unsaid++;
    }
    pthread_mutex_unlock(&write_lock);
}

uint64_t log_lost(void)
{
    pthread_mutex_lock(&write_lock);
    uint64_t n = lost;
    pthread_mutex_unlock(&write_lock);
    return n;
}

void log_event(enum log_level level, const char *module, const char *event,
               const char *fields, ...)
{
    if (!log_enabled(level))
        return;
    char text[FIELDS_BYTES] = "";
    if (fields) {
        va_list ap;
        va_start(ap, fields);
        vsnprintf(text, sizeof(text), fields, ap);
        va_end(ap);
    }
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' '; /* one event is one line, whatever a client sent */
    struct line l;
    make_line(&l, level_names[(unsigned)level & 3], module, event, text);
    write_line(&l);
}
