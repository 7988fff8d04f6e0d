/* hint: see hint.h.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api/hint.h"

static const char chat[] =
    "the model ended at once: it was trained on chats and expects the marks of "
    "its chat template around a prompt, and this prompt has none of them "
    "(/generate takes a text as it is and reads no control tokens in it); the "
    "beginning of a text to go on with works better than a question";

/* 1 when the item has a token of the template. A begin token is the
 * tokenizer's, whatever else it marks. */
static int has_turn(const struct request *r, const struct item *it)
{
    const struct tokenizer *t = model_tokenizer(r->model);
    const int32_t *id = r->ids + it->first;

    for (int i = 0; i < it->n; i++)
        if (tokenizer_is_turn(t, id[i]) && (i > 0 || id[i] != tokenizer_bos(t)))
            return 1;
    return 0;
}

void hint_write(const struct request *r, const struct item *it,
                const struct generate_result *res, struct buf *out)
{
    if (res->finish != FINISH_STOP || res->n_tokens > 0 ||
        !tokenizer_has_chat(model_tokenizer(r->model)) || has_turn(r, it))
        return;
    buf_add_str(out, ",\"hint\":\"");
    buf_add_str(out, chat);
    buf_add_char(out, '"');
}
