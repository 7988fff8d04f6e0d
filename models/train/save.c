/* save: a checkpoint as models/README.md describes it.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/safetensors.h"
#include "models/train/train.h"

int write_file(const char *dir, const char *name, const void *p, size_t n,
               struct err *e)
{
    char path[4096], part[4100];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    snprintf(part, sizeof part, "%s.tmp", path);
    int fd = open(part, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_set(e, ERR_IO, "%s cannot be written", path);
    for (size_t done = 0; done < n;) {
        ssize_t k = write(fd, (const char *)p + done, n - done);
        if (k <= 0) {
            close(fd);
            return err_set(e, ERR_IO, "%s cannot be written", path);
        }
        done += (size_t)k;
    }
    int bad = fsync(fd) != 0;
    bad |= close(fd) != 0;
    if (bad || rename(part, path) != 0)
        return err_set(e, ERR_IO, "%s cannot be written", path);
    return 0;
}

/* The fields of Hugging Face's GPT2Config. */
static void add_gpt2(const struct trainer *t, struct buf *b)
{
    const struct net_config *c = &t->net.c;
    int bos = tokenizer_bos(t->tokenizer), eos = tokenizer_eos(t->tokenizer);
    buf_addf(b,
             "{\n  \"model_type\": \"gpt2\",\n"
             "  \"architectures\": [\"GPT2LMHeadModel\"],\n"
             "  \"activation_function\": \"gelu_new\",\n"
             "  \"vocab_size\": %d,\n  \"n_positions\": %d,\n"
             "  \"n_ctx\": %d,\n  \"n_embd\": %d,\n  \"n_layer\": %d,\n"
             "  \"n_head\": %d,\n  \"n_inner\": %d,\n"
             "  \"layer_norm_epsilon\": 1e-05,\n"
             "  \"tie_word_embeddings\": true",
             c->V, c->T, c->T, c->E, c->L, c->A, c->F);
    if (bos >= 0)
        buf_addf(b, ",\n  \"bos_token_id\": %d", bos);
    if (eos >= 0)
        buf_addf(b, ",\n  \"eos_token_id\": %d", eos);
}

/* The fields of Hugging Face's BertConfig. */
static void add_bert(struct buf *b, const struct net_config *c)
{
    buf_addf(b,
             "{\n  \"model_type\": \"bert\",\n"
             "  \"architectures\": [\"%s\"],\n"
             "  \"hidden_act\": \"gelu\",\n"
             "  \"position_embedding_type\": \"absolute\",\n"
             "  \"vocab_size\": %d,\n  \"max_position_embeddings\": %d,\n"
             "  \"type_vocab_size\": 1,\n  \"hidden_size\": %d,\n"
             "  \"num_hidden_layers\": %d,\n"
             "  \"num_attention_heads\": %d,\n"
             "  \"intermediate_size\": %d,\n"
             "  \"layer_norm_eps\": 1e-12",
             c->C > 0    ? "BertForSequenceClassification"
             : c->causal ? "BertLMHeadModel"
                         : "BertForMaskedLM",
             c->V, c->T, c->E, c->L, c->A, c->F);
    if (c->causal)
        buf_add_str(b, ",\n  \"is_decoder\": true");
}

static void add_labels(struct buf *b, const struct labels *l)
{
    for (int i = 0; i < l->n; i++) {
        buf_addf(b, "%s\"%d\": ", i == 0 ? ",\n  \"id2label\": {" : ", ", i);
        buf_add_json_string(b, l->name[i], strlen(l->name[i]));
    }
    buf_add_str(b, "}");
}

static void add_net(struct buf *b, const struct net_config *c)
{
    static const char *const pooling[] = {"last", "mean", "max"};
    buf_addf(b, "{\n  \"model_type\": \"rnn\",\n  \"cell\": \"%s\",\n",
             c->cell->name);
    if (c->cell == &elman_grad)
        buf_addf(b, "  \"nonlinearity\": \"%s\",\n", c->relu ? "relu" : "tanh");
    buf_addf(b,
             "  \"vocab_size\": %d,\n  \"embedding_dim\": %d,\n"
             "  \"hidden_size\": %d,\n  \"num_layers\": %d,\n",
             c->V, c->E, c->H, c->L);
    if (c->P > 0)
        buf_addf(b, "  \"projection_dim\": %d,\n", c->P);
    if (c->C == 0)
        buf_addf(b, "  \"tie_word_embeddings\": %s,\n  \"head\": \"lm\"",
                 c->tie ? "true" : "false");
    else
        buf_addf(b,
                 "  \"bidirectional\": %s,\n  \"head\": \"classifier\",\n"
                 "  \"pooling\": \"%s\"",
                 c->D == 2 ? "true" : "false", pooling[c->pooling]);
}

int save_config(const struct trainer *t, const char *dir, struct err *e)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    if (t->net.c.kind == NET_GPT2)
        add_gpt2(t, &b);
    else if (t->net.c.kind == NET_BERT)
        add_bert(&b, &t->net.c);
    else
        add_net(&b, &t->net.c);
    if (t->net.c.C > 0)
        add_labels(&b, &t->labels);
    buf_add_str(&b, "\n}\n");
    int rc =
        b.failed ? err_nomem(e) : write_file(dir, "config.json", b.p, b.len, e);
    buf_fini(&b);
    return rc;
}

int save_weights(const struct trainer *t, const real *w, const char *dir,
                 struct err *e)
{
    static const enum dtype dtypes[] = {DT_F32, DT_BF16, DT_F16};
    struct save_tensor s[NET_MAX_TENSORS];
    char path[4096];
    float *f = mem_floats(t->net.n);
    if (f == NULL)
        return err_nomem(e);
    for (size_t i = 0; i < t->net.n; i++)
        f[i] = (float)w[i];
    for (int i = 0; i < t->net.n_tensors; i++) {
        const struct net_tensor *x = &t->net.t[i];
        s[i] = (struct save_tensor){.name = x->name,
                                    .dtype = dtypes[t->o.precision],
                                    .n_dims = x->n_dims,
                                    .dim = {x->dim[0], x->dim[1]},
                                    .data = f + x->at};
    }
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    int rc = safetensors_save(path, s, t->net.n_tensors, NULL, 0, e);
    mem_aligned_free(f);
    return rc;
}
