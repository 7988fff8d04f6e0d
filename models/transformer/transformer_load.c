/* transformer_load: what a stack is made of: an architecture's tables filled
 * from a checkpoint, the measure of the stack, and what the engine is told.
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "engine/base/mem.h"
#include "engine/run/target_rules.h"
#include "models/transformer/heads.h"
#include "models/transformer/transformer_impl.h"

struct loader {
    struct stack *s;
    struct names n;
    const struct load_opts *o;
    int layer; /* that is loaded, or -1: the stack's own */
};

/* --- tensors --- */

static int row_is_there(const struct stack *s, const struct tensor_row *row)
{
    if (s->output == CLASS && row->part == OUTPUT && row->n == VOCAB)
        return 0; /* its words' matrix is not in the file */
    return !row->when || row->when & s->has;
}

static int n_parts(const struct tensor_row *rows)
{
    int n = 0;

    for (; rows->hf; rows++)
        n = rows->part >= n ? rows->part + 1 : n;
    return n;
}

static int load_norm(struct loader *l, const struct tensor_row *row,
                     struct tf_norm *out, struct err *e)
{
    const struct stack *s = l->s;
    int old = !names_exists(&l->n, l->layer, row, "weight") &&
              names_exists(&l->n, l->layer, row, "gamma");
    char weight[NAMES_BYTES], bias[NAMES_BYTES], *b = NULL;

    names_tensor(&l->n, l->layer, row, old ? "gamma" : "weight", weight);
    if (row->bias & s->has) {
        names_tensor(&l->n, l->layer, row, old ? "beta" : "bias", bias);
        b = bias;
    }
    return tf_norm_load(l->n.w, weight, b, s->dim[row->n], s->kind->rms, s->eps,
                        s->plus_one, out, e);
}

/* The table of the embedding that is in the file. */
static const struct tensor_row *embedding(const struct stack *s)
{
    const struct tensor_row *row = s->top_rows;

    while (row->part != EMBEDDING || !row_is_there(s, row))
        row++;
    return row;
}

/* A tensor as parts of a product: one, or three. */
static int add_parts(struct loader *l, const struct tensor_row *row,
                     char weight[NAMES_BYTES], char bias[NAMES_BYTES],
                     struct tf_part *part)
{
    const struct stack *s = l->s;
    int n = row->how & THREE ? 3 : 1, N = s->dim[row->n];
    int heads = row->how & BY_HEAD && !l->n.gguf ? s->dim[HEADS] : 0;
    int biased = (row->bias & s->has) != 0;

    names_tensor(&l->n, l->layer, row, "weight", weight);
    if (l->layer < 0 && row->part == OUTPUT && s->tied)
        names_tensor(&l->n, -1, embedding(s), "weight", weight);
    if (biased)
        names_tensor(&l->n, l->layer, row, "bias", bias);
    if (biased && row->hf_bias && weights_find(l->n.w, row->hf_bias)) {
        snprintf(bias, NAMES_BYTES, "%s", row->hf_bias);
        tally_mark(&l->n.read, bias);
    }
    for (int i = 0; i < n; i++)
        part[i] =
            (struct tf_part){.name = weight,
                             .bias = biased ? bias : NULL,
                             .N = N,
                             .rows = n * N,
                             .row0 = heads ? i * N / heads : i * N,
                             .transposed = row->how & TRANSPOSED && !l->n.gguf,
                             .heads = heads};
    return n;
}

static int load_table(struct loader *l, const struct tensor_row *row,
                      const struct tensor **out, struct err *e)
{
    char name[NAMES_BYTES];
    const int *dim = l->s->dim;

    names_tensor(&l->n, l->layer, row, "weight", name);
    if (!dim[row->n])
        return 0;
    *out = weights_need(l->n.w, name, 2, dim[row->n], dim[row->k], e);
    if (!*out)
        return -1;
    /* A step touches few of its rows. A tied one is read again for OUTPUT. */
    if (!l->s->tied || row->part != EMBEDDING)
        weights_drop_pages(l->n.w, *out);
    return 0;
}

/* Parts that are the rows of one tensor, one after the other. */
static void fuse(struct tf_part *part, int n)
{
    int rows = 0;

    for (int i = 0; i < n; i++) {
        part[i].row0 = rows;
        rows += part[i].N;
    }
    for (int i = 0; i < n; i++)
        part[i].rows = rows;
}

/* The rows from *row on that are one part; *row is then the last of them. */
static int load_part(struct loader *l, const struct tensor_row **row,
                     struct weight *w, struct err *e)
{
    char weight[TF_MAX_PARTS][NAMES_BYTES], bias[TF_MAX_PARTS][NAMES_BYTES];
    struct tf_part part[TF_MAX_PARTS + 2];
    const struct tensor_row *x = *row;
    int n = 0, of = 0, k = l->s->dim[x->k];

