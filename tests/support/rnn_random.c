/* rnn_random: see rnn_random.h. Weights are uniform in +-1/sqrt(H) as in
 * PyTorch, embeddings in +-1.
 *
 * SPDX-License-Identifier: MIT */
#include "tests/support/rnn_random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/base/mem.h"
#include "engine/checkpoint/safetensors.h"

#define MAX_TENSORS 90

struct maker {
    struct save_tensor t[MAX_TENSORS];
    char name[MAX_TENSORS][64];
    int n, failed;
    uint64_t seed;
    enum dtype dtype;
    int eight;
};

/* splitmix64 (Steele, Lea and Flood 2014), to [-1, 1). */
static float next(uint64_t *s)
{
    uint64_t z = *s += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (float)(int32_t)(uint32_t)z / 2147483648.0f;
}

static void add(struct maker *k, const char *name, int d0, int d1, float scale)
{
    size_t n = (size_t)d0 * (size_t)(d1 ? d1 : 1);
    float *v = mem_floats(n);
    struct save_tensor *t = &k->t[k->n];
    if (!v || k->n == MAX_TENSORS) {
        mem_aligned_free(v);
        k->failed = 1;
        return;
    }
    for (size_t i = 0; i < n; i++)
        v[i] = scale * next(&k->seed);
    snprintf(k->name[k->n], sizeof k->name[0], "%s", name);
    t->name = k->name[k->n++];
    t->dtype = k->eight && d1 && d0 > 1 ? DT_I8 : k->dtype;
    t->n_dims = d1 ? 2 : 1;
    t->dim[0] = d0;
    t->dim[1] = d1;
    t->data = v;
}

static void add_layers(struct maker *k, const struct rnn_shape *s)
{
    int GH = s->H * (strcmp(s->cell, "lstm") == 0  ? 4
                     : strcmp(s->cell, "gru") == 0 ? 3
                                                   : 1);
    int R = s->R ? s->R : s->H;
    float scale = 1.0f / sqrtf((float)s->H);
    for (int l = 0; l < s->L; l++) {
        for (int d = 0; d < s->D; d++) {
            const char *end = d ? "_reverse" : "";
            char name[64];
            snprintf(name, sizeof name, "rnn.weight_ih_l%d%s", l, end);
            add(k, name, GH, l ? s->D * R : s->E, scale);
            snprintf(name, sizeof name, "rnn.weight_hh_l%d%s", l, end);
            add(k, name, GH, R, scale);
            snprintf(name, sizeof name, "rnn.bias_ih_l%d%s", l, end);
            if (!s->no_bias)
                add(k, name, GH, 0, scale);
            snprintf(name, sizeof name, "rnn.bias_hh_l%d%s", l, end);
            if (!s->no_bias)
                add(k, name, GH, 0, scale);
            snprintf(name, sizeof name, "rnn.weight_hr_l%d%s", l, end);
            if (s->R)
                add(k, name, R, s->H, scale);
        }
    }
}

static int write_config(const struct rnn_shape *s, const char *dir)
{
    char path[128];
    FILE *f;
    snprintf(path, sizeof path, "%s/config.json", dir);
    f = fopen(path, "w");
    if (!f)
        return -1;
    fprintf(f,
            "{\"model_type\": \"rnn\", \"cell\": \"%s\", \"nonlinearity\": "
            "\"%s\", \"vocab_size\": %d, \"embedding_dim\": %d, "
            "\"hidden_size\": %d, \"num_layers\": %d, \"bidirectional\": %s, "
            "\"head\": \"%s\", \"pooling\": \"%s\"",
            s->cell, s->nonlinearity ? s->nonlinearity : "tanh", s->V, s->E,
            s->H, s->L, s->D == 2 ? "true" : "false",
            s->classifier ? "classifier" : "lm",
            s->pooling ? s->pooling : "last");
    if (s->P)
        fprintf(f, ", \"projection_dim\": %d", s->P);
    for (int i = 0; s->classifier && i < s->C; i++)
        fprintf(f, "%s\"%d\": \"label-%d\"%s", i ? ", " : ", \"id2label\": {",
                i, i, i + 1 == s->C ? "}" : "");
    fprintf(f, "}\n");
    return fclose(f);
}

int rnn_random_write(const struct rnn_shape *s, uint64_t seed, char *dir)
{
    struct maker *k = mem_zalloc(sizeof *k);
    struct err e = ERR_INIT;
    char path[128];
    int R = s->R ? s->R : s->H, rc, width = s->P ? s->P : s->D * R;
    float scale = 1.0f / sqrtf((float)s->H);
    snprintf(dir, 64, "/tmp/seqd-rnn-XXXXXX");
    if (!k || !mkdtemp(dir)) {
        mem_free(k);
        return -1;
    }
    k->seed = seed;
    k->dtype = s->bf16 ? DT_BF16 : DT_F32;
    k->eight = s->eight;
    add(k, "embedding.weight", s->V, s->E, 1.0f);
    add_layers(k, s);
    if (s->P) {
        add(k, "projection.weight", s->P, s->D * R, scale);
        add(k, "projection.bias", s->P, 0, scale);
    }
    add(k, "output.weight", s->classifier ? s->C : s->V, width, scale);
    add(k, "output.bias", s->classifier ? s->C : s->V, 0, scale);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    rc = k->failed || write_config(s, dir) ||
         safetensors_save(path, k->t, k->n, NULL, 0, &e);
    for (int i = 0; i < k->n; i++)
        mem_aligned_free((void *)k->t[i].data);
    mem_free(k);
    return rc ? -1 : 0;
}

void rnn_random_remove(const char *dir)
{
    char path[128];
    snprintf(path, sizeof path, "%s/config.json", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    unlink(path);
    rmdir(dir);
}
