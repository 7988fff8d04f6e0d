/* family_bert: a Transformer encoder (trainable.h; Devlin et al. 2019). As a
 * classifier a dense layer and tanh over the begin token's row (the pooler)
 * stand before the output; as a masked model, or a causal one (a decoder), a
 * dense layer, GELU and a norm over the rows that are predicted, and the output
 * is tied. Of vectors (a regression) a dense layer reads each of them in the
 * place of the words' embedding, and the first one is where the pooler looks.
 * Tensors have the names and shapes of Hugging Face's
 * BertForSequenceClassification, BertForMaskedLM and BertLMHeadModel; the
 * matrices of q, k and v lie one below the other in the block, so that one
 * product makes all three.
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/family_transformer.h"
#include "models/train/objective.h"

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

static const struct tf_row embeddings[] = {
    {"word_embeddings.weight", "VE"},
    {"position_embeddings.weight", "TE"},
    {"token_type_embeddings.weight", "1E"},
    {"LayerNorm.weight", "E"},
    {"LayerNorm.bias", "E"},
};
static const struct tf_row of_vectors[] = {
    {"input.weight", "EI"},
    {"input.bias", "E"},
};
static const struct tf_row block[] = {
    {"attention.self.query.weight", "EE+"},
    {"attention.self.key.weight", "EE+"},
    {"attention.self.value.weight", "EE"},
    {"attention.self.query.bias", "E+"},
    {"attention.self.key.bias", "E+"},
    {"attention.self.value.bias", "E"},
    {"attention.output.dense.weight", "EE"},
    {"attention.output.dense.bias", "E"},
    {"attention.output.LayerNorm.weight", "E"},
    {"attention.output.LayerNorm.bias", "E"},
    {"intermediate.dense.weight", "FE"},
    {"intermediate.dense.bias", "F"},
    {"output.dense.weight", "EF"},
    {"output.dense.bias", "E"},
    {"output.LayerNorm.weight", "E"},
    {"output.LayerNorm.bias", "E"},
};
static const struct tf_row transform[] = {
    {"transform.dense.weight", "EE"},
    {"transform.dense.bias", "E"},
    {"transform.LayerNorm.weight", "E"},
    {"transform.LayerNorm.bias", "E"},
    {"bias", "V"},
};
static const struct tf_row pooler[] = {
    {"bert.pooler.dense.weight", "EE"},
    {"bert.pooler.dense.bias", "E"},
    {"classifier.weight", "CE"},
    {"classifier.bias", "C"},
};
static const struct tf_kind kind = {
    .block = {.act = ACT_GELU_ERF, .eps = (real)1e-12},
    .prefix = "bert.encoder.layer.",
    .rows = block,
    .n_rows = COUNT(block),
    .places = {8, 9, 0, 3, 6, 7, 14, 15, 10, 11, 12, 13},
};

struct work {
    struct tf_work tf;
    /* [targets, E]: the rows that go on, after the dense layer, the norm's */
    real *first, *inner, *unit, *inv;
};

static const struct objective *bert_objective(const struct options *o)
{
    return o->task == TASK_CLASSIFIER   ? &classifier
           : o->task == TASK_REGRESSION ? &regression
           : o->causal                  ? &language_model
                                        : &masked_model;
}

