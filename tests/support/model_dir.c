/* model_dir: see model_dir.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/model_dir.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/checkpoint.h"
#include "engine/text/tokenizer.h"

#define TOKENIZER "tokenizer.json"

static int write_file(const char *dir, const char *name, const struct buf *b)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (!f)
        return -1;
    size_t done = fwrite(b->p, 1, b->len, f);
    return fclose(f) || done != b->len ? -1 : 0;
}

static int write_letters(const char *dir, int n)
{
    struct buf b;

    buf_init(&b, (size_t)1 << 24);
    buf_add_str(&b, "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":0,"
                    "\"content\":\"<end>\",\"special\":true}],"
                    "\"normalizer\":null,\"pre_tokenizer\":{\"type\":"
                    "\"ByteLevel\",\"add_prefix_space\":false},"
                    "\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{"
                    "\"type\":\"BPE\",\"vocab\":{\"<end>\":0");
    for (int i = 0; i < 26; i++) {
        buf_addf(&b, ",\"%c\":%d,\"\xc4\xa0%c\":%d", 'a' + i, 1 + i, 'a' + i,
                 27 + i);
    }
    buf_add_str(&b, ",\"\xc4\xa0\":53,\"\xc3\x83\":54");
    for (int i = 55; i < n; i++)
        buf_addf(&b, ",\"%c\":%d", '0' + i - 55, i);
    buf_add_str(&b, "},\"merges\":[");
    for (int i = 0; i < 26; i++)
        buf_addf(&b, "%s\"\xc4\xa0 %c\"", i ? "," : "", 'a' + i);
    buf_add_str(&b, "]}}");
    int rc = b.failed || n > 63 ? -1 : write_file(dir, TOKENIZER, &b);
    buf_fini(&b);
    return rc;
}

static int write_words(const char *dir, int n)
{
    static const struct tokenizer_spec spec = {.normalizer = "seqd-whitespace",
                                               .unk = "<unk>",
                                               .bos = "<s>",
                                               .eos = "</s>"};
    char(*word)[16] = mem_array((size_t)n, sizeof *word);
    const char **entry = mem_array((size_t)n, sizeof *entry);
    struct buf b;
    int rc = -1;

    buf_init(&b, (size_t)1 << 24);
    for (int i = 0; word && entry && i < n; i++) {
        snprintf(word[i], sizeof(word[i]), "w%d", i);
        entry[i] = i == 0   ? "<unk>"
                   : i == 1 ? "<s>"
                   : i == 2 ? "</s>"
                            : word[i];
    }
    if (word && entry && tokenizer_build(&spec, entry, n, &b, NULL) == 0)
        rc = write_file(dir, TOKENIZER, &b);
    buf_fini(&b);
    mem_free(word);
    mem_free(entry);
    return rc;
}

/* Link the files of src into dir, but for one (NULL: none). */
static int link_files(const char *src, const char *dir, const char *but)
{
    char from[PATH_MAX], to[512];
    struct dirent *d;
    DIR *list = opendir(src);
    int rc = list ? 0 : -1;

    while (rc == 0 && (d = readdir(list))) {
        char name[PATH_MAX];
        if (d->d_name[0] == '.' || (but && !strcmp(d->d_name, but)))
            continue;
        snprintf(name, sizeof(name), "%s/%s", src, d->d_name);
        snprintf(to, sizeof(to), "%s/%s", dir, d->d_name);
        rc = realpath(name, from) && symlink(from, to) == 0 ? 0 : -1;
    }
    if (list)
        closedir(list);
    return rc;
}

static int make(const char *src, char out[64], int letters)
{
    char path[512];
    struct checkpoint *c = NULL;
    const struct hparams *h;
    int64_t n = 0;

    out[0] = 0;
    snprintf(path, sizeof(path), "%s/tokenizer.json", src);
    if (access(path, R_OK) == 0)
        return 0;
    int rc = checkpoint_open(src, "fixture", &c, NULL) ||
             !(h = checkpoint_hparams(c, NULL)) ||
             hparams_int(h, "vocab_size", 4, 1 << 20, &n, NULL);
    checkpoint_close(c);
    snprintf(out, 64, "/tmp/seqd_model_XXXXXX");
    if (rc || !mkdtemp(out)) {
        out[0] = 0;
        return -1;
    }
    if (link_files(src, out, NULL))
        return -1;
    return letters ? write_letters(out, (int)n) : write_words(out, (int)n);
}

int model_dir_make(const char *src, char out[64])
{
    return make(src, out, 0);
}

int model_dir_letters(const char *src, char out[64])
{
    return make(src, out, 1);
}

int model_dir_config(const char *src, const struct buf *config, char out[64])
{
    snprintf(out, 64, "/tmp/seqd_model_XXXXXX");
    return mkdtemp(out) && link_files(src, out, "config.json") == 0
               ? write_file(out, "config.json", config)
               : -1;
}

void model_dir_remove(const char *dir)
{
    struct dirent *d;
    DIR *list = dir[0] ? opendir(dir) : NULL;

    while (list && (d = readdir(list))) {
        char path[512];
        if (d->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%s/%s", dir, d->d_name);
            unlink(path);
        }
    }
    if (list) {
        closedir(list);
        rmdir(dir);
    }
}
