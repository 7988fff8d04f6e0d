/* bundled: the checkpoints that come with seqd, when no --model is given. They
 * are found beside the build tree or under the installed prefix, both relative
 * to the executable, so that neither needs an option.
 *
 * SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/json.h"
#include "server/config.h"

/* Add what DIR/seqd.json lists: {"models":[{"name","dir"}]}. */
static int add_bundled(struct config *c, const char *dir, struct err *e)
{
    char path[PATH_MAX], spec[PATH_MAX + 80];
    struct json *j = NULL;
    int rc = 0;
    snprintf(path, sizeof path, "%s/seqd.json", dir);
    if (json_load(path, "seqd.json", NULL, &j, e) < 0)
        return -1;
    const struct json *m = json_child(json_get(j, "models"));
    for (; m && rc == 0; m = json_next(m)) {
        const char *name = json_string(json_get(m, "name"));
        const char *sub = json_string(json_get(m, "dir"));
        if (!name || !sub) {
            rc = err_set(e, ERR_FORMAT, "seqd.json: a model lacks name or dir");
            break;
        }
        snprintf(spec, sizeof spec, "%.64s=%s%s%s", name,
                 *sub == '/' ? "" : dir, *sub == '/' ? "" : "/", sub);
        rc = string_list_add(&c->models, spec, strlen(spec), e);
    }
    json_free(j);
    if (rc == 0 && c->models.n == 0)
        rc = err_set(e, ERR_FORMAT, "seqd.json lists no models");
    return rc;
}

/* Folders to look in, relative to the executable: its build tree, then the
 * prefix it is installed under. */
static const char *const near_executable[] = {"/../../models/checkpoints",
                                              "/../share/seqd"};

int config_models(struct config *c, struct err *e)
{
    char exe[PATH_MAX], dir[PATH_MAX + 64], file[PATH_MAX + 96];
    if (c->models.n > 0)
        return 0;
    if (c->data_dir)
        return add_bundled(c, c->data_dir, e);
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    exe[n > 0 ? n : 0] = '\0';
    char *slash = strrchr(exe, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < sizeof near_executable / sizeof(char *); i++) {
        snprintf(dir, sizeof dir, "%s%s", exe, near_executable[i]);
        snprintf(file, sizeof file, "%s/seqd.json", dir);
        if (slash && access(file, R_OK) == 0)
            return add_bundled(c, dir, e);
    }
    return err_set(e, ERR_NOT_FOUND,
                   "no models: give --model NAME=PATH or --data-dir DIR");
}