    if (x->how & TABLE)
        return load_table(l, x, &w->table, e);
    if (!x->k)
        return load_norm(l, x, &w->norm, e);
    for (; x->hf && x->part == (*row)->part && n < TF_MAX_PARTS; x++) {
        if (!row_is_there(l->s, x))
            break;
        n += add_parts(l, x, weight[of], bias[of], &part[n]);
        of++;
    }
    if ((*row)->how & FUSED)
        fuse(part, n);
    *row += of - 1;
    return tf_linear_load(l->n.w, l->o, part, n, k, &w->linear, e);
}

static int load_rows(struct loader *l, const struct tensor_row *row,
                     struct weight *w, struct err *e)
{
    for (; row->hf; row++)
        if (row_is_there(l->s, row) && load_part(l, &row, &w[row->part], e))
            return -1;
    return 0;
}

static int load_tensors(struct loader *l, struct err *e)
{
    struct stack *s = l->s;

    s->n_top = n_parts(s->top_rows);
    s->n_parts = n_parts(s->block_rows);
    if (s->head_rows && n_parts(s->head_rows) > s->n_top)
        s->n_top = n_parts(s->head_rows);
    s->n_top = s->n_top > TF_TOP ? s->n_top : TF_TOP;
    s->top = mem_zarray((size_t)s->n_top, sizeof *s->top);
    s->layer =
        mem_zarray((size_t)s->blocks * (size_t)s->n_parts, sizeof *s->layer);
    if (!s->top || !s->layer)
        return err_nomem(e);
    l->layer = -1;
    if (load_rows(l, s->top_rows, s->top, e) ||
        (s->head_rows && load_rows(l, s->head_rows, s->top, e)))
        return -1;
    for (l->layer = 0; l->layer < s->blocks; l->layer++)
        if (load_rows(l, s->block_rows, s->layer + l->layer * s->n_parts, e))
            return -1;
    return 0;
}

/* --- measure --- */

void tf_measure(struct stack *s)
{
    for (int pass = 0; pass < 2; pass++) { /* the first finds what is fast */
        struct tf t = {.s = s, .measured = s, .n = 1};

        s->token_macs = s->row_macs = 0;
        tf_compute(&t);
        s->syncs = t.syncs;
    }
}

/* --- what the engine is told --- */

static size_t weight_bytes(const struct weight *w, int n)
{
    size_t bytes = (size_t)n * sizeof *w;

    for (int i = 0; i < n; i++) {
        const struct tf_norm *v = &w[i].norm;
        size_t one = tf_pad(v->n) * sizeof(float);

        bytes += tf_linear_bytes(&w[i].linear);
        bytes += (v->w ? one : 0) + (v->b ? one : 0);
    }
    return bytes;
}

static void fill_class(const struct stack *s, struct model_info *info)
{
    static const enum score_kind kinds[] = {[ONE_OF] = SCORE_SOFTMAX,
                                            [ANY_OF] = SCORE_SIGMOID,
                                            [NUMBERS] = SCORE_RAW};

    info->cols[OUT_CLASS] = s->dim[LABELS];
    info->class_padding = s->padding;
    info->scores = kinds[s->scores];
    for (int i = 0; i < s->dim[LABELS]; i++)
        info->labels[i] = s->label[i].name;
}

static void fill_info(struct loader *l, struct model_info *info)
{
    struct stack *s = l->s;
    const int *dim = s->dim;
    char kv[24] = "", from[16] = "";

    if (dim[KV_HEADS] != dim[HEADS])
        snprintf(kv, sizeof kv, ", %d kv", dim[KV_HEADS]);
    if (s->source)
        snprintf(from, sizeof from, "%d+", s->source->dim[LAYERS]);
    snprintf(s->summary, sizeof s->summary, "%.20s %dx%s%d, %d heads%s%s",
             l->n.type, dim[WIDTH], from, dim[LAYERS], dim[HEADS], kv,
             s->note ? s->note : "");
    tf_layout(s, &info->state);
    info->cols[OUT_LOGITS] = s->output == LOGITS ? dim[VOCAB] : 0;
    info->cols[OUT_POOLED] = s->output == POOLED ? dim[WIDTH] : 0;
    info->cols[OUT_HIDDEN] = dim[WIDTH];
    info->cols[OUT_ATTENTION] = 1;
    if (s->output == CLASS)
        fill_class(s, info);
    info->n_layers = dim[LAYERS];
    info->n_heads = dim[HEADS];
    for (const struct stack *x = s; x; x = x->source) {
        for (int i = 0; i < TF_SETS; i++)
            info->fast |= x->set[i].fast != FAST_NONE;
        info->memory_bytes +=
            sizeof *x + weight_bytes(x->top, x->n_top) +
            weight_bytes(x->layer, x->blocks * x->n_parts) +
            (size_t)x->n_waves * (size_t)x->dim[WIDTH] * sizeof *x->waves;
    }
    info->max_chain = s->kind->whole ? 0 : TF_CHUNK;
    info->parameters = weights_parameters(l->n.w);
    info->token_flops = (uint64_t)(2 * s->token_macs);
    /* Rows of both ports count alike: a source's are what most of them are. */
    if (s->source && s->source->token_macs > s->token_macs)
        info->token_flops = (uint64_t)(2 * s->source->token_macs);
    info->row_flops = s->output == LOGITS ? (uint64_t)(2 * s->row_macs) : 0;
    info->summary = s->summary;
}

