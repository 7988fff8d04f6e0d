#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Score sentiment models through HTTP, as the tables of their cards have it.

    python3 models/recipes/score_sentiment.py --url http://127.0.0.1:8080 \\
        --model sentiment-lstm training/data/tweets.test.tsv \\
        training/data/imdb.test.tsv:2 --pairs tests/golden/lecture/pairs.txt

A file has LABEL TAB TEXT in each line, or LABEL BLANK TEXT, and lines that begin
with # in between; labels may be 0 and 1 (negative, positive). With :2 behind its
name the model has the choice of negative and positive alone (`labels` of POST
/sentiment); a file without a neutral line is asked so, too. One JSON line a file:

  accuracy          share of the texts with their label
  macro_f1          mean over the labels that the file has, of F1
  macro_recall      mean of the recalls, TweetEval's figure
  nll               -mean log of the share that the text's own label has
  ece               expected calibration error (Guo et al. 2017): 15 bins of
                    equal width of the first label's share
  ece_by_chance     what a model would have on so many texts whose shares are
                    right: the mean of 100 draws of hits by them
  pairs             --pairs, of positive TAB negative: pairs of which both
                    halves are right, negative and positive alone to choose of

--table prints Markdown in place of JSON. --wrong N prints the N most certain
errors of each file to standard error. Standard library only.
"""
import argparse
import json
import math
import os
import random
import sys
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

NAMES = ("negative", "neutral", "positive")
TWO = ["negative", "positive"]
WORDS = {"0": "negative", "1": "positive"}
BINS = 15
DRAWS = 100


def post(a, texts, labels):
    """Shares by label for each text."""
    body = {"input": texts}
    if a.model:
        body["model"] = a.model
    if a.truncate:
        body["truncate"] = True
    if labels:
        body["labels"] = labels
    request = urllib.request.Request(
        a.url + "/sentiment", json.dumps(body).encode(),
        {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=600) as reply:
            return [{s["label"]: s["score"] for s in item["scores"]}
                    for item in json.load(reply)["data"]]
    except urllib.error.HTTPError as e:
        sys.exit(f"{a.url}: {e}: {e.read().decode()[:500]}")


def ask(a, texts, labels):
    """As post(), of any number of texts; those of a length go together."""
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    parts = [order[i:i + a.batch] for i in range(0, len(order), a.batch)]
    answers = [None] * len(texts)
    with ThreadPoolExecutor(4) as pool:
        for part, got in zip(parts, pool.map(
                lambda p: post(a, [texts[i] for i in p], labels), parts)):
            for i, shares in zip(part, got):
                answers[i] = shares
    return answers


def read(path):
    """(label, text) of a file's lines."""
    with open(path, encoding="utf-8", newline="\n") as f:
        for line in f.read().split("\n"):
            if line and not line.startswith("#"):
                label, _, text = line.partition("\t" if "\t" in line else " ")
                label = WORDS.get(label, label)
                if label not in NAMES:
                    sys.exit(f"{path}: {label!r} is no label")
                yield label, text


def calibration_error(hits):
    """Of (share of the first label, whether it is the text's own)."""
    bins = [[0, 0.0] for _ in range(BINS)]
    for share, hit in hits:
        b = bins[min(int(share * BINS), BINS - 1)]
        b[0] += hit
        b[1] += share
    return sum(abs(right - p) for right, p in bins) / len(hits)


def by_chance(first):
    """The same where hits are drawn by the shares themselves."""
    rng = random.Random(1)
    return sum(calibration_error([(x, rng.random() < x) for x in first])
               for _ in range(DRAWS)) / DRAWS


def figures(own, shares):
    """The figures of one file; own: the labels, shares: those answered."""
    first = [max(s, key=s.get) for s in shares]
    certain = [s[name] for name, s in zip(first, shares)]
    hits = [x == y for x, y in zip(own, first)]
    f1, recall = [], []
    for name in sorted(set(own)):
        hit = sum(x == y == name for x, y in zip(own, first))
        f1.append(2 * hit / (own.count(name) + first.count(name)))
        recall.append(hit / own.count(name))
    return {"items": len(own), "accuracy": sum(hits) / len(own),
            "macro_f1": sum(f1) / len(f1),
            "macro_recall": sum(recall) / len(recall),
            "nll": -sum(math.log(max(s[x], 1e-9))
                        for x, s in zip(own, shares)) / len(own),
            "ece": calibration_error(list(zip(certain, hits))),
            "ece_by_chance": by_chance(certain)}


def score(a, path):
    """The figures of a file of texts."""
    path, _, two = path.partition(":")
    rows = list(read(path))
    own = [label for label, _ in rows]
    labels = TWO if two == "2" or "neutral" not in own else None
    if labels:
        rows = [x for x in rows if x[0] != "neutral"]
        own = [label for label, _ in rows]
    shares = ask(a, [text for _, text in rows], labels)
    wrong = sorted((s[label], label, text)
                   for (label, text), s in zip(rows, shares)
                   if max(s, key=s.get) != label)
    for share, label, text in wrong[:a.wrong]:
        print(f"{share:.4f} {label}: {text[:200]}", file=sys.stderr)
    return {"file": os.path.basename(path), "labels": 2 if labels else 3,
            **figures(own, shares)}


def score_pairs(a, path):
    """How many pairs have both halves right."""
    with open(path, encoding="utf-8") as f:
        pairs = [line.rstrip("\n").split("\t") for line in f
                 if line.strip() and not line.startswith("#")]
    shares = ask(a, [x for pair in pairs for x in pair], TWO)
    right = 0
    for i, pair in enumerate(pairs):
        good, bad = shares[2 * i], shares[2 * i + 1]
        ok = (good["positive"] > good["negative"] and
              bad["negative"] > bad["positive"])
        right += ok
        if not ok and a.wrong:
            print(f"{good['positive']:.4f} {bad['positive']:.4f} "
                  f"{pair[0]} | {pair[1]}", file=sys.stderr)
    return {"file": os.path.basename(path), "pairs": len(pairs),
            "right": right}


def show(a, row):
    """One row: JSON, or of a Markdown table."""
    if not a.table:
        print(json.dumps(row), flush=True)
    elif "pairs" in row:
        print(f"| {row['file']} | pairs | {row['pairs']} | "
              f"{row['right']} right | | | | |", flush=True)
    else:
        print(f"| {row['file']} | {row['labels']} | {row['items']:,} | "
              f"{100 * row['accuracy']:.1f} | {100 * row['macro_f1']:.1f} | "
              f"{100 * row['macro_recall']:.1f} | {100 * row['ece']:.1f} | "
              f"{100 * row['ece_by_chance']:.1f} |",
              flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--url", default="http://127.0.0.1:8080")
    p.add_argument("--model", default="")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--truncate", action="store_true",
                   help="cut what is too long for the model")
    p.add_argument("--pairs", action="append", default=[])
    p.add_argument("--table", action="store_true")
    p.add_argument("--wrong", type=int, default=0)
    p.add_argument("files", nargs="*")
    a = p.parse_args()
    if a.table:
        print("| texts | labels | items | accuracy | macro-F1 | macro recall | "
              "calibration error | by chance alone |\n"
              "|---|---|---|---|---|---|---|---|")
    for path in a.files:
        show(a, score(a, path))
    for path in a.pairs:
        show(a, score_pairs(a, path))


if __name__ == "__main__":
    main()
