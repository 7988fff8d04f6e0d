#!/usr/bin/env python3
"""Write tests/golden/tokenizer/: what Hugging Face tokenizers makes of texts.

    pip install tokenizers==0.23.3
    tests/golden/make_tokenizer_fixtures.py

  NAME/tokenizer.json   byte-level BPE with a small vocabulary, trained here on
                        sentences of ours, with the pre-tokenizer of a
                        published model
  NAME/cases.json       [text, ids with special tokens as plain text, ids with
                        them parsed, the same with the tokens around, the text
                        that the parsed ids decode to]
  pretok.json           the pieces that each chain of expressions of
                        engine/text/pretok/pretok_names.c cuts texts into, as byte
                        offsets; the chains are read from that file's compiler
                        output and given to the library one after the other;
                        and, as "regexes", the same of EXPRESSIONS:
                        [expression, behavior, invert, cuts, offsets of the
                        pieces that are dropped]

SPDX-License-Identifier: MIT"""
import json
import os
import random
import re
import subprocess
import unicodedata

import tokenizers
from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models,
                        normalizers, pre_tokenizers, processors, trainers)

VERSION = "0.23.3"
OUT = "tests/golden/tokenizer"
TEXT = """The daemon answers every question that a client asks, one after the other.
She doesn't know whether they'll come; he's sure that we've seen them, and I'd say so.
HTTP servers parse requests, tokenize the text, and hand the tokens to the engine.
In 2024 there were 365 days, 8760 hours and 525600 minutes; in 1999 as many.
Grüße aus Köln: Straße, Äpfel, Öl und Übermut. Ça va très bien à l'école, n'est-ce pas?
Привет, мир! Сколько стоит этот билет? Το ελληνικό αλφάβητο έχει γράμματα.
今日は天気がいいですね。東京の夜は明るい。中文文本没有空格，所以切分很难。한국어 문장입니다.
for (int i = 0; i < n; i++) { sum += a[i] * b[i]; }   // a comment
def tokenize(text):\n    return [token for token in text.split() if token]
x = y + z - w * (q / r) % 7; if (x != 0 && y <= 9) { return "yes"; } else { return 'no'; }
!!! ??? ... --- === >>> <<< ((( ))) [[[ ]]] {{{ }}} ### $$$ %%% ^^^ &&& *** ~~~
CamelCaseWords and snake_case_words and SCREAMING_CASE mix in sourceCode.
""".replace("\\n", "\n")
COMMON = list("  \t\n\r\n'.,!?()[]{}<>=+-*/\\|`~^$#@&%_\"012399aZqBé中文한ひカ"
              "\u0301\u3000\u00a0\u2028\x85٣²½Ⅷ'sS'tT'reRE'llLL'dDmMvVeEĲǅʰ"
              "！。、…“”ㄅㄱ﹏‘\u200d🙂\x01\x0b\u017fe\u0301가\u1100\u1161")


# Characters that Unicode 15 and 16 added or changed, and one that PCRE2 takes
# for white space.
YOUNG = ["\U0001fae8\U0001fa77 x\U0001fa77!", "\u1c89\u1c8a \ua7cb\ua7cc\ua7cd",
         "\U00010d50\U00010d70\U00010d71\U00010d51 \U00010d40\U00010d41",
         "a\u0897b \u31ef\u2ffd.", "\u4e2d\U0002ebf0\U0002ee5d\u3002",
         "\U0001171e\U00011f45\U00011f52", "x\u180ey \u180e\u180e z"]
