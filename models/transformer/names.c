/* names: see names.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/names.h"

#include <stdio.h>
#include <string.h>

/* --- opening --- */

/* A row's tensor in this file. */
/* WHOLE_NAME; of ends that such names do not have, one that no tensor has. */
static const char *whole_name(int layer, const struct tensor_row *row,
                              const char *end, char out[NAMES_BYTES])
{
    const char *form = strcmp(end, "weight") == 0 ? row->hf
                       : strcmp(end, "bias") == 0 ? row->hf_bias
                                                  : NULL;
    const char *at = form ? strchr(form, '#') : NULL;

    if (at)
        snprintf(out, NAMES_BYTES, "%.*s%d%s", (int)(at - form), form,
                 layer + 1, at + 1);
    else
        snprintf(out, NAMES_BYTES, "%s", form ? form : "");
    return out;
}

static const char *name_of(const struct names *n, int layer,
                           const struct tensor_row *row, const char *end,
                           char out[NAMES_BYTES])
{
    const char *part = n->gguf && row->gguf ? row->gguf : row->hf;
    const char *prefix = n->gguf || row->how & BARE ? "" : n->prefix;

    if (row->how & WHOLE_NAME)
        return whole_name(layer, row, end, out);
    if (layer < 0)
        snprintf(out, NAMES_BYTES, "%s%s.%s", prefix, part, end);
    else if (n->gguf)
        snprintf(out, NAMES_BYTES, "blk.%d.%s.%s", layer, part, end);
    else
        snprintf(out, NAMES_BYTES, "%s%s%d.%s.%s", prefix, n->layers, layer,
                 part, end);
    return out;
}

int names_open(struct names *n, struct checkpoint *c, struct err *e)
{
    n->c = c;
    n->w = checkpoint_weights(c, e);
    n->h = checkpoint_hparams(c, e);
    if (!n->w || !n->h)
        return -1;
    n->gguf = hparams_form(n->h) == HPARAMS_GGUF;
    if (hparams_string(n->h, "model_type", &n->type, e))
        return -1;
    return tally_open(&n->read, n->w, e);
}

void names_close(struct names *n)
{
    tally_close(&n->read);
}

