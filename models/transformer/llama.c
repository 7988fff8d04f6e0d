/* llama: decoders with RMSNorm, rotary positions, grouped-query attention and
 * a gated feed-forward layer (SwiGLU): Llama 1 to 3, Mistral (sliding window),
 * Qwen2 (biases on query, key and value), SmolLM2, SmolLM3 (some layers do not
 * turn), and the stories of llama2.c.
 *
 * A block, x the residual stream:
 *
 *   h = rms(x) w1;  q, k, v = h Wq, h Wk, h Wv (+ b);  q, k turned by position
 *   x = x + attention(q, k, v) Wo
 *   h = rms(x) w2;  x = x + (silu(h Wgate) * (h Wup)) Wdown
 *
 * and logits = rms(x) w Wout, Wout often the embedding. GGUF files of
 * architectures "llama" and "smollm3" hold the rows of Wq and Wk permuted, so
 * that rotary pairs are neighbours (2i, 2i+1); all others pair i with i + d/2.
 *
 * Source: Touvron et al. 2023 (Llama), Jiang et al. 2023 (Mistral), Yang et
 * al. 2024 (Qwen2), Shazeer 2020 (SwiGLU), Ainslie et al. 2023 (grouped
 * queries), Kazemnejad et al. 2023 (layers without positions).
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "models/transformer/names.h"

enum { ATTN_NORM, QKV, OUT, FFN_NORM, GATE_UP, DOWN };
enum { QKV_BIAS = 2, OUT_BIAS = 4, MLP_BIAS = 8 };

static const struct tensor_row BLOCK[] = {
    {ATTN_NORM, "input_layernorm", "attn_norm", .n = WIDTH},
    {QKV, "self_attn.q_proj", "attn_q", .n = HEADS_DIM, .k = WIDTH,
     .bias = QKV_BIAS},
    {QKV, "self_attn.k_proj", "attn_k", .n = KV_DIM, .k = WIDTH,
     .bias = QKV_BIAS},
    {QKV, "self_attn.v_proj", "attn_v", .n = KV_DIM, .k = WIDTH,
     .bias = QKV_BIAS},
    {OUT, "self_attn.o_proj", "attn_output", .n = WIDTH, .k = HEADS_DIM,
     .bias = OUT_BIAS},
    {FFN_NORM, "post_attention_layernorm", "ffn_norm", .n = WIDTH},
    {GATE_UP, "mlp.gate_proj", "ffn_gate", .n = INNER, .k = WIDTH,
     .bias = MLP_BIAS},
    {GATE_UP, "mlp.up_proj", "ffn_up", .n = INNER, .k = WIDTH,
     .bias = MLP_BIAS},
    {DOWN, "mlp.down_proj", "ffn_down", .n = WIDTH, .k = INNER,
     .bias = MLP_BIAS},
    TENSORS_END};

static int is(const struct names *n, const char *type)
{
    return strcmp(n->type, type) == 0;
}

static int refuse_gguf(const struct names *n, struct err *e)
{
    static const char *const keys[] = {"expert_count",   "attention.scale",
                                       "logit_scale",    "embedding_scale",
                                       "residual_scale", NULL};

    for (int i = 0; keys[i] && n->gguf; i++) {
        double v;

        if (names_float(n, (struct name){NULL, keys[i]}, -1e9, 1e9, 0, &v, e))
            return -1;
        if (v < 0 || v > 0)
            return err_set(e, ERR_UNSUPPORTED,
                           "%s: '%s.%s' is %g, which this program does not "
                           "have",
                           n->label, n->type, keys[i], v);
    }
    return 0;
}

/* The layers of SmolLM3 that do not turn: each fourth in GGUF. */
static int read_still(struct stack *s, const struct names *n, struct err *e)
{
    static const struct name EVERY = {"no_rope_layer_interval", NULL};
    const struct json *list = NULL, *x;
    unsigned char *still = s->own;
    int every = 4, i = 0;

    if (!is(n, "smollm3"))
        return 0;
    if (!n->gguf) {
        list = hparams_json(n->h, "no_rope_layers");
        if (names_int(n, EVERY, 1, TF_MAX_LAYERS, 4, &every, e))
            return -1;
    }
    for (int k = 0; k < s->dim[LAYERS]; k++)
        still[k] = (k + 1) % every == 0;
    if (!list || json_type(list) == JSON_NULL)
        return 0;
    for (x = json_child(list); x && i < s->dim[LAYERS]; x = json_next(x), i++) {
        int64_t turns;

        if (json_int(x, &turns) || turns < 0 || turns > 1)
            break;
        still[i] = !turns;
    }
    return !x && i == s->dim[LAYERS]
               ? 0
               : err_set(e, ERR_FORMAT,
                         "%s: config.json: 'no_rope_layers' is no list of %d "
                         "times 0 or 1",
                         n->label, s->dim[LAYERS]);
}

/* Mistral: all layers; Qwen2: those from max_window_layers on, SmolLM3: those
 * that do not turn, when use_sliding_window says so. */
