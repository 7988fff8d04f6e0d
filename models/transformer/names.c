/* names: see names.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/names.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"

/* --- opening --- */

int names_open(struct names *n, const struct load_opts *o, struct weights *w,
               const struct hparams *h, const char *prefix, const char *block,
               const struct name *first, struct err *e)
{
    char name[NAMES_BYTES];

    memset(n, 0, sizeof *n);
    n->label = o->label;
    n->w = w;
    n->h = h;
    n->gguf = hparams_form(h) == HPARAMS_GGUF;
    n->prefix = prefix;
    n->block = block;
    if (hparams_string(h, "model_type", &n->type, e))
        return -1;
    n->used = mem_zalloc((size_t)weights_count(w) + 1);
    if (!n->used)
        return err_nomem(e);
    snprintf(name, sizeof name, "%s%s.weight", prefix, first->hf);
    if (!n->gguf && !weights_find(w, name))
        n->prefix = "";
    return 0;
}

void names_close(struct names *n)
{
    mem_free(n->used);
    n->used = NULL;
}

/* --- hyper-parameters --- */

static const char *key_of(const struct names *n, struct name key,
                          char out[NAMES_BYTES])
{
    if (!n->gguf)
        return key.hf;
    snprintf(out, NAMES_BYTES, "%.40s.%s", n->type, key.gguf);
    return out;
}

int names_int(const struct names *n, struct name key, int64_t min, int64_t max,
              int64_t dflt, int *v, struct err *e)
{
    char text[NAMES_BYTES];
    const char *k = key_of(n, key, text);
    int64_t x;

    if (dflt < 0 ? hparams_int(n->h, k, min, max, &x, e)
                 : hparams_int_or(n->h, k, min, max, dflt, &x, e))
        return -1;
    *v = (int)x;
    return 0;
}

int names_float(const struct names *n, struct name key, double min, double max,
                double dflt, double *v, struct err *e)
{
    char text[NAMES_BYTES];

    return hparams_float_or(n->h, key_of(n, key, text), min, max, dflt, v, e);
}

int names_has_key(const struct names *n, struct name key)
{
    char text[NAMES_BYTES];

    return hparams_has(n->h, key_of(n, key, text));
}

int names_refuse(const struct names *n, const char *const *keys, struct err *e)
{
    if (n->gguf)
        return 0;
    for (int i = 0; keys[i]; i++) {
        const struct json *j = hparams_json(n->h, keys[i]);

        if (!j || json_type(j) == JSON_NULL ||
            (json_type(j) == JSON_BOOL && !json_bool(j)))
            continue;
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: config.json: '%s' is set, which this program does "
                       "not have",
                       n->label, keys[i]);
    }
    return 0;
}

static int read_vocab(const struct names *n, int *v, struct err *e)
{
    const struct tensor *t;

    if (!n->gguf)
        return names_int(n, (struct name){"vocab_size", NULL}, 1,
                         NAMES_MAX_VOCAB, -1, v, e);
    t = weights_find(n->w, "token_embd.weight");
    if (!t || t->n_dims != 2 || t->dim[0] < 1 || t->dim[0] > NAMES_MAX_VOCAB)
        return err_set(e, ERR_FORMAT,
                       "%s: tensor 'token_embd.weight' of two dimensions "
                       "expected, of at most %d rows",
                       n->label, NAMES_MAX_VOCAB);
    *v = (int)t->dim[0];
    return 0;
}

static int read_head_size(const struct names *n, int dflt, struct names_dims *v,
                          struct err *e)
{
    static const struct name K = {"head_dim", "attention.key_length"};
    int value;

    if (!dflt)
        dflt = v->width / v->heads;
    if (!names_has_key(n, K) && dflt * v->heads != v->width && !n->gguf)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: hidden_size %d is no multiple of "
                       "num_attention_heads %d",
                       n->label, v->width, v->heads);
    if (names_int(n, K, 1, NAMES_MAX_HEAD, dflt, &v->d, e))
        return -1;
    if (!n->gguf)
        return 0;
    if (names_int(n, (struct name){NULL, "attention.value_length"}, 1,
                  NAMES_MAX_HEAD, v->d, &value, e))
        return -1;
    if (value != v->d)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: attention.value_length is %d, expected that of "
                       "the keys, %d",
                       n->label, value, v->d);
    return 0;
}

int names_read_dims(const struct names *n, int kv_dflt, int d_dflt,
                    struct names_dims *v, struct err *e)
{
    static const struct name
        width = {"hidden_size", "embedding_length"},
        layers = {"num_hidden_layers", "block_count"},
        heads = {"num_attention_heads", "attention.head_count"},
        kv = {"num_key_value_heads", "attention.head_count_kv"},
        inner = {"intermediate_size", "feed_forward_length"},
        length = {"max_position_embeddings", "context_length"},
        eps = {"rms_norm_eps", "attention.layer_norm_rms_epsilon"};

