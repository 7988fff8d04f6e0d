/* load: see load.h.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/load.h"

#include "engine/base/mem.h"
#include "engine/checkpoint/checkpoint.h"

#define MAX_SIZE (1 << 24)

static int read_sizes(const struct hparams *h, struct net_config *c,
                      struct err *e)
{
    int64_t V, E, H, L, P;
    if (hparams_int(h, "vocab_size", 1, MAX_SIZE, &V, e) != 0 ||
        hparams_int(h, "embedding_dim", 1, MAX_SIZE, &E, e) != 0 ||
        hparams_int(h, "hidden_size", 1, MAX_SIZE, &H, e) != 0 ||
        hparams_int_or(h, "num_layers", 1, NET_MAX_LAYERS, 1, &L, e) != 0 ||
        hparams_int_or(h, "projection_dim", 1, MAX_SIZE, 0, &P, e) != 0)
        return -1;
    c->V = (int)V;
    c->E = (int)E;
    c->H = (int)H;
    c->L = (int)L;
    c->P = (int)P;
    return 0;
}

static int read_kinds(const struct hparams *h, struct net_config *c,
                      struct err *e)
{
    static const struct cell_grad *const cell[] = {&elman_grad, &lstm_grad,
                                                   &gru_grad};
    static const char *const cells[] = {"elman", "lstm", "gru", NULL};
    static const char *const acts[] = {"tanh", "relu", NULL};
    static const char *const heads[] = {"lm", "classifier", NULL};
    static const char *const pools[] = {"last", "mean", "max", NULL};
    int k, act, head, pool, two;
    if (hparams_choice(h, "cell", cells, NULL, &k, e) != 0 ||
        hparams_choice(h, "nonlinearity", acts, "tanh", &act, e) != 0 ||
        hparams_choice(h, "head", heads, NULL, &head, e) != 0 ||
        hparams_choice(h, "pooling", pools, "last", &pool, e) != 0 ||
        hparams_bool_or(h, "bidirectional", 0, &two, e) != 0 ||
        hparams_bool_or(h, "tie_word_embeddings", 0, &c->tie, e) != 0)
        return -1;
    c->cell = cell[k];
    c->relu = k == 0 && act;
    c->D = two ? 2 : 1;
    c->pooling = (enum net_pooling)pool;
    const struct json *labels = hparams_json(h, "id2label");
    if (head == 1 && labels == NULL)
        return err_set(e, ERR_FORMAT, "config.json: no 'id2label'");
    c->C = head == 1 ? json_size(labels) : 0;
    return 0;
}

/* Names of the sizes of a Transformer: width, perceptron, layers, heads,
 * positions. */
static const char *const tf_keys[][5] = {
    [NET_GPT2] = {"n_embd", "n_inner", "n_layer", "n_head", "n_positions"},
    [NET_BERT] = {"hidden_size", "intermediate_size", "num_hidden_layers",
                  "num_attention_heads", "max_position_embeddings"}};

static int read_transformer(const struct hparams *h, struct net_config *c,
                            struct err *e)
{
    const char *const *key = tf_keys[c->kind];
    int64_t V, v[5];
    if (hparams_int(h, "vocab_size", 1, MAX_SIZE, &V, e) != 0)
        return -1;
    for (int i = 0; i < 5; i++)
        if (hparams_int(h, key[i], 1, i == 2 ? NET_MAX_LAYERS : MAX_SIZE, &v[i],
                        e) != 0)
            return -1;
    c->V = (int)V;
    c->E = (int)v[0];
    c->F = (int)v[1];
    c->L = (int)v[2];
    c->A = (int)v[3];
    c->T = (int)v[4];
    const struct json *labels = hparams_json(h, "id2label");
    c->C = c->kind == NET_BERT && labels != NULL ? json_size(labels) : 0;
    return hparams_bool_or(h, "is_decoder", 0, &c->causal, e);
}

static int read_config(const struct hparams *h, struct net_config *c,
                       struct err *e)
{
    static const char *const types[] = {"rnn", "gpt2", "bert", NULL};
    int type = 0;
    memset(c, 0, sizeof *c);
    int rc = hparams_choice(h, "model_type", types, "rnn", &type, e);
    c->kind = (enum net_kind)type;
    if (rc == 0 && c->kind != NET_RNN)
        rc = read_transformer(h, c, e);
    else if (rc == 0)
        rc = read_sizes(h, c, e);
    if (rc == 0 && c->kind == NET_RNN)
        rc = read_kinds(h, c, e);
    return rc;
}

static int read_tensor(const struct weights *from, const struct net_tensor *t,
                       real *w, struct err *e)
{
    float block[1024];
    const struct tensor *x =
        weights_need(from, t->name, t->n_dims, t->dim[0], t->dim[1], e);
    if (x == NULL || w == NULL)
        return -1;
    for (size_t i = 0; i < t->n; i += 1024) {
        size_t n = t->n - i < 1024 ? t->n - i : 1024;
        tensor_read(x, i, n, block);
        for (size_t k = 0; k < n; k++)
            w[t->at + i + k] = (real)block[k];
    }
    return 0;
}

static int read_net(struct checkpoint *from, struct net *n, real **w,
                    struct err *e)
{
    struct net_config c;
    const struct hparams *h = checkpoint_hparams(from, e);
    const struct weights *tensors = checkpoint_weights(from, e);
    if (h == NULL || tensors == NULL || read_config(h, &c, e) != 0 ||
        net_plan(&c, n, e) != 0)
        return -1;
    real *p = mem_aligned(n->n * sizeof(real));
    int rc = p != NULL ? 0 : err_nomem(e);
    for (int i = 0; i < n->n_tensors && rc == 0; i++)
        rc = read_tensor(tensors, &n->t[i], p, e);
    if (rc != 0) {
        mem_aligned_free(p);
        return -1;
    }
    *w = p;
    return 0;
}

int load_net(const char *dir, struct net *n, real **w, struct err *e)
{
    struct checkpoint *from;
    *w = NULL;
    if (checkpoint_open(dir, dir, &from, e) != 0)
        return -1;
    int rc = read_net(from, n, w, e);
    checkpoint_close(from);
    return rc;
}
