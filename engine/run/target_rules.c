/* target_rules: see target_rules.h.
 *
 * SPDX-License-Identifier: MIT */
#include "engine/run/target_rules.h"

#include <stdio.h>
#include <string.h>

#define GENERATION "generation_config.json"
#define MOST_TOKENS (1 << 20)
#define MOST_PENALTY 10.0
#define LEAST_TEMPERATURE 0.01 /* as in a request; 0 is greedy */
#define MOST_TEMPERATURE 100.0
#define LEAST_TOP_P 1e-6
#define UNSAID_LENGTH 20 /* max_length of transformers where none is stated */

/* The file that is read, and what its members are read into. */
struct source {
    char file[PLACE_NAME_BYTES];
    const struct json *root; /* NULL: config.json */
    const struct hparams *h;
    int n_vocab;
};

static const struct json *get(const struct source *s, const char *key)
{
    const struct json *j = s->root ? json_get(s->root, key) : NULL;

    if (!s->root)
        j = hparams_json(s->h, key);
    return j && json_type(j) != JSON_NULL ? j : NULL;
}

static int wrong(const struct source *s, const char *key, struct err *e)
{
    return err_set(e, ERR_FORMAT, "%s: '%s' is no token, expected 0..%d",
                   s->file, key, s->n_vocab - 1);
}

static int token(const struct source *s, const struct json *j, const char *key,
                 int32_t *id, struct err *e)
{
    int64_t v;

    if (json_int(j, &v) || v < 0 || v >= s->n_vocab)
        return wrong(s, key, e);
    *id = (int32_t)v;
    return 0;
}

/* A token, or a list of one; what is not there leaves *id. */
static int read_token(const struct source *s, const char *key, int *id,
                      struct err *e)
{
    const struct json *j = get(s, key);

    if (j && json_type(j) == JSON_ARRAY && json_size(j) == 1)
        j = json_child(j);
    return j ? token(s, j, key, id, e) : 0;
}

static int read_never(const struct source *s, struct target_rules *out,
                      struct err *e)
{
    static const char KEY[] = "bad_words_ids";
    const struct json *list = get(s, KEY), *j;

    if (!list)
        return 0;
    if (json_type(list) != JSON_ARRAY)
        return wrong(s, KEY, e);
    for (j = json_child(list); j; j = json_next(j)) {
        if (json_type(j) != JSON_ARRAY)
            return wrong(s, KEY, e);
        if (json_size(j) != 1 || out->n_never == MODEL_MAX_NEVER)
            return err_set(e, ERR_UNSUPPORTED,
                           "%s: '%s' has more than %d words, or words of "
                           "several tokens",
                           s->file, KEY, MODEL_MAX_NEVER);
        if (token(s, json_child(j), KEY, &out->never[out->n_never++], e))
            return -1;
    }
    return 0;
}

/* A whole number from min on; what is not there leaves *v. */
static int read_int(const struct source *s, const char *key, int min, int *v,
                    struct err *e)
{
    const struct json *j = get(s, key);
    int64_t x = min;

    if (!j)
        return 0;
    if (json_int(j, &x) || x < min || x > MOST_TOKENS)
        return err_set(e, ERR_FORMAT, "%s: '%s' is no number from %d to %d",
                       s->file, key, min, MOST_TOKENS);
    *v = (int)x;
    return 0;
}

static int read_bool(const struct source *s, const char *key, int *v,
                     struct err *e)
{
    const struct json *j = get(s, key);

    if (j && json_type(j) != JSON_BOOL)
        return err_set(e, ERR_FORMAT, "%s: '%s' is not true or false", s->file,
                       key);
    *v = j ? json_bool(j) : 0;
    return 0;
}

/* --- tokens --- */

static int read_tokens(const struct source *s, const struct source *config,
                       struct target_rules *out, struct err *e)
{
    static const char *const keys[] = {"decoder_start_token_id",
                                       "bos_token_id"};
    int forces = 0;