    if (read_vocab(n, &v->vocab, e) ||
        names_int(n, width, 1, NAMES_MAX_WIDTH, -1, &v->width, e) ||
        names_int(n, layers, 1, TF_MAX_LAYERS, -1, &v->layers, e) ||
        names_int(n, heads, 1, NAMES_MAX_HEADS, -1, &v->heads, e) ||
        names_int(n, kv, 1, NAMES_MAX_HEADS,
                  n->gguf || kv_dflt == 0 ? v->heads : -1, &v->kv, e) ||
        names_int(n, inner, 1, NAMES_MAX_INNER, -1, &v->inner, e) ||
        names_int(n, length, 1, NAMES_MAX_LENGTH, -1, &v->context, e) ||
        names_float(n, eps, 0, 1, 1e-6, &v->eps, e) ||
        read_head_size(n, d_dflt, v, e))
        return -1;
    if (v->heads % v->kv)
        return err_set(e, ERR_FORMAT,
                       "%s: %d attention heads are no multiple of %d "
                       "key/value heads",
                       n->label, v->heads, v->kv);
    return 0;
}

int names_read_tied(const struct names *n, int dflt, int *tied, struct err *e)
{
    if (n->gguf) {
        *tied = !weights_find(n->w, "output.weight");
        return 0;
    }
    return hparams_bool_or(n->h, "tie_word_embeddings", dflt, tied, e);
}

/* --- rotary positions --- */

static const char *member(const char *object, const char *key,
                          char out[NAMES_BYTES])
{
    snprintf(out, NAMES_BYTES, "%s.%s", object, key);
    return out;
}

static int read_llama3(const struct names *n, const char *object,
                       struct tf_rope_spec *s, struct err *e)
{
    char key[NAMES_BYTES];

    s->scaling = ROPE_LLAMA3;
    if (hparams_float_or(n->h, member(object, "low_freq_factor", key), 1e-3,
                         1e6, 1, &s->low_freq_factor, e) ||
        hparams_float_or(n->h, member(object, "high_freq_factor", key), 1e-3,
                         1e6, 4, &s->high_freq_factor, e) ||
        hparams_float_or(
            n->h, member(object, "original_max_position_embeddings", key), 1,
            1e9, 8192, &s->original_length, e))
        return -1;
    if (s->high_freq_factor <= s->low_freq_factor)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: '%s': high_freq_factor %g is not "
                       "over low_freq_factor %g",
                       n->label, object, s->high_freq_factor,
                       s->low_freq_factor);
    return 0;
}

static int read_rope_hf(const struct names *n, const char *object,
                        const char *theta_key, double dflt,
                        struct tf_rope_spec *s, struct err *e)
{
    char key[NAMES_BYTES];
    const char *type, *old;

    if (hparams_float_or(n->h, theta_key, 1, 1e12, dflt, &dflt, e) ||
        hparams_float_or(n->h, member(object, "rope_theta", key), 1, 1e12, dflt,
                         &s->base, e) ||
        hparams_string_or(n->h, member(object, "type", key), "default", &old,
                          e) ||
        hparams_string_or(n->h, member(object, "rope_type", key), old, &type,
                          e))
        return -1;
    if (strcmp(type, "default") == 0)
        return 0;
    if (hparams_float_or(n->h, member(object, "factor", key), 1e-3, 1e6, 1,
                         &s->factor, e))
        return -1;
    if (strcmp(type, "llama3") == 0)
        return read_llama3(n, object, s, e);
    if (strcmp(type, "linear") != 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: config.json: '%s' has rope_type '%.40s', expected "
                       "default, linear or llama3",
                       n->label, object, type);
    s->scaling = ROPE_LINEAR;
    return 0;
}

static int read_rope_gguf(const struct names *n, double dflt,
                          struct tf_rope_spec *s, struct err *e)
{
    static const struct name base = {NULL, "rope.freq_base"},
                             type_key = {NULL, "rope.scaling.type"},
                             factor = {NULL, "rope.scaling.factor"},
                             old = {NULL, "rope.scale_linear"},
                             turned = {NULL, "rope.dimension_count"};
    char key[NAMES_BYTES];
    const char *type;
    double was;

