#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Modified Kneser-Ney over the tokens of a sub-word model: a baseline for it.

    python3 models/recipes/kneser_ney_parts.py --model DIR \\
        --train talk.train.txt --train news.train.txt \\
        --test talk.test.txt --test news.test.txt
    python3 models/recipes/kneser_ney_parts.py --raw --train ptb.train.txt.gz \\
        --test ptb.test.txt          # the published figure is 141.2

An n-gram model of words has a closed vocabulary, so that its perplexity per
word is none beside that of a model that spells every word. Over the same tokens
(those of `seqd tokenize --model DIR`: nothing is unknown) the two are models of
the same texts, and both are given per token, per word (what stands between
white space, and the end of each line: `word_perplexity` of `seqd eval`) and in
bits per byte (of the text, with one for the end of each line).

The estimates are those of tests/golden/kneser_ney.py: interpolated, three
discounts for each order from its counts of counts, lower orders from the
number of different left contexts, the unigram interpolated with the uniform
distribution; a line is a text whose beginning is known. What differs is that
there are no tables: the n-grams of training and test texts are ranked together,
one order after the other, so that a count is found by its rank. Some 48 bytes
of memory for each token of all texts. --raw: words are what blanks separate, those of
the training texts are the vocabulary, with <unk>.

Prints one JSON line for each test file. Needs numpy, and build/release/seqd.
"""
import argparse
import gzip
import json
import math
import os
import subprocess
import sys
import tempfile

import numpy as np

BLOCK = 1 << 24
MARK = -1  # the end of a line, while ids are read


def log(*what):
    """Say how far it is."""
    print(*what, file=sys.stderr, flush=True)


def open_text(path):
    """A text file's bytes, packed or not."""
    return gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")


def lines_of(path):
    """The lines of a file that have something in them, as bytes."""
    with open_text(path) as f:
        for line in f:
            line = line.rstrip(b"\r\n")
            if line:
                yield line


# ------------------------------------------------------------------ tokens

def parse(block):
    """Ids of a block of lines, MARK for the end of each."""
    with_marks = block.replace(b"\n", b" %d " % MARK)
    return np.array(with_marks.split(), dtype=np.int32)


def model_ids(seqd, model, path):
    """The tokens of a file's lines, one array, MARK behind each line."""
    parts = []
    with tempfile.TemporaryFile() as text:
        for line in lines_of(path):
            text.write(line + b"\n")
        text.seek(0)
        run = subprocess.Popen([seqd, "tokenize", "--model", model],
                               stdin=text, stdout=subprocess.PIPE)
        rest = b""
        while True:
            block = run.stdout.read(BLOCK)
            if not block:
                break
            block = rest + block
            cut = block.rfind(b"\n") + 1
            rest = block[cut:]
            parts.append(parse(block[:cut]))
        if run.wait() != 0 or rest:
            raise SystemExit(f"{path}: seqd tokenize failed")
    return np.concatenate(parts)


def entries(model):
    """The size of a checkpoint's vocabulary, and the id that ends a text."""
    def read(name):
        path = os.path.join(model, name)
        if not os.path.exists(path):
            return {}
        with open(path, encoding="utf-8") as f:
            return json.load(f)
    tokens = read("tokenizer.json")
    end = (read("tokenizer_config.json").get("eos_token")
           or tokens.get("seqd", {}).get("eos"))
    for token in tokens["added_tokens"]:
        if token["content"] == end:
            return read("config.json")["vocab_size"], token["id"]
    raise SystemExit(f"{model}: no token ends a text")


def raw_ids(path, index, grow):
    """Words between blanks in the place of tokens."""
    ids = []
    for line in lines_of(path):
        words = line.decode().split()
        if not words:
            continue
        if grow:
            for word in words:
                index.setdefault(word, len(index))
        unknown = index.get("<unk>", 0)
        ids += [index.get(word, unknown) for word in words] + [MARK]
    return np.array(ids, dtype=np.int32)


