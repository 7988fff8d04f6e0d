/* targets: see targets.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/targets.h"

#include <string.h>

#include "engine/base/mem.h"

#define MOST_LANGUAGES 4096
#define MOST_JSON ((size_t)1 << 20) /* of a generation_config.json */

void targets_none(struct model_info *info)
{
    info->target =
        (struct target_rules){.start = -1, .forced_bos = -1, .forced_eos = -1};
}

/* An id of generation_config.json, else of config.json, into *id when load has
 * left it open. */
static int read_id(const struct hparams *h, const struct json *generation,
                   const char *label, const char *key, int n_ids, int *id,
                   struct err *e)
{
    const struct json *v = json_get(generation, key);
    int64_t value;

    if (*id >= 0)
        return 0;
    v = !v || json_type(v) == JSON_NULL ? hparams_json(h, key) : v;
    if (!v || json_type(v) == JSON_NULL)
        return 0;
    if (json_type(v) == JSON_ARRAY) {
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: '%s' is a list, one token is supported", label,
                       key);
    }
    if (json_int(v, &value) || value < 0 || value >= n_ids) {
        return err_set(e, ERR_FORMAT, "%s: '%s' is no id of 0..%d", label, key,
                       n_ids - 1);
    }
    *id = (int)value;
    return 0;
}

static int read_ids(const struct hparams *h, const struct json *generation,
                    const char *label, const struct tokenizer *t,
                    struct model_info *info, struct err *e)
{
    int n = tokenizer_size(t), V = info->cols[OUT_LOGITS];

    n = V < n ? V : n;
    if (read_id(h, generation, label, "decoder_start_token_id", n,
                &info->target.start, e) ||
        read_id(h, generation, label, "forced_bos_token_id", n,
                &info->target.forced_bos, e) ||
        read_id(h, generation, label, "forced_eos_token_id", n,
                &info->target.forced_eos, e))
        return -1;
    if (info->target.start < 0)
        info->target.start = tokenizer_bos(t);
    if (info->target.start < 0) {
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'decoder_start_token_id' is missing, "
                       "and the tokenizer has no begin token",
                       label);
    }
    return 0;
}

/* The name in >>name<<. */
static int in_marks(const char *text, struct target_language *l)
{
    size_t n = text ? strlen(text) : 0;

    if (n < 5 || n > 64 || memcmp(text, ">>", 2) != 0 ||
        memcmp(text + n - 2, "<<", 2) != 0)
        return 0;
    l->name = text + 2;
    l->n = (int)n - 4;
    return !memchr(l->name, ' ', (size_t)l->n);
}

/* Those of the vocabulary into list [cap], or only their count. */
static int find_marked(const struct tokenizer *t, struct target_language *list,
                       int cap)
{
    int n = 0;
    for (int32_t id = 0; id < tokenizer_size(t); id++) {
        struct target_language l = {.id = id};
        if (!in_marks(tokenizer_text(t, id), &l))
            continue;
        if (n < cap)
            list[n] = l;
        n++;
    }
    return n;
}

static int read_forced(const struct json *v, const struct tokenizer *t,
                       const char *label, struct targets *out, struct err *e)
{
    for (v = json_child(v); v; v = json_next(v)) {
        const char *name = json_string(v);
        int32_t id = name ? tokenizer_id(t, name) : -1;
        if (id < 0) {
            return err_set(e, ERR_FORMAT,
                           "%s: config.json: 'seqd_languages' holds '%.40s', "
                           "which is no token",
                           label, name ? name : "(no string)");
        }
        name = tokenizer_text(t, id);
        out->language[out->n_languages++] = (struct target_language){
            .name = name, .n = (int)strlen(name), .id = id};
    }
    return 0;
}

static int read_languages(const struct hparams *h, const struct tokenizer *t,
                          const char *label, struct targets *out, struct err *e)
{
    const struct json *v = hparams_json(h, "seqd_languages");
    int n = v ? json_size(v) : find_marked(t, NULL, 0);

    if (v && json_type(v) != JSON_ARRAY) {
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'seqd_languages' is no list", label);
    }
    if (n > MOST_LANGUAGES) {
        return err_set(e, ERR_FORMAT, "%s: %d languages, at most %d are read",
                       label, n, MOST_LANGUAGES);
    }
    if (n == 0)
        return 0;
    out->language = mem_array((size_t)n, sizeof *out->language);
    if (!out->language)
        return err_nomem(e);
    out->forced = v != NULL;
    if (v)
        return read_forced(v, t, label, out, e);
    out->n_languages = find_marked(t, out->language, n);
    return 0;
}

int targets_read(struct checkpoint *c, const struct tokenizer *t,
                 const char *label, struct model_info *info,
                 struct targets *out, struct err *e)
{
    const struct json_limits limits = {MOST_JSON, 0, 0};
    const struct hparams *h = checkpoint_hparams(c, e);
    struct json *generation = NULL;

    if (!h)
        return -1;
    if (info->state.n_ports < 2 || !t || info->cols[OUT_LOGITS] < 1 ||
        info->state.port[PORT_TARGET].unit != UNIT_TOKENS)
        return 0;
    if (!checkpoint_gguf(c) &&
        checkpoint_json(c, "generation_config.json", &limits, &generation, e))
        return -1;
    int rc = read_ids(h, generation, label, t, info, e);
    json_free(generation);
    if (rc == 0 && info->state.port[PORT_SOURCE].unit == UNIT_TOKENS)
        rc = read_languages(h, t, label, out, e);
    return rc;
}

void targets_fini(struct targets *t)
{
    mem_free(t->language);
    t->language = NULL;
}