    for (int i = 0; i < 2 && out->start < 0; i++)
        if (read_token(config, keys[i], &out->start, e) ||
            read_token(s, keys[i], &out->start, e))
            return -1;
    if (read_token(s, "forced_bos_token_id", &out->forced_first, e) ||
        (!s->root &&
         read_bool(s, "force_bos_token_to_be_generated", &forces, e)) ||
        (forces && out->forced_first < 0 &&
         read_token(s, "bos_token_id", &out->forced_first, e)))
        return -1;
    return read_token(s, "forced_eos_token_id", &out->forced_last, e) ||
                   read_never(s, out, e)
               ? -1
               : 0;
}

/* --- the search --- */

/* The start is one token of a length. */
static int read_lengths(const struct source *s, struct target_rules *out,
                        struct err *e)
{
    int most = 0, least = 0;

    if (read_int(s, "max_length", 2, &most, e) ||
        read_int(s, "min_length", 0, &least, e))
        return -1;
    out->max_new = most && most != UNSAID_LENGTH ? most - 1 : 0;
    out->min_new = least > 0 ? least - 1 : 0;
    return read_int(s, "max_new_tokens", 1, &out->max_new, e) ||
                   read_int(s, "min_new_tokens", 0, &out->min_new, e)
               ? -1
               : 0;
}

static int read_stop(const struct source *s, struct target_rules *out,
                     struct err *e)
{
    const struct json *j = get(s, "early_stopping");
    const char *word = json_string(j);

    if (!j)
        return 0;
    if (json_type(j) != JSON_BOOL && (!word || strcmp(word, "never") != 0))
        return err_set(e, ERR_FORMAT,
                       "%s: 'early_stopping' is not true, false or \"never\"",
                       s->file);
    out->stop = word           ? BEAM_STOP_NEVER
                : json_bool(j) ? BEAM_STOP_FULL
                               : BEAM_STOP_ESTIMATE;
    return 0;
}

static int read_search(const struct source *s, struct target_rules *out,
                       struct err *e)
{
    const struct json *j = get(s, "length_penalty");

    if (j && (json_type(j) != JSON_NUMBER || json_number(j) < -MOST_PENALTY ||
              json_number(j) > MOST_PENALTY))
        return err_set(e, ERR_FORMAT,
                       "%s: 'length_penalty' is no number from -10 to 10",
                       s->file);
    if (j)
        out->length_penalty = json_number(j);
    return read_int(s, "num_beams", 1, &out->beams, e) ||
                   read_int(s, "no_repeat_ngram_size", 0, &out->no_repeat, e) ||
                   read_bool(s, "renormalize_logits", &out->renormalize, e) ||
                   read_stop(s, out, e) || read_lengths(s, out, e)
               ? -1
               : 0;
}

/* --- how texts are drawn --- */

/* What is not there leaves *v; 0 is taken where 0 says that it is off. */
static int read_number(const struct source *s, const char *key, double from,
                       double to, int zero, double *v, struct err *e)
{
    const struct json *j = get(s, key);
    double x = j && json_type(j) == JSON_NUMBER ? json_number(j) : -1;

    if (!j)
        return 0;
    if (!(x >= from && x <= to) && !(zero && x >= 0 && x <= 0))
        return err_set(e, ERR_FORMAT, "%s: '%s' is no number from %g to %g",
                       s->file, key, from, to);
    *v = x;
    return 0;
}

static int read_sample(const struct source *s, struct sample_rules *out,
                       struct err *e)
{
    double top_k = -1;
    int draws = 1;

