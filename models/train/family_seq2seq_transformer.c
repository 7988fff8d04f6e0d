/* family_seq2seq_transformer: a Transformer from one sequence into another
 * (trainable.h; Vaswani et al. 2017), with the names and the mathematics of
 * Hugging Face's MarianMTModel: norms after the additions, sinusoidal
 * positions, one embedding for source, target and output, times sqrt(E) where
 * it is read. The start of a target, Marian's pad token, is an entry like any
 * other and learns; the bias of the output stays what it was, zero but for
 * --init.
 *
 *   encoder  x = sqrt(E) embedding[source] + positions; layers_e blocks
 *   decoder  y = sqrt(E) embedding[target] + positions; layers_d times
 *            attention to what is before, to the encoder's x, perceptron
 *   scores   y embedding' + final_logits_bias
 *
 * SPDX-License-Identifier: MIT */
#include "models/train/family_transformer.h"
#include "models/train/objective.h"
#include "models/train/pairs.h"

#define COUNT(table) (int)(sizeof(table) / sizeof *(table))

static const struct tf_row embeddings[] = {{"final_logits_bias", "1V"},
                                           {"model.shared.weight", "VE"}};
/* An encoder's block is what a decoder's begins with. */
#define ENCODER_ROWS 16
static const struct tf_row block[] = {
    {"self_attn.q_proj.weight", "EE+"},
    {"self_attn.k_proj.weight", "EE+"},
    {"self_attn.v_proj.weight", "EE"},
    {"self_attn.q_proj.bias", "E+"},
    {"self_attn.k_proj.bias", "E+"},
    {"self_attn.v_proj.bias", "E"},
    {"self_attn.out_proj.weight", "EE"},
    {"self_attn.out_proj.bias", "E"},
    {"self_attn_layer_norm.weight", "E"},
    {"self_attn_layer_norm.bias", "E"},
    {"fc1.weight", "FE"},
    {"fc1.bias", "F"},
    {"fc2.weight", "EF"},
    {"fc2.bias", "E"},
    {"final_layer_norm.weight", "E"},
    {"final_layer_norm.bias", "E"},
    {"encoder_attn.q_proj.weight", "EE"},
    {"encoder_attn.q_proj.bias", "E"},
    {"encoder_attn.k_proj.weight", "EE+"},
    {"encoder_attn.v_proj.weight", "EE"},
    {"encoder_attn.k_proj.bias", "E+"},
    {"encoder_attn.v_proj.bias", "E"},
    {"encoder_attn.out_proj.weight", "EE"},
    {"encoder_attn.out_proj.bias", "E"},
    {"encoder_attn_layer_norm.weight", "E"},
    {"encoder_attn_layer_norm.bias", "E"},
};
#define PLACES                                                                 \
    {                                                                          \
        8, 9, 0, 3, 6, 7, 14, 15, 10, 11, 12, 13                               \
    }
static const int cross_places[CROSS_PARTS] = {24, 25, 16, 17, 18, 20, 22, 23};
static const struct tf_kind encoder = {
    .block = {.act = ACT_RELU, .eps = (real)1e-5},
    .prefix = "model.encoder.layers.",
    .rows = block,
    .n_rows = ENCODER_ROWS,
    .places = PLACES,
};
static const struct tf_kind decoder = {
    .block = {.act = ACT_RELU, .eps = (real)1e-5, .causal = 1},
    .prefix = "model.decoder.layers.",
    .rows = block,
    .n_rows = COUNT(block),
    .places = PLACES,
};

struct shape {
    struct tf_shape e, d;
};

struct work {
    struct tf_work e, d; /* d.x and d.dx are the pass's y and dy */
    struct cross_run cross[NET_MAX_LAYERS];
    real *positions; /* [T, E] */
    real *back;      /* [rows of sources, E] */
};

static const struct objective *marian_objective(const struct options *o)
{
    (void)o;
    return &seq2seq;
}

/* ---- config.json ---- */

static const char *const activations[] = {"relu", "swish", NULL};

