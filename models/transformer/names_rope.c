/* names_rope: rotary positions and their scaling, as the two containers state
 * them. A scaling that makes no sense, or that programs read differently, is
 * refused: it would turn every token in another way.
 *
 * Source: transformers' rope utilities; llama.cpp; Peng et al. 2023 (YaRN).
 *
 * SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "models/transformer/names.h"

#define PART "partial_rotary_factor"

/* --- Hugging Face --- */

static const char *member(const char *object, const char *key,
                          char out[NAMES_BYTES])
{
    snprintf(out, NAMES_BYTES, "%s.%s", object, key);
    return out;
}

static int read_llama3(const struct names *n, const char *object,
                       struct tf_rope_spec *s, struct err *e)
{
    char key[NAMES_BYTES];

    s->scaling = ROPE_LLAMA3;
    if (hparams_float_or(n->h, member(object, "low_freq_factor", key), 1e-3,
                         1e6, 1, &s->low_freq_factor, e) ||
        hparams_float_or(n->h, member(object, "high_freq_factor", key), 1e-3,
                         1e6, 4, &s->high_freq_factor, e) ||
        hparams_float_or(
            n->h, member(object, "original_max_position_embeddings", key), 1,
            1e9, 8192, &s->original_length, e))
        return -1;
    if (s->high_freq_factor <= s->low_freq_factor)
        return err_set(e, ERR_FORMAT,
                       "%s: config.json: '%s': high_freq_factor %g is not "
                       "over low_freq_factor %g",
                       n->label, object, s->high_freq_factor,
                       s->low_freq_factor);
    return 0;
}

/* Positions of the training: stated under `key`, else all that there are. */
static int read_original(const struct names *n, struct name key,
                         struct tf_rope_spec *s, struct err *e)
{
    static const struct name POSITIONS_KEY = {"max_position_embeddings",
                                              "context_length"};
    double all;

    return names_float(n, POSITIONS_KEY, 1, NAMES_MAX_LENGTH, 1, &all, e) ||
           names_float(n, key, 1, 1e9, all, &s->original_length, e);
}

static int read_original_hf(const struct names *n, const char *object,
                            struct tf_rope_spec *s, struct err *e)
{
    char key[NAMES_BYTES];
    const struct name original = {
        member(object, "original_max_position_embeddings", key), NULL};

    return read_original(n, original, s, e);
}

/* YaRN's ramp: the numbers of the pairs that turn `fast` and `slow` times in
 * the positions of the training; whole ones, if `whole`. */
static int yarn_ramp(const struct names *n, const char *where,
                     const double turns[2], int whole, struct tf_rope_spec *s,
                     struct err *e)
{
    double *ramp = s->ramp;

    if (!(s->base > 1))
        return err_set(e, ERR_FORMAT,
                       "%s: '%s': yarn with a rotary base of %g, expected one "
                       "over 1",
                       n->label, where, s->base);
    for (int i = 0; i < 2; i++)
        ramp[i] = s->n_rot * log(s->original_length / (turns[i] * TWO_PI)) /
                  (2 * log(s->base));
    ramp[0] = fmax(whole ? floor(ramp[0]) : ramp[0], 0);
    ramp[1] = fmin(whole ? ceil(ramp[1]) : ramp[1], s->n_rot - 1);
    if (ramp[0] > ramp[1]) /* programs differ in what they make of it */
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: '%s': yarn with beta_fast %g, beta_slow %g and %g "
                       "positions goes from pair %g to pair %g",
                       n->label, where, turns[0], turns[1], s->original_length,
                       ramp[0], ramp[1]);
    s->scaling = ROPE_YARN;
    return 0;
}

static double yarn_magnitude(double factor, double by)
{
    return 0.1 * by * log(factor) + 1.0;
}

static int read_yarn_hf(const struct names *n, const char *object,
                        struct tf_rope_spec *s, struct err *e)
{
    char key[NAMES_BYTES];
    double turns[2], by, all, magnitude = yarn_magnitude(s->factor, 1);
    int whole;

