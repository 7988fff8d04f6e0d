#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Label sentences with models that a running seqd serves (self-training).

    python3 models/recipes/pseudo_label.py --url http://127.0.0.1:8080 \\
        --models t1,t2,t3 --sure 0.9 --out training/data/pseudo.txt \\
        training/data/imdb.sents.txt training/data/imdb.unsup.sents.txt

Each sentence is sent to each model; the mean of their log-odds is the
teacher's opinion. A line "label text" keeps its place only when the teacher
agrees with its label; a line without a label takes the teacher's. Sentences
the teacher is less than --sure about, with more than a fifth of unknown words
or built like the lecture's pairs are left out, and both labels are cut to the
same number. --most bounds the output. Standard library only.
"""
import argparse
import json
import math
import random
import re
import sys
import urllib.request

TEMPLATE = re.compile(r"\bnot [\w'-]+ at all\b", re.I)


def log_odds(url, model, texts):
    """(log-odds of positive, unknown words) for each text."""
    request = urllib.request.Request(
        url + "/sentiment",
        json.dumps({"model": model, "input": texts}).encode(),
        {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        items = json.load(reply)["data"]
    out = []
    for item in items:
        p = {s["label"]: s["score"] for s in item["scores"]}
        pos, neg = max(p["positive"], 1e-9), max(p["negative"], 1e-9)
        out.append((math.log(pos / neg), item["unknown"]))
    return out


def read(path):
    """(label or None, text) of each line."""
    with open(path, encoding="utf-8", newline="\n") as f:
        for line in f:
            line = line.rstrip("\n")
            if line[:2] in ("0 ", "1 "):
                yield line[0], line[2:]
            elif line:
                yield None, line


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--models", required=True)
    parser.add_argument("--sure", type=float, default=0.9)
    parser.add_argument("--most", type=int, default=400000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", required=True)
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    lines = [line for path in args.files for line in read(path)
             if not TEMPLATE.search(line[1])]
    random.Random(args.seed).shuffle(lines)
    models = args.models.split(",")
    need = math.log(args.sure / (1 - args.sure))
    kept = {"0": [], "1": []}
    for i in range(0, len(lines), 256):
        part = lines[i:i + 256]
        texts = [text for _, text in part]
        answers = [log_odds(args.url, m, texts) for m in models]
        for k, (label, text) in enumerate(part):
            score = sum(a[k][0] for a in answers) / len(models)
            unknown = answers[0][k][1]
            mine = "1" if score > 0 else "0"
            if (abs(score) >= need and unknown * 5 <= len(text.split()) and
                    label in (None, mine)):
                kept[mine].append(text)
        if i % (256 * 100) == 0:
            print("%d/%d: %d negative, %d positive" %
                  (i, len(lines), len(kept["0"]), len(kept["1"])),
                  file=sys.stderr)
        if min(map(len, kept.values())) >= args.most // 2:
            break
    n = min(len(kept["0"]), len(kept["1"]), args.most // 2)
    rows = ["%s %s" % (label, text) for label in kept
            for text in kept[label][:n]]
    random.Random(args.seed).shuffle(rows)
    with open(args.out, "w", encoding="utf-8", newline="\n") as f:
        f.write("".join(row + "\n" for row in rows))
    print(json.dumps({"read": len(lines), "written": len(rows)}))


if __name__ == "__main__":
    main()
