#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Accuracy of a sentiment model through HTTP, on `label text` lines.

    python3 models/recipes/score_sentiment.py --url http://127.0.0.1:8080 \\
        ../shared/data/sst/stsa.binary.test.txt

Sends the lines in batches to POST /sentiment and compares the answer with the
label: 1 or "positive" against 0 or "negative". One JSON line a file.
Standard library only.
"""
import argparse
import json
import urllib.request


def labels(url, model, texts):
    """The model's label for each text."""
    body = {"input": texts}
    if model:
        body["model"] = model
    request = urllib.request.Request(
        url + "/sentiment", json.dumps(body).encode(),
        {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        return [item["label"] for item in json.load(reply)["data"]]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", default="")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    names = {"0": "negative", "1": "positive"}
    for path in args.files:
        with open(path, encoding="utf-8", newline="\n") as f:
            pairs = [line.rstrip("\n").split(" ", 1) for line in f
                     if line.strip()]
        right = 0
        for i in range(0, len(pairs), args.batch):
            part = pairs[i:i + args.batch]
            got = labels(args.url, args.model, [text for _, text in part])
            right += sum(g == names[gold]
                         for g, (gold, _) in zip(got, part))
        print(json.dumps({"file": path.rsplit("/", 1)[-1],
                          "items": len(pairs), "right": right,
                          "accuracy": right / len(pairs)}))


if __name__ == "__main__":
    main()
