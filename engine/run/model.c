/* model: see model.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/model.h"

#include <string.h>

#include "engine/base/clock.h"
#include "engine/base/mem.h"
#include "engine/run/subwords.h"
#include "engine/run/target_rules.h"
#include "engine/run/typed.h"
#include "engine/run/task/task.h"

static int name_ok(const char *s)
{
    size_t n = strlen(s);
    if (n < 1 || n >= MODEL_NAME_BYTES)
        return 0;
    return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                     "0123456789._-") == n;
}

static int arch_is(const struct model_arch *a, const char *type)
{
    if (strcmp(a->name, type) == 0)
        return 1;
    for (int i = 0; a->aliases && a->aliases[i]; i++)
        if (strcmp(a->aliases[i], type) == 0)
            return 1;
    return 0;
}

static int find_arch(struct model *m, const struct model_arch *const *archs,
                     struct err *e)
{
    const char *type;
    const struct hparams *h = checkpoint_hparams(m->checkpoint, e);
    if (!h || hparams_string(h, "model_type", &type, e))
        return -1;
    for (int i = 0; archs[i]; i++) {
        if (arch_is(archs[i], type)) {
            m->arch = archs[i];
            return 0;
        }
    }
    return err_set(e, ERR_UNSUPPORTED,
                   "%s: config.json: model_type '%.40s' is not one that this "
                   "program has",
                   m->name, type);
}

/* The type that most bytes of the file are in. */
static const char *main_dtype(const struct weights *w)
{
    size_t bytes[N_DTYPES] = {0};
    int most = DT_F32;
    for (int i = 0; i < weights_count(w); i++) {
        const struct tensor *t = weights_at(w, i);
        bytes[t->dtype] += t->bytes;
    }
    for (int d = 0; d < N_DTYPES; d++)
        most = bytes[d] > bytes[most] ? d : most;
    return dtype_name((enum dtype)most);
}

/* What becomes of a token of the output: 0 text; 1 never drawn: unknown and
 * special ones (of a masked word the end, too), columns that the tokenizer has
 * no entry for, and what the checkpoint says is never made; 2 special ones that
 * end a text: drawn, never shown. */
static int token_use(const struct model *m, int32_t id)
{
    const struct target_rules *r = &m->info.target;
    int ends = !m->info.state.port[PORT_TARGET].whole;
    int out = id >= tokenizer_size(m->tokenizer) ||
              id == tokenizer_unk(m->tokenizer) ||
              tokenizer_is_special(m->tokenizer, id);

    ends = ends && tokenizer_is_end(m->tokenizer, id);
    for (int i = 0; i < r->n_never && !ends; i++) /* an end is never a word */
        if (r->never[i] == id)
            return 1;
    return !out ? 0 : ends ? 2 : 1;
}

/* Those of use 1, then those of use 2. */
static int list_forbidden(struct model *m, struct err *e)
{
    int V = m->info.cols[OUT_LOGITS], n[3] = {0};

    for (int32_t id = 0; id < V; id++)
        n[token_use(m, id)]++;
    m->forbid = mem_array((size_t)n[1] + (size_t)n[2], sizeof *m->forbid);
    if (!m->forbid)
        return err_nomem(e);
    for (int use = 1; use <= 2; use++) {
        for (int32_t id = 0; id < V; id++)
            if (token_use(m, id) == use)
                m->forbid[m->n_unseen++] = id;
        m->n_forbid = use == 1 ? m->n_unseen : m->n_forbid;
    }
    return 0;
}

static int list_ends(struct model *m, struct err *e)
{
    int V = m->info.cols[OUT_LOGITS], n = 0;

    for (int32_t id = 0; id < V; id++)
        n += tokenizer_is_end(m->tokenizer, id);
    m->end = mem_array((size_t)n, sizeof *m->end);
    if (!m->end && n > 0)
        return err_nomem(e);
    for (int32_t id = 0; id < V; id++)
        if (tokenizer_is_end(m->tokenizer, id))
            m->end[m->n_end++] = id;
    return 0;
}

static int reads_tokens(const struct model *m)
{
    for (int i = 0; i < m->info.state.n_ports; i++)
        if (m->info.state.port[i].unit == UNIT_TOKENS)
            return 1;
    return 0;
}