void names_set_prefix(struct names *n, const char *prefix, const char *layers,
                      const struct tensor_row *first)
{
    n->prefix = prefix;
    n->layers = layers;
    if (!names_exists(n, -1, first, "weight"))
        n->prefix = "";
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

int names_has(const struct names *n, struct name key)
{
    char text[NAMES_BYTES];

    return hparams_has(n->h, key_of(n, key, text));
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

int names_string(const struct names *n, struct name key, const char *dflt,
                 const char **v, struct err *e)
{
    char text[NAMES_BYTES];

    return hparams_string_or(n->h, key_of(n, key, text), dflt, v, e);
}

int names_choice(const struct names *n, const char *key,
                 const char *const *list, const char *dflt, int *v,
                 struct err *e)
{
    *v = 0;
    return n->gguf ? 0 : hparams_choice(n->h, key, list, dflt, v, e);
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

/* --- sizes --- */

const struct names_key names_keys[] = {
    {VOCAB, "vocab_size", NULL},
    {WIDTH, "hidden_size", "embedding_length"},
    {LAYERS, "num_hidden_layers", "block_count"},
    {HEADS, "num_attention_heads", "attention.head_count"},
    {KV_HEADS, "num_key_value_heads", "attention.head_count_kv"},
    {HEAD_DIM, "head_dim", "attention.key_length"},
    {INNER, "intermediate_size", "feed_forward_length"},
    {POSITIONS, "max_position_embeddings", "context_length"},
    KEYS_END};

static const int64_t most[N_DIMS] = {[VOCAB] = 1 << 24,
                                     [WIDTH] = 65536,
                                     [LAYERS] = TF_MAX_LAYERS,
                                     [HEADS] = 1024,
                                     [KV_HEADS] = 1024,
                                     [HEAD_DIM] = NAMES_MAX_HEAD,
                                     [INNER] = 1 << 20,
                                     [POSITIONS] = NAMES_MAX_LENGTH,
                                     [TYPES] = 255};

int names_rows(const struct names *n, const struct tensor_row *row)
{
    char name[NAMES_BYTES];
    const struct tensor *t =
        weights_find(n->w, name_of(n, -1, row, "weight", name));

    return t && t->n_dims == 2 && t->dim[0] <= most[VOCAB] ? (int)t->dim[0] : 0;
}

/* Rows of the table that is as long as `dim`. */
static int read_rows(const struct names *n, const struct stack *s,
                     enum tf_dim dim, int *v, struct err *e)
{
    const struct tensor_row *row = s->top_rows;

    while (row->hf && (row->n != dim || !(row->how & TABLE)))
        row++;
    *v = row->hf ? names_rows(n, row) : 0;
    if (*v < 1 && dim != TYPES)
        return err_set(e, ERR_FORMAT,
                       "%s: tensor '%s.weight' of two dimensions expected, of "
                       "at most %d rows",
                       n->label, row->hf ? row->gguf : "?", (int)most[VOCAB]);
    return 0;
}

static int read_dim(const struct names *n, const struct names_key *key,
                    struct stack *s, struct err *e)
{
    int *v = &s->dim[key->dim], dflt = *v > 0 ? *v : -1;

    if (n->gguf && !key->gguf)
        return read_rows(n, s, key->dim, v, e);
    if (key->dim == KV_HEADS && (n->gguf || *v < 0))
        dflt = s->dim[HEADS];
    if (key->dim == HEAD_DIM && dflt < 0)
        dflt = s->dim[WIDTH] / s->dim[HEADS];
    return names_int(n, (struct name){key->hf, key->gguf}, key->dim != TYPES,
                     most[key->dim], dflt, v, e);
}

static const struct names_key *key_of_dim(const struct names_key *keys,
                                          enum tf_dim dim)
{
    while (keys->hf && keys->dim != dim)
        keys++;
    return keys;
}

/* How heads divide the width and each other. */
static int check_heads(const struct names *n, const struct names_key *keys,
                       struct stack *s, int stated, struct err *e)
{
    const struct names_key *width = key_of_dim(keys, WIDTH),
                           *heads = key_of_dim(keys, HEADS);
    int *dim = s->dim, value;

    if (!stated && dim[WIDTH] % dim[HEADS])
        return err_set(
            e, ERR_FORMAT, "%s: %s%s %d is no multiple of %s %d", n->label,
            n->gguf ? "" : "config.json: ", n->gguf ? width->gguf : width->hf,
            dim[WIDTH], n->gguf ? heads->gguf : heads->hf, dim[HEADS]);
    if (dim[HEAD_DIM] < 1 || dim[HEAD_DIM] > NAMES_MAX_HEAD)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: heads of size %d, expected 1..%d", n->label,
                       dim[HEAD_DIM], NAMES_MAX_HEAD);
    if (dim[HEADS] % dim[KV_HEADS])
        return err_set(e, ERR_FORMAT,
                       "%s: %d attention heads are no multiple of %d "
                       "key/value heads",
                       n->label, dim[HEADS], dim[KV_HEADS]);
    if (!n->gguf)
        return 0;
    if (names_int(n, (struct name){NULL, "attention.value_length"}, 1,
                  NAMES_MAX_HEAD, dim[HEAD_DIM], &value, e))
        return -1;
    if (value != dim[HEAD_DIM])
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: attention.value_length is %d, expected that of "
                       "the keys, %d",
                       n->label, value, dim[HEAD_DIM]);
    return 0;
}

int names_dims(const struct names *n, const struct names_key *keys,
               struct stack *s, struct err *e)
{
    const struct names_key *head = key_of_dim(keys, HEAD_DIM);
    int *dim = s->dim, stated = dim[HEAD_DIM] > 0;

    for (const struct names_key *k = keys; k->hf; k++)
        if (read_dim(n, k, s, e))
            return -1;
    if (head->hf)
        stated |= names_has(n, (struct name){head->hf, head->gguf});
    if (!dim[HEAD_DIM])
        dim[HEAD_DIM] = dim[WIDTH] / dim[HEADS];
    if (dim[KV_HEADS] < 1)
        dim[KV_HEADS] = dim[HEADS];
    dim[HEADS_DIM] = dim[HEADS] * dim[HEAD_DIM];
    dim[KV_DIM] = dim[KV_HEADS] * dim[HEAD_DIM];
    return check_heads(n, keys, s, stated, e);
}

int names_read_tied(const struct names *n, int dflt, int *tied, struct err *e)
{
    if (n->gguf) {
        *tied = !weights_find(n->w, "output.weight");
        return 0;
    }
    return hparams_bool_or(n->h, "tie_word_embeddings", dflt, tied, e);
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

/* --- what most share --- */

const struct tensor_row names_top[] = {
    {EMBEDDING, "embed_tokens", "token_embd", .n = VOCAB, .k = WIDTH,
     .how = TABLE},
    {FINAL_NORM, "norm", "output_norm", .n = WIDTH},
    {OUTPUT, "lm_head", "output", .n = VOCAB, .k = WIDTH, .how = BARE},
    TENSORS_END};

const char *const names_ignored[] = {"rotary_emb.inv_freq", NULL};

const struct name names_eps = {"rms_norm_eps",
                               "attention.layer_norm_rms_epsilon"},
                  names_window = {"sliding_window", "attention.sliding_window"};

int names_silu(const struct names *n, struct err *e)
{
    static const char *const acts[] = {"silu", "swish", NULL};
    int act;

    return names_choice(n, "hidden_act", acts, "silu", &act, e);
}

/* --- tensors --- */

const char *names_tensor(struct names *n, int layer,
                         const struct tensor_row *row, const char *end,
                         char out[NAMES_BYTES])
{
    tally_mark(&n->read, name_of(n, layer, row, end, out));
    return out;
}

int names_exists(const struct names *n, int layer, const struct tensor_row *row,
                 const char *end)
{
    char name[NAMES_BYTES];

    return weights_find(n->w, name_of(n, layer, row, end, name)) != NULL;
}

int names_all_read(const struct names *n, const char *const *ignored,
                   struct err *e)
{
    const struct tensor *t = tally_unread(&n->read, ignored, n->ignore);

    if (!t)
        return 0;
    return err_set(e, ERR_UNSUPPORTED,
                   "%s: tensor '%.100s' is not part of what %s describes",
                   n->label, t->name, n->gguf ? n->type : "config.json");
}