    if (read_original_hf(n, object, s, e) ||
        hparams_float_or(n->h, member(object, "beta_fast", key), 1e-3, 1e6, 32,
                         &turns[0], e) ||
        hparams_float_or(n->h, member(object, "beta_slow", key), 1e-3, 1e6, 1,
                         &turns[1], e) ||
        hparams_float_or(n->h, member(object, "mscale", key), 0, 1e3, 0, &by,
                         e) ||
        hparams_float_or(n->h, member(object, "mscale_all_dim", key), 0, 1e3, 0,
                         &all, e) ||
        hparams_bool_or(n->h, member(object, "truncate", key), 1, &whole, e))
        return -1;
    if (by > 0 && all > 0)
        magnitude =
            yarn_magnitude(s->factor, by) / yarn_magnitude(s->factor, all);
    return hparams_float_or(n->h, member(object, "attention_factor", key), 1e-3,
                            1e3, magnitude, &s->magnitude, e) ||
           yarn_ramp(n, object, turns, whole, s, e);
}

/* As long as a text is no longer than in the training, dynamic scaling changes
 * nothing; limit_positions says why there are no longer ones. */
static int read_dynamic(const struct names *n, const char *object,
                        struct tf_rope_spec *s, struct err *e)
{
    char key[NAMES_BYTES];

    s->scaling = ROPE_DYNAMIC;
    if (hparams_has(n->h, member(object, "alpha", key)))
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: config.json: '%s' is set, which this program does "
                       "not have",
                       n->label, key);
    return read_original_hf(n, object, s, e);
}

static int read_scaling_hf(const struct names *n, const char *object,
                           const char *type, struct tf_rope_spec *s,
                           struct err *e)
{
    static const struct {
        const char *type;
        double least; /* factor */
        int (*read)(const struct names *n, const char *object,
                    struct tf_rope_spec *s, struct err *e);
    } types[] = {{"linear", 1e-3, NULL},
                 {"llama3", 1e-3, read_llama3},
                 {"yarn", 1, read_yarn_hf},
                 {"dynamic", 1, read_dynamic}};
    enum { N = sizeof types / sizeof *types };
    char key[NAMES_BYTES];
    int i = 0;

    while (i < N && strcmp(type, types[i].type) != 0)
        i++;
    if (i == N)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: config.json: '%s' has rope_type '%.40s', expected "
                       "default, linear, llama3, yarn or dynamic",
                       n->label, object, type);
    if (!hparams_has(n->h, member(object, "factor", key)))
        return err_set(e, ERR_FORMAT, "%s: config.json: '%s' is missing",
                       n->label, key);
    if (hparams_float_or(n->h, key, types[i].least, 1e6, 1, &s->factor, e))
        return -1;
    s->scaling = ROPE_LINEAR;
    return types[i].read ? types[i].read(n, object, s, e) : 0;
}

/* The share of a head's dimensions that turn. */
static int read_part(const struct names *n, const struct names_rope *of,
                     const char *object, struct tf_rope_spec *s, struct err *e)
{
    const char *key = of->part ? of->part : PART;
    double part = of->part ? of->part_dflt : 1;
    char own[NAMES_BYTES];

    if (hparams_float_or(n->h, key, 0, 1, part, &part, e) ||
        hparams_float_or(n->h, member(object, PART, own), 0, 1, part, &part, e))
        return -1;
    key = hparams_has(n->h, own) ? own : key;
    s->n_rot = (int)(part * of->head);
    if (!of->part && part < 1)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: config.json: '%s' is %g, expected 1", n->label, key,
                       part);
    return s->n_rot > 1
               ? 0
               : err_set(e, ERR_UNSUPPORTED,
                         "%s: config.json: '%s' is %g: %d rotary dimensions of "
                         "%d, expected at least 2",
                         n->label, key, part, s->n_rot, of->head);
}

static int read_rope_hf(const struct names *n, const struct names_rope *of,
                        struct tf_rope_spec *s, struct err *e)
{
    const char *object = of->object, *type, *old;
    char key[NAMES_BYTES];
    double base;

    if (!object)
        object = hparams_has(n->h, "rope_parameters") ? "rope_parameters"
                                                      : "rope_scaling";
    if (hparams_float_or(n->h, of->base, 1, 1e12, of->base_dflt, &base, e) ||
        hparams_float_or(n->h, member(object, "rope_theta", key), 1, 1e12, base,
                         &s->base, e) ||
        hparams_string_or(n->h, member(object, "type", key), "default", &old,
                          e) ||
        hparams_string_or(n->h, member(object, "rope_type", key), old, &type,
                          e) ||
        read_part(n, of, object, s, e))
        return -1;
    return strcmp(type, "default") == 0
               ? 0
               : read_scaling_hf(n, object, type, s, e);
}

