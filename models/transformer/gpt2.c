/* gpt2: decoders with learned positions, LayerNorm in front of each part and a
 * GELU feed-forward layer. A block, x the residual stream:
 *
 *   h = ln(x);  q, k, v = h Wqkv + b;  x = x + attention(q, k, v) Wo + b
 *   h = ln(x);  x = x + gelu(h Wup + b) Wdown + b
 *
 * and logits = ln(x) Wout, Wout the embedding unless the file says otherwise.
 * Hugging Face's files keep the matrices of a block as [in, out] (Conv1D),
 * with or without "transformer." in front of the names; GGUF as [out, in].
 *
 * Source: Radford et al. 2019; Hendrycks and Gimpel 2016 (GELU, the tanh
 * form).
 *
 * SPDX-License-Identifier: MIT */
#include "models/transformer/names.h"

enum { LN_1, QKV, OUT, LN_2, UP, DOWN };
#define BY_LAYER 2u /* scores are divided by the layer's number, too */

static const struct tensor_row TOP_ROWS[] = {
    {EMBEDDING, "wte", "token_embd", .n = VOCAB, .k = WIDTH, .how = TABLE},
    {EMBED_POSITION, "wpe", "position_embd", .n = POSITIONS, .k = WIDTH,
     .how = TABLE},
    {FINAL_NORM, "ln_f", "output_norm", .n = WIDTH, .bias = ALWAYS},
    {OUTPUT, "lm_head", "output", .n = VOCAB, .k = WIDTH, .how = BARE},
    TENSORS_END};

static const struct tensor_row BLOCK[] = {
    {LN_1, "ln_1", "attn_norm", .n = WIDTH, .bias = ALWAYS},
    {QKV, "attn.c_attn", "attn_qkv", .n = HEADS_DIM, .k = WIDTH, .bias = ALWAYS,
     .how = THREE | TRANSPOSED},
    {OUT, "attn.c_proj", "attn_output", .n = WIDTH, .k = HEADS_DIM,
     .bias = ALWAYS, .how = TRANSPOSED},
    {LN_2, "ln_2", "ffn_norm", .n = WIDTH, .bias = ALWAYS},
    {UP, "mlp.c_fc", "ffn_up", .n = INNER, .k = WIDTH, .bias = ALWAYS,
     .how = TRANSPOSED},
    {DOWN, "mlp.c_proj", "ffn_down", .n = WIDTH, .k = INNER, .bias = ALWAYS,
     .how = TRANSPOSED},
    TENSORS_END};

static const struct names_key KEYS[] = {
    {VOCAB, "vocab_size", NULL},
    {WIDTH, "n_embd", "embedding_length"},
    {LAYERS, "n_layer", "block_count"},
    {HEADS, "n_head", "attention.head_count"},
    {POSITIONS, "n_positions", "context_length"},
    KEYS_END};

/* Old files carry the causal mask of each layer. */
static const char *const IGNORED[] = {".attn.bias", ".attn.masked_bias", NULL};
static const char *const REFUSED[] = {"add_cross_attention", NULL};
static const char *const ACTS[] = {"gelu_new", "gelu_pytorch_tanh", NULL};

static int read_config(struct stack *s, struct names *n, struct err *e)
{
    static const struct name INNER_KEY = {"n_inner", "feed_forward_length"},
                             EPS = {"layer_norm_epsilon",
                                    "attention.layer_norm_epsilon"};
    int act, scaled = 1, by_layer = 0;

    if (names_refuse(n, REFUSED, e) || names_dims(n, KEYS, s, e) ||
        names_int(n, INNER_KEY, 1, 1 << 20, 4 * (int64_t)s->dim[WIDTH],
                  &s->dim[INNER], e) ||
        names_float(n, EPS, 0, 1, 1e-5, &s->eps, e) ||
        names_read_tied(n, 1, &s->tied, e) ||
        names_choice(n, "activation_function", ACTS, "gelu_new", &act, e))
        return -1;
    if (n->gguf)
        return 0;
    if (hparams_bool_or(n->h, "scale_attn_weights", 1, &scaled, e) ||
        hparams_bool_or(n->h, "scale_attn_by_inverse_layer_idx", 0, &by_layer,
                        e))
        return -1;
    s->scale = scaled ? 0.0 : 1.0;
    s->has |= by_layer ? BY_LAYER : 0;
    return 0;
}

static void embed(struct tf *t)
{
    lookup(t, EMBEDDING, X);
    lookup_add(t, EMBED_POSITION, X);
}

static void block(struct tf *t, const struct weight *w, int i)
{
    const struct stack *s = tf_stack(t);
    double by = s->has & BY_LAYER ? s->scale / (i + 1) : s->scale;

    norm(t, w, LN_1, X, IN);
    linear(t, w, QKV, IN, QKV_ROWS);
    attend(t, &(struct attend){.layer = i, .causal = 1, .scale = by}, QKV_ROWS,
           ATT);
    linear_add(t, w, OUT, ATT, X);
    norm(t, w, LN_2, X, IN);
    linear(t, w, UP, IN, FFN);
    activate(t, GELU_TANH, FFN);
    linear_add(t, w, DOWN, FFN, X);
}

const struct stack_kind gpt2_kind = {.prefix = "transformer.",
                                     .layers = "h.",
                                     .top = TOP_ROWS,
                                     .block = BLOCK,
                                     .ignored = IGNORED,
                                     .read_config = read_config,
                                     .embed = embed,
                                     .run = block};