/* Encoder and decoder have one width of the perceptron and as many heads. */
static int read_decoder(const struct hparams *h, struct options *o,
                        struct err *e)
{
    int heads, inner, scaled;
    if (config_size(h, "decoder_layers", NET_MAX_LAYERS, &o->decoder_layers,
                    e) != 0 ||
        config_size(h, "decoder_attention_heads", o->heads, &heads, e) != 0 ||
        config_size(h, "decoder_ffn_dim", 1 << 24, &inner, e) != 0 ||
        hparams_bool_or(h, "scale_embedding", 0, &scaled, e) != 0)
        return -1;
    if (heads != o->heads || inner != o->inner)
        return err_set(e, ERR_UNSUPPORTED,
                       "config.json: encoder and decoder differ in "
                       "attention_heads or ffn_dim: not to be trained here");
    return scaled ? 0
                  : err_set(e, ERR_UNSUPPORTED,
                            "config.json: scale_embedding is not true: not to "
                            "be trained here");
}

static int marian_read(const struct hparams *h, struct options *o, int *labels,
                       struct err *e)
{
    static const char *const keys[5] = {
        "d_model", "encoder_ffn_dim", "encoder_layers",
        "encoder_attention_heads", "max_position_embeddings"};
    *labels = 0;
    if (tf_read(h, keys, o, e) != 0 || read_decoder(h, o, e) != 0)
        return -1;
    return hparams_choice(h, "activation_function", activations, NULL,
                          &o->activation, e);
}

/* The fields of Hugging Face's MarianConfig, and of those that its files have
 * for generation what is not the default: the start is never written. */
static void marian_write(const struct net *n, const struct tokenizer *t,
                         struct buf *b)
{
    const struct shape *s = n->shape;
    const struct tf_shape *c = &s->e;
    int pad = tokenizer_id(t, PAIRS_START), eos = tokenizer_eos(t);
    buf_addf(b,
             ",\n  \"architectures\": [\"MarianMTModel\"],\n"
             "  \"is_encoder_decoder\": true,\n"
             "  \"activation_function\": \"%s\",\n"
             "  \"vocab_size\": %d,\n  \"d_model\": %d,\n"
             "  \"encoder_layers\": %d,\n  \"decoder_layers\": %d,\n"
             "  \"encoder_attention_heads\": %d,\n"
             "  \"decoder_attention_heads\": %d,\n"
             "  \"encoder_ffn_dim\": %d,\n  \"decoder_ffn_dim\": %d,\n"
             "  \"max_position_embeddings\": %d,\n"
             "  \"scale_embedding\": true,\n"
             "  \"share_encoder_decoder_embeddings\": true,\n"
             "  \"tie_word_embeddings\": true,\n"
             "  \"static_position_embeddings\": true,\n"
             "  \"pad_token_id\": %d,\n  \"decoder_start_token_id\": %d,\n"
             "  \"eos_token_id\": %d,\n  \"forced_eos_token_id\": %d,\n"
             "  \"bad_words_ids\": [[%d]]",
             activations[c->block.act == ACT_SWISH], n->V, c->block.E, c->L,
             s->d.L, c->block.A, c->block.A, c->block.F, c->block.F, c->T, pad,
             pad, eos, eos, pad);
}

/* ---- tensors ---- */

static int marian_plan(struct net *n, const struct options *o, struct err *e)
{
    struct shape *s = n->shape;
    struct options own = *o;
    own.bptt = 0; /* a language model's */
    if (o->task == TASK_CLASSIFIER || o->causal)
        return err_set(e, ERR_INVALID,
                       "a seq2seq-transformer learns from pairs of texts: "
                       "leave --task and --causal out");
    if (o->decoder_layers > NET_MAX_LAYERS)
        return err_set(e, ERR_INVALID, "layers must be 1 to %d",
                       NET_MAX_LAYERS);
    if (tf_shape_init(n, &encoder, &own, e) != 0)
        return -1;
    s->e.block.act = o->activation == ACTIVATION_SWISH ? ACT_SWISH : ACT_RELU;
    s->d = s->e;
    s->d.kind = &decoder;
    s->d.block.causal = 1;
    if (o->decoder_layers > 0)
        s->d.L = o->decoder_layers;
    n->out_b = tf_add(n, "", embeddings, COUNT(embeddings));
    n->embedding = n->out_w = n->out_b + 1;
    n->t[n->out_b].lr_mult = (real)0;
    n->t[n->out_b].fixed = 1;
    tf_add_blocks(n, &s->e);
    tf_add_blocks(n, &s->d);
    return 0;
}