# White space that goes on behind the end of a line, and that does not; marks
# that several scripts use.
MORE = ["a \n b\n\n", " \n\n\tb \t\n", "\ua000\u3001\ua4c6\u3002 \uac00\u3001"]
EXPRESSIONS = [  # (expression, behavior, invert)
    # tiktoken's cl100k_base and o200k_base
    (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+|"
     r" ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s", "isolated", 0),
    (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
     r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s+",
     "isolated", 0),
    (r"\w+|[^\w\s]+", "removed", 1),  # Whitespace
    (r"\W", "contiguous", 0),
    (r"\s+$|^\d+|.", "isolated", 0),
    (r"\s+$", "removed", 0),
    (r"\s++$", "removed", 0),
    (r" ?[^(\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+", "isolated", 0),
    (r"[[\p{P}-][\p{S}\-]+]+|[+--a-f]{2,}?", "isolated", 0),
    (r"\p{Han}+|[\p{Hiragana}\p{Katakana}]+|\P{Co}\p{M}*", "isolated", 0),
    (r"(?<=[a-z])[A-Z][a-z]*|(?<![0-9])\p{Nd}(?=[0-9])", "isolated", 0),
    (r"(?i)the|(?:o(?=f)|[k-s]+)?y", "isolated", 0),
    (r"(a|b){,2}c|x{3}|(?>s+)e|\x{1F642}|\x41|\u4e2d|\{|]|}|#", "removed", 0),
    (r"(?:\s){17,400}|\s{20}|\S{2}|\v|\t", "isolated", 0),
    (r"l{0003}|\s{1,1000}|\S{01,0000000003}|.{1024}", "isolated", 0),
    (r"[[a]-z]|[\d[e]-s]|[[\p{Lu}]-q-x]|[[b]--/]{2}", "isolated", 0),
    ("[\u200b-\u200d]+|\u200b|[\u2400-\u2fff]|[\U0002ebe0-\U0002ee5f]|[\ua7c0-\ua7ff]",
     "isolated", 0),
    (r"\p{Yi}|\p{Hangul}", "isolated", 0),
    (r"(\p{L}+|'){2,3}+", "contiguous", 0),
    (r"(?=(\d{3})+(?!\d))", "isolated", 0),  # SuperBPE
    (r"\s*|(?<=a)", "removed", 0),
    (r"x?|\p{M}*", "removed", 1),
    (r"[a-z]*?(?<=e)|'*", "contiguous", 0),
    (r"\p{Lt}|\p{Cf}|\p{So}|\p{Mc}", "isolated", 0),
]


def random_texts(rng, n):
    cats = {}
    for c in range(0x21, 0x20000):
        k = unicodedata.category(chr(c))
        if k not in ("Cs", "Cn", "Co"):
            cats.setdefault(k, []).append(chr(c))
    kinds = sorted(cats)
    out = []
    for _ in range(n):
        k, m = rng.random(), rng.randint(1, 12)
        if k < 0.6:
            s = "".join(rng.choice(COMMON) for _ in range(m))
        elif k < 0.8:
            s = "".join(rng.choice(cats[rng.choice(kinds)]) for _ in range(m))
        else:
            s = "".join(rng.choice(COMMON) * rng.randint(1, 4)
                        for _ in range(m))
        out.append(s)
    return out


def published_chains():
    """{first name: [expressions]} of pretok_names.c."""
    src = subprocess.run(
        ["gcc", "-E", "-P", "-I.", "engine/text/pretok/pretok_names.c"],
        check=True, capture_output=True, text=True).stdout

    def strings(text):
        parts = re.findall(r'"((?:[^"\\]|\\.)*)"', text)
        return "".join(
            p.encode().decode("unicode_escape").encode("latin-1").decode()
            if p.isascii() and "\\u" not in p and "\\U" not in p else
            re.sub(r"\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)",
                   lambda m: chr(int(m[1][1:], 16)) if m[1][0] in "uU"
                   and len(m[1]) > 1 else m[1], p) for p in parts)

    named = {m[1]: strings(m[2]) for m in re.finditer(
        r"static const char (\w+)\[\] =((?:\s*\"(?:[^\"\\]|\\.)*\")+)\s*;",
        src)}
    table = src[src.index("groups[] = {"):]
    table = table[:table.index("};")]
    chains = {}
    item = re.compile(r'((?:"(?:[^"\\]|\\.)*"\s*)+|\w+)')
    for m in re.finditer(
            r'\{\s*((?:"[^"]*"\s*)+),\s*[^{]*?\{((?:"(?:[^"\\]|\\.)*"|[^{}"])*)\}\s*\}',
            table):
        first = strings(m[1]).split()[0]
        chains[first] = [strings(x) if x.startswith('"') else named[x]
                         for x in item.findall(m[2])]
    return chains


def write_pretok():
    rng = random.Random(7)
    texts = ([s for s in TEXT.split("\n") if s] + random_texts(rng, 70) +
             YOUNG + MORE)
    groups = {}
    for name, chain in published_chains().items():
        hf = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(Regex(r), "isolated") for r in chain])
        cuts = []
        for t in texts:
            at, row = 0, []
            for piece, _ in hf.pre_tokenize_str(t):
                at += len(piece.encode())
                row.append(at)
            assert at == len(t.encode())
            cuts.append(row)
        groups[name] = cuts
    with open(OUT + "/pretok.json", "w") as f:
        json.dump({"texts": texts, "groups": groups,
                   "regexes": [regex_row(texts, *x) for x in EXPRESSIONS]},
                  f, separators=(",", ":"))
        f.write("\n")
    return len(groups)


