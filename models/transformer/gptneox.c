/* gptneox: decoders with LayerNorm, biases, a plain feed-forward layer and
 * rotary positions on the first dimensions of each head: GPT-NeoX-20B, Pythia.
 * A block, x the residual stream:
 *
 *   h = n1(x);  q, k, v = h Wqkv + b;  a part of q, k turned by position
 *   a = attention(q, k, v) Wo + b
 *   x = x + a + gelu(n2(x) Wup + b) Wdown + b        parallel residual, or
 *   y = x + a;  x = y + gelu(n2(y) Wup + b) Wdown + b
 *
 * and logits = n(x) Wout. Hugging Face's files keep the rows of Wqkv head after
 * head, each query, key, value; GGUF all queries first.
 *
 * Source: Black et al. 2022 (GPT-NeoX-20B), Biderman et al. 2023 (Pythia), Wang
 * and Komatsuzaki 2021 (GPT-J: parallel residual, partial rotation).
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/names.h"

enum { ATTN_NORM, QKV, OUT, FFN_NORM, UP, DOWN };
enum { ATTN_BIAS = 2, PARALLEL = 4, ERF = 8 };

static const struct tensor_row TOP_ROWS[] = {
    {EMBEDDING, "embed_in", "token_embd", .n = VOCAB, .k = WIDTH, .how = TABLE},
    {FINAL_NORM, "final_layer_norm", "output_norm", .n = WIDTH, .bias = ALWAYS},
    {OUTPUT, "embed_out", "output", .n = VOCAB, .k = WIDTH, .how = BARE},
    TENSORS_END};

static const struct tensor_row BLOCK[] = {
    {ATTN_NORM, "input_layernorm", "attn_norm", .n = WIDTH, .bias = ALWAYS},
    {QKV, "attention.query_key_value", "attn_qkv", .n = HEADS_DIM, .k = WIDTH,
     .bias = ATTN_BIAS, .how = THREE | BY_HEAD},
    {OUT, "attention.dense", "attn_output", .n = WIDTH, .k = HEADS_DIM,
     .bias = ATTN_BIAS},
    {FFN_NORM, "post_attention_layernorm", "ffn_norm", .n = WIDTH,
     .bias = ALWAYS},
    {UP, "mlp.dense_h_to_4h", "ffn_up", .n = INNER, .k = WIDTH, .bias = ALWAYS},
    {DOWN, "mlp.dense_4h_to_h", "ffn_down", .n = WIDTH, .k = INNER,
     .bias = ALWAYS},
    TENSORS_END};

static const struct names_key KEYS[] = {
    {VOCAB, "vocab_size", NULL},
    {WIDTH, "hidden_size", "embedding_length"},
    {LAYERS, "num_hidden_layers", "block_count"},
    {HEADS, "num_attention_heads", "attention.head_count"},
    {INNER, "intermediate_size", "feed_forward_length"},
    {POSITIONS, "max_position_embeddings", "context_length"},
    KEYS_END};

/* Old files carry the causal mask of each layer and the rotary table. */
static const char *const IGNORED[] = {
    ".attention.bias", ".attention.masked_bias", "rotary_emb.inv_freq", NULL};
/* One by erf, then names of the form by tanh. */
static const char *const ACTS[] = {"gelu", "gelu_new", "gelu_fast",
                                   "gelu_pytorch_tanh", NULL};

static int read_rope(struct stack *s, const struct names *n, struct err *e)
{
    const struct names_rope of = {.base = "rotary_emb_base",
                                  .base_dflt = 10000,
                                  .part = "rotary_pct",
                                  .part_dflt = 0.25,
                                  .head = s->dim[HEAD_DIM]};
    struct tf_rope_spec r;

    return names_read_rope(n, &of, &r, e) || tf_rope_init(&s->rope[0], &r, e);
}

static int read_config(struct stack *s, struct names *n, struct err *e)
{
    static const struct name EPS = {"layer_norm_eps",
                                    "attention.layer_norm_epsilon"};
    int act, parallel, bias = names_exists(n, 0, &BLOCK[1], "bias");

    if (names_dims(n, KEYS, s, e) ||
        names_float(n, EPS, 0, 1, 1e-5, &s->eps, e) ||
        names_read_tied(n, 0, &s->tied, e) ||
        names_choice(n, "hidden_act", ACTS, "gelu", &act, e) ||
        hparams_bool_or(n->h,
                        n->gguf ? "gptneox.use_parallel_residual"
                                : "use_parallel_residual",
                        1, &parallel, e) ||
        (!n->gguf && hparams_bool_or(n->h, "attention_bias", 1, &bias, e)))
        return -1;
    s->has |= (act == 0 ? ERF : 0) | (parallel ? PARALLEL : 0) |
              (bias ? ATTN_BIAS : 0);
    return read_rope(s, n, e);
}

static void block(struct tf *t, const struct weight *w, int i)
{
    unsigned has = tf_stack(t)->has;

    norm(t, w, ATTN_NORM, X, IN);
    linear(t, w, QKV, IN, QKV_ROWS);
    rotate(t, 0, QKV_ROWS);
    attend(t, &(struct attend){.layer = i, .causal = 1}, QKV_ROWS, ATT);
    if (has & PARALLEL)
        norm(t, w, FFN_NORM, X, IN); /* of x without the attention's part */
    linear_add(t, w, OUT, ATT, X);
    if (!(has & PARALLEL))
        norm(t, w, FFN_NORM, X, IN);
    linear(t, w, UP, IN, FFN);
    activate(t, has & ERF ? GELU : GELU_TANH, FFN);
    linear_add(t, w, DOWN, FFN, X);
}

const struct stack_kind gpt_neox_kind = {.prefix = "gpt_neox.",
                                         .layers = "layers.",
                                         .top = TOP_ROWS,
                                         .block = BLOCK,
                                         .ignored = IGNORED,
                                         .read_config = read_config,
                                         .run = block};
