/* convert: see convert.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/convert.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/file.h"
#include "engine/base/mem.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/safetensors.h"
#include "models/registry.h"
#include "models/train/train.h"

#define MAX_FILE ((size_t)1 << 28)
#define WEIGHTS "model.safetensors"

struct conversion {
    const struct options *o;
    struct trainer *dir; /* of the output, its directory alone */
    struct checkpoint *from;
    const char *type;
    struct save_tensor *t; /* [n] */
    int n;
};

/* ------------------------------------------------------------------- input */

static int is_served(const char *type)
{
    for (int i = 0; registry_archs[i] != NULL; i++) {
        const struct model_arch *a = registry_archs[i];
        if (strcmp(a->name, type) == 0)
            return 1;
        for (int k = 0; a->aliases != NULL && a->aliases[k] != NULL; k++)
            if (strcmp(a->aliases[k], type) == 0)
                return 1;
    }
    return 0;
}

static int is_float(enum dtype d)
{
    return d <= DT_F64 || d == DT_I8;
}

/* The tensors and what becomes of each; all that is wrong with the input shows
 * here. */
static int plan(struct conversion *c, struct err *e)
{
    const struct weights *w = checkpoint_weights(c->from, e);
    if (w == NULL)
        return -1;
    c->n = weights_count(w);
    c->t = mem_zarray((size_t)c->n + 1, sizeof *c->t);
    if (c->t == NULL)
        return err_nomem(e);
    for (int i = 0; i < c->n; i++) {
        const struct tensor *x = weights_at(w, i);
        struct save_tensor *t = &c->t[i];
        if (weights_check(w, x, e) != 0)
            return -1;
        weights_drop_pages(w, x);
        *t = (struct save_tensor){
            .name = x->name, .dtype = x->dtype, .n_dims = x->n_dims, .from = x};
        memcpy(t->dim, x->dim, sizeof t->dim);
        if (is_float(x->dtype))
            save_as(t, c->o->precision, c->type);
    }
    return 0;
}

static int open_input(struct conversion *c, struct err *e)
{
    const char *dir = c->o->model;
    struct stat st;
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
        return err_set(e, ERR_INVALID, "%s is no directory", dir);
    if (checkpoint_open(dir, dir, &c->from, e) != 0)
        return -1;
    if (checkpoint_form(c->from) != CHECKPOINT_FOLDER)
        return err_set(e, ERR_INVALID,
                       "%s holds a GGUF file or one of Marian's own, expected "
                       "config.json and tensors of safetensors or PyTorch",
                       dir);
    const struct hparams *h = checkpoint_hparams(c->from, e);
    if (h == NULL || hparams_string(h, "model_type", &c->type, e) != 0)
        return -1;
    if (!is_served(c->type))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: config.json: model_type '%.40s' is not one that "
                       "this program has",
                       dir, c->type);
    return plan(c, e);
}

/* ------------------------------------------------------------------ output */

static int open_output(struct conversion *c, struct err *e)
{
    struct stat a, b;
    c->dir = mem_zalloc(sizeof *c->dir);
    if (c->dir == NULL)
        return err_nomem(e);
    c->dir->o = *c->o;
    c->dir->out_fd = -1;
    if (stat(c->o->model, &a) == 0 && stat(c->o->out, &b) == 0 &&
        a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return err_set(e, ERR_INVALID, "--out is --model: %s", c->o->out);
    if (outdir_open(c->dir, e) != 0)
        return -1;
    return c->o->overwrite ? outdir_clear(c->dir, e) : 0;
}

static int ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n > k && strcmp(name + n - k, end) == 0;
}

/* Settings, tokenizers and what people read; not weights, nor their index. */
static int is_copied(const char *name)
{
    static const char *const ends[] = {".json",  ".txt", ".model", ".spm",
                                       ".jinja", ".md",  ".svg"};
    if (ends_with(name, ".index.json"))
        return 0;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++)
        if (ends_with(name, ends[i]))
            return 1;
    return strncmp(name, "LICENSE", 7) == 0;
}

/* What CARD.md says more of the copy. */
static void add_note(const struct conversion *c, struct buf *b)
{
    static const char *const what[] = {"in f32", "in bf16", "in f16",
                                       "in 8 bits with a scale for each "
                                       "output, its vectors in f32"};
    buf_addf(b,
             "\nThis is a copy with the matrices %s (`seqd-train convert`); "
             "the scores above are\nthose of the original.\n",
             what[c->o->precision]);
}