def regex_row(texts, regex, behavior, invert):
    """As EXPRESSIONS has them. What the library removes it does not list: the
    pieces are those of "isolated", less those that "removed" keeps."""
    def pieces(how):
        hf = pre_tokenizers.Split(Regex(regex), how, bool(invert))
        return [[(len(t[:a].encode()), len(t[:b].encode()))
                 for _, (a, b) in hf.pre_tokenize_str(t)] for t in texts]
    every = pieces("isolated" if behavior == "removed" else behavior)
    kept = pieces(behavior)
    return [regex, behavior, bool(invert), [[b for _, b in x] for x in every],
            [[a for a, b in x if (a, b) not in k] for x, k in zip(every, kept)]]


def bytes_last(*first):
    byte = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence(list(first) + [byte])


def split(regex):
    return pre_tokenizers.Split(Regex(regex), "isolated")


def train(pre, special, normalizer=None, alphabet=None):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre
    t.decoder = decoders.ByteLevel()
    if normalizer:
        t.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=560, special_tokens=special, show_progress=False,
        initial_alphabet=alphabet or pre_tokenizers.ByteLevel.alphabet())
    t.train_from_iterator(TEXT.split("\n"), trainer)
    return t


def make_llama3(chains):
    t = train(bytes_last(split(chains["llama3"][0])),
              ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"])
    t.model.ignore_merges = True
    t.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(
            single="<|begin_of_text|> $A",
            pair="<|begin_of_text|> $A <|begin_of_text|> $B",
            special_tokens=[("<|begin_of_text|>", 0)])])
    return t


def make_qwen2(chains):
    t = train(bytes_last(split(chains["qwen2"][0])),
              ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
              normalizers.NFC())
    t.add_tokens([AddedToken("<tool_call>", normalized=False),
                  AddedToken("    ", normalized=False),
                  AddedToken("  ", normalized=False),
                  AddedToken("left", lstrip=True, normalized=False),
                  AddedToken("right", rstrip=True, normalized=False),
                  AddedToken("cat", single_word=True, normalized=False)])
    return t


def make_roberta(_):
    t = train(pre_tokenizers.ByteLevel(add_prefix_space=True),
              ["<s>", "<pad>", "</s>", "<unk>"])
    t.add_special_tokens([AddedToken("<mask>", lstrip=True,
                                     normalized=False)])
    t.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=True)
    return t


def make_falcon(_):
    t = train(pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(individual_digits=False),
        split("[0-9][0-9][0-9]")]), ["<|endoftext|>"])
    return t


def make_starcoder(_):
    return train(pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False)]),
        ["<|endoftext|>"])


def make_deepseek(chains):
    """With bytes that have no token: they are dropped, and what stands beside
    them may merge."""
    alphabet = [c for c in pre_tokenizers.ByteLevel.alphabet()
                if c not in "\u0100\u0101\u0102\u00c1"]
    return train(bytes_last(*[split(r) for r in chains["deepseek-v3"]]),
                 ["<|endoftext|>"], alphabet=alphabet)


def cases_of(t, texts):
    rows = []
    for s in texts:
        t.encode_special_tokens = True
        plain = t.encode(s, add_special_tokens=False).ids
        t.encode_special_tokens = False
        parsed = t.encode(s, add_special_tokens=False).ids
        around = t.encode(s).ids
        rows.append([s, plain, parsed, around, t.decode(parsed)])
    return rows


def main():
    assert tokenizers.__version__ == VERSION, tokenizers.__version__
    chains = published_chains()
    makers = {"llama3": make_llama3, "qwen2": make_qwen2,
              "roberta": make_roberta, "falcon": make_falcon,
              "starcoder": make_starcoder, "deepseek": make_deepseek}
    for name, make in makers.items():
        t = make(chains)
        rng = random.Random(name)
        special = [x.content for x in
                   t.get_added_tokens_decoder().values()]
        texts = [s for s in TEXT.split("\n") if s] + random_texts(rng, 40)
        for tok in special:
            texts += [tok, "a " + tok + "  b", "x" + tok + tok + "y",
                      " \n" + tok + "\n "]
        texts += ["a cat, concat cats cat", "cat", "!\x01! a\x01\x01b",
                  "e\u0301 \u1100\u1161\u11a8 A\u030a"]
        os.makedirs(f"{OUT}/{name}", exist_ok=True)
        t.save(f"{OUT}/{name}/tokenizer.json", pretty=False)
        with open(f"{OUT}/{name}/cases.json", "w") as f:
            json.dump(cases_of(t, texts), f, separators=(",", ":"))
            f.write("\n")
        print(name, t.get_vocab_size(), len(texts))
    print("pretok", write_pretok())


main()
