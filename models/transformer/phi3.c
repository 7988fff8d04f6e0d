/* phi3: decoders as llama.c's, with queries, keys and values in one matrix and
 * both inputs of the gated layer in another: Phi-3 of 4k positions, Phi-4-mini
 * without its long form. A block, x the residual stream:
 *
 *   q, k, v = rms(x) w1 Wqkv;  the first dimensions of each head of q, k turned
 *   x = x + attention(q, k, v) Wo
 *   g, u = rms(x) w2 Wgu;  x = x + (silu(g) * u) Wdown
 *
 * and logits = rms(x) w Wout. The rows of a matrix lie one kind after the
 * other. Positions past those of the training (longrope, which older files call
 * su or yarn) turn all of a text in another way once it is long: refused.
 *
 * Source: Abdin et al. 2024 (Phi-3).
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/names.h"

enum { ATTN_NORM, QKV, OUT, FFN_NORM, GATE_UP, DOWN };

static const struct tensor_row BLOCK[] = {
    {ATTN_NORM, "input_layernorm", "attn_norm", .n = WIDTH},
    {QKV, "self_attn.qkv_proj", "attn_qkv", .n = HEADS_DIM, .k = WIDTH,
     .how = FUSED},
    {QKV, "self_attn.qkv_proj", "attn_qkv", .n = KV_DIM, .k = WIDTH,
     .how = FUSED},
    {QKV, "self_attn.qkv_proj", "attn_qkv", .n = KV_DIM, .k = WIDTH,
     .how = FUSED},
    {OUT, "self_attn.o_proj", "attn_output", .n = WIDTH, .k = HEADS_DIM},
    {FFN_NORM, "post_attention_layernorm", "ffn_norm", .n = WIDTH},
    {GATE_UP, "mlp.gate_up_proj", "ffn_up", .n = INNER, .k = WIDTH,
     .how = FUSED},
    {GATE_UP, "mlp.gate_up_proj", "ffn_up", .n = INNER, .k = WIDTH,
     .how = FUSED},
    {DOWN, "mlp.down_proj", "ffn_down", .n = WIDTH, .k = INNER},
    TENSORS_END};

static int read_rope(struct stack *s, const struct names *n, struct err *e)
{
    const struct names_rope of = {.base = "rope_theta",
                                  .base_dflt = 10000,
                                  .part = "partial_rotary_factor",
                                  .part_dflt = 1,
                                  .head = s->dim[HEAD_DIM]};
    struct tf_rope_spec r;

    if (names_read_rope(n, &of, &r, e))
        return -1;
    if (r.scaling != ROPE_PLAIN)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: rotary positions of phi3 are scaled, which this "
                       "program does not have",
                       n->label);
    return tf_rope_init(&s->rope[0], &r, e);
}

static int read_config(struct stack *s, struct names *n, struct err *e)
{
    int width;

    s->dim[KV_HEADS] = -1;  /* those of the queries where none are stated */
    s->padding = 1 + 32000; /* where the file names none */
    if (names_silu(n, e) || names_dims(n, names_keys, s, e) ||
        names_float(n, names_eps, 0, 1, 1e-5, &s->eps, e) ||
        names_read_tied(n, 0, &s->tied, e) ||
        names_int(n, names_window, 0, NAMES_MAX_LENGTH, 0, &width, e))
        return -1;
    for (int i = 0; i < s->dim[LAYERS]; i++)
        s->window[i] = width;
    return read_rope(s, n, e);
}

static void block(struct tf *t, const struct weight *w, int i)
{
    const struct attend a = {
        .layer = i, .causal = 1, .window = tf_stack(t)->window[i]};

    norm(t, w, ATTN_NORM, X, IN);
    linear(t, w, QKV, IN, QKV_ROWS);
    rotate(t, 0, QKV_ROWS);
    attend(t, &a, QKV_ROWS, ATT);
    linear_add(t, w, OUT, ATT, X);
    norm(t, w, FFN_NORM, X, IN);
    linear(t, w, GATE_UP, IN, GATE);
    gate(t, SILU, GATE, FFN);
    linear_add(t, w, DOWN, FFN, X);
}

const struct stack_kind phi3_kind = {.prefix = "model.",
                                     .layers = "layers.",
                                     .top = names_top,
                                     .block = BLOCK,
                                     .ignored = names_ignored,
                                     .rms = 1,
                                     .read_config = read_config,
                                     .run = block};
