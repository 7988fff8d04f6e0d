/* qwen3: the dense decoders of the Qwen 3 family. A block, x the residual
 * stream, n1 to n4 RMSNorms:
 *
 *   h = n1(x);  q, k, v = h Wq, h Wk, h Wv (+ b);  each head of q normed by
 *   n3, of k by n4, then turned by position
 *   x = x + attention(q, k, v) Wo
 *   h = n2(x);  x = x + (silu(h Wgate) * (h Wup)) Wdown
 *
 * and logits = n(x) Wout, Wout the embedding's in the small ones. Heads have a
 * size of their own. Biases and windows are possible, but no published one has
 * them.
 *
 * Source: Yang et al. 2025 (Qwen3); Dehghani et al. 2023 (norms of queries and
 * keys).
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/names.h"

enum { ATTN_NORM, QKV, Q_NORM, K_NORM, OUT, FFN_NORM, GATE_UP, DOWN };
#define ATTN_BIAS 2u

static const struct tensor_row BLOCK[] = {
    {ATTN_NORM, "input_layernorm", "attn_norm", .n = WIDTH},
    {QKV, "self_attn.q_proj", "attn_q", .n = HEADS_DIM, .k = WIDTH,
     .bias = ATTN_BIAS},
    {QKV, "self_attn.k_proj", "attn_k", .n = KV_DIM, .k = WIDTH,
     .bias = ATTN_BIAS},
    {QKV, "self_attn.v_proj", "attn_v", .n = KV_DIM, .k = WIDTH,
     .bias = ATTN_BIAS},
    {Q_NORM, "self_attn.q_norm", "attn_q_norm", .n = HEAD_DIM},
    {K_NORM, "self_attn.k_norm", "attn_k_norm", .n = HEAD_DIM},
    {OUT, "self_attn.o_proj", "attn_output", .n = WIDTH, .k = HEADS_DIM,
     .bias = ATTN_BIAS},
    {FFN_NORM, "post_attention_layernorm", "ffn_norm", .n = WIDTH},
    {GATE_UP, "mlp.gate_proj", "ffn_gate", .n = INNER, .k = WIDTH},
    {GATE_UP, "mlp.up_proj", "ffn_up", .n = INNER, .k = WIDTH},
    {DOWN, "mlp.down_proj", "ffn_down", .n = WIDTH, .k = INNER},
    TENSORS_END};

/* `layer_types`, or the layers from max_window_layers on. */
static int read_windows(struct stack *s, const struct names *n, struct err *e)
{
    static const struct name FROM = {"max_window_layers", NULL};
    int width, from, use, rc;

    if (n->gguf) /* llama.cpp has no windows here */
        return names_int(n, names_window, 0, 0, 0, &width, e);
    /* A config.json that says null means none. */
    if (hparams_bool_or(n->h, "use_sliding_window", 0, &use, e) ||
        names_int(n, names_window, 0, NAMES_MAX_LENGTH,
                  hparams_json(n->h, names_window.hf) ? 0 : 4096, &width, e) ||
        names_int(n, FROM, 0, NAMES_MAX_LENGTH, 28, &from, e))
        return -1;
    if (!use)
        width = 0;
    rc = names_layer_types(n, s->dim[LAYERS], width, s->window, e);
    for (int i = from; i < s->dim[LAYERS] && !rc; i++)
        s->window[i] = width;
    return rc < 0 ? -1 : 0;
}

static int read_rope(struct stack *s, const struct names *n, struct err *e)
{
    const struct names_rope of = {
        .base = "rope_theta", .base_dflt = 10000, .head = s->dim[HEAD_DIM]};
    struct tf_rope_spec r;

    return names_read_rope(n, &of, &r, e) || tf_rope_init(&s->rope[0], &r, e);
}

static int read_config(struct stack *s, struct names *n, struct err *e)
{
    int bias = names_exists(n, 0, &BLOCK[QKV], "bias");

    if (!n->gguf)
        s->dim[HEAD_DIM] = 128; /* where the file states none */
    if (names_silu(n, e) || names_dims(n, names_keys, s, e) ||
        names_float(n, names_eps, 0, 1, 1e-6, &s->eps, e) ||
        names_read_tied(n, 0, &s->tied, e) ||
        (!n->gguf && hparams_bool_or(n->h, "attention_bias", 0, &bias, e)))
        return -1;
    s->has |= bias ? ATTN_BIAS : 0;
    return read_windows(s, n, e) || read_rope(s, n, e);
}

static void block(struct tf *t, const struct weight *w, int i)
{
    const struct attend a = {
        .layer = i, .causal = 1, .window = tf_stack(t)->window[i]};

    norm(t, w, ATTN_NORM, X, IN);
    linear(t, w, QKV, IN, QKV_ROWS);
    norm_heads(t, w, Q_NORM, QKV_ROWS, 0);
    norm_heads(t, w, K_NORM, QKV_ROWS, 1);
    rotate(t, 0, QKV_ROWS);
    attend(t, &a, QKV_ROWS, ATT);
    linear_add(t, w, OUT, ATT, X);
    norm(t, w, FFN_NORM, X, IN);
    linear(t, w, GATE_UP, IN, GATE);
    gate(t, SILU, GATE, FFN);
    linear_add(t, w, DOWN, FFN, X);
}

const struct stack_kind qwen3_kind = {.prefix = "model.",
                                      .layers = "layers.",
                                      .top = names_top,
                                      .block = BLOCK,
                                      .ignored = names_ignored,
                                      .rms = 1,
                                      .read_config = read_config,
                                      .run = block};
