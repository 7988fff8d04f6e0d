/* pretok_names: what the values of tokenizer.ggml.pre stand for, after
 * llama.cpp's table (src/llama-vocab.cpp). Where its expression was rewritten
 * for its own engine, the one of the model's tokenizer.json stands here. Names
 * whose pattern nobody has written a scanner for are not in the table, and are
 * refused: chameleon, kimi-k2, afmoe, superbpe, tiny_aya, cohere2moe and the
 * ones that do not merge bytes (gemma4, sarvam-moe, granite-embed-multi-311m,
 * whitespace).
 *
 * SPDX-License-Identifier: MIT */
#include <string.h>

#include "engine/text/pretok/pretok.h"
#include "engine/text/pretok/pretok_regex.h"

#define WS "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LETTERS(n)                                                             \
    RX_CON "|" RX_LEAD "?\\p{L}+|" n "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" WS
#define CASED(con, n)                                                          \
    RX_LEAD "?" RX_UP "*" RX_LOW "+" con "|" RX_LEAD "?" RX_UP "+" RX_LOW      \
            "*" con "|" n "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" WS

static const char gpt2[] = RX_BYTES;
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
static const char jais2[] =
    RX_CON "|" RX_LEAD "?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
           "\\s*[\\r\\n]+|" RX_HALVES;
static const char bailing[] =
    "'(?i:[sdmt]|ll|ve|re)|" RX_LEAD "?+\\p{L}+|\\p{N}|"
    " ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+";
static const char seed_coder[] =
    RX_CON "|" RX_LEAD "?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|" WS;
static const char ufakzeka[] =
    RX_LEAD "?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" WS;
static const char minicpm5[] = LETTERS("\\p{N}+");
static const char exaone_moe[] =
    RX_CON "|" RX_LEAD "?(?:\\p{L}\\p{M}*(?: \\p{L}\\p{M}*)*)+|\\p{N}|"
           " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]?|\\s*[\\r\\n]|\\s+(?!\\S)|\\s+";
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

int pretok_named(struct pretok *p, const char *name, size_t n, unsigned *flags)
{
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        const struct pre_group *g = &groups[i];
        if (!is_named(g->names, name, n))
            continue;
        *flags = g->flags;
        memset(p, 0, sizeof *p);
        for (int k = 0; k < MAX_CHAIN && g->chain[k]; k++)
            if (pretok_add(p, g->chain[k], strlen(g->chain[k]), PRE_ISOLATED))
                return -1;
        return 0;
    }
    return -1;
}

int pretok_all_named(int (*fn)(void *arg, const char *names), void *arg)
{
    for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
        int rc = fn(arg, groups[i].names);
        if (rc)
            return rc;
    }
    return 0;
}
