/* field_names: see field_names.h. The names of others are those of OpenAI's
 * routes, llama.cpp, Hugging Face's servers and transformers, TorchServe,
 * LibreTranslate.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api/field_names.h"

#include <string.h>
#include <strings.h>

#define MOST_NAME 32 /* bytes of a name that is compared letter by letter */

static const struct {
    const char *theirs, *ours;
} others[] = {
    {"text", "input"},
    {"texts", "input"},
    {"inputs", "input"},
    {"prompt", "input"},
    {"prompts", "input"},
    {"content", "input"},
    {"sentence", "input"},
    {"sentences", "input"},
    {"query", "input"},
    {"q", "input"},
    {"data", "input"},
    {"instances", "input"},
    {"messages", "input"},
    {"source_text", "input"},
    {"max_new_tokens", "max_tokens"},
    {"max_completion_tokens", "max_tokens"},
    {"max_length", "max_tokens"},
    {"n_predict", "max_tokens"},
    {"num_predict", "max_tokens"},
    {"top_n", "top_k"},
    {"n_best", "top_k"},
    {"k", "top_k"},
    {"num_results", "top_k"},
    {"top_n_tokens", "top_k"},
    {"temp", "temperature"},
    {"repeat_penalty", "repetition_penalty"},
    {"random_seed", "seed"},
    {"stop_sequences", "stop"},
    {"stopping_strings", "stop"},
    {"num_return_sequences", "n"},
    {"best_of", "n"},
    {"model_id", "model"},
    {"model_name", "model"},
    {"engine", "model"},
    {"num_beams", "beams"},
    {"beam_size", "beams"},
    {"beam_width", "beams"},
    {"lang", "target"},
    {"language", "target"},
    {"to", "target"},
    {"tgt", "target"},
    {"tgt_lang", "target"},
    {"target_lang", "target"},
    {"target_language", "target"},
    {"candidate_labels", "labels"},
    {"classes", "labels"},
    {"ids", "tokens"},
    {"token_ids", "tokens"},
    {"input_ids", "tokens"},
    {"add_special_tokens", "add_special"},
    {"parse_special_tokens", "parse_special"},
    {"truncation", "truncate"},
    {"timeout", "timeout_ms"},
    {"output_attentions", "attention"},
    {"grammar", "constraint"},
    {"starts_with", "prefix"},
};

#define N_OTHERS ((int)(sizeof others / sizeof *others))

static int find(const char *name, const struct field *f, int n)
{
    for (int i = 0; i < n; i++)
        if (strcasecmp(f[i].name, name) == 0)
            return i;
    return -1;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int letter(char c)
{
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c == '-' ? '_' : c;
}

/* Letters that are left out, put in or changed, or neighbours that change
 * places, between a and b (the restricted Damerau-Levenshtein distance). Both
 * have less than MOST_NAME bytes. */
static int distance(const char *a, const char *b)
{
    int row[3][MOST_NAME + 1] = {{0}};
    int n = (int)strlen(b), i = 0;
    for (int j = 0; j <= n; j++)
        row[0][j] = j;
    for (; a[i]; i++) {
        int *now = row[(i + 1) % 3], *above = row[i % 3];
        const int *before = row[(i + 2) % 3];
        now[0] = i + 1;
        for (int j = 0; j < n; j++) {
            int x = letter(a[i]), y = letter(b[j]);
            now[j + 1] =
                least(above[j] + (x != y), least(above[j + 1], now[j]) + 1);
            if (i > 0 && j > 0 && x == letter(b[j - 1]) &&
                letter(a[i - 1]) == y)
                now[j + 1] = least(now[j + 1], before[j - 1] + 1);
        }
    }
    return row[i % 3][n];
}

/* The field that is spelled almost so, -1: none is, or none alone. */
static int nearest(const char *key, const struct field *f, int n)
{
    size_t len = strlen(key);
    int best = -1, best_d = len < 5 ? 2 : 3;
    if (len >= MOST_NAME)
        return -1;
    for (int i = 0; i < n; i++) {
        if (strlen(f[i].name) >= MOST_NAME)
            continue;
        int d = distance(key, f[i].name);
        best = d < best_d ? i : d == best_d ? -1 : best;
        best_d = least(d, best_d);
    }
    return best;
}

static int is_served(const struct field *f)
{
    return f->kind < FIELD_LATER;
}

void field_names_teach(const char *key, const struct field *f, int n,
                       struct buf *out)
{
    int i = -1;
    for (int k = 0; k < N_OTHERS && i < 0; k++)
        if (strcasecmp(others[k].theirs, key) == 0)
            i = find(others[k].ours, f, n);
    if (i >= 0 && is_served(&f[i])) {
        buf_addf(out, "unknown field: it is called \"%s\" here", f[i].name);
        return;
    }
    i = nearest(key, f, n);
    if (i >= 0 && is_served(&f[i])) {
        buf_addf(out, "unknown field: is \"%s\" meant?", f[i].name);
        return;
    }
    buf_add_str(out, "unknown field; there are ");
    const char *mark = "";
    for (i = 0; i < n; i++) {
        if (is_served(&f[i])) {
            buf_addf(out, "%s%s", mark, f[i].name);
            mark = ", ";
        }
    }
}
