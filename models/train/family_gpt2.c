/* family_gpt2: a Transformer decoder (trainable.h; Radford et al. 2019), a
 * language model with tied output. Tensors have the names and shapes of Hugging
 * Face's GPT2LMHeadModel.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/family_transformer.h"
#include "models/train/objective.h"

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

static const struct tf_row embeddings[] = {{"wte.weight", "VE"},
                                           {"wpe.weight", "TE"}};
static const struct tf_row last_norm[] = {{"ln_f.weight", "E"},
                                          {"ln_f.bias", "E"}};
static const struct tf_row block[] = {
    {"ln_1.weight", "E"},         {"ln_1.bias", "E"},
    {"attn.c_attn.weight", "E3"}, {"attn.c_attn.bias", "3"},
    {"attn.c_proj.weight", "EE"}, {"attn.c_proj.bias", "E"},
    {"ln_2.weight", "E"},         {"ln_2.bias", "E"},
    {"mlp.c_fc.weight", "EF"},    {"mlp.c_fc.bias", "F"},
    {"mlp.c_proj.weight", "FE"},  {"mlp.c_proj.bias", "E"},
};
static const struct tf_kind kind = {
    .block = {.pre_norm = 1, .causal = 1, .conv1d = 1, .eps = (real)1e-5},
    .prefix = "transformer.h.",
    .rows = block,
    .n_rows = COUNT(block),
    .places = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
};

/* Conv1D. */
static const char *const by_input[] = {".c_attn.weight", ".c_proj.weight",
                                       ".c_fc.weight", NULL};

static const struct objective *gpt2_objective(const struct options *o)
{
    return o->task == TASK_CLASSIFIER   ? &classifier
           : o->task == TASK_REGRESSION ? &regression
           : o->predict_last > 0        ? &last_tokens
           : o->apart                   ? &record_model
                                        : &language_model;
}

static int gpt2_read(const struct hparams *h, struct options *o, int *labels,
                     struct err *e)
{
    static const char *const keys[5] = {"n_embd", "n_inner", "n_layer",
                                        "n_head", "n_positions"};
    *labels = 0;
    return tf_read(h, keys, o, e);
}

/* The fields of Hugging Face's GPT2Config. */
static void gpt2_write(const struct net *n, const struct tokenizer *t,
                       struct buf *b)
{
    const struct tf_shape *s = n->shape;
    int bos = tokenizer_bos(t), eos = tokenizer_eos(t);
    buf_addf(b,
             ",\n  \"architectures\": [\"GPT2LMHeadModel\"],\n"
             "  \"activation_function\": \"gelu_new\",\n"
             "  \"vocab_size\": %d,\n  \"n_positions\": %d,\n"
             "  \"n_ctx\": %d,\n  \"n_embd\": %d,\n  \"n_layer\": %d,\n"
             "  \"n_head\": %d,\n  \"n_inner\": %d,\n"
             "  \"layer_norm_epsilon\": 1e-05,\n"
             "  \"tie_word_embeddings\": true",
             n->V, s->T, s->T, s->block.E, s->L, s->block.A, s->block.F);
    if (bos >= 0)
        buf_addf(b, ",\n  \"bos_token_id\": %d", bos);
    if (eos >= 0)
        buf_addf(b, ",\n  \"eos_token_id\": %d", eos);
}

static int gpt2_plan(struct net *n, const struct options *o, struct err *e)
{
    struct tf_shape *s = n->shape;
    if (tf_shape_init(n, &kind, o, e) != 0)
        return -1;
    if (n->C > 0)
        return err_set(e, ERR_INVALID, "a gpt2 is a language model here");
    n->embedding = n->out_w =
        tf_add(n, "transformer.", embeddings, COUNT(embeddings));
    s->position = n->embedding + 1;
    tf_add_blocks(n, s);
    s->norm = tf_add(n, "transformer.", last_norm, COUNT(last_norm));
    return 0;
}

static int gpt2_open(struct pass *p, struct err *e)
{
    (void)e;
    tf_open(p, p->net->shape, p->own);
    return 0;
}

static struct norm_at last_of(const struct pass *p)
{
    const struct tf_shape *s = p->net->shape;
    const struct tf_work *k = p->own;
    return tf_norm(p, s->norm, p->b->N, k->unit, k->inv);
}

static void gpt2_forward(struct pass *p)
{
    const struct tf_work *k = p->own;
    struct norm_at last = last_of(p);
    size_t n = (size_t)p->b->N * (size_t)p->net->Q;
    tf_embed(p);
    pass_mask(p, SITE_EMBEDDING, p->drop.embedding, n, k->x);
    tf_blocks(p);
    norm_forward(&last, k->x, p->y);
    pass_mask(p, SITE_OUTPUT, p->drop.output, n, p->y);
}

static void gpt2_backward(struct pass *p)
{
    const struct tf_work *k = p->own;
    struct norm_at last = last_of(p);
    size_t n = (size_t)p->b->N * (size_t)p->net->Q;
    pass_mask(p, SITE_OUTPUT, p->drop.output, n, p->dy);
    norm_backward(&last, p->dy, 0, k->dx, k->scratch.line);
    tf_blocks_grad(p);
    pass_mask(p, SITE_EMBEDDING, p->drop.embedding, n, k->dx);
    pass_trace(p, p->net->Q, k->dx);
    tf_embed_grad(p);
}

static int gpt2_grad_case(int i, struct grad_case *c)
{
    static const struct grad_case cases[] = {{.note = NULL},
                                             {.sampled = 1},
                                             {.smoothing = (real)0.1},
                                             {.o.predict_last = 2},
                                             {.dropout = (real)0.4}};
    return tf_grad_case(cases, COUNT(cases), i, c);
}

const struct trainable gpt2_trainable = {
    .name = "gpt2",
    .embedding = "transformer.wte.weight",
    .by_input = by_input,
    .shape_bytes = sizeof(struct tf_shape),
    .pass_bytes = sizeof(struct tf_work),
    .objective = gpt2_objective,
    .read = gpt2_read,
    .write = gpt2_write,
    .plan = gpt2_plan,
    .initialise = tf_initialise,
    .pack = feed_pack_by_text,
    .open = gpt2_open,
    .forward = gpt2_forward,
    .backward = gpt2_backward,
    .grad_case = gpt2_grad_case,
};
