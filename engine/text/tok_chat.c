/* tok_chat: the chat template of a checkpoint, for two things alone: that there
 * is one, so that the model was trained on turns and not on plain text, and
 * which tokens stand around a turn: those that the template's text names. A
 * template is a program (Jinja) and is not run.
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/base/utf8.h"
#include "engine/text/tokenizer_impl.h"

/* Control tokens, and added ones that are written like them: the others are
 * words and white space, which any text may hold. */
static int is_turn_like(const struct tokenizer *t, int32_t id)
{
    return (t->attr[id] & TOK_CONTROL) || strchr("<[", t->text[id][0]);
}

/* Of more tokens than there is room for the first are known: enough to tell a
 * chat from a plain text. */
static void add_turn(struct tokenizer *t, int32_t id)
{
    if (t->n_turn < TOK_MAX_TURN && is_turn_like(t, id) &&
        !tokenizer_is_turn(t, id))
        t->turn[t->n_turn++] = id;
}

static void read_text(struct tokenizer *t, const char *text, size_t n)
{
    struct tok_hit h = {0};

    if (!text || n == 0)
        return;
    t->has_chat = 1;
    if (t->added.n == 0 || !utf8_valid(text, n))
        return;
    /* Which tokens, not where: the white space before one is not looked at
     * from each of them. */
    while (
        tok_added_next(t, &t->added, text, n, h.resume, TOK_PARSE_SPECIAL, &h))
        add_turn(t, h.id);
}

static void read_json(struct tokenizer *t, const struct json *j)
{
    read_text(t, json_string(j), json_string_len(j));
}

void tok_chat_read(struct tokenizer *t, const struct tok_source *s)
{
    const struct json *j = json_get(s->setup, "chat_template");
    const char *text;
    size_t n;

    if (s->gguf && tok_gguf_string(s, "tokenizer.chat_template", &text, &n))
        read_text(t, text, n);
    read_text(t, s->chat, s->n_chat);
    read_json(t, j);
    if (!j || json_type(j) != JSON_ARRAY)
        return;
    for (j = json_child(j); j; j = json_next(j)) /* {"name", "template"} */
        read_json(t, json_get(j, "template"));
}

int tokenizer_has_chat(const struct tokenizer *t)
{
    return t->has_chat;
}

int tokenizer_is_turn(const struct tokenizer *t, int32_t id)
{
    for (int i = 0; i < t->n_turn; i++)
        if (t->turn[i] == id)
            return 1;
    return 0;
}
