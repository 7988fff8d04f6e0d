/* checkpoint: see checkpoint.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/checkpoint/checkpoint.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/gguf.h"
#include "engine/checkpoint/mapped.h"
#include "engine/checkpoint/marian_bin.h"
#include "engine/checkpoint/torch_state.h"

#define CONFIG "config.json"
#define SUFFIX ".gguf"
#define HEAD_BYTES MARIAN_BIN_HEAD /* enough to know a form by */

struct checkpoint {
    char *dir;               /* that holds the files */
    char *label;             /* stands for it in messages; may be "" */
    char *torch;             /* the file of torch that was named, or NULL */
    char *marian;            /* the file of Marian, or NULL */
    struct gguf *gguf;       /* NULL: a folder of files */
    struct hparams *hparams; /* NULL: not asked for yet */
    struct weights *weights; /* likewise */
};

static int is_between(const char *name, const char *begin, const char *end)
{
    size_t n = strlen(name), b = strlen(begin), m = strlen(end);
    return n > b + m && strncmp(name, begin, b) == 0 &&
           strcmp(name + n - m, end) == 0;
}

/* The only name that begins and ends so, or "". */
static void only_file(const char *dir, const char *begin, const char *end,
                      char file[NAME_MAX + 1])
{
    DIR *d = opendir(dir);
    int found = 0;
    file[0] = 0;
    for (struct dirent *f = d ? readdir(d) : NULL; f; f = readdir(d))
        if (is_between(f->d_name, begin, end) && found++ == 0)
            snprintf(file, NAME_MAX + 1, "%s", f->d_name);
    if (d)
        closedir(d);
    if (found != 1)
        file[0] = 0;
}

/* The first bytes of a regular file; fewer, or none, when it has no more. */
static size_t read_head(const char *path, uint8_t head[HEAD_BYTES])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, head, HEAD_BYTES);
    if (fd >= 0)
        close(fd);
    return n > 0 ? (size_t)n : 0;
}

/* A file of torch has its config.json beside it: it makes a folder, whose
 * weights have that name. */
static int take_torch(struct checkpoint *c, const char *path,
                      char file[NAME_MAX + 1])
{
    uint8_t head[HEAD_BYTES];
    if (!torch_state_is(file, head, read_head(path, head)))
        return 0;
    c->torch = mem_strdup(file);
    file[0] = 0;
    return c->torch ? 0 : -1;
}

static int is_marian(const char *path)
{
    uint8_t head[HEAD_BYTES];
    return marian_bin_is(head, read_head(path, head));
}

/* The only file of Marian in a folder, if there is one. */
static int find_marian(struct checkpoint *c, const char *path)
{
    DIR *d = opendir(path);
    char file[NAME_MAX + 1] = "", at[PATH_MAX];
    int found = 0;
    for (struct dirent *f = d ? readdir(d) : NULL; f; f = readdir(d)) {
        int n = snprintf(at, sizeof at, "%s/%s", path, f->d_name);
        if (is_between(f->d_name, "", ".bin") && n > 0 && n < (int)sizeof at &&
            is_marian(at) && found++ == 0)
            snprintf(file, sizeof file, "%s", f->d_name);
    }
    if (d)
        closedir(d);
    c->marian = found == 1 ? mem_strdup(file) : NULL;
    return found == 1 && !c->marian ? -1 : 0;
}

/* Fills dir and the name of the GGUF file in it, "" for the other form. A
 * regular file that is not of torch is taken for one: gguf_open says what is
 * wrong with it. */
static int find_form(struct checkpoint *c, const char *path,
                     char file[NAME_MAX + 1], struct err *e)
{
    struct stat st;
    const char *slash = strrchr(path, '/');
    file[0] = 0;
    int known = stat(path, &st) == 0;
    if (known && S_ISREG(st.st_mode)) {
        c->dir =
            slash ? mem_strndup(path, (size_t)(slash - path)) : mem_strdup(".");
        snprintf(file, NAME_MAX + 1, "%s", slash ? slash + 1 : path);
        if (is_marian(path)) {
            c->marian = mem_strdup(file);
            file[0] = 0;
            return c->dir && c->marian ? 0 : err_nomem(e);
        }
        if (take_torch(c, path, file))
            return err_nomem(e);
    } else if (known && !S_ISDIR(st.st_mode)) {
        return err_set(e, ERR_IO, "%s: is not a regular file or a directory",
                       c->label);
    } else {
        c->dir = mem_strdup(path);
        if (!place_exists(path, CONFIG)) {
            only_file(path, "", SUFFIX, file);
            if (!file[0] && find_marian(c, path))
                return err_nomem(e);
        }
    }
    return c->dir ? 0 : err_nomem(e);
}