static int copy_one(const struct conversion *c, const char *name, struct err *e)
{
    char path[FILE_PATH_BYTES], *text = NULL;
    struct buf b;
    size_t n = 0;
    int len = snprintf(path, sizeof path, "%s/%s", c->o->model, name);
    if (len >= (int)sizeof path)
        return err_set(e, ERR_INVALID, "%s: too long a path", name);
    if (file_read(path, name, MAX_FILE, &text, &n, e) != 0)
        return -1;
    buf_init(&b, 2 * MAX_FILE);
    buf_add(&b, text, n);
    mem_free(text);
    if (strcmp(name, "CARD.md") == 0)
        add_note(c, &b);
    int rc = save_file(c->o->out, name, &b, e);
    buf_fini(&b);
    return rc;
}

/* A part of a sentence encoder: its settings, in a folder of their own. */
static int copy_part(const struct conversion *c, const char *name,
                     struct err *e)
{
    char file[FILE_PATH_BYTES], path[FILE_PATH_BYTES];
    if (!checkpoint_has(c->from, "modules.json") ||
        snprintf(file, sizeof file, "%s/config.json", name) >=
            (int)sizeof file ||
        !checkpoint_has(c->from, file))
        return 0;
    if (snprintf(path, sizeof path, "%s/%s", c->o->out, name) >=
            (int)sizeof path ||
        (mkdir(path, 0777) != 0 && errno != EEXIST))
        return err_set(e, ERR_IO, "%s/%s cannot be made", c->o->out, name);
    return copy_one(c, file, e);
}

static int copy_files(const struct conversion *c, struct err *e)
{
    DIR *d = opendir(c->o->model);
    int rc = d != NULL ? 0
                       : err_set(e, ERR_IO, "%s cannot be read: %s",
                                 c->o->model, strerror(errno));
    for (struct dirent *x; rc == 0 && (x = readdir(d)) != NULL;) {
        struct stat st;
        if (x->d_name[0] == '.' || fstatat(dirfd(d), x->d_name, &st, 0) != 0)
            continue;
        if (S_ISDIR(st.st_mode))
            rc = copy_part(c, x->d_name, e);
        else if (is_copied(x->d_name))
            rc = copy_one(c, x->d_name, e);
    }
    if (d != NULL)
        closedir(d);
    return rc;
}

/* What was written is what will be read: a number that the type cannot hold has
 * become infinite. */
static int read_again(const struct conversion *c, struct err *e)
{
    struct checkpoint *made;
    if (checkpoint_open(c->o->out, c->o->out, &made, e) != 0)
        return -1;
    const struct weights *w = checkpoint_weights(made, e);
    int rc = w != NULL ? 0 : -1;
    for (int i = 0; rc == 0 && i < weights_count(w); i++)
        rc = weights_check(w, weights_at(w, i), e);
    checkpoint_close(made);
    return rc;
}

static int write_output(struct conversion *c, struct err *e)
{
    char path[FILE_PATH_BYTES];
    if (snprintf(path, sizeof path, "%s/" WEIGHTS, c->o->out) >=
        (int)sizeof path)
        return err_set(e, ERR_INVALID, "%s: too long a path", c->o->out);
    int rc = safetensors_save(path, c->t, c->n, NULL, 0, e);
    if (rc == 0)
        rc = copy_files(c, e) != 0 || read_again(c, e) != 0 ? -1 : 0;
    if (rc != 0)
        unlink(path);
    return rc;
}

/* --------------------------------------------------------------------- all */

static void report(const struct conversion *c, struct buf *out)
{
    char path[FILE_PATH_BYTES];
    struct stat st;
    snprintf(path, sizeof path, "%s/" WEIGHTS, c->o->out);
    buf_addf(out, "{\"tensors\": %d, \"parameters\": %llu, \"bytes\": %lld}\n",
             c->n,
             (unsigned long long)weights_parameters(
                 checkpoint_weights(c->from, NULL)),
             stat(path, &st) == 0 ? (long long)st.st_size : 0);
}

int convert_run(const struct options *o, struct buf *out, struct err *e)
{
    struct conversion c = {.o = o};
    if (o->model == NULL || o->out == NULL || !o->precision_given)
        return err_set(e, ERR_INVALID,
                       "convert needs --model, --out and --precision");
    int rc = open_input(&c, e) != 0 || open_output(&c, e) != 0 ||
                     write_output(&c, e) != 0
                 ? -1
                 : 0;
    if (rc == 0)
        report(&c, out);
    if (c.dir != NULL)
        outdir_close(c.dir);
    mem_free(c.dir);
    mem_free(c.t);
    checkpoint_close(c.from);
    return rc;
}
