#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Let teachers that a running seqd serves label texts, for a student to learn
from (Hinton et al. 2015): a share for each label in place of one label.

    python3 models/recipes/distil.py --url http://127.0.0.1:8080 \\
        --teachers t1,t2:0.5 --gold 0.4 --out training/data/soft.tsv \\
        training/data/films.train.tsv training/data/unlabelled-sentences.txt

The teachers' log-probabilities are averaged by their weights and made shares
again. A line LABEL TAB TEXT gets --gold of its share from its own label, and
is left out where that leaves it less than --least: such labels are mostly
wrong. A line without a label has the teachers' shares alone. --most takes so
many lines of a file at random. Texts longer than a teacher's context are cut
there. Standard library only.
"""
import argparse
import json
import math
import random
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

NAMES = ("negative", "neutral", "positive")
AT_ONCE = 64


def ask(url, model, texts):
    """Log-probabilities of NAMES for each text."""
    request = urllib.request.Request(
        url + "/sentiment",
        json.dumps({"model": model, "input": texts,
                    "truncate": True}).encode(),
        {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        items = json.load(reply)["data"]
    rows = []
    for item in items:
        p = {s["label"]: s["score"] for s in item["scores"]}
        rows.append([math.log(max(p[name], 1e-6)) for name in NAMES])
    return rows


def shares(rows, weights):
    """The weighted mean of log-probabilities as shares."""
    total = sum(weights)
    mean = [sum(w * row[k] for w, row in zip(weights, rows)) / total
            for k in range(len(NAMES))]
    top = max(mean)
    exp = [math.exp(x - top) for x in mean]
    return [x / sum(exp) for x in exp]


def read(path, most, rng):
    """(label or None, text) of a file's lines, in their order."""
    with open(path, encoding="utf-8", newline="\n") as f:
        lines = [x for x in f.read().split("\n") if x]
    if most and len(lines) > most:
        keep = sorted(rng.sample(range(len(lines)), most))
        lines = [lines[i] for i in keep]
    rows = []
    for line in lines:
        label, tab, text = line.partition("\t")
        rows.append((label, text) if tab and label in NAMES else (None, line))
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--teachers", required=True)
    parser.add_argument("--gold", type=float, default=0.4)
    parser.add_argument("--least", type=float, default=0.0)
    parser.add_argument("--most", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", required=True)
    parser.add_argument("files", nargs="+")
    a = parser.parse_args()
    names, weights = [], []
    for part in a.teachers.split(","):
        name, _, weight = part.partition(":")
        names.append(name)
        weights.append(float(weight or 1))
    rng = random.Random(a.seed)
    rows = [x for path in a.files for x in read(path, a.most, rng)]
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][1]))
    parts = [order[i:i + AT_ONCE] for i in range(0, len(order), AT_ONCE)]
    rng.shuffle(parts)  # the time left is told from those done
    lines, dropped, start = [None] * len(rows), 0, time.time()

    def label(part):
        texts = [rows[i][1] for i in part]
        answers = [ask(a.url, name, texts) for name in names]
        return [shares(x, weights) for x in zip(*answers)]

    with ThreadPoolExecutor(4) as pool:
        for done, (part, some) in enumerate(zip(parts,
                                                pool.map(label, parts)), 1):
            for i, share in zip(part, some):
                own, text = rows[i]
                if own is not None:
                    share = [(1 - a.gold) * x + a.gold * (own == name)
                             for x, name in zip(share, NAMES)]
                    if share[NAMES.index(own)] < a.least:
                        dropped += 1
                        continue
                lines[i] = ",".join(f"{x:.4f}" for x in share) + "\t" + text
            if done % 200 == 0 or done == len(parts):
                spent = time.time() - start
                print(f"{done} of {len(parts)} batches, "
                      f"{spent / done * (len(parts) - done):.0f} s left",
                      file=sys.stderr, flush=True)
    lines = [x for x in lines if x is not None]
    with open(a.out, "w", encoding="utf-8", newline="\n") as f:
        f.writelines(x + "\n" for x in lines)
    print(f"{a.out}: {len(lines)} lines, {dropped} left out")


if __name__ == "__main__":
    main()