int checkpoint_open(const char *path, const char *label,
                    struct checkpoint **out, struct err *e)
{
    char file[NAME_MAX + 1];
    struct place p;
    *out = NULL;
    struct checkpoint *c = mem_zalloc(sizeof *c);
    if (!c)
        return err_nomem(e);
    c->label = mem_strdup(label ? label : "");
    int rc = c->label ? find_form(c, path, file, e) : err_nomem(e);
    if (rc == 0 && file[0])
        rc = place_set(&p, c->dir, c->label, file, e) ||
             gguf_open(p.path, p.name, &c->gguf, e);
    if (rc) {
        checkpoint_close(c);
        return -1;
    }
    *out = c;
    return 0;
}

void checkpoint_close(struct checkpoint *c)
{
    if (!c)
        return;
    weights_close(c->weights);
    hparams_close(c->hparams);
    gguf_close(c->gguf);
    mem_free(c->torch);
    mem_free(c->marian);
    mem_free(c->label);
    mem_free(c->dir);
    mem_free(c);
}

static int read_config(struct checkpoint *c, struct err *e)
{
    char *text = NULL, name[PLACE_NAME_BYTES];
    size_t n = 0;
    checkpoint_name(c, CONFIG, name);
    int rc = checkpoint_file(c, CONFIG, HPARAMS_MAX_BYTES, &text, &n, e) ||
             hparams_parse(text, n, name, &c->hparams, e);
    mem_free(text);
    return rc;
}

/* The configuration is in the file of the weights. */
static int read_marian(struct checkpoint *c, struct err *e)
{
    struct place p;
    struct mapped m;
    if (place_set(&p, c->dir, c->label, c->marian, e))
        return -1;
    int rc = mapped_open(&m, p.path, 1, p.name, e);
    if (rc == 0)
        rc = marian_bin_hparams(m.p, m.bytes, p.name, &c->hparams, e);
    mapped_close(&m);
    return rc;
}

const struct hparams *checkpoint_hparams(struct checkpoint *c, struct err *e)
{
    if (!c->hparams && c->gguf)
        hparams_gguf(c->gguf, &c->hparams, e);
    else if (!c->hparams && c->marian)
        read_marian(c, e);
    else if (!c->hparams)
        read_config(c, e);
    return c->hparams;
}

struct weights *checkpoint_weights(struct checkpoint *c, struct err *e)
{
    if (!c->weights && c->gguf)
        weights_gguf(c->gguf, &c->weights, e);
    else if (!c->weights && c->torch)
        weights_open_torch(c->dir, c->label, c->torch, &c->weights, e);
    else if (!c->weights && c->marian)
        weights_open_marian(c->dir, c->label, c->marian, &c->weights, e);
    else if (!c->weights)
        weights_open(c->dir, c->label, &c->weights, e);
    return c->weights;
}

const struct gguf *checkpoint_gguf(const struct checkpoint *c)
{
    return c->gguf;
}

enum checkpoint_form checkpoint_form(const struct checkpoint *c)
{
    return c->gguf     ? CHECKPOINT_GGUF
           : c->marian ? CHECKPOINT_MARIAN
                       : CHECKPOINT_FOLDER;
}

int checkpoint_has(const struct checkpoint *c, const char *file)
{
    return place_exists(c->dir, file);
}

int checkpoint_only(const struct checkpoint *c, const char *begin,
                    const char *end, char file[PLACE_NAME_BYTES])
{
    char name[NAME_MAX + 1];
    only_file(c->dir, begin, end, name);
    snprintf(file, PLACE_NAME_BYTES, "%s", name);
    return file[0] != 0;
}

int checkpoint_file(const struct checkpoint *c, const char *file, size_t max,
                    char **text, size_t *n, struct err *e)
{
    struct place p;
    return place_set(&p, c->dir, c->label, file, e) ||
                   file_read(p.path, p.name, max, text, n, e)
               ? -1
               : 0;
}

int checkpoint_json(const struct checkpoint *c, const char *file,
                    const struct json_limits *limits, struct json **out,
                    struct err *e)
{
    struct place p;
    *out = NULL;
    if (place_set(&p, c->dir, c->label, file, e))
        return -1;
    return file_exists(p.path) ? json_load(p.path, p.name, limits, out, e) : 0;
}

void checkpoint_name(const struct checkpoint *c, const char *file,
                     char out[PLACE_NAME_BYTES])
{
    place_name(c->label, file, out);
}

const char *checkpoint_digest(const struct checkpoint *c,
                              const atomic_int *stop)
{
    return weights_digest(c->weights, stop);
}

void checkpoint_watch(const struct checkpoint *c, const atomic_int *stop)
{
    weights_watch(c->weights, stop);
}

int checkpoint_damaged(const struct checkpoint *c)
{
    return weights_damaged(c->weights);
}
