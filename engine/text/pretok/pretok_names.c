/* pretok_names: what the values of tokenizer.ggml.pre stand for, after
 * llama.cpp's table (src/llama-vocab.cpp). Where its expression was rewritten
 * for its own engine, the one of the model's tokenizer.json stands here. These
 * expressions are known to take time linear in the text, but for three, which
 * are searched for in other words. Names whose pattern is not in the table are
 * refused: chameleon, kimi-k2, afmoe, superbpe, tiny_aya, cohere2moe and the
 * ones that do not merge bytes (gemma4, sarvam-moe, granite-embed-multi-311m,
 * whitespace).
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/text/pretok/pretok.h"

#define RX_CON "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define RX_LEAD "[^\\r\\n\\p{L}\\p{N}]"
#define RX_UP "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define RX_LOW "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define RX_BLOOM " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
#define RX_HAN_KANA "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
#define RX_HAN_CODER "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
#define RX_HANGUL "[\uac00-\ud7a3\u3131-\u318e]+"
#define RX_CJK_MARKS                                                           \
    "[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-"     \
    "\u303f\ufe30-\ufe4f]+"
#define RX_BOPOMOFO "[\u3105-\u312f]+"
#define RX_WIDE_PUNCT                                                          \
    "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
#define RX_MARKED_WORD "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
#define RX_HALVES                                                              \
    "\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|"          \
    "\\s{32}(?!\\S)|\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|"               \
    "\\s{1,2}(?!\\S)|\\s{1}"
/* DeepSeek LLM's letters with case, as they stand in its class. */
#define RX_CASED_LETTERS                                                       \
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf"         \
    "\u01c4-\u0293\u0295-\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d"         \
    "\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5"                \
    "\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5"        \
    "\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"        \
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d"        \
    "\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4"                \
    "\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3"               \
    "\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107"         \
    "\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d"          \
    "\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184"          \
    "\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d"         \
    "\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf"        \
    "\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a"                     \
    "\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb"          \
    "\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df"          \
    "\U0001e900-\U0001e943"

#define WS "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LETTERS(n)                                                             \
    RX_CON "|" RX_LEAD "?\\p{L}+|" n "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" WS
#define IN_HALVES(lines)                                                       \
    RX_CON "|" RX_LEAD                                                         \
           "?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" lines        \
           "|" RX_HALVES
#define PHRASES(words)                                                         \
    RX_CON "|" RX_LEAD "?" words "|\\p{N}| "                                   \
           "?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+"
#define CASED(con, n)                                                          \
    RX_LEAD "?" RX_UP "*" RX_LOW "+" con "|" RX_LEAD "?" RX_UP "+" RX_LOW      \
            "*" con "|" n "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" WS

static const char gpt2[] = PRE_BYTES;
static const char llama3[] = LETTERS("\\p{N}{1,3}");
static const char qwen2[] = LETTERS("\\p{N}");
static const char qwen35[] = RX_CON "|" RX_LEAD "?[\\p{L}\\p{M}]+|\\p{N}|"
                                    " ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" WS;
static const char deepseek3[] =
    RX_MARKED_WORD "|"
                   "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| "
                   "?[\\p{P}\\p{S}]+[\\r\\n]*|" WS;
static const char spark[] = RX_MARKED_WORD
    "|"
    "[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+|[\\r\\n]|"
    "\\s+(?!\\S)|\\s+";
static const char jais2[] = IN_HALVES("\\s*[\\r\\n]+");
static const char bailing[] =
    "'(?i:[sdmt]|ll|ve|re)|" RX_LEAD "?+\\p{L}+|\\p{N}|"
    " ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+";
static const char seed_coder[] =
    RX_CON "|" RX_LEAD "?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" WS;
static const char ufakzeka[] =
    RX_LEAD "?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" WS;
static const char minicpm5[] = LETTERS("\\p{N}+");
static const char exaone_moe[] =
    PHRASES("(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+");
static const char tekken[] = CASED("", "\\p{N}");
static const char gpt4o[] = CASED(RX_CON "?", "\\p{N}{1,3}");
static const char youtu_first[] =
    RX_HANGUL "|" RX_CJK_MARKS "|" RX_BOPOMOFO "|" RX_HAN_KANA;
static const char youtu[] = CASED(RX_CON "?", "\\p{N}");
static const char cased_letters[] = "\\s?[" RX_CASED_LETTERS "]+";

#define MAX_CHAIN 7

#define LLAMA3_FLAGS (PRE_IGNORE_MERGES | PRE_ADD_BOS)

