/* converter: see converter.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/converter.h"

#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>

#define MAX_ARGS 3

extern char **environ;

int converter_run(const char *script, const char *const *args)
{
    char path[200], text[MAX_ARGS][600];
    char *argv[MAX_ARGS + 3] = {"python3", path};
    pid_t pid;
    int status = -1;

    snprintf(path, sizeof path, "tests/golden/%s", script);
    for (int i = 0; i < MAX_ARGS && args[i]; i++) {
        snprintf(text[i], sizeof text[i], "%s", args[i]);
        argv[2 + i] = text[i];
    }
    if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ) ||
        waitpid(pid, &status, 0) != pid)
        return -1;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}
