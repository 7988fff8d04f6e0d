/* shared_file: see shared_file.h. gzip is spawned with the file as its input,
 * so that no name passes through a shell.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/shared_file.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

const char *shared_dir(void)
{
    const char *dir = getenv("SEQD_SHARED");
    return dir ? dir : "../shared";
}

int shared_path(const char *name, char *out, size_t cap)
{
    int len = snprintf(out, cap, "%s/%s", shared_dir(), name);
    return len > 0 && (size_t)len < cap && access(out, R_OK) == 0;
}

/* All that comes out of fd. */
static char *read_all(int fd, size_t *n)
{
    size_t cap = (size_t)1 << 16;
    char *p = malloc(cap);
    *n = 0;
    while (p) {
        ssize_t got = read(fd, p + *n, cap - *n - 1);
        if (got <= 0) {
            p[*n] = 0;
            return p;
        }
        *n += (size_t)got;
        if (cap - *n < 2) {
            cap *= 2;
            char *more = realloc(p, cap);
            if (!more)
                free(p);
            p = more;
        }
    }
    return NULL;
}

static char *unpack(int fd, size_t *n)
{
    char *argv[] = {"gzip", "-dc", NULL};
    posix_spawn_file_actions_t act;
    int ends[2], status = -1;
    pid_t pid;
    if (pipe(ends))
        return NULL;
    posix_spawn_file_actions_init(&act);
    posix_spawn_file_actions_adddup2(&act, fd, 0);
    posix_spawn_file_actions_adddup2(&act, ends[1], 1);
    posix_spawn_file_actions_addclose(&act, ends[0]);
    int rc = posix_spawnp(&pid, argv[0], &act, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&act);
    close(ends[1]);
    char *p = rc ? NULL : read_all(ends[0], n);
    close(ends[0]);
    if (rc == 0 && (waitpid(pid, &status, 0) != pid || status != 0)) {
        free(p);
        return NULL;
    }
    return p;
}

char *shared_read(const char *name, size_t *n)
{
    char path[1024];
    size_t len = strlen(name);
    if (!shared_path(name, path, sizeof(path)))
        return NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    int packed = len > 3 && strcmp(name + len - 3, ".gz") == 0;
    char *p = packed ? unpack(fd, n) : read_all(fd, n);
    close(fd);
    return p;
}
