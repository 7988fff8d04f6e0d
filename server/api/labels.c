/* labels: see labels.h. The words are those of the checkpoints that people
 * publish for sentiment.
 *
 * SPDX-License-Identifier: MIT */
#include "server/api/labels.h"

#include <string.h>
#include <strings.h>

#include "engine/run/task/classify.h"

static const char *const words[] = {
    "negative", "neutral", "positive", "neg",  "neu",      "pos",  "mixed",
    "bad",      "fair",    "good",     "poor", "so so",    "okay", "great",
    "terrible", "awful",   "happy",    "sad",  "excellent"};

/* Behind "very", "not" and the like, too. */
static const char *const before[] = {"very",     "extremely", "slightly",
                                     "somewhat", "mostly",    "not"};

static int is_word(const char *s)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcasecmp(words[i], s) == 0)
            return 1;
    return 0;
}

/* "1 star", "5 stars", "LABEL_0", "label-2" */
static int is_number(const char *s)
{
    size_t n = strspn(s, "0123456789");
    if (n > 0)
        return strcasecmp(s + n, " star") == 0 ||
               strcasecmp(s + n, " stars") == 0;
    return strncasecmp(s, "label", 5) == 0 && (s[5] == '_' || s[5] == '-') &&
           s[6] && strspn(s + 6, "0123456789") == strlen(s + 6);
}

static int is_sentiment(const char *s)
{
    for (size_t i = 0; i < sizeof before / sizeof *before; i++) {
        size_t n = strlen(before[i]);
        if (strncasecmp(s, before[i], n) == 0 && s[n] && strchr(" _-", s[n]))
            return is_word(s + n + 1);
    }
    return is_word(s) || is_number(s);
}

int labels_are_sentiments(const struct model *m)
{
    const struct model_info *info = model_get_info(m);
    if (!model_can(m, &task_classify))
        return 0;
    for (int i = 0; i < info->cols[OUT_CLASS]; i++)
        if (!is_sentiment(info->labels[i]))
            return 0;
    return 1;
}