static int load_arch(struct model *m, const struct model_open_opts *o,
                     struct err *e)
{
    struct load_opts lo = {.label = m->name,
                           .k = o->k,
                           .options = o->options,
                           .tables = m->tables,
                           .n_vocab_tokenizer =
                               m->tokenizer ? tokenizer_size(m->tokenizer) : 0};
    if (m->arch->load(&lo, m->checkpoint, &m->info, &m->self, e))
        return err_set(e, ERR_FORMAT, "%s: cannot be loaded", m->name);
    int outputs = 0;
    for (int i = 0; i < N_OUT; i++)
        outputs += m->info.cols[i] > 0;
    if (outputs == 0 || m->info.state.n_ports < 1)
        return err_set(e, ERR_INTERNAL, "%s: no outputs", m->name);
    return 0;
}

static int read_classes(struct model *m, struct err *e)
{
    const struct hparams *h = checkpoint_hparams(m->checkpoint, e);
    int before = 0, after = 0;

    if (m->tokenizer)
        tokenizer_frame(m->tokenizer, &before, &after);
    return h ? class_rules_read(h, &m->info, before + after, m->name,
                                &m->classes, e)
             : -1;
}

/* Tokenizer, weights and the architecture's own data. That a tokenizer was
 * needed is known when the model is there. */
static int load(struct model *m, const struct model_open_opts *o, struct err *e)
{
    struct err none = ERR_INIT;
    int rc = tokenizer_open(m->checkpoint, &m->tokenizer, &none);

    if (rc && none.code != ERR_NOT_FOUND)
        return err_set_at(e, none.code, none.reason, NULL, "%s", none.msg);
    if (tokenizer_open_source(m->checkpoint, &m->source_tokenizer, e) ||
        load_arch(m, o, e))
        return -1;
    const struct weights *w = checkpoint_weights(m->checkpoint, e);
    if (!w)
        return -1;
    m->dtype = main_dtype(w);
    m->held = weights_held(w);
    if (rc && reads_tokens(m))
        return err_set_at(e, none.code, none.reason, NULL, "%s", none.msg);
    return read_classes(m, e) || targets_read(m->checkpoint, m->tokenizer,
                                              model_source_tokenizer(m),
                                              m->name, &m->info, &m->targets, e)
               ? -1
               : 0;
}

/* How the tokens of sub-words make words. */
static int list_words(struct model *m, struct err *e)
{
    int V = m->info.cols[OUT_LOGITS];

    if (m->info.state.port[PORT_TARGET].whole ||
        tokenizer_level(m->tokenizer) != TOK_LEVEL_SUBWORD)
        return 0;
    m->word_kind = mem_zarray((size_t)V, 1);
    if (!m->word_kind)
        return err_nomem(e);
    subwords_kinds(m->tokenizer, m->forbid, m->n_forbid, m->word_kind, V);
    return 0;
}

/* What texts may be constrained with, and config.json's seqd_constraint. */
static int read_constraint(struct model *m, struct err *e)
{
    static const char KEY[] = "seqd_constraint";
    const struct hparams *h = checkpoint_hparams(m->checkpoint, e);
    const struct port *target = &m->info.state.port[PORT_TARGET];
    const char *name;

    if (!h)
        return -1;
    if (!target->whole &&
        token_mask_open(m->tokenizer, m->info.cols[OUT_LOGITS], &m->token_mask,
                        e))
        return -1;
    if (!hparams_has(h, KEY))
        return 0;
    if (hparams_string(h, KEY, &name, e))
        return -1;
    if (strcmp(name, "none") == 0)
        return 0;
    m->constraint = constraint_find(name);
    if (!m->constraint)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: '%s' is '%.40s', expected none or %s",
                       m->name, KEY, name, constraint_names());
    if (!m->token_mask)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: '%s' is for models that write a text "
                       "by its characters",
                       m->name, KEY);
    return 0;
}

static int set_limits(struct model *m, int max_item_tokens, struct err *e)
{
    int V = m->info.cols[OUT_LOGITS];

    for (int i = 0; i < m->info.state.n_ports; i++) {
        int64_t n = m->info.state.port[i].context_length;
        m->max_tokens[i] = n == 0          ? max_item_tokens
                           : n < INT32_MAX ? (int)n
                                           : INT32_MAX;
    }
    m->max_text = m->max_tokens[PORT_TARGET];
    if (m->classes.window > 0 && m->max_text < max_item_tokens)
        m->max_text = max_item_tokens;
    if (!m->tokenizer)
        return 0;
    int n_tok = tokenizer_size(m->tokenizer);
    m->n_ids[PORT_TARGET] = V > 0 && V < n_tok ? V : n_tok;
    m->n_ids[PORT_SOURCE] = tokenizer_size(model_source_tokenizer(m));
    int known = m->info.state.port[PORT_SOURCE].n_ids;
    if (known > 0 && known < m->n_ids[PORT_SOURCE])
        m->n_ids[PORT_SOURCE] = known;
    if (V == 0)
        return 0;
    m->no_capitals = typed_no_capitals(m->tokenizer);
    return list_forbidden(m, e) || list_ends(m, e) || read_constraint(m, e) ||
                   sample_read(m->checkpoint, &m->info.sample, e)
               ? -1
               : list_words(m, e);
}