static int bert_read(const struct hparams *h, struct options *o, int *labels,
                     struct err *e)
{
    static const char *const keys[5] = {
        "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "max_position_embeddings"};
    static const char *const problems[] = {"single_label_classification",
                                           "multi_label_classification",
                                           "regression", NULL};
    int64_t outputs;
    int problem;
    *labels = config_labels(h);
    if (tf_read(h, keys, o, e) != 0 ||
        hparams_bool_or(h, "is_decoder", 0, &o->causal, e) != 0 ||
        hparams_choice(h, "problem_type", problems, problems[0], &problem, e) !=
            0 ||
        hparams_int_or(h, "num_labels", 1, DATA_MAX_LABELS, 0, &outputs, e) !=
            0)
        return -1;
    if (problem == 2 && outputs > 0) {
        o->task = TASK_REGRESSION;
        *labels = (int)outputs;
    }
    return o->inputs == 0 || o->task == TASK_REGRESSION
               ? 0
               : err_set(e, ERR_FORMAT,
                         "config.json: 'input_size' is for \"problem_type\": "
                         "\"regression\" and a 'num_labels'");
}

/* The fields of Hugging Face's BertConfig. */
static void bert_write(const struct net *n, const struct tokenizer *t,
                       struct buf *b)
{
    const struct tf_shape *s = n->shape;
    (void)t;
    buf_addf(b,
             ",\n  \"architectures\": [\"%s\"],\n"
             "  \"hidden_act\": \"gelu\",\n"
             "  \"position_embedding_type\": \"absolute\",\n"
             "  \"%s\": %d,\n  \"max_position_embeddings\": %d,\n"
             "  \"type_vocab_size\": 1,\n  \"hidden_size\": %d,\n"
             "  \"num_hidden_layers\": %d,\n"
             "  \"num_attention_heads\": %d,\n"
             "  \"intermediate_size\": %d,\n"
             "  \"layer_norm_eps\": 1e-12%s",
             n->C > 0          ? "BertForSequenceClassification"
             : s->block.causal ? "BertLMHeadModel"
                               : "BertForMaskedLM",
             n->I > 0 ? "input_size" : "vocab_size", n->I > 0 ? n->I : n->V,
             s->T, s->block.E, s->L, s->block.A, s->block.F,
             s->block.causal ? ",\n  \"is_decoder\": true" : "");
    if (n->values)
        buf_addf(b,
                 ",\n  \"problem_type\": \"regression\",\n"
                 "  \"num_labels\": %d",
                 n->C);
}

static int bert_plan(struct net *n, const struct options *o, struct err *e)
{
    struct tf_shape *s = n->shape;
    if (tf_shape_init(n, &kind, o, e) != 0)
        return -1;
    s->block.causal = o->causal;
    if (n->I > 0)
        s->input = tf_add(n, "bert.embeddings.", of_vectors, COUNT(of_vectors));
    else
        n->embedding = tf_add(n, "bert.embeddings.", embeddings, 1);
    s->position =
        tf_add(n, "bert.embeddings.", embeddings + 1, COUNT(embeddings) - 1);
    s->type = s->position + 1;
    s->norm = s->position + 2;
    tf_add_blocks(n, s);
    if (n->C > 0) {
        s->head = tf_add(n, "", pooler, COUNT(pooler));
        n->out_w = s->head + 2;
        n->out_b = s->head + 3;
    } else {
        s->head = tf_add(n, "cls.predictions.", transform, COUNT(transform));
        n->out_w = n->embedding;
        n->out_b = s->head + 4;
    }
    return 0;
}

static int bert_open(struct pass *p, struct err *e)
{
    struct work *k = p->own;
    size_t rows = pass_max_targets(p), size = rows * (size_t)p->net->Q;
    (void)e;
    tf_open(p, p->net->shape, p->own);
    k->first = pass_reals(p, size);
    k->inner = pass_reals(p, size);
    k->unit = pass_reals(p, size);
    k->inv = pass_reals(p, rows);
    return 0;
}

/* The row of the stream that is row r of the head. */
static real *source_of(const struct pass *p, real *stream, int r)
{
    int row = p->net->C > 0        ? p->b->start[r]
              : p->b->pick != NULL ? p->b->pick[r]
                                   : r;
    return stream + (size_t)row * (size_t)p->net->Q;
}

static struct norm_at first_norm(const struct pass *p)
{
    const struct tf_shape *s = p->net->shape;
    const struct work *k = p->own;
    return tf_norm(p, s->norm, p->b->N, k->tf.unit, k->tf.inv);
}

static struct norm_at head_norm(const struct pass *p)
{
    const struct tf_shape *s = p->net->shape;
    const struct work *k = p->own;
    return tf_norm(p, s->head + 2, p->b->n_target, k->unit, k->inv);
}

static void head_forward(const struct pass *p)
{
    const struct tf_shape *s = p->net->shape;
    const struct work *k = p->own;
    struct dense d = pass_dense(p, s->head);
    int rows = p->b->n_target;
    size_t E = (size_t)d.in, n = (size_t)rows * E;
    for (int r = 0; r < rows; r++)
        memcpy(k->first + (size_t)r * E, source_of(p, k->tf.x, r),
               E * sizeof(real));
    if (p->net->C > 0) {
        dense_forward(&d, rows, k->first, k->inner);
        for (size_t i = 0; i < n; i++)
            p->y[i] = k->inner[i] = real_tanh(k->inner[i]);
        pass_mask(p, SITE_OUTPUT, p->drop.output, n, p->y);
    } else {
        struct norm_at a = head_norm(p);
        pass_mask(p, SITE_OUTPUT, p->drop.output, n, k->first);
        dense_forward(&d, rows, k->first, k->inner);
        act_forward(n, ACT_GELU_ERF, k->inner, p->y);
        norm_forward(&a, p->y, p->y);
    }
}

/* From p->dy to the gradient of the last block's output. */
static void head_backward(const struct pass *p)
{
    const struct tf_shape *s = p->net->shape;
    const struct work *k = p->own;
    struct dense d = pass_dense(p, s->head);
    int rows = p->b->n_target;
    size_t E = (size_t)d.in, n = (size_t)rows * E;
    if (p->net->C > 0) {
        pass_mask(p, SITE_OUTPUT, p->drop.output, n, p->dy);
        for (size_t i = 0; i < n; i++)
            p->dy[i] *= (real)1 - k->inner[i] * k->inner[i];
        dense_backward(&d, rows, k->first, p->dy, k->first);
    } else {
        struct norm_at a = head_norm(p);
        norm_backward(&a, p->dy, 0, p->dy, k->tf.scratch.line);
        act_backward(n, ACT_GELU_ERF, k->inner, p->dy);
        dense_backward(&d, rows, k->first, p->dy, k->first);
        pass_mask(p, SITE_OUTPUT, p->drop.output, n, k->first);
    }
    memset(k->tf.dx, 0, (size_t)p->b->N * E * sizeof(real));
    for (int r = 0; r < rows; r++)
        memcpy(source_of(p, k->tf.dx, r), k->first + (size_t)r * E,
               E * sizeof(real));
}

static void bert_forward(struct pass *p)
{
    const struct work *k = p->own;
    struct norm_at first = first_norm(p);
    tf_embed(p);
    norm_forward(&first, k->tf.x, k->tf.x);
    pass_mask(p, SITE_EMBEDDING, p->drop.embedding,
              (size_t)p->b->N * (size_t)p->net->Q, k->tf.x);
    tf_blocks(p);
    head_forward(p);
}

static void bert_backward(struct pass *p)
{
    const struct work *k = p->own;
    struct norm_at first = first_norm(p);
    head_backward(p);
    tf_blocks_grad(p);
    pass_mask(p, SITE_EMBEDDING, p->drop.embedding,
              (size_t)p->b->N * (size_t)p->net->Q, k->tf.dx);
    norm_backward(&first, k->tf.dx, 0, k->tf.dx, k->tf.scratch.line);
    pass_trace(p, p->net->Q, k->tf.dx);
    tf_embed_grad(p);
}

static int bert_grad_case(int i, struct grad_case *c)
{
    static const struct grad_case cases[] = {
        {.note = NULL},
        {.sampled = 1, .dropout = (real)0.4},
        {.o.causal = 1},
        {.labels = 3},
        {.labels = 2, .dropout = (real)0.4},
        {.labels = 2, .o.task = TASK_REGRESSION, .o.inputs = 3}};
    return tf_grad_case(cases, COUNT(cases), i, c);
}

const struct trainable bert_trainable = {
    .name = "bert",
    .embedding = "bert.embeddings.word_embeddings.weight",
    .shape_bytes = sizeof(struct tf_shape),
    .pass_bytes = sizeof(struct work),
    .objective = bert_objective,
    .read = bert_read,
    .write = bert_write,
    .plan = bert_plan,
    .initialise = tf_initialise,
    .pack = feed_pack_by_text,
    .open = bert_open,
    .picks = 1,
    .forward = bert_forward,
    .backward = bert_backward,
    .grad_case = bert_grad_case,
};
