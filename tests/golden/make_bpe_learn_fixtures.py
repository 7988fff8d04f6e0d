#!/usr/bin/env python3
"""Write tests/golden/bpe_learn/: what a byte-level BPE trainer has to learn from
a text of ours.

    pip install tokenizers==0.22.2
    tests/golden/make_bpe_learn_fixtures.py

  text.txt        lines to learn from, made here
  tokenizer.json  as Hugging Face tokenizers saves what the plainest of learners
                  finds: it counts all pairs anew for each merge, and of those
                  that stand most often takes the one that is greater as bytes.
                  (The library's own trainer takes the one with the least ids.)
  cases.json      [text, ids of the text alone, ids with the tokens around, what
                  the latter decode to], by the library with that file

SPDX-License-Identifier: MIT"""
import collections
import json
import os
import random

import tokenizers
from tokenizers import (AddedToken, Tokenizer, decoders, models,
                        pre_tokenizers, processors)

VERSION = "0.22.2"
OUT = "tests/golden/bpe_learn"
SIZE = 640
SPECIAL = ["</s>", "<pad>", ">>fr<<", ">>de<<"]
WORDS = {
    "en": "the a river house keeper opens closes old gate garden winter morning "
          "children never always sing sings singing sang slowly towards their "
          "neighbours they're don't it's I'd we've unhappily unhappy happy",
    "de": "der die das Fluß Haus Wärter öffnet schließt alte Tür Gärten Winter "
          "morgens Kinder niemals immer singen gesungen langsam über ihre "
          "Nachbarn größer größte übermütig Straßenbahn Straßen",
    "fr": "le la les rivière maison gardien ouvre ferme vieille porte jardin "
          "hiver matin enfants jamais toujours chantent chanté lentement vers "
          "leurs voisins l'école d'été où être même garçon",
    "odd": "aaaa aaaaaaa banananana abcabcabc xyxyxyx 0000 100000 1999 2024 "
           "3.1415 🙂🙂 🙃 çççç “quoted” -- ... !!! 今日は 天気 привет",
}
CASES = [
    "the old gatekeeper's children", " leading space", "  two", "trailing  ",
    "Größere Straßenbahnen über den Flüssen", "Où est l'école d'été ?",
    "naïve café — Ångström", "🙂🙃🙂 emoji 👩‍👩‍👧", "1000000 3.14159 1,999",
    "tab\tand\nline\r\nfeeds\n\n\nend", "nul\0 bell\a escape\x1b[0m \x7f",
    "今日は天気がいい", "привет, мир", "aaaaaaaaaaaaaaaa", "bananananananan",
    "abcabcabcabcab", "xyxyxyxyxyxy", "don't they're IT'S we'VE", "\u00a0\u2003x",
    "e\u0301 é \u0301", "<pad> is no word", "a</s>b", ">>fr<< the house",
    ">>de<<the house", ">>xx<< the house", "", " ", "\u0120 \u010a",
]


def make_text():
    r = random.Random(11)
    lines = []
    for i in range(260):
        kind = list(WORDS)[i % 4]
        words = WORDS[kind].split()
        line = " ".join(r.choices(words, k=r.randint(3, 12)))
        lines.append(line + r.choice([".", "!", "?", "", " .", "..."]))
    return lines


def learn(lines, alphabet):
    """Merges as pairs of texts, entries in order."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    byte = {c: b for b, c in alphabet.items()}
    words = collections.Counter()
    for line in lines:
        for piece, _ in split.pre_tokenize_str(line):
            words[tuple(piece)] += 1
    entries = SPECIAL + sorted(byte)
    merges = []
    while len(entries) < SIZE:
        pairs = collections.Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        best = max(pairs, key=lambda p: (pairs[p], *(
            bytes(byte[c] for c in part) for part in p)))
        if pairs[best] < 2:
            break
        merges.append(best)
        if "".join(best) not in entries:
            entries.append("".join(best))
        words = collections.Counter(
            {joined(w, best): n for w, n in words.items()})
    return entries, merges


def joined(word, pair):
    out = []
    i = 0
    while i < len(word):
        if word[i:i + 2] == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def bytes_to_alphabet():
    """GPT-2's alphabet (Radford et al. 2019, encoder.py)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain},
            **{b: chr(256 + i) for i, b in enumerate(rest)}}


def main():
    assert tokenizers.__version__ == VERSION, tokenizers.__version__
    os.makedirs(OUT, exist_ok=True)
    lines = make_text()
    with open(OUT + "/text.txt", "w", encoding="utf-8", newline="\n") as f:
        f.writelines(line + "\n" for line in lines)
    entries, merges = learn(lines, bytes_to_alphabet())
    print(len(entries), "entries,", len(merges), "merges")
    t = Tokenizer(models.BPE({e: i for i, e in enumerate(entries)}, merges))
    t.add_special_tokens([AddedToken(s, special=True, normalized=False)
                          for s in SPECIAL])
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.TemplateProcessing(
        single="</s> $A", pair="</s> $A $B:1", special_tokens=[("</s>", 0)])
    t.save(OUT + "/tokenizer.json", pretty=False)
    rows = []
    for text in CASES:
        ids = t.encode(text).ids
        rows.append([text, t.encode(text, add_special_tokens=False).ids, ids,
                     t.decode(ids)])
    with open(OUT + "/cases.json", "w", encoding="utf-8") as f:
        f.write("[" + ",\n".join(json.dumps(r) for r in rows) + "]\n")


if __name__ == "__main__":
    main()
