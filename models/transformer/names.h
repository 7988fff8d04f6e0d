/* names: how the two containers call the parts of a decoder. An architecture
 * states each tensor and each hyper-parameter once, as a pair (Hugging Face,
 * GGUF); this reads the one that the checkpoint has. A tensor whose name was
 * asked for counts as read, and names_all_read refuses a file that holds more:
 * a bias or an expert that config.json does not know of would be dropped in
 * silence, and the answers would be wrong.
 *
 * Used by loaders only, on the loader's thread.
 *
 * Source: the state dicts of Hugging Face transformers; ggml's
 * docs/gguf.md and llama.cpp's list of tensor names.
 *
 * SPDX-License-Identifier: MIT */
#ifndef SEQD_NAMES_H
#define SEQD_NAMES_H

#include "models/transformer/transformer.h"

#define NAMES_BYTES 128
#define NAMES_MAX_WIDTH 65536
#define NAMES_MAX_INNER (1 << 20)
#define NAMES_MAX_HEADS 1024
#define NAMES_MAX_HEAD 1024
#define NAMES_MAX_VOCAB (1 << 24)
#define NAMES_MAX_LENGTH (1 << 24) /* positions */

struct name {
    const char *hf, *gguf;
};

struct names {
    const char *label;
    struct weights *w;
    const struct hparams *h;
    int gguf;
    const char *type;   /* model_type, or general.architecture */
    const char *prefix; /* HF: "model." or "", in front of all but the head */
    const char *block;  /* HF: "layers." */
    unsigned char *used;
};

/* names_open: `first` is the embedding: its name in the file tells whether
 * `prefix` is there. names_close is due in any case. */
int names_open(struct names *n, const struct load_opts *o, struct weights *w,
               const struct hparams *h, const char *prefix, const char *block,
               const struct name *first, struct err *e);
void names_close(struct names *n);

/* --- hyper-parameters: GGUF's keys follow the architecture's name --- */

/* dflt -1: required. */
int names_int(const struct names *n, struct name key, int64_t min, int64_t max,
              int64_t dflt, int *v, struct err *e);
int names_float(const struct names *n, struct name key, double min, double max,
                double dflt, double *v, struct err *e);
int names_has_key(const struct names *n, struct name key);
/* names_refuse: ERR_UNSUPPORTED when one of these keys (NULL-terminated, of
 * config.json) holds anything but null or false. */
int names_refuse(const struct names *n, const char *const *keys, struct err *e);

/* What rotary decoders of both kinds state. */
struct names_dims {
    int vocab, width, layers, heads, kv, d, inner;
    int context;
    double eps;
};
/* names_dims: kv_dflt -1: the number of key/value heads is required, 0: it is
 * that of heads. d_dflt 0: width / heads. */
int names_read_dims(const struct names *n, int kv_dflt, int d_dflt,
                    struct names_dims *v, struct err *e);
/* names_read_tied: 1 when the output matrix is the embedding. */
int names_read_tied(const struct names *n, int dflt, int *tied, struct err *e);

/* names_read_rope: `object` is the object of config.json that holds the
 * scaling, theta_key the place of the base outside of it, base_dflt that of a
 * checkpoint that states none. d: size of a head. */
int names_read_rope(const struct names *n, const char *object,
                    const char *theta_key, double base_dflt, int d,
                    struct tf_rope_spec *s, struct err *e);

/* names_layer_types: windows of the layers from config.json's `layer_types`:
 * 1 when it has them (window[i] is 0 or `width`), 0 when not, -1. */
int names_layer_types(const struct names *n, int layers, int width, int *window,
                      struct err *e);

/* --- tensors --- */

/* names_tensor: "<prefix><part>.<end>" into out, which it returns. */
const char *names_tensor(struct names *n, struct name part, const char *end,
                         char out[NAMES_BYTES]);
/* names_block: the same of a layer. */
const char *names_block(struct names *n, int layer, struct name part,
                        const char *end, char out[NAMES_BYTES]);
int names_exists(const struct names *n, const char *name);
/* names_head: the tensor of the output matrix: `head`, or the embedding's when
 * tied (or when a GGUF has no other). */
const char *names_head(struct names *n, struct name head, struct name embedding,
                       int tied, char out[NAMES_BYTES]);
/* names_embedding: [V, width]; a row is read from the mapped file at each use.
 */
const struct tensor *names_embedding(struct names *n, struct name part, int V,
                                     int width, struct err *e);
/* names_all_read: ERR_UNSUPPORTED names a tensor that nobody asked for, but
 * for those whose names end like one of `ignored` (NULL-terminated). */
int names_all_read(const struct names *n, const char *const *ignored,
                   struct err *e);

#endif
