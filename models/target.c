/* target: see target.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/target.h"

#define GENERATION "generation_config.json"

/* The file that is read, and what its members are read into. */
struct source {
    char file[PLACE_NAME_BYTES];
    const struct json *root; /* NULL: config.json */
    const struct hparams *h;
    int n_vocab;
};

static const struct json *get(const struct source *s, const char *key)
{
    const struct json *j = s->root ? json_get(s->root, key) : NULL;

    if (!s->root)
        j = hparams_json(s->h, key);
    return j && json_type(j) != JSON_NULL ? j : NULL;
}

static int wrong(const struct source *s, const char *key, struct err *e)
{
    return err_set(e, ERR_FORMAT, "%s: '%s' is no token, expected 0..%d",
                   s->file, key, s->n_vocab - 1);
}

static int token(const struct source *s, const struct json *j, const char *key,
                 int32_t *id, struct err *e)
{
    int64_t v;

    if (json_int(j, &v) || v < 0 || v >= s->n_vocab)
        return wrong(s, key, e);
    *id = (int32_t)v;
    return 0;
}

/* A token, or a list of one; what is not there leaves *id. */
static int read_token(const struct source *s, const char *key, int *id,
                      struct err *e)
{
    const struct json *j = get(s, key);

    if (j && json_type(j) == JSON_ARRAY && json_size(j) == 1)
        j = json_child(j);
    return j ? token(s, j, key, id, e) : 0;
}

static int read_never(const struct source *s, struct target_rules *out,
                      struct err *e)
{
    static const char KEY[] = "bad_words_ids";
    const struct json *list = get(s, KEY), *j;

    if (!list)
        return 0;
    if (json_type(list) != JSON_ARRAY)
        return wrong(s, KEY, e);
    for (j = json_child(list); j; j = json_next(j)) {
        if (json_type(j) != JSON_ARRAY)
            return wrong(s, KEY, e);
        if (json_size(j) != 1 || out->n_never == MODEL_MAX_NEVER)
            return err_set(e, ERR_UNSUPPORTED,
                           "%s: '%s' has more than %d words, or words of "
                           "several tokens",
                           s->file, KEY, MODEL_MAX_NEVER);
        if (token(s, json_child(j), KEY, &out->never[out->n_never++], e))
            return -1;
    }
    return 0;
}

static int read_all(const struct source *s, const struct source *config,
                    struct target_rules *out, struct err *e)
{
    static const char *const keys[] = {"decoder_start_token_id",
                                       "bos_token_id"};

    for (int i = 0; i < 2 && out->start < 0; i++)
        if (read_token(config, keys[i], &out->start, e) ||
            read_token(s, keys[i], &out->start, e))
            return -1;
    return read_token(s, "forced_bos_token_id", &out->forced_bos, e) ||
                   read_token(s, "forced_eos_token_id", &out->forced_eos, e) ||
                   read_never(s, out, e)
               ? -1
               : 0;
}

int target_read(struct checkpoint *c, int n_vocab, struct target_rules *out,
                struct err *e)
{
    struct source config = {.h = checkpoint_hparams(c, e), .n_vocab = n_vocab};
    struct source made = config;
    struct json *root = NULL;
    int rc;

    *out =
        (struct target_rules){.start = -1, .forced_bos = -1, .forced_eos = -1};
    if (!config.h || checkpoint_json(c, GENERATION, NULL, &root, e))
        return -1;
    made.root = root;
    checkpoint_name(c, "config.json", config.file);
    checkpoint_name(c, GENERATION, made.file);
    rc = read_all(root ? &made : &config, &config, out, e);
    json_free(root);
    return rc;
}
