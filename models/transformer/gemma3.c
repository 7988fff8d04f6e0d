/* gemma3: decoders of the Gemma 3 family, text only. A block, x the residual
 * stream, n1 to n4 RMSNorms:
 *
 *   h = n1(x);  q, k, v = h Wq, h Wk, h Wv;  q and k normed per head, turned
 *   x = x + n2(attention(q, k, v) Wo)
 *   h = n3(x);  x = x + n4((gelu(h Wgate) * (h Wup)) Wdown)
 *
 * The embedding is scaled by sqrt(width) and is the output matrix, too. Five
 * layers look back over a window and turn by one rotary base, each sixth sees
 * all and turns by another. Norm weights are 1 + w in Hugging Face's files and
 * stored as such in GGUF. Scores are scaled by query_pre_attn_scalar, which
 * need not be the head's size.
 *
 * Source: Gemma Team 2025 (Gemma 3).
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>

#include "models/transformer/names.h"

enum {
    ATTN_NORM,
    QKV,
    Q_NORM,
    K_NORM,
    OUT,
    ATTN_POST,
    FFN_NORM,
    GATE_UP,
    DOWN,
    FFN_POST
};
enum { LOCAL, GLOBAL };

static const struct tensor_row BLOCK[] = {
    {ATTN_NORM, "input_layernorm", "attn_norm", .n = WIDTH},
    {QKV, "self_attn.q_proj", "attn_q", .n = HEADS_DIM, .k = WIDTH},
    {QKV, "self_attn.k_proj", "attn_k", .n = KV_DIM, .k = WIDTH},
    {QKV, "self_attn.v_proj", "attn_v", .n = KV_DIM, .k = WIDTH},
    {Q_NORM, "self_attn.q_norm", "attn_q_norm", .n = HEAD_DIM},
    {K_NORM, "self_attn.k_norm", "attn_k_norm", .n = HEAD_DIM},
    {OUT, "self_attn.o_proj", "attn_output", .n = WIDTH, .k = HEADS_DIM},
    {ATTN_POST, "post_attention_layernorm", "post_attention_norm", .n = WIDTH},
    {FFN_NORM, "pre_feedforward_layernorm", "ffn_norm", .n = WIDTH},
    {GATE_UP, "mlp.gate_proj", "ffn_gate", .n = INNER, .k = WIDTH},
    {GATE_UP, "mlp.up_proj", "ffn_up", .n = INNER, .k = WIDTH},
    {DOWN, "mlp.down_proj", "ffn_down", .n = WIDTH, .k = INNER},
    {FFN_POST, "post_feedforward_layernorm", "post_ffw_norm", .n = WIDTH},
    TENSORS_END};

static const char *const REFUSED[] = {"attention_bias",
                                      "use_bidirectional_attention",
                                      "vision_config", "text_config", NULL};
static const char *const ACTS[] = {"gelu_pytorch_tanh", "gelu_tanh", NULL};

static int read_windows(struct stack *s, const struct names *n, struct err *e)
{
    static const struct name EVERY = {"sliding_window_pattern",
                                      "attention.sliding_window_pattern"},
                             OLD = {"_sliding_window_pattern", NULL};
    int width, every = 6, rc;

    if (names_int(n, names_window, 1, NAMES_MAX_LENGTH, n->gguf ? -1 : 4096,
                  &width, e))
        return -1;
    rc = names_layer_types(n, s->dim[LAYERS], width, s->window, e);
    if (rc)
        return rc < 0 ? -1 : 0;
    if ((!n->gguf && names_int(n, OLD, 1, TF_MAX_LAYERS, 6, &every, e)) ||
        names_int(n, EVERY, 1, TF_MAX_LAYERS, every, &every, e))
        return -1;
    for (int i = 0; i < s->dim[LAYERS]; i++)
        s->window[i] = (i + 1) % every ? width : 0;
    return 0;
}

/* The largest model of the family is the one whose scores are not scaled by
 * the head's size; GGUF does not store the number. */
#define LARGEST_LAYERS 62

