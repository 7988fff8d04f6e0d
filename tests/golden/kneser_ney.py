#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Interpolated modified Kneser-Ney 5-gram: the baseline of the word models.

    python3 tests/golden/kneser_ney.py --vocab-size 10000 \\
        --train books.train.txt --train stories.train.txt --test books.test.txt
    python3 tests/golden/kneser_ney.py --raw --train ptb.train.txt.gz \\
        --test ptb.test.txt          # the published figure is 141.2

Chen and Goodman 1998: three discounts for each order, estimated from the
counts of counts (or --scale to change them), lower orders from the number of
different left contexts, the unigram interpolated with the uniform
distribution over the vocabulary. A line is a paragraph: `</s>` is predicted
at its end, its beginning is known to be one. A word outside the vocabulary is
`<unk>` in training and in test, and is scored like any other word.

Prints one JSON line: {"tokens", "nats", "perplexity", "unk_share", ...}.
Needs numpy. --vocab reads a vocabulary (one word a line) in place of
counting one; --vocab-out writes it.
"""
import argparse
import collections
import gzip
import json
import re
import sys

import numpy as np

BOS, UNK, EOS = 0, 1, 2
QUOTES = str.maketrans({
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"',
    "\u2013": "-", "\u2014": "--", "\u2026": "..."})
SPECIAL = {"-lrb-": "(", "-rrb-": ")", "``": '"', "''": '"'}
ABBREVIATIONS = {"mr", "mrs", "ms", "dr", "st", "vs", "jr", "sr", "etc"}
TOKEN = re.compile(
    r"\.{2,}|-{2,}|``|''"
    r"|'(?:s|m|d|ll|re|ve|em)(?![^\W_])"
    r"|[0-9]+(?:[.,][0-9]+)+"
    r"|(?:[^\W_0-9]\.){2,}"
    r"|[^\W_]+(?:['&-][^\W_]+)*"
    r"|\S")
CLITIC = re.compile(r"^(.+?)('(?:s|m|d|ll|re|ve))$")


def split_chunk(chunk):
    """Tokens of one run of non-blank characters, already in lower case."""
    if chunk in SPECIAL:
        return [SPECIAL[chunk]]
    out = []
    for token in TOKEN.findall(chunk):
        clitic = CLITIC.match(token)
        if token in SPECIAL:
            out.append(SPECIAL[token])
        elif token.startswith(".."):
            out.append("...")
        elif token.startswith("--"):
            out.append("--")
        elif token == "." and out and out[-1] in ABBREVIATIONS:
            out[-1] += "."
        elif len(token) > 3 and token.endswith("n't"):
            out += [token[:-3], "n't"]
        elif clitic:
            out += [clitic.group(1), clitic.group(2)]
        else:
            out.append(token)
    return out


def split_words(text, cache={}):
    """Words of a text as the "english" tokenizer cuts them."""
    out = []
    for chunk in text.translate(QUOTES).lower().split():
        if chunk not in cache:
            cache[chunk] = split_chunk(chunk)
        out += cache[chunk]
    return out


def read_paragraphs(paths, raw):
    """Lists of words, one per line of the files."""
    for path in paths:
        opener = gzip.open if path.endswith(".gz") else open
        with opener(path, "rt", encoding="utf-8", newline="\n") as f:
            for line in f:
                words = line.split() if raw else split_words(line)
                if words:
                    yield words


def encode(paragraphs, index, order):
    """One array of ids: order-1 marks of beginning, words, the end."""
    ids = []
    for words in paragraphs:
        ids += [BOS] * (order - 1)
        ids += [index.get(word, UNK) for word in words]
        ids.append(EOS)
    return np.array([BOS] * (order - 1) + ids, dtype=np.int64)


class Level:
    """One order of the model: sorted keys with their discounted counts."""

    def __init__(self, keys, counts, vocab, scale):
        """keys: n-grams as integers, sorted; counts: one for each."""
        n = [max(1, int((counts == k).sum())) for k in (1, 2, 3, 4)]
        y = n[0] / (n[0] + 2.0 * n[1])
        found = [k - (k + 1) * y * n[k] / n[k - 1] for k in (1, 2, 3)]
        self.discount = [min(max(d * scale, 0.01), 0.99 * k)
                         for k, d in zip((1, 2, 3), found)]
        table = np.array([0.0] + self.discount)
        self.keys, self.vocab = keys, vocab
        self.value = counts - table[np.minimum(counts, 3)]
        context = keys // vocab
        self.contexts, start = np.unique(context, return_index=True)
        self.total = np.add.reduceat(counts, start).astype(float)
        self.left = np.add.reduceat(table[np.minimum(counts, 3)], start)

    def mix(self, keys, lower):
        """Probability of each n-gram, given that of its shorter history."""
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        value = np.where(self.keys[at] == keys, self.value[at], 0.0)
        context = keys // self.vocab
        at = np.minimum(np.searchsorted(self.contexts, context),
                        len(self.contexts) - 1)
        known = self.contexts[at] == context
        total = np.where(known, self.total[at], 1.0)
        left = np.where(known, self.left[at], 1.0)
        return (value + left * lower) / total


class Model:
    """Tables of all orders; a key of order n is its last n ids, packed.

    Five ids of 14 bits do not fit into 64 bits together with a sign, so the
    keys of order n are the rank of their first n-1 ids among the keys of
    order n-1 (`parents`), and the last id.
    """

    def __init__(self, ids, vocab, order, scale):
        self.vocab, self.order = vocab, order
        self.parents, self.levels = [], []
        n = len(ids)
        rank = np.zeros(n, dtype=np.int64)
        keys_at = []
        for k in range(1, order + 1):
            key = self.key_at(ids, rank, k)
            every = np.unique(key[k - 1:])
            keys_at.append(key)
            self.parents.append(every)
            rank = np.zeros(n, dtype=np.int64)
            rank[k - 1:] = np.searchsorted(every, key[k - 1:])
        for k in range(1, order + 1):
            where = self.ends(ids, k)
            key = keys_at[k - 1]
            if k < order:
                inner = where[ids[where - k + 1] != BOS]
                first = np.unique(keys_at[k][inner], return_index=True)[1]
                starts = where[ids[where - k + 1] == BOS]
                where = np.concatenate([inner[first], starts])
            keys, counts = np.unique(key[where], return_counts=True)
            self.levels.append(Level(keys, counts, vocab, scale))

    def ends(self, ids, k):
        """Where the k-grams end that have a beginning in front at most.

        An n-gram that starts with the beginning of a paragraph has no left
        context to count: its count is how often it occurs, at every order.
        """
        where = np.arange(self.order - 1, len(ids))
        where = where[ids[where] != BOS]
        return where if k == 1 else where[ids[where - k + 2] != BOS]

    def key_at(self, ids, rank, k):
        """The key of the k-gram that ends at each position."""
        key = np.full(len(ids), -1, dtype=np.int64)
        if k == 1:
            return ids.copy()
        key[k - 1:] = rank[k - 2:-1] * self.vocab + ids[k - 1:]
        return key

    def score(self, ids):
        """Natural-log probability of each id that is not a beginning."""
        n = len(ids)
        where = np.arange(self.order - 1, n)
        where = where[ids[where] != BOS]
        p = np.full(len(where), 1.0 / (self.vocab - 1))
        rank = np.zeros(n, dtype=np.int64)
        for k in range(1, self.order + 1):
            key = np.full(n, -1, dtype=np.int64)
            if k == 1:
                key = ids.copy()
            else:
                key[k - 1:] = np.where(rank[k - 2:-1] >= 0,
                                       rank[k - 2:-1] * self.vocab
                                       + ids[k - 1:], -1)
            some = np.isin(where, self.ends(ids, k))
            p[some] = self.levels[k - 1].mix(key[where[some]], p[some])
            every = self.parents[k - 1]
            at = np.minimum(np.searchsorted(every, key), len(every) - 1)
            rank = np.where(every[at] == key, at, -1)
        return np.log(p), ids[where]


def main():
    """Count, estimate, score; print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", action="append", required=True)
    parser.add_argument("--test", required=True)
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--vocab")
    parser.add_argument("--vocab-out")
    parser.add_argument("--vocab-size", type=int, default=10000)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--raw", action="store_true",
                        help="words are what blanks separate")
    args = parser.parse_args()
    train = list(read_paragraphs(args.train, args.raw))
    if args.vocab:
        with open(args.vocab, encoding="utf-8") as f:
            words = [line.rstrip("\n") for line in f]
    else:
        count = collections.Counter(w for words in train for w in words)
        ranked = sorted(count.items(), key=lambda item: (-item[1], item[0]))
        words = [word for word, _ in ranked[:args.vocab_size]]
    special = ("<s>", "<unk>", "</s>")
    words = [w for w in words if w not in special and w != "<pad>"]
    if args.vocab_out:
        with open(args.vocab_out, "w", encoding="utf-8") as f:
            f.write("".join(word + "\n" for word in words))
    index = {word: i for i, word in enumerate(special)}
    for word in words:
        index[word] = len(index)
    ids = encode(train, index, args.order)
    model = Model(ids, len(index), args.order, args.scale)
    test = list(read_paragraphs([args.test], args.raw))
    logs, scored = model.score(encode(test, index, args.order))
    nats = -float(logs.sum())
    print(json.dumps({
        "tokens": len(logs), "nats": round(nats, 3),
        "perplexity": round(float(np.exp(nats / len(logs))), 3),
        "unk_share": round(float((scored == UNK).mean()), 5),
        "vocabulary": len(words), "train_tokens": int((ids > 0).sum()),
        "discounts": [[round(d, 3) for d in level.discount]
                      for level in model.levels]}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