/* Names, space between, of one chain. */
static const struct pre_group {
    const char *names;
    unsigned flags;
    const char *chain[MAX_CHAIN];
} groups[] = {
    {"gpt-2 mpt olmo jais phi-2 jina-es jina-de jina-v2-es jina-v2-de "
     "jina-v1-en jina-v2-code roberta-bpe gigachat a.x-4.0 mellum modern-bert "
     "exaone4 trillion granite-docling",
     0,
     {gpt2}},
    {"smollm starcoder refact command-r codeshell exaone minerva-7b mellum2",
     0,
     {"\\p{N}", gpt2}},
    {"llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 "
     "jina-v5-nano",
     LLAMA3_FLAGS,
     {llama3}},
    {"dbrx smaug-bpe glm4 chatglm-bpe", 0, {llama3}},
    {"jais-2", 0, {jais2}},
    {"qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan "
     "solar-open grok-2",
     0,
     {qwen2}},
    {"qwen35", 0, {qwen35}},
    {"laguna", 0, {"[^\\n]+|[\\n]+", qwen2}},
    {"ufakzeka", 0, {ufakzeka}},
    {"seed-coder", 0, {seed_coder}},
    {"minicpm5", PRE_IGNORE_MERGES, {"\\p{N}{1,3}", minicpm5}},
    {"bailingmoe bailingmoe2 llada-moe", 0, {bailing}},
    {"exaone-moe", 0, {exaone_moe}},
    {"deepseek-llm",
     0,
     {"[\\r\\n]", cased_letters, RX_WIDE_PUNCT, "\\s+$", RX_HAN_CODER,
      "\\p{N}+"}},
    {"deepseek-coder",
     0,
     {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", RX_HAN_CODER, "\\p{N}"}},
    {"deepseek-v3 hunyuan-dense joyai-llm hy_v4",
     0,
     {"\\p{N}{1,3}", RX_HAN_KANA, deepseek3}},
    {"spark2_5", 0, {"\\p{N}{1,3}", RX_HAN_KANA, spark, "\\p{N}"}},
    {"youtu", PRE_IGNORE_MERGES, {youtu_first, youtu}},
    {"falcon", 0, {"[\\p{P}\\$\\+<=>\\^~\\|`]+", gpt2, "[0-9][0-9][0-9]"}},
    {"default",
     0,
     {"[\\p{P}\\$\\+<=>\\^~\\|]+", gpt2, "\\p{N}+", "[0-9][0-9][0-9]"}},
    {"poro-chat bloom gpt3-finnish", 0, {RX_BLOOM}},
    {"viking", 0, {RX_BLOOM, "\\p{N}"}},
    {"tekken", LLAMA3_FLAGS, {tekken}},
    {"gpt-4o llama4 kanana2 talkie minimax-m2", 0, {gpt4o}},
    {"granite-embed-multi-97m", PRE_IGNORE_MERGES, {gpt4o}},
};

#define N_GROUPS (sizeof groups / sizeof groups[0])

static int is_named(const char *names, const char *name, size_t n)
{
    for (const char *p = names; *p; p += *p == ' ') {
        size_t len = strcspn(p, " ");
        if (len == n && memcmp(p, name, n) == 0)
            return 1;
        p += len;
    }
    return 0;
}

int pretok_named(struct pretok *p, const char *name, size_t n, unsigned *flags,
                 struct err *e)
{
    for (size_t i = 0; i < N_GROUPS; i++) {
        const struct pre_group *g = &groups[i];
        if (!is_named(g->names, name, n))
            continue;
        *flags = g->flags;
        for (int k = 0; k < MAX_CHAIN && g->chain[k]; k++)
            if (pretok_add(p, g->chain[k], strlen(g->chain[k]), PRE_ISOLATED,
                           e))
                return -1;
        return 0;
    }
    return err_set(e, ERR_UNSUPPORTED, "unknown name");
}

/* White space that does not reach the end of a line, or holds none, is looked
 * through once, not from each place in it; words are taken for good. */
static const char *const in_other_words[][2] = {
    {PRE_PUNCT, PRE_PUNCT},
    {"\\s+$", "(?<!\\s)\\s+$"},
    {"\\s++$", "(?<!\\s)\\s++$"},
    {jais2, IN_HALVES("(?<![^\\S\\r\\n])\\s*[\\r\\n]+")},
    {exaone_moe,
     PHRASES("\\p{L}[\\p{L}\\p{M}]*+(?: \\p{L}[\\p{L}\\p{M}]*+)*+")}};

const char *pretok_linear(const char *regex, size_t n)
{
    for (size_t i = 0; i < sizeof in_other_words / sizeof in_other_words[0];
         i++)
        if (strlen(in_other_words[i][0]) == n &&
            memcmp(in_other_words[i][0], regex, n) == 0)
            return in_other_words[i][1];
    for (size_t i = 0; i < N_GROUPS; i++)
        for (int k = 0; k < MAX_CHAIN && groups[i].chain[k]; k++)
            if (strlen(groups[i].chain[k]) == n &&
                memcmp(groups[i].chain[k], regex, n) == 0)
                return groups[i].chain[k];
    return NULL;
}

int pretok_all_named(int (*fn)(void *arg, const char *names), void *arg)
{
    for (size_t i = 0; i < N_GROUPS; i++) {
        int rc = fn(arg, groups[i].names);
        if (rc)
            return rc;
    }
    return 0;
}