static int read_windows(struct stack *s, const struct names *n, struct err *e)
{
    const unsigned char *still = is(n, "smollm3") ? s->own : NULL;
    int qwen2 = is(n, "qwen2") && !n->gguf;
    int width = 0, use = 1, from = 0, rc;

    if (is(n, "llama") && !n->gguf)
        return 0;
    /* A config.json that leaves the key out means the class's default; one
     * that says null means none. */
    if (names_int(
            n, names_window, 0, NAMES_MAX_LENGTH,
            n->gguf || still || hparams_json(n->h, names_window.hf) ? 0 : 4096,
            &width, e))
        return -1;
    if (still && !n->gguf &&
        hparams_bool_or(n->h, "use_sliding_window", 0, &use, e))
        return -1;
    if (qwen2 && (hparams_bool_or(n->h, "use_sliding_window", 0, &use, e) ||
                  names_int(n, (struct name){"max_window_layers", NULL}, 0,
                            NAMES_MAX_LENGTH, 28, &from, e)))
        return -1;
    if (!use)
        width = 0;
    rc = names_layer_types(n, s->dim[LAYERS], width, s->window, e);
    for (int i = 0; i < s->dim[LAYERS] && !rc; i++)
        s->window[i] = i >= from && (!still || still[i]) ? width : 0;
    return rc < 0 ? -1 : 0;
}

static int read_biases(struct stack *s, const struct names *n, struct err *e)
{
    int attention = is(n, "qwen2"), mlp = 0;

    for (const struct tensor_row *r = BLOCK; r->hf && n->gguf; r++)
        if (names_exists(n, 0, r, "bias"))
            s->has |= r->bias;
    if (attention)
        s->has |= QKV_BIAS;
    if (attention || n->gguf)
        return 0;
    if (hparams_bool_or(n->h, "attention_bias", 0, &attention, e) ||
        hparams_bool_or(n->h, "mlp_bias", 0, &mlp, e))
        return -1;
    s->has |= (attention ? QKV_BIAS | OUT_BIAS : 0) | (mlp ? MLP_BIAS : 0);
    return 0;
}

/* GGUF's factors for Llama 3's scaling, one for each pair. */
static int read_divide(struct names *n, struct tf_rope_spec *r, float *divide,
                       struct err *e)
{
    static const struct tensor_row ROW = {.hf = "rope_freqs"};
    const struct tensor *t;
    char name[NAMES_BYTES];
    int half = r->n_rot / 2;

    if (!n->gguf || !names_exists(n, -1, &ROW, "weight"))
        return 0;
    names_tensor(n, -1, &ROW, "weight", name);
    t = weights_need(n->w, name, 1, half, 0, e);
    if (!t)
        return -1;
    tensor_read(t, 0, (size_t)half, divide);
    for (int i = 0; i < half; i++) {
        if (!(divide[i] > 0))
            return err_set(e, ERR_FORMAT,
                           "%s: tensor '%s' has a factor of %g at %d, expected "
                           "one over 0",
                           n->label, name, (double)divide[i], i);
    }
    r->divide = divide;
    return 0;
}

static int read_rope(struct stack *s, struct names *n, struct err *e)
{
    const struct names_rope of = {.base = "rope_theta",
                                  .base_dflt = is(n, "smollm3") ? 2e6 : 1e4,
                                  .head = s->dim[HEAD_DIM]};
    struct tf_rope_spec r;
    float divide[NAMES_MAX_HEAD / 2];

    if (names_read_rope(n, &of, &r, e))
        return -1;
    r.adjacent = n->gguf && !is(n, "qwen2");
    return read_divide(n, &r, divide, e) || tf_rope_init(&s->rope[0], &r, e);
}

static int read_config(struct stack *s, struct names *n, struct err *e)
{
    if (is(n, "llama"))
        s->dim[KV_HEADS] = -1; /* those of the queries where none are stated */
    if (is(n, "smollm3"))
        s->padding = 1 + 128004; /* where the file names none */
    return refuse_gguf(n, e) || names_silu(n, e) ||
           names_dims(n, names_keys, s, e) ||
           names_float(n, names_eps, 0, 1, 1e-6, &s->eps, e) ||
           names_read_tied(n, is(n, "smollm3"), &s->tied, e) ||
           read_biases(s, n, e) || read_still(s, n, e) ||
           read_windows(s, n, e) || read_rope(s, n, e);
}

static void block(struct tf *t, const struct weight *w, int i)
{
    const struct attend a = {
        .layer = i, .causal = 1, .window = tf_stack(t)->window[i]};
    const unsigned char *still = tf_stack(t)->own;

    norm(t, w, ATTN_NORM, X, IN);
    linear(t, w, QKV, IN, QKV_ROWS);
    if (!still[i])
        rotate(t, 0, QKV_ROWS);
    attend(t, &a, QKV_ROWS, ATT);
    linear_add(t, w, OUT, ATT, X);
    norm(t, w, FFN_NORM, X, IN);
    linear(t, w, GATE_UP, IN, GATE);
    gate(t, SILU, GATE, FFN);
    linear_add(t, w, DOWN, FFN, X);
}

const struct stack_kind llama_kind = {.prefix = "model.",
                                      .layers = "layers.",
                                      .top = names_top,
                                      .block = BLOCK,
                                      .ignored = names_ignored,
                                      .rms = 1,
                                      .own_bytes = TF_MAX_LAYERS, /* still */
                                      .read_config = read_config,
                                      .run = block};
