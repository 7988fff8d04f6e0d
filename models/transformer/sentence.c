/* sentence: modules.json lists the parts: Transformer, Pooling (its folder
 * holds the kind) and Normalize (whose folder may be missing: it has no
 * parameters). A part that we do not have is refused by its name.
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/sentence.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FILE_BYTES 256
#define MAX_LENGTH 1000000

static const struct json_limits LIMITS = {.max_bytes = 1 << 16};

static int read_pooling(const struct checkpoint *c, const char *folder,
                        const char *label, struct sentence *s, struct err *e)
{
    static const char *const kinds[] = {
        "pooling_mode_mean_tokens", "pooling_mode_cls_token",
        "pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens"};
    char file[FILE_BYTES];
    struct json *j;
    int n = 0, rc = 0;

    if ((size_t)snprintf(file, sizeof file, "%s%sconfig.json", folder,
                         *folder ? "/" : "") >= sizeof file)
        return err_set(e, ERR_FORMAT, "%s: modules.json: a path is too long",
                       label);
    if (checkpoint_json(c, file, &LIMITS, &j, e))
        return -1;
    if (!j)
        return err_set(e, ERR_FORMAT,
                       "%s: modules.json names '%.60s', which has no "
                       "config.json",
                       label, folder);
    for (const struct json *v = json_child(j); v && !rc; v = json_next(v)) {
        int kind = 0;

        if (strncmp(json_key(v), "pooling_mode_", 13) || !json_bool(v))
            continue;
        while (kind < 4 && strcmp(kinds[kind], json_key(v)))
            kind++;
        if (kind == 4)
            rc = err_set(e, ERR_UNSUPPORTED,
                         "%s: %.60s/config.json: '%.60s' is not supported",
                         label, folder, json_key(v));
        s->pooling = (enum pooling)kind;
        n++;
    }
    json_free(j);
    if (!rc && n != 1)
        rc = err_set(e, n ? ERR_UNSUPPORTED : ERR_FORMAT,
                     "%s: %.60s/config.json states %d kinds of pooling, "
                     "expected 1",
                     label, folder, n);
    return rc;
}

static int read_module(const struct checkpoint *c, const struct json *m,
                       const char *label, struct sentence *s, int *pools,
                       struct err *e)
{
    const char *type = json_string(json_get(m, "type"));
    const char *folder = json_string(json_get(m, "path"));
    const char *kind = type ? strrchr(type, '.') : NULL;

    if (!kind || !folder)
        return err_set(e, ERR_FORMAT,
                       "%s: modules.json: a part has no type or no path",
                       label);
    if (!strcmp(kind, ".Transformer") && !*folder)
        return 0;
    if (!strcmp(kind, ".Normalize")) {
        s->normalise = 1;
        return 0;
    }
    if (!strcmp(kind, ".Pooling")) {
        *pools += 1;
        return read_pooling(c, folder, label, s, e);
    }
    return err_set(e, ERR_UNSUPPORTED,
                   "%s: modules.json: '%.80s' in '%.40s' is not supported",
                   label, type, folder);
}

static int read_length(const struct checkpoint *c, const char *label,
                       struct sentence *s, struct err *e)
{
    struct json *j;
    int rc = checkpoint_json(c, "sentence_bert_config.json", &LIMITS, &j, e);

    const struct json *v = json_get(j, "max_seq_length");
    if (v && json_type(v) != JSON_NULL &&
        (json_int(v, &s->max_length) || s->max_length < 3 ||
         s->max_length > MAX_LENGTH))
        rc = err_set(e, ERR_FORMAT,
                     "%s: sentence_bert_config.json: 'max_seq_length' is not "
                     "a whole number from 3 to %d",
                     label, MAX_LENGTH);
    json_free(j);
    return rc;
}

static int read_files(const struct checkpoint *c, const char *label,
                      struct sentence *s, struct err *e)
{
    struct json *j;
    int rc = checkpoint_json(c, "modules.json", &LIMITS, &j, e), pools = 0;

    if (!j)
        return rc;
    s->stated = 1;
    for (const struct json *m = json_child(j); m && !rc; m = json_next(m))
        rc = read_module(c, m, label, s, &pools, e);
    json_free(j);
    if (!rc && pools != 1)
        rc = err_set(e, ERR_FORMAT,
                     "%s: modules.json has %d parts 'Pooling', expected 1",
                     label, pools);
    return rc ? rc : read_length(c, label, s, e);
}

/* LLAMA_POOLING_TYPE_*: 0 none, 1 mean, 2 first token. Nothing says whether
 * vectors are normalised; programs that read such files do it. */
static int read_gguf(const struct names *n, struct sentence *s, struct err *e)
{
    int kind;

    if (names_int(n, (struct name){NULL, "pooling_type"}, 0, 4, 1, &kind, e))
        return -1;
    if (kind > 2)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: 'pooling_type' is %d, expected 0, 1 or 2", n->label,
                       kind);
    s->pooling = kind == 2 ? POOL_CLS : POOL_MEAN;
    s->normalise = 1;
    return 0;
}

int sentence_read(const struct names *n, struct sentence *s, struct err *e)
{
    static const char *const pools[] = {"mean", "cls", "max", "mean-sqrt"};

    if (n->gguf ? read_gguf(n, s, e) : read_files(n->c, n->label, s, e))
        return -1;
    snprintf(s->note, sizeof s->note, ", %s%s", pools[s->pooling],
             s->normalise ? ", length 1" : "");
    return 0;
}

void sentence_pool(const struct sentence *s, const struct kernels *k, int H,
                   const float *x, size_t ldx, int n, float *y)
{
    double sum = 0.0;

    memcpy(y, x, (size_t)H * sizeof *y);
    for (int r = 1; r < n && s->pooling != POOL_CLS; r++)
        if (s->pooling == POOL_MAX)
            k->max_to(H, x + (size_t)r * ldx, y);
        else
            k->add_to(H, x + (size_t)r * ldx, y);
    if (s->pooling == POOL_MEAN)
        k->divide(H, (float)n, y);
    else if (s->pooling == POOL_SQRT)
        k->divide(H, sqrtf((float)n), y);
    if (!s->normalise)
        return;
    for (int i = 0; i < H; i++)
        sum += (double)y[i] * (double)y[i];
    k->divide(H, (float)fmax(sqrt(sum), 1e-12), y); /* as PyTorch's normalize */
}