static int read_scores(struct stack *s, const struct names *n, struct err *e)
{
    static const struct name SCALAR = {"query_pre_attn_scalar",
                                       "attention.query_pre_attn_scalar"},
                             CAP = {"attn_logit_softcapping",
                                    "attn_logit_softcapping"},
                             FINAL = {"final_logit_softcapping",
                                      "final_logit_softcapping"};
    const int *dim = s->dim;
    double scalar = 256, cap, final;

    if (n->gguf)
        scalar = dim[LAYERS] == LARGEST_LAYERS ? (double)dim[WIDTH] / dim[HEADS]
                                               : dim[HEAD_DIM];
    if (names_float(n, SCALAR, 1e-6, 1e9, scalar, &scalar, e) ||
        names_float(n, CAP, 0, 1e9, 0, &cap, e) ||
        names_float(n, FINAL, 0, 1e9, 0, &final, e))
        return -1;
    s->scale = 1.0 / sqrt(scalar);
    s->cap = (float)cap;
    s->out_cap = (float) final;
    return 0;
}

/* Scaling is for the global layers, but where the file states both. */
static int read_ropes(struct stack *s, const struct names *n, struct err *e)
{
    static const struct name LOCAL_BASE = {"rope_local_base_freq",
                                           "rope.freq_base_swa"};
    static const char *const of_all[] = {"rope_parameters", NULL};
    struct names_rope local = {.object = "rope_parameters.sliding_attention",
                               .base = LOCAL_BASE.hf,
                               .base_dflt = 1e4,
                               .head = s->dim[HEAD_DIM]},
                      global = {.object = "rope_parameters.full_attention",
                                .base = "rope_theta",
                                .base_dflt = 1e6,
                                .head = s->dim[HEAD_DIM]};
    struct tf_rope_spec r[2];

    if (hparams_has(n->h, global.object)) {
        if (names_read_rope(n, &global, &r[GLOBAL], e) ||
            names_read_rope(n, &local, &r[LOCAL], e))
            return -1;
    } else {
        global.object = "rope_scaling";
        if (names_refuse(n, of_all, e) ||
            names_read_rope(n, &global, &r[GLOBAL], e))
            return -1;
        r[LOCAL] = r[GLOBAL];
        r[LOCAL].scaling = ROPE_PLAIN;
        if (names_float(n, LOCAL_BASE, 1, 1e12, 1e4, &r[LOCAL].base, e))
            return -1;
    }
    return tf_rope_init(&s->rope[LOCAL], &r[LOCAL], e) ||
           tf_rope_init(&s->rope[GLOBAL], &r[GLOBAL], e);
}

static int read_config(struct stack *s, struct names *n, struct err *e)
{
    int act;

    s->dim[HEAD_DIM] = 256;
    s->plus_one = !n->gguf;
    s->padding = 1; /* token 0 where the file names none */
    return names_refuse(n, REFUSED, e) ||
           names_choice(n, "hidden_activation", ACTS, "gelu_pytorch_tanh", &act,
                        e) ||
           names_dims(n, names_keys, s, e) ||
           names_float(n, names_eps, 0, 1, 1e-6, &s->eps, e) ||
           names_read_tied(n, 1, &s->tied, e) || read_windows(s, n, e) ||
           read_scores(s, n, e) || read_ropes(s, n, e);
}

static void embed(struct tf *t)
{
    lookup(t, EMBEDDING, X);
    scale(t, sqrtf((float)tf_stack(t)->dim[WIDTH]), X);
}

static void block(struct tf *t, const struct weight *w, int i)
{
    const struct attend a = {
        .layer = i, .causal = 1, .window = tf_stack(t)->window[i]};

    norm(t, w, ATTN_NORM, X, IN);
    linear(t, w, QKV, IN, QKV_ROWS);
    norm_heads(t, w, Q_NORM, QKV_ROWS, 0);
    norm_heads(t, w, K_NORM, QKV_ROWS, 1);
    rotate(t, a.window ? LOCAL : GLOBAL, QKV_ROWS);
    attend(t, &a, QKV_ROWS, ATT);
    linear(t, w, OUT, ATT, AFTER);
    norm_add(t, w, ATTN_POST, AFTER, X);
    norm(t, w, FFN_NORM, X, IN);
    linear(t, w, GATE_UP, IN, GATE);
    gate(t, GELU_TANH, GATE, FFN);
    linear(t, w, DOWN, FFN, AFTER);
    norm_add(t, w, FFN_POST, AFTER, X);
}

const struct stack_kind gemma3_kind = {.prefix = "model.",
                                       .layers = "layers.",
                                       .top = names_top,
                                       .block = BLOCK,
                                       .ignored = names_ignored,
                                       .rms = 1,
                                       .read_config = read_config,
                                       .embed = embed,
                                       .run = block};
