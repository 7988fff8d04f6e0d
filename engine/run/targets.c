/* targets: see targets.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/targets.h"

#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/target_rules.h"

#define MOST_LANGUAGES 4096

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
                          const struct tokenizer *source, const char *label,
                          struct targets *out, struct err *e)
{
    const struct json *v = hparams_json(h, "seqd_languages");
    int n = v ? json_size(v) : find_marked(source, NULL, 0);

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
    out->n_languages = find_marked(source, out->language, n);
    return 0;
}

int targets_read(struct checkpoint *c, const struct tokenizer *t,
                 const struct tokenizer *source, const char *label,
                 struct model_info *info, struct targets *out, struct err *e)
{
    const struct hparams *h = checkpoint_hparams(c, e);

    if (!h)
        return -1;
    if (info->state.n_ports < 2) {
        info->target = target_no_rules();
        return 0;
    }
    if (!t || info->cols[OUT_LOGITS] < 1 ||
        info->state.port[PORT_TARGET].unit != UNIT_TOKENS)
        return 0;
    if (info->target.start < 0)
        info->target.start = tokenizer_bos(t);
    if (info->target.start < 0) {
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'decoder_start_token_id' is missing, "
                       "and the tokenizer has no begin token",
                       label);
    }
    return info->state.port[PORT_SOURCE].unit == UNIT_TOKENS
               ? read_languages(h, t, source, label, out, e)
               : 0;
}

void targets_fini(struct targets *t)
{
    mem_free(t->language);
    t->language = NULL;
}