/* Glorot and Bengio 2010, as Vaswani et al.'s code has it; the embedding by
 * 1 / sqrt(E), so that what is read has variance 1. */
static void marian_initialise(const struct net *n, struct rng *r, real *p)
{
    for (int i = 0; i < n->n_tensors; i++) {
        const struct net_tensor *t = &n->t[i];
        int norm = t->n_dims == 1 && strstr(t->name, ".weight") != NULL;
        double d = t->n_dims == 2 ? sqrt(2.0 / (t->dim[0] + t->dim[1])) : 0;
        if (i == n->embedding)
            d = 1 / sqrt((double)t->dim[1]);
        for (size_t k = 0; k < t->n && i != n->out_b; k++)
            p[t->at + k] = norm    ? (real)1
                           : d > 0 ? (real)(d * rng_normal(r))
                                   : (real)0;
    }
}

/* ---- arrays of a pass ---- */

/* MarianSinusoidalPositionalEmbedding: sines in the first half of a row,
 * cosines in the second. */
static void fill_positions(int T, int E, real *x)
{
    int sines = (E + 1) / 2;
    for (int t = 0; t < T; t++, x += E)
        for (int j = 0; j < E; j++) {
            int i = j < sines ? j : j - sines;
            double angle = t / pow(10000, 2.0 * i / E);
            x[j] = (real)(j < sines ? sin(angle) : cos(angle));
        }
}

static int marian_open(struct pass *p, struct err *e)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    size_t N = (size_t)p->cap_N, E = (size_t)s->e.block.E, NE = N * E;
    (void)e;
    tf_open(p, &s->e, &k->e);
    k->d.scratch = k->e.scratch; /* one of the two is at work */
    tf_open_layers(p, &s->d, &k->d);
    for (int l = 0; l < s->d.L; l++)
        k->cross[l] = (struct cross_run){.blas = p->blas,
                                         .s = &s->d.block,
                                         .scratch = &k->d.scratch,
                                         .a = pass_reals(p, NE),
                                         .q = pass_reals(p, NE),
                                         .kv = pass_reals(p, 2 * NE),
                                         .mix = pass_reals(p, NE),
                                         .unit = pass_reals(p, NE),
                                         .inv = pass_reals(p, N)};
    k->back = pass_reals(p, NE);
    k->positions = pass_reals(p, (size_t)s->e.T * E);
    if (k->positions != NULL)
        fill_positions(s->e.T, s->e.block.E, k->positions);
    return 0;
}

/* ---- the pass ---- */

/* What a block of either side runs over. */
static struct tf_rows source_rows(const struct pass *p)
{
    return (struct tf_rows){p->b->B, p->b->source.N, p->b->source.start};
}

static struct tf_rows target_rows(const struct pass *p)
{
    return (struct tf_rows){p->b->B, p->b->N, p->b->start};
}

static const struct block_run *block_at(const struct pass *p, int of_decoder,
                                        int l)
{
    const struct shape *s = p->net->shape;
    struct work *k = p->own;
    struct tf_rows rows = of_decoder ? target_rows(p) : source_rows(p);
    return tf_run(p, of_decoder ? &s->d : &s->e, l, &rows,
                  SITE_LAYERS + (of_decoder ? SITES_LAYER * NET_MAX_LAYERS : 0),
                  of_decoder ? &k->d.layer[l] : &k->e.layer[l]);
}

static const struct cross_run *cross_at(const struct pass *p, int l)
{
    const struct shape *s = p->net->shape;
    struct cross_run *r = &((struct work *)p->own)->cross[l];
    int site = SITE_LAYERS + SITES_LAYER * (NET_MAX_LAYERS + l);
    r->B = p->b->B;
    r->N = p->b->N;
    r->M = p->b->source.N;
    r->start = p->b->start;
    r->source_start = p->b->source.start;
    r->drop = p->o->train ? p->drop.between : (real)0;
    r->drop_weights = p->o->train ? p->drop.attention : (real)0;
    r->key = pass_key(p, site + 3);
    r->key_weights = pass_key(p, site + 4);
    for (int i = 0; i < CROSS_PARTS; i++) {
        int tensor = s->d.layer[l] + cross_places[i];
        r->w[i] = net_at(p->net, tensor, p->w);
        if (p->o->train)
            r->grad[i] = net_at(p->net, tensor, p->grad);
    }
    return r;
}