/* --- GGUF --- */

/* llama.cpp has the default magnitude by itself and multiplies it. It reads
 * two more keys of some architectures, of which ours are none. */
static int read_yarn_gguf(const struct names *n, double times,
                          struct tf_rope_spec *s, struct err *e)
{
    static const struct name original =
                                 {NULL, "rope.scaling.original_context_length"},
                             mix = {NULL, "rope.scaling.yarn_ext_factor"},
                             own = {NULL, "rope.scaling.yarn_attn_factor"},
                             fast = {NULL, "rope.scaling.yarn_beta_fast"},
                             slow = {NULL, "rope.scaling.yarn_beta_slow"},
                             all = {NULL, "rope.scaling.yarn_log_multiplier"};
    double turns[2], m, one, by;

    if (read_original(n, original, s, e) ||
        names_float(n, mix, 1, 1, 1, &m, e) ||
        names_float(n, own, 1, 1, 1, &one, e) ||
        names_float(n, fast, 1e-3, 1e6, 32, &turns[0], e) ||
        names_float(n, slow, 1e-3, 1e6, 1, &turns[1], e) ||
        names_float(n, all, 0, 1e3, 0, &by, e))
        return -1;
    s->magnitude = times * yarn_magnitude(s->factor, 1);
    if (by > 0)
        s->magnitude /= yarn_magnitude(s->factor, by);
    return yarn_ramp(n, "rope.scaling", turns, 1, s, e);
}

static int read_scaling_gguf(const struct names *n, const char *type,
                             struct tf_rope_spec *s, struct err *e)
{
    static const struct name factor = {NULL, "rope.scaling.factor"},
                             old = {NULL, "rope.scale_linear"},
                             attn = {NULL, "rope.scaling.attn_factor"};
    int yarn = strcmp(type, "yarn") == 0;
    double was, times;

    if (yarn && !names_has(n, factor))
        return err_set(e, ERR_FORMAT, "%s: '%s.%s' is missing", n->label,
                       n->type, factor.gguf);
    if (names_float(n, old, 1e-3, 1e6, 1, &was, e) ||
        names_float(n, factor, yarn, 1e6, was, &s->factor, e) ||
        names_float(n, attn, yarn ? 1e-3 : 1, yarn ? 1e3 : 1, 1, &times, e))
        return -1;
    if (yarn)
        return read_yarn_gguf(n, times, s, e);
    if (strcmp(type, "none") == 0)
        return 0;
    if (strcmp(type, "linear") != 0)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: rope.scaling.type is '%.40s', expected none, "
                       "linear or yarn",
                       n->label, type);
    if (s->factor > 0 && (s->factor > 1 || s->factor < 1))
        s->scaling = ROPE_LINEAR;
    return 0;
}

static int read_rope_gguf(const struct names *n, const struct names_rope *of,
                          struct tf_rope_spec *s, struct err *e)
{
    static const struct name base = {NULL, "rope.freq_base"},
                             type_key = {NULL, "rope.scaling.type"},
                             turned = {NULL, "rope.dimension_count"};
    const char *type;

    return names_float(n, base, 1, 1e12, of->base_dflt, &s->base, e) ||
           names_int(n, turned, 2, of->head, of->head, &s->n_rot, e) ||
           names_string(n, type_key, "linear", &type, e) ||
           read_scaling_gguf(n, type, s, e);
}

int names_read_rope(const struct names *n, const struct names_rope *of,
                    struct tf_rope_spec *s, struct err *e)
{
    memset(s, 0, sizeof *s);
    s->factor = 1;
    s->scaling = ROPE_PLAIN;
    if (n->gguf ? read_rope_gguf(n, of, s, e) : read_rope_hf(n, of, s, e))
        return -1;
    if (s->n_rot % 2)
        return err_set(e, ERR_UNSUPPORTED,
                       "%s: %d rotary dimensions, expected an even number",
                       n->label, s->n_rot);
    return 0;
}