def size_of(path):
    """Words and bytes of a file's lines, the end of each counted."""
    words = size = 0
    for line in lines_of(path):
        words += len(line.decode().split()) + 1
        size += len(line) + 1
    return words, size


# --------------------------------------------------------------- the texts

class Texts:
    """All texts behind each other: a beginning, the tokens, the end.

    ids [n]; since [n] how far a place is from its text's beginning (at most
    `order`); train: the first so many places are of training texts.
    """

    def __init__(self, parts, n_train, end, vocab, order):
        """parts: arrays with MARK behind each line, n_train of them to train
        on; end: the id that ends a text; vocab: entries, the end included."""
        self.vocab = vocab + 1
        start, pieces, bounds = vocab, [], [0]
        for part in parts:
            at = np.flatnonzero(part == MARK)
            ids = np.where(part == MARK, end, part)
            pieces.append(np.insert(ids, np.append(0, at[:-1] + 1), start))
            bounds.append(bounds[-1] + len(pieces[-1]))
        self.bounds = bounds
        self.train = bounds[n_train]
        self.ids = np.concatenate(pieces).astype(np.int32)
        n = len(self.ids)
        begin = np.flatnonzero(self.ids == start)
        self.since = np.full(n, order, dtype=np.int8)
        for k in range(order - 1, -1, -1):
            at = begin + k
            self.since[at[at < n]] = k
        # A short text is followed by the next one's beginning.
        self.since[begin] = 0

    def ends(self, k):
        """Places where a k-gram ends that has no more than one beginning, in
        front; a beginning itself is not predicted."""
        return self.since >= max(1, k - 1)


def rank(key):
    """The rank of each key among the different ones, and how many those are."""
    order = np.argsort(key)
    by_rank = key[order]
    new = np.empty(len(key), dtype=np.int32)
    new[0] = 0
    np.cumsum(by_rank[1:] != by_rank[:-1], out=new[1:])
    n = int(new[-1]) + 1
    ranks = np.empty(len(key), dtype=np.int32)
    ranks[order] = new
    return ranks, n


def next_rank(texts, ranks):
    """Ranks of the k-grams that end at each place, given those of (k-1)-grams
    (None: k is 1). Where a text has fewer tokens they mean nothing."""
    if ranks is None:
        return texts.ids, texts.vocab
    key = np.zeros(len(texts.ids), dtype=np.int64)
    key[1:] = ranks[:-1]
    key *= texts.vocab
    key += texts.ids
    return rank(key)


def first_of(ranks, n, where):
    """For each rank one place of `where` [a mask], or -1."""
    at = np.flatnonzero(where)
    first = np.full(n, -1, dtype=np.int32)
    first[ranks[at[::-1]]] = at[::-1]
    return first


def discounts(counts, scale):
    """Chen and Goodman's three, from the counts of counts."""
    n = [max(1, int((counts == k).sum())) for k in (1, 2, 3, 4)]
    y = n[0] / (n[0] + 2.0 * n[1])
    found = [k - (k + 1) * y * n[k] / n[k - 1] for k in (1, 2, 3)]
    return [min(max(d * scale, 0.01), 0.99 * k)
            for k, d in zip((1, 2, 3), found)]