static void embed(const struct pass *p, const struct tf_rows *rows,
                  const int32_t *ids, int site, real *x)
{
    const struct shape *s = p->net->shape;
    const struct work *k = p->own;
    size_t E = (size_t)s->e.block.E, n = (size_t)rows->N * E;
    pass_embed_ids(p, p->net->embedding, rows->N, ids, x);
    vec_scale(n, real_sqrt((real)E), x);
    for (int r = 0; r < rows->B; r++) {
        size_t at = (size_t)rows->start[r] * E;
        vec_add((size_t)rows->start[r + 1] * E - at, k->positions, x + at);
    }
    pass_mask(p, site, p->drop.embedding, n, x);
}

static void embed_grad(struct pass *p, const struct tf_rows *rows,
                       const int32_t *ids, int site, real *dx)
{
    const struct shape *s = p->net->shape;
    size_t E = (size_t)s->e.block.E, n = (size_t)rows->N * E;
    pass_mask(p, site, p->drop.embedding, n, dx);
    vec_scale(n, real_sqrt((real)E), dx);
    pass_embed_ids_grad(p, p->net->embedding, rows->N, ids, dx);
}

static void marian_forward(struct pass *p)
{
    const struct shape *s = p->net->shape;
    const struct work *k = p->own;
    struct tf_rows source = source_rows(p), target = target_rows(p);
    embed(p, &source, p->b->source.ids, SITE_SOURCE, k->e.x);
    for (int l = 0; l < s->e.L; l++)
        block_forward(block_at(p, 0, l), k->e.x);
    embed(p, &target, p->b->ids, SITE_EMBEDDING, p->y);
    for (int l = 0; l < s->d.L; l++) {
        const struct block_run *r = block_at(p, 1, l);
        block_attend(r, p->y);
        cross_forward(cross_at(p, l), k->e.x, p->y);
        block_perceptron(r, p->y);
    }
    pass_mask(p, SITE_OUTPUT, p->drop.output,
              (size_t)p->b->N * (size_t)p->net->Q, p->y);
}

static void marian_backward(struct pass *p)
{
    const struct shape *s = p->net->shape;
    const struct work *k = p->own;
    struct tf_rows source = source_rows(p), target = target_rows(p);
    size_t Q = (size_t)p->net->Q;
    pass_mask(p, SITE_OUTPUT, p->drop.output, (size_t)p->b->N * Q, p->dy);
    memset(k->e.dx, 0, (size_t)source.N * Q * sizeof(real));
    for (int l = s->d.L - 1; l >= 0; l--) {
        const struct block_run *r = block_at(p, 1, l);
        block_perceptron_grad(r, p->dy);
        cross_backward(cross_at(p, l), k->e.x, p->dy, k->e.dx, k->back);
        block_attend_grad(r, p->dy);
    }
    embed_grad(p, &target, p->b->ids, SITE_EMBEDDING, p->dy);
    for (int l = s->e.L - 1; l >= 0; l--)
        block_backward(block_at(p, 0, l), k->e.dx);
    embed_grad(p, &source, p->b->source.ids, SITE_SOURCE, k->e.dx);
}

static int marian_grad_case(int i, struct grad_case *c)
{
    static const struct grad_case cases[] = {{.note = NULL},
                                             {.smoothing = (real)0.1},
                                             {.dropout = (real)0.4},
                                             {.sampled = 1},
                                             {.o.activation = ACTIVATION_SWISH,
                                              .note = "swish, another depth",
                                              .o.decoder_layers = 2}};
    return tf_grad_case(cases, COUNT(cases), i, c);
}

const struct trainable seq2seq_transformer_trainable = {
    .name = "seq2seq-transformer",
    .model_type = "marian",
    .embedding = "model.shared.weight",
    .shape_bytes = sizeof(struct shape),
    .pass_bytes = sizeof(struct work),
    .objective = marian_objective,
    .read = marian_read,
    .write = marian_write,
    .plan = marian_plan,
    .initialise = marian_initialise,
    .pack = feed_pack_by_text,
    .open = marian_open,
    .forward = marian_forward,
    .backward = marian_backward,
    .grad_case = marian_grad_case,
};