static void free_weights(struct weight *w, int n)
{
    for (int i = 0; w && i < n; i++) {
        tf_linear_fini(&w[i].linear);
        tf_norm_fini(&w[i].norm);
    }
    mem_free(w);
}

void tf_unload(void *self)
{
    struct stack *s = self;

    if (s->source)
        tf_unload(s->source);
    mem_free(s->wave);
    mem_free(s->waves);
    mem_free(s->near.add);
    mem_free(s->label);
    mem_free(s->own);
    free_weights(s->top, s->n_top);
    free_weights(s->layer, s->blocks * s->n_parts);
    for (int i = 0; i < TF_MAX_ROPES; i++)
        tf_rope_fini(&s->rope[i]);
    mem_free(s);
}

/* Positions that a text may have. YaRN is made for more than the tables of a
 * configuration often say (they state those of the training). Dynamic scaling
 * turns all of a longer text in another way, and with each token again: what
 * was said of its begin would be no more true, so there are none. */
static void limit_positions(struct stack *s)
{
    if (!s->max_len)
        s->max_len = s->dim[POSITIONS];
    for (int i = 0; i < TF_MAX_ROPES; i++) {
        const struct tf_rope *r = &s->rope[i];

        if (r->stretched > s->max_len)
            s->max_len = r->stretched;
        if (r->most && r->most < s->max_len)
            s->max_len = r->most;
    }
    if (!s->context)
        s->context = s->max_len;
}

static int load_stack(struct loader *l, struct err *e)
{
    struct stack *s = l->s;
    const struct stack_kind *kind = s->kind;

    s->has = ALWAYS;
    s->top_rows = kind->top;
    s->block_rows = kind->block;
    s->own = mem_zalloc(kind->own_bytes + 1);
    if (!s->own)
        return err_nomem(e);
    names_set_prefix(&l->n, kind->prefix, kind->layers, kind->top);
    if (kind->read_config(s, &l->n, e) ||
        (!kind->whole && heads_read_decoder(s, &l->n, e)))
        return -1;
    s->blocks = s->blocks ? s->blocks : s->dim[LAYERS];
    limit_positions(s);
    if (s->scale == 0.0)
        s->scale = 1.0 / sqrt((double)s->dim[HEAD_DIM]);
    return load_tensors(l, e) || tf_wave_rows(s, e) ? -1 : 0;
}

/* The encoder of an encoder-decoder, when the decoder is there. */
static int load_source(struct loader *l, struct err *e)
{
    struct stack *s = l->s;
    int rc;

    s->source = mem_zalloc(sizeof *s->source);
    if (!s->source)
        return err_nomem(e);
    s->source->kind = s->kind->source;
    s->source->target = s;
    l->s = s->source;
    rc = load_stack(l, e);
    l->s = s;
    return rc;
}

static int load_stacks(struct loader *l, struct checkpoint *c, struct err *e)
{
    /* of all: tensors that stand for other numbers than theirs */
    static const char *const refused[] = {"quantization_config", NULL};
    struct stack *s = l->s;

    if (names_open(&l->n, c, e))
        return -1;
    if (s->kind->source && l->n.gguf)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: '%.40s' as a GGUF file, expected a folder",
                       l->n.label, l->n.type);
    if (names_refuse(&l->n, refused, e) || load_stack(l, e) ||
        (s->kind->source && load_source(l, e)) ||
        names_all_read(&l->n, s->kind->ignored, e))
        return -1;
    for (; s; s = s->source) {
        tf_measure(s);
        if (s->wrong)
            return err_set(e, ERR_INTERNAL, "%s: %s", l->n.label, s->wrong);
    }
    return 0;
}

int tf_load(const struct stack_kind *kind, const struct load_opts *o,
            struct checkpoint *c, struct model_info *info, void **self,
            struct err *e)
{
    struct stack *s = mem_zalloc(sizeof *s);
    struct loader l = {.s = s, .o = o};
    int rc;

    *self = NULL;
    memset(info, 0, sizeof *info);
    if (!s)
        return err_nomem(e);
    s->kind = kind;
    l.n.label = o->label;
    l.n.n_tokenizer = o->n_vocab_tokenizer;
    l.n.ignore = o->options->ignore_tensors;
    rc = load_stacks(&l, c, e) ||
         (s->source && target_read(c, s->dim[VOCAB], &info->target, e));
    if (!rc) {
        if (s->blank)
            info->target.start = s->dim[VOCAB];
        fill_info(&l, info);
        *self = s;
    } else {
        tf_unload(s);
    }
    names_close(&l.n);
    return rc ? -1 : 0;
}
