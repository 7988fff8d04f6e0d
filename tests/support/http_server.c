/* http_server: see http_server.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/http_server.h"

#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "tests/support/http_client.h"

#define START_MS 30000 /* sanitizers on a busy machine are slow */
#define END_MS 40000
#define MAX_WORDS 8192

double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void sleep_ms(int ms)
{
    const struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};
    nanosleep(&t, NULL);
}

static const char *binary(void)
{
    const char *s = getenv("SEQD");
    return s && *s ? s : "build/release/seqd";
}

static char *read_file(const char *path)
{
    char block[4096];
    size_t n, len = 0;
    char *text = mem_strdup("");
    FILE *f = fopen(path, "re");
    while (f && text && (n = fread(block, 1, sizeof block, f)) > 0) {
        char *more = mem_grow(text, len + n + 1, 1);
        if (!more)
            break;
        text = more;
        memcpy(text + len, block, n);
        len += n;
        text[len] = '\0';
    }
    if (f)
        fclose(f);
    return text;
}

char *seqd_log_text(const struct seqd *s)
{
    return read_file(s->log);
}

static void redirect(const char *path, int fd)
{
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (to >= 0) {
        dup2(to, fd);
        close(to);
    }
}

/* Takes the words apart. */
static pid_t launch(char *words, const char *out, const char *err)
{
    const char *argv[SEQD_MAX_ARGS + 2] = {binary()};
    char *rest = NULL, *word = strtok_r(words, " ", &rest);
    for (int n = 1; word && n <= SEQD_MAX_ARGS; n++) {
        argv[n] = word;
        word = strtok_r(NULL, " ", &rest);
    }
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        return pid;
    signal(SIGHUP, SIG_DFL); /* a suite under nohup ignores it */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    if (out)
        redirect(out, 1);
    redirect(err, 2);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    _exit(127);
}

static int wait_port(struct seqd *s)
{
    double end = now_s() + START_MS / 1000.0;
    int status;
    while (now_s() < end) {
        char *text = read_file(s->port_file);
        s->port = text ? (int)strtol(text, NULL, 10) : 0;
        mem_free(text);
        if (s->port > 0)
            return 0;
        if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
            s->pid = 0;
            break;
        }
        sleep_ms(2);
    }
    char *log = seqd_log_text(s);
    fprintf(stderr, "seqd did not start:\n%s\n", log ? log : "");
    mem_free(log);
    if (s->pid > 0)
        kill(s->pid, SIGKILL);
    seqd_join(s, 1000);
    return -1;
}

static int spawn(struct seqd *s, const char *words, va_list ap)
{
    static int count; /* names of this process's files */
    char all[MAX_WORDS];
    memset(s, 0, sizeof *s);
    snprintf(s->log, sizeof s->log, "/tmp/seqd-test-%d-%d.log", (int)getpid(),
             count);
    snprintf(s->port_file, sizeof s->port_file, "/tmp/seqd-test-%d-%d.port",
             (int)getpid(), count++);
    unlink(s->port_file);
    int n = snprintf(all, sizeof all, "--port 0 --port-file %s --host-name a ",
                     s->port_file);
    vsnprintf(all + n, sizeof all - (size_t)n, words, ap);
    s->pid = launch(all, NULL, s->log);
    return s->pid > 0 ? wait_port(s) : -1;
}

int seqd_spawn(struct seqd *s, const char *words, ...)
{
    va_list ap;
    va_start(ap, words);
    int rc = spawn(s, words, ap);
    va_end(ap);
    return rc;
}

int seqd_wait_ready(const struct seqd *s)
{
    double end = now_s() + START_MS / 1000.0;
    while (now_s() < end) {
        struct answer a;
        http_get(s->port, "/readyz", &a);
        long status = a.status;
        answer_free(&a);
        if (status == 200)
            return 0;
        sleep_ms(2);
    }
    return -1;
}

int seqd_start(struct seqd *s, const char *words, ...)
{
    va_list ap;
    va_start(ap, words);
    int rc = spawn(s, words, ap);
    va_end(ap);
    return rc < 0 ? -1 : seqd_wait_ready(s);
}

int seqd_join(struct seqd *s, int ms)
{
    double end = now_s() + ms / 1000.0;
    int status = 0, rc = -1;
    pid_t pid = s->pid;
    s->pid = 0;
    while (pid > 0 && now_s() < end) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            rc = WIFEXITED(status) ? WEXITSTATUS(status)
                                   : 1000 + WTERMSIG(status);
            pid = 0;
            break;
        }
        sleep_ms(2);
    }
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }
    if (rc != 0) {
        char *log = seqd_log_text(s);
        fprintf(stderr, "seqd ended with %d:\n%s\n", rc, log ? log : "");
        mem_free(log);
    }
    unlink(s->log);
    unlink(s->port_file);
    return rc;
}

int seqd_stop(struct seqd *s)
{
    if (s->pid <= 0)
        return -1;
    kill(s->pid, SIGTERM);
    return seqd_join(s, END_MS);
}

int seqd_run(char *out, char *err, size_t size, const char *words, ...)
{
    char name[2][64], all[MAX_WORDS];
    int status = 0;
    va_list ap;
    va_start(ap, words);
    vsnprintf(all, sizeof all, words, ap);
    va_end(ap);
    snprintf(name[0], 64, "/tmp/seqd-test-%d.out", (int)getpid());
    snprintf(name[1], 64, "/tmp/seqd-test-%d.err", (int)getpid());
    pid_t pid = launch(all, name[0], name[1]);
    double end = now_s() + END_MS / 1000.0;
    while (pid > 0 && waitpid(pid, &status, WNOHANG) == 0) {
        if (now_s() > end)
            kill(pid, SIGKILL);
        sleep_ms(2);
    }
    for (int i = 0; i < 2; i++) {
        char *text = read_file(name[i]);
        if (i ? err != NULL : out != NULL)
            snprintf(i ? err : out, size, "%s", text ? text : "");
        mem_free(text);
        unlink(name[i]);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}
