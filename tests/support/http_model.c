/* http_model: see http_model.h.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/http_model.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/base/rng.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/text/tokenizer.h"

#define N_WORDS 64
#define MAX_TENSORS 64

static const char *const vocabulary[N_WORDS] = {
    "<unk>", "<s>",   "</s>",   "the",   "a",    "cat",   "dog",    "man",
    "woman", "house", "door",   "old",   "new",  "good",  "bad",    "not",
    "at",    "all",   "was",    "is",    "food", "and",   "to",     "of",
    "in",    "it",    "he",     "she",   "they", "we",    "you",    "walk",
    "ran",   "saw",   "looked", "with",  "for",  "this",  "that",   "morning",
    "night", "one",   "two",    "three", "red",  "blue",  "green",  "tree",
    "river", "stone", "but",    "very",  "nice", "awful", "I",      "my",
    "took",  "said",  ".",      ",",     "!",    "?",     "poison", "end"};

const char *http_model_word(int i)
{
    return i >= 0 && i + 3 < N_WORDS - 2 ? vocabulary[i + 3] : NULL;
}

int http_models_dir(char dir[64])
{
    snprintf(dir, 64, "/tmp/seqd-models-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int write_text(const char *dir, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "we");
    if (!f)
        return -1;
    int ok = fputs(text, f) >= 0;
    return fclose(f) == 0 && ok ? 0 : -1;
}

static int write_tokenizer(const char *dir, const struct http_model *m)
{
    const struct tokenizer_spec s = {.normalizer = "seqd-whitespace",
                                     .unk = "<unk>",
                                     .bos = m->no_bos ? NULL : "<s>",
                                     .eos = "</s>",
                                     .add_bos = !m->no_bos && !m->classifier};
    struct err e = ERR_INIT;
    struct buf b;
    buf_init(&b, 1 << 20);
    int rc = tokenizer_build(&s, vocabulary, N_WORDS, &b, &e);
    if (rc == 0)
        rc = write_text(dir, "tokenizer.json", b.p);
    else
        fprintf(stderr, "http_model: %s\n", e.msg);
    buf_fini(&b);
    return rc;
}

static int write_config(const char *dir, const struct http_model *m)
{
    char text[512];
    snprintf(text, sizeof text,
             "{\"model_type\":\"rnn\",\"cell\":%s,\"vocab_size\":%d,"
             "\"embedding_dim\":%d,\"hidden_size\":%d,\"num_layers\":%d,"
             "\"bidirectional\":%s,\"head\":\"%s\"%s}",
             m->bad ? "\"elman\",\"nonlinearity\":\"relu\"" : "\"lstm\"",
             N_WORDS, m->hidden, m->hidden, m->layers ? m->layers : 1,
             m->bidirectional ? "true" : "false",
             m->classifier ? "classifier" : "lm",
             m->classifier
                 ? ",\"id2label\":{\"0\":\"negative\",\"1\":\"positive\"}"
                 : "");
    return write_text(dir, "config.json", text);
}

struct tensors {
    struct save_tensor t[MAX_TENSORS];
    char name[MAX_TENSORS][64];
    int n;
    struct rng rng;
};

/* Uniform in +-scale, as PyTorch initialises its cells (1/sqrt(hidden)). */
static float *add_tensor(struct tensors *s, const char *name, int rows,
                         int columns, double scale)
{
    size_t count = (size_t)rows * (size_t)(columns ? columns : 1);
    float *p = mem_array(count, sizeof *p);
    struct save_tensor *t = &s->t[s->n];
    if (!p)
        return NULL;
    for (size_t i = 0; i < count; i++)
        p[i] = (float)((rng_uniform(&s->rng) * 2 - 1) * scale);
    snprintf(s->name[s->n], sizeof s->name[0], "%s", name);
    t->name = s->name[s->n++];
    t->dtype = DT_F32;
    t->n_dims = columns ? 2 : 1;
    t->dim[0] = rows;
    t->dim[1] = columns;
    t->data = p;
    return p;
}

static void add_layer(struct tensors *s, const struct http_model *m, int l,
                      int reverse)
{
    int H = m->hidden, GH = m->bad ? H : 4 * H,
        in = l ? H * (1 + m->bidirectional) : H;
    double k = 1.0 / sqrt((double)H);
    const char *tail = reverse ? "_reverse" : "";
    char name[64];
    snprintf(name, sizeof name, "rnn.weight_ih_l%d%s", l, tail);
    add_tensor(s, name, GH, in, k);
    snprintf(name, sizeof name, "rnn.weight_hh_l%d%s", l, tail);
    add_tensor(s, name, GH, H, k);
    snprintf(name, sizeof name, "rnn.bias_ih_l%d%s", l, tail);
    add_tensor(s, name, GH, 0, k);
    snprintf(name, sizeof name, "rnn.bias_hh_l%d%s", l, tail);
    add_tensor(s, name, GH, 0, k);
}

/* Finite weights over which the first unit has no finite value: w [H] are its
 * own, and each term is as large as it can be, and positive. */
static void poison(float *embedding, const float *w, const struct http_model *m)
{
    size_t H = (size_t)m->hidden;
    for (size_t i = 0; m->bad && i < N_WORDS; i++)
        for (size_t k = 0; !strcmp(vocabulary[i], m->bad) && k < H; k++)
            embedding[i * H + k] = copysignf(FLT_MAX, w[k]);
}

static int write_weights(const char *dir, const struct http_model *m)
{
    struct tensors s = {.n = 0};
    struct err e = ERR_INIT;
    char path[512];
    int H = m->hidden, out = m->classifier ? 2 : N_WORDS;
    rng_init(&s.rng, 42);
    float *embedding = add_tensor(&s, "embedding.weight", N_WORDS, H, 1.0);
    for (int l = 0; l < (m->layers ? m->layers : 1); l++) {
        add_layer(&s, m, l, 0);
        if (m->bidirectional)
            add_layer(&s, m, l, 1);
    }
    add_tensor(&s, "output.weight", out, H * (1 + m->bidirectional), 2.0);
    float *bias = add_tensor(&s, "output.bias", out, 0, 0.1);
    int rc = -1;
    if (embedding && bias) {
        poison(embedding, s.t[1].data, m);
        if (!m->classifier)
            bias[2] = -1000.0f; /* </s> */
        snprintf(path, sizeof path, "%s/model.safetensors", dir);
        rc = safetensors_save(path, s.t, s.n, NULL, 0, &e);
    }
    if (rc < 0)
        fprintf(stderr, "http_model: %s\n", e.msg);
    for (int i = 0; i < s.n; i++)
        mem_free((void *)(uintptr_t)s.t[i].data);
    return rc;
}

int http_model_make(const char *dir, const struct http_model *m)
{
    if (mkdir(dir, 0700) < 0 || write_config(dir, m) < 0 ||
        write_tokenizer(dir, m) < 0)
        return -1;
    return write_weights(dir, m);
}

void http_model_remove(const char *dir)
{
    static const char *const names[] = {"config.json", "tokenizer.json",
                                        "model.safetensors"};
    char path[512];
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}