    if (names_float(n, base, 1, 1e12, dflt, &s->base, e) ||
        names_int(n, turned, 2, s->n_rot, s->n_rot, &s->n_rot, e) ||
        hparams_string_or(n->h, key_of(n, type_key, key), "linear", &type, e) ||
        names_float(n, old, 1e-3, 1e6, 1, &was, e) ||
        names_float(n, factor, 0, 1e6, was, &s->factor, e))
        return -1;
    if (strcmp(type, "none") == 0)
        return 0;
    if (strcmp(type, "linear") != 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: rope.scaling.type is '%.40s', expected none or "
                       "linear",
                       n->label, type);
    if (s->factor > 0 && (s->factor > 1 || s->factor < 1))
        s->scaling = ROPE_LINEAR;
    return 0;
}

int names_read_rope(const struct names *n, const char *object,
                    const char *theta_key, double base_dflt, int d,
                    struct tf_rope_spec *s, struct err *e)
{
    memset(s, 0, sizeof *s);
    s->n_rot = d;
    s->factor = 1;
    s->scaling = ROPE_PLAIN;
    if (n->gguf ? read_rope_gguf(n, base_dflt, s, e)
                : read_rope_hf(n, object, theta_key, base_dflt, s, e))
        return -1;
    if (s->n_rot % 2)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: %d rotary dimensions, expected an even number",
                       n->label, s->n_rot);
    return 0;
}

int names_layer_types(const struct names *n, int layers, int width, int *window,
                      struct err *e)
{
    const struct json *list = hparams_json(n->h, "layer_types"), *x;
    int i = 0;

    if (n->gguf || !list || json_type(list) == JSON_NULL)
        return 0;
    if (json_type(list) != JSON_ARRAY || json_size(list) != layers)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: 'layer_types' is no list of %d "
                       "entries",
                       n->label, layers);
    for (x = json_child(list); x; x = json_next(x), i++) {
        const char *type = json_string(x);

        if (type && strcmp(type, "full_attention") == 0) {
            window[i] = 0;
        } else if (type && width && strcmp(type, "sliding_attention") == 0) {
            window[i] = width;
        } else {
            return err_set(e, ERR_UNSUPPORTED,
                           "%s: config.json: 'layer_types' has '%.40s', "
                           "expected full_attention, or sliding_attention "
                           "with a sliding_window",
                           n->label, type ? type : "?");
        }
    }
    return 1;
}

/* --- tensors --- */

static void mark(struct names *n, const char *name)
{
    const struct tensor *t = weights_find(n->w, name);
    int i = 0, count = weights_count(n->w);

    while (t && i < count && weights_at(n->w, i) != t)
        i++;
    if (t && i < count)
        n->used[i] = 1;
}

const char *names_tensor(struct names *n, struct name part, const char *end,
                         char out[NAMES_BYTES])
{
    if (n->gguf)
        snprintf(out, NAMES_BYTES, "%s.%s", part.gguf, end);
    else
        snprintf(out, NAMES_BYTES, "%s%s.%s", n->prefix, part.hf, end);
    mark(n, out);
    return out;
}

const char *names_block(struct names *n, int layer, struct name part,
                        const char *end, char out[NAMES_BYTES])
{
    if (n->gguf)
        snprintf(out, NAMES_BYTES, "blk.%d.%s.%s", layer, part.gguf, end);
    else
        snprintf(out, NAMES_BYTES, "%s%s%d.%s.%s", n->prefix, n->block, layer,
                 part.hf, end);
    mark(n, out);
    return out;
}

int names_exists(const struct names *n, const char *name)
{
    return weights_find(n->w, name) != NULL;
}

const char *names_head(struct names *n, struct name head, struct name embedding,
                       int tied, char out[NAMES_BYTES])
{
    /* A tied file may hold the matrix a second time; it is not read. */
    snprintf(out, NAMES_BYTES, "%s.weight", n->gguf ? head.gguf : head.hf);
    mark(n, out);
    return tied ? names_tensor(n, embedding, "weight", out) : out;
}

const struct tensor *names_embedding(struct names *n, struct name part, int V,
                                     int width, struct err *e)
{
    char name[NAMES_BYTES];

    return weights_need(n->w, names_tensor(n, part, "weight", name), 2, V,
                        width, e);
}

static int ends_like(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);

    return n >= m && strcmp(name + n - m, end) == 0;
}

int names_all_read(const struct names *n, const char *const *ignored,
                   struct err *e)
{
    for (int i = 0; i < weights_count(n->w); i++) {
        const char *name = weights_at(n->w, i)->name;
        int known = n->used[i];

        for (int k = 0; ignored[k] && !known; k++)
            known = ends_like(name, ignored[k]);
        if (!known)
            return err_set(e, ERR_UNSUPPORTED,
                           "%s: tensor '%.100s' is not part of what %s "
                           "describes",
                           n->label, name, n->gguf ? n->type : "config.json");
    }
    return 0;
}
