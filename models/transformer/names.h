/* names: how the two containers call the parts of a Transformer. An
 * architecture states each tensor (tensor_row) and each hyper-parameter once,
 * with its name in Hugging Face's files and the one in GGUF; this reads the one
 * that the checkpoint has. A tensor whose name was asked for counts as read,
 * and names_all_read refuses a file that holds more: a bias or an expert that
 * config.json does not know of would be dropped in silence, and the answers
 * would be wrong.
 *
 * Used by loaders only, on the loader's thread.
 *
 * Source: the state dicts of Hugging Face transformers; ggml's
 * docs/gguf.md and llama.cpp's list of tensor names.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_NAMES_H
#define SEQD_NAMES_H

#include "engine/checkpoint/checkpoint.h"
#include "engine/checkpoint/tally.h"
#include "models/transformer/transformer.h"

#define NAMES_BYTES 160
#define NAMES_MAX_HEAD 1024
#define NAMES_MAX_LENGTH TF_MAX_POSITIONS

struct name {
    const char *hf, *gguf;
};

struct names {
    const char *label;
    const struct checkpoint *c; /* for files beside config.json */
    struct weights *w;
    const struct hparams *h;
    int gguf;
    const char *type;   /* model_type, or general.architecture */
    const char *prefix; /* HF: "model." or "", in front of all but BARE rows */
    const char *layers; /* HF: "layers." */
    int n_tokenizer;    /* entries of the tokenizer, 0: none */
    const char *ignore; /* --ignore-tensors, or NULL */
    struct tally read;
};

/* names_open: label, n_tokenizer and ignore are the caller's. names_close is
 * due in any case. */
int names_open(struct names *n, struct checkpoint *c, struct err *e);
void names_close(struct names *n);
/* names_set_prefix: `prefix` when the tensor of `first` has it in the file, and
 * how layers are called. */
void names_set_prefix(struct names *n, const char *prefix, const char *layers,
                      const struct tensor_row *first);

/* --- hyper-parameters: GGUF's keys follow the architecture's name --- */

/* names_has: it is there and not null. */
int names_has(const struct names *n, struct name key);
/* dflt -1: required. */
int names_int(const struct names *n, struct name key, int64_t min, int64_t max,
              int64_t dflt, int *v, struct err *e);
int names_float(const struct names *n, struct name key, double min, double max,
                double dflt, double *v, struct err *e);
int names_string(const struct names *n, struct name key, const char *dflt,
                 const char **v, struct err *e);
/* names_choice: config.json's alone; one of a NULL-terminated list. */
int names_choice(const struct names *n, const char *key,
                 const char *const *list, const char *dflt, int *v,
                 struct err *e);
/* names_refuse: ERR_UNSUPPORTED when one of these keys (NULL-terminated, of
 * config.json) holds anything but null or false. */
int names_refuse(const struct names *n, const char *const *keys, struct err *e);

/* A size and its keys; GGUF leaves some to the tensors (gguf NULL): rows of the
 * stack's table that is so long. A list ends with KEYS_END. */
#define KEYS_END                                                               \
    {                                                                          \
        .hf = NULL                                                             \
    }
struct names_key {
    enum tf_dim dim;
    const char *hf, *gguf;
};
extern const struct names_key names_keys[]; /* Llama's and most others' */

/* names_dims: reads sizes into s->dim. One that is over 0 before is the
 * default of its key, others are required, but for: KV_HEADS, which are HEADS
 * in GGUF or when s->dim[KV_HEADS] is under 0; HEAD_DIM, which is WIDTH /
 * HEADS. */
int names_dims(const struct names *n, const struct names_key *keys,
               struct stack *s, struct err *e);
/* names_rows: rows of a row's tensor of a stack's table; 0: there is none. */
int names_rows(const struct names *n, const struct tensor_row *row);

/* names_read_tied: is the output matrix the embedding. */
int names_read_tied(const struct names *n, int dflt, int *tied, struct err *e);

/* names_read_rope: how the dimensions of a head turn (names_rope.c). `object`,
 * `base` and `part` are keys of config.json. */
struct names_rope {
    const char *object; /* holds the scaling; NULL: rope_parameters, or in older
                           files rope_scaling */
    const char *base;   /* of the base outside of it: rope_theta, mostly */
    double base_dflt;   /* of a checkpoint that states none */
    const char *part;   /* of the share that turns; NULL: all of a head does,
                           and a file that says otherwise is refused */
    double part_dflt;
    int head; /* its dimensions */
};
int names_read_rope(const struct names *n, const struct names_rope *of,
                    struct tf_rope_spec *s, struct err *e);

/* names_layer_types: windows of the layers from config.json's `layer_types`:
 * 1 when it has them (window[i] is 0 or `width`), 0 when not, -1. */
int names_layer_types(const struct names *n, int layers, int width, int *window,
                      struct err *e);

/* --- what Llama and most after it share --- */

extern const struct tensor_row names_top[]; /* of the stack */
extern const char *const names_ignored[];   /* tables made again at load */
extern const struct name names_eps, names_window;
/* names_silu: the activation is that, or ERR_FORMAT. */
int names_silu(const struct names *n, struct err *e);

/* --- tensors --- */

/* names_tensor: "<prefix><row's name>.<end>" of a layer (-1: the stack's) into
 * out, which it returns; it counts as read. Norms from before 2019 end with
 * gamma and beta. */
const char *names_tensor(struct names *n, int layer,
                         const struct tensor_row *row, const char *end,
                         char out[NAMES_BYTES]);
int names_exists(const struct names *n, int layer, const struct tensor_row *row,
                 const char *end);
/* names_all_read: ERR_UNSUPPORTED names a tensor that nobody asked for, but
 * for those whose names end like one of `ignored` (NULL-terminated, or NULL)
 * or of --ignore-tensors. */
int names_all_read(const struct names *n, const char *const *ignored,
                   struct err *e);

#endif