static void model_free(struct model *m)
{
    if (m->self)
        m->arch->unload(m->self);
    mem_free(m->forbid);
    mem_free(m->end);
    mem_free(m->word_kind);
    token_mask_close(m->token_mask);
    targets_fini(&m->targets);
    class_rules_fini(&m->classes);
    tokenizer_close(m->source_tokenizer);
    tokenizer_close(m->tokenizer);
    checkpoint_close(m->checkpoint);
    mem_budget_drop(m->tables);
    mem_free(m);
}

int model_open(const struct model_open_opts *o, struct model **out,
               struct err *e)
{
    int64_t begin = clock_now_us();

    *out = NULL;
    if (!name_ok(o->name)) {
        return err_set(e, ERR_INVALID,
                       "model name '%.64s': expected 1 to 64 of A-Z a-z 0-9 "
                       ". _ -",
                       o->name);
    }
    struct model *m = mem_zalloc(sizeof *m);
    if (!m)
        return err_nomem(e);
    atomic_store(&m->refs, 1);
    memcpy(m->name, o->name, strlen(o->name));
    m->tables = o->tables;
    mem_budget_keep(m->tables);
    if (checkpoint_open(o->dir, o->dir, &m->checkpoint, e) ||
        find_arch(m, o->archs, e) || load(m, o, e) ||
        set_limits(m, o->options->max_item_tokens, e)) {
        model_free(m);
        return -1;
    }
    m->created = clock_wall_us() / 1000000;
    m->load_seconds = (double)(clock_now_us() - begin) * 1e-6;
    *out = m;
    return 0;
}

/* --- the handle (engine.h) --- */

void model_retain(struct model *m)
{
    atomic_fetch_add(&m->refs, 1);
}

void model_release(struct model *m)
{
    if (m && atomic_fetch_sub(&m->refs, 1) == 1)
        model_free(m);
}

const char *model_name(const struct model *m)
{
    return m->name;
}

const char *model_arch_name(const struct model *m)
{
    return m->arch->name;
}

const struct model_info *model_get_info(const struct model *m)
{
    return &m->info;
}

const struct class_rules *model_class_rules(const struct model *m)
{
    return &m->classes;
}

const struct tokenizer *model_tokenizer(const struct model *m)
{
    return m->tokenizer;
}

int model_languages(const struct model *m, const struct target_language **list,
                    int *forced)
{
    *list = m->targets.language;
    *forced = m->targets.forced;
    return m->targets.n_languages;
}

const struct constraint *model_constraint(const struct model *m)
{
    return m->constraint;
}

int model_can_constrain(const struct model *m)
{
    return m->token_mask != NULL;
}

const struct tokenizer *model_source_tokenizer(const struct model *m)
{
    return m->source_tokenizer ? m->source_tokenizer : m->tokenizer;
}

const char *model_digest(const struct model *m, const atomic_int *stop)
{
    return checkpoint_digest(m->checkpoint, stop);
}

const char *model_dtype(const struct model *m)
{
    return m->dtype;
}

int64_t model_created(const struct model *m)
{
    return m->created;
}

size_t model_memory(const struct model *m)
{
    return m->info.memory_bytes + m->held +
           (m->arch->table_bytes ? m->arch->table_bytes(m->self) : 0);
}

double model_load_seconds(const struct model *m)
{
    return m->load_seconds;
}

int model_max_tokens(const struct model *m, int port)
{
    return m->max_tokens[port];
}

int model_can(const struct model *m, const struct task *task)
{
    const struct port *p = &m->info.state.port[PORT_TARGET];
    unsigned has = (p->unit == UNIT_TOKENS ? TASK_TOKENS : 0) |
                   (p->whole ? TASK_WHOLE : TASK_APPEND) |
                   (m->info.state.n_ports > 1 ? TASK_SOURCE : 0);
    const struct port *from = &m->info.state.port[PORT_SOURCE];

    if (has & TASK_SOURCE && from->unit == UNIT_TOKENS)
        has |= TASK_SOURCE_TEXT;

    return m->info.cols[task->output] > 0 &&
           (task->needs & ~has & ~(TASK_STREAM | TASK_ANY_SOURCE)) == 0 &&
           (task->needs & TASK_ANY_SOURCE ||
            (has & TASK_SOURCE) == (task->needs & TASK_SOURCE));
}