class Model:
    """Scores the test texts order by order; p [places of the test texts]."""

    def __init__(self, texts, order, scale):
        self.texts, self.order, self.scale = texts, order, scale
        self.test = np.arange(texts.train, len(texts.ids))
        self.test = self.test[texts.since[self.test] > 0]
        self.p = np.full(len(self.test), 1.0 / (texts.vocab - 1))
        self.discount = []

    def count(self, k, ranks, n, longer):
        """How often each k-gram occurs in training, or for all but the highest
        order in how many left contexts: those that begin a text, which have
        none, as often as they occur."""
        where = self.texts.ends(k)
        where[self.texts.train:] = False
        if k == self.order:
            return np.bincount(ranks[where], minlength=n)
        once = np.zeros(len(where), dtype=bool)
        once[longer[longer >= 0]] = True
        starts = where & (self.texts.since == k - 1)
        once[starts] = False
        counts = np.bincount(ranks[once], minlength=n)
        if k > 1:
            counts += np.bincount(ranks[starts], minlength=n)
        return counts

    def mix(self, k, ranks, n, context, n_context, counts):
        """Lay order k over p; context: ranks of (k-1)-grams, None: none."""
        d = discounts(counts, self.scale)
        self.discount.append([round(x, 3) for x in d])
        table = np.array([0.0] + d)
        some = self.texts.since[self.test] >= max(1, k - 1)
        at = self.test[some]
        c = counts[ranks[at]]
        value = c - table[np.minimum(c, 3)]
        if k == 1:
            total, left = counts.sum(), table[np.minimum(counts, 3)].sum()
            self.p[some] = (value + left * self.p[some]) / total
            return
        seen = self.texts.ends(k)
        seen[self.texts.train:] = False
        first = first_of(ranks, n, seen)
        seen = np.flatnonzero((counts > 0) & (first >= 0))
        behind = context[first[seen] - 1]
        c = counts[seen]
        total = np.bincount(behind, weights=c, minlength=n_context)
        left = np.bincount(behind, weights=table[np.minimum(c, 3)],
                           minlength=n_context)
        before = context[at - 1]
        total, left = total[before], left[before]
        known = total > 0
        lower = self.p[some]
        self.p[some] = np.where(known, (value + left * lower) /
                                np.where(known, total, 1.0), lower)

    def run(self):
        """All orders; natural logarithms for the places of `test`."""
        context, n_context = None, 0
        ranks, n = next_rank(self.texts, None)
        for k in range(1, self.order + 1):
            above, n_above, longer = None, 0, None
            if k < self.order:
                above, n_above = next_rank(self.texts, ranks)
                where = self.texts.ends(k + 1)
                where[self.texts.train:] = False
                longer = first_of(above, n_above, where)
            counts = self.count(k, ranks, n, longer)
            self.mix(k, ranks, n, context, n_context, counts)
            log(f"order {k}: {int((counts > 0).sum())} n-grams")
            context, n_context, ranks, n = ranks, n, above, n_above
        return np.log(self.p)


def report(path, logs, words, size):
    """One JSON line."""
    nats, n = -float(logs.sum()), len(logs)
    print(json.dumps({
        "file": os.path.basename(path), "tokens": n, "nats": round(nats, 3),
        "perplexity": round(math.exp(nats / n), 4),
        "word_perplexity": round(math.exp(nats / words), 4),
        "bits_per_byte": round(nats / math.log(2) / size, 4)}), flush=True)


def main():
    """Read, count, score; print one JSON line a test file."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--train", action="append", required=True)
    parser.add_argument("--test", action="append", required=True)
    parser.add_argument("--model", help="checkpoint whose tokens these are")
    parser.add_argument("--raw", action="store_true",
                        help="words are what blanks separate")
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seqd", default="build/release/seqd")
    args = parser.parse_args()
    paths = args.train + args.test
    if args.raw:
        index = {}
        parts = [raw_ids(path, index, i < len(args.train))
                 for i, path in enumerate(paths)]
        end, vocab = len(index), len(index) + 1
    elif args.model:
        vocab, end = entries(args.model)
        parts = [model_ids(args.seqd, args.model, path) for path in paths]
    else:
        raise SystemExit("--model or --raw is missing")
    texts = Texts(parts, len(args.train), end, vocab, args.order)
    del parts
    log(f"{texts.train} places of training texts, "
        f"{len(texts.ids) - texts.train} of test texts")
    model = Model(texts, args.order, args.scale)
    logs = model.run()
    log("discounts", model.discount)
    for i, path in enumerate(args.test):
        first, last = texts.bounds[len(args.train) + i:][:2]
        some = (model.test >= first) & (model.test < last)
        report(path, logs[some], *size_of(path))
    return 0


if __name__ == "__main__":
    sys.exit(main())
