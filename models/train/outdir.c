/* outdir: the directory of a training. One run at a time has it, which a lock
 * on it says; so what other runs left half-written is nobody's and goes. A
 * checkpoint that is there is replaced only when asked.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "models/train/train.h"

/* What a training writes; its state first, so that nothing resumes from a
 * checkpoint that is half gone. */
static const char *const ours[] = {"state.bin",      "model.safetensors",
                                   "curve.csv",      "curve.svg",
                                   "CARD.md",        "config.json",
                                   "tokenizer.json", "tokenizer_config.json"};

/* Any of these is a checkpoint, of whatever program. */
static const char *const signs[] = {"state.bin", "model.safetensors",
                                    "model.safetensors.index.json", "model.pt",
                                    "pytorch_model.bin"};

/* So is a file of any name that ends so. */
#define SUFFIX ".gguf"

/* The first of them by name, or "". */
static void find_gguf(const struct trainer *t, char name[NAME_MAX + 1])
{
    int fd = openat(t->out_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct stat st;
    name[0] = 0;
    for (struct dirent *x; d && (x = readdir(d));) {
        size_t n = strlen(x->d_name), m = strlen(SUFFIX);
        if (n <= m || strcmp(x->d_name + n - m, SUFFIX) != 0 ||
            (name[0] && strcmp(x->d_name, name) > 0) ||
            fstatat(fd, x->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
            S_ISDIR(st.st_mode))
            continue;
        snprintf(name, NAME_MAX + 1, "%s", x->d_name);
    }
    if (d)
        closedir(d);
    else if (fd >= 0)
        close(fd);
}

static int refuse_one(const struct options *o, const char *name, struct err *e)
{
    return err_set(
        e, ERR_INVALID, "%s holds a checkpoint (%s): %s--overwrite replaces it",
        o->out, name, resume_is_there(o) ? "--resume goes on with it, " : "");
}

static int refuse_old(const struct trainer *t, struct err *e)
{
    const struct options *o = &t->o;
    char path[FILE_PATH_BYTES], gguf[NAME_MAX + 1];
    if (o->resume && o->overwrite)
        return err_set(e, ERR_INVALID,
                       "--resume goes on with a training, --overwrite replaces "
                       "it: one of them");
    if (o->resume || o->overwrite)
        return 0;
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", o->out, signs[i]);
        if (file_exists(path))
            return refuse_one(o, signs[i], e);
    }
    find_gguf(t, gguf);
    return gguf[0] ? refuse_one(o, gguf, e) : 0;
}

int outdir_open(struct trainer *t, struct err *e)
{
    const char *out = t->o.out;
    if (mkdir(out, 0777) != 0 && errno != EEXIST)
        return err_set(e, ERR_IO, "%s cannot be made: %s", out,
                       strerror(errno));
    t->out_fd = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (t->out_fd < 0)
        return err_set(e, ERR_IO, "%s cannot be opened: %s", out,
                       strerror(errno));
    int locked = flock(t->out_fd, LOCK_EX | LOCK_NB) == 0;
    if (!locked && errno == EWOULDBLOCK)
        return err_set(e, ERR_BUSY, "%s: another training writes there", out);
    /* without locks (some network file systems) nobody knows whose it is */
    for (size_t i = 0; locked && i < sizeof ours / sizeof ours[0]; i++)
        file_part_sweep(out, ours[i]);
    return refuse_old(t, e);
}

static int clear(const struct trainer *t, const char *const *names, size_t n,
                 struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (unlinkat(t->out_fd, names[i], 0) != 0 && errno != ENOENT)
            return err_set(e, ERR_IO, "%s/%s cannot be removed: %s", t->o.out,
                           names[i], strerror(errno));
    return 0;
}

int outdir_clear(const struct trainer *t, struct err *e)
{
    char gguf[NAME_MAX + 1];
    const char *name = gguf;
    int rc = clear(t, ours, sizeof ours / sizeof ours[0], e) ||
             clear(t, signs, sizeof signs / sizeof signs[0], e);
    for (find_gguf(t, gguf); !rc && gguf[0]; find_gguf(t, gguf))
        rc = clear(t, &name, 1, e);
    return rc ? -1 : 0;
}

void outdir_close(struct trainer *t)
{
    if (t->out_fd >= 0)
        close(t->out_fd);
    t->out_fd = -1;
}