    if (get(s, "do_sample") && read_bool(s, "do_sample", &draws, e))
        return -1;
    if (read_number(s, "temperature", LEAST_TEMPERATURE, MOST_TEMPERATURE, 1,
                    &out->temperature, e) ||
        read_number(s, "top_p", LEAST_TOP_P, 1, 0, &out->top_p, e) ||
        read_number(s, "top_k", 1, MOST_TOKENS, 1, &top_k, e) ||
        read_int(s, "max_new_tokens", 1, &out->max_new, e))
        return -1;
    out->top_k = (int)top_k;
    if (!draws)
        out->temperature = 0;
    return 0;
}

/* --- what is not done --- */

/* Keys of generate, and the numbers that change nothing. */
static const struct {
    const char *key;
    double idle;
} others[] = {
    {"do_sample", 0},
    {"repetition_penalty", 1},
    {"encoder_repetition_penalty", 1},
    {"encoder_no_repeat_ngram_size", 0},
    {"num_beam_groups", 1},
    {"diversity_penalty", 0},
    {"penalty_alpha", 0},
    {"exponential_decay_length_penalty", 0},
    {"suppress_tokens", 0},
    {"begin_suppress_tokens", 0},
    {"forced_decoder_ids", 0},
    {"sequence_bias", 0},
    {"constraints", 0},
    {"force_words_ids", 0},
    {"guidance_scale", 1},
    {"stop_strings", 0},
    {"num_return_sequences", 1},
};

static int is_idle(const struct json *j, double idle)
{
    switch (json_type(j)) {
    case JSON_BOOL:
        return !json_bool(j);
    case JSON_NUMBER:
        return json_number(j) == idle;
    case JSON_ARRAY:
    case JSON_OBJECT:
        return json_size(j) == 0;
    default:
        return 0;
    }
}

static void add_unheeded(struct target_rules *out, const char *key)
{
    size_t n = strlen(out->unheeded), room = sizeof out->unheeded - n;

    if (strlen(key) + 3 <= room)
        snprintf(out->unheeded + n, room, "%s%s", n ? ", " : "", key);
}

static void list_unheeded(const struct source *s, struct target_rules *out)
{
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const struct json *j = get(s, others[i].key);
        if (j && !is_idle(j, others[i].idle))
            add_unheeded(out, others[i].key);
    }
    if (out->beams > MOST_BEAMS) {
        add_unheeded(out, "num_beams");
        out->beams = MOST_BEAMS;
    }
}

/* --- both files --- */

struct target_rules target_no_rules(void)
{
    return (struct target_rules){.start = -1,
                                 .forced_first = -1,
                                 .forced_last = -1,
                                 .length_penalty = 1};
}

/* config.json into [0], the file that counts into [1]; *root is to be freed. */
static int open_sources(struct checkpoint *c, int n_vocab, struct source s[2],
                        struct json **root, struct err *e)
{
    s[0] = (struct source){.h = checkpoint_hparams(c, e), .n_vocab = n_vocab};
    *root = NULL;
    if (!s[0].h || checkpoint_json(c, GENERATION, NULL, root, e))
        return -1;
    checkpoint_name(c, "config.json", s[0].file);
    s[1] = s[0];
    s[1].root = *root;
    if (*root)
        checkpoint_name(c, GENERATION, s[1].file);
    return 0;
}

int sample_read(struct checkpoint *c, struct sample_rules *out, struct err *e)
{
    struct source from[2];
    struct json *root;

    *out = (struct sample_rules){-1, -1, -1, 0};
    if (open_sources(c, 0, from, &root, e))
        return -1;
    int rc = read_sample(&from[1], out, e);
    json_free(root);
    return rc;
}

int target_read(struct checkpoint *c, int n_vocab, struct target_rules *out,
                struct err *e)
{
    struct source from[2];
    struct json *root;

    *out = target_no_rules();
    if (open_sources(c, n_vocab, from, &root, e))
        return -1;
    const struct source config = from[0], *s = &from[1];
    int rc = read_tokens(s, &config, out, e) || read_search(s, out, e);
    if (rc == 0)
        list_unheeded(s, out);
    json_free(root);
    return rc ? -1 : 0;
}
