#!/usr/bin/env python3
"""Train and score the lecture's small tasks from one text into another.

    make lecture                    # or, of some of them:
    models/recipes/lecture.py --only dates,addition

Letters to phonemes without attention and with, dates, sums: lecture.md says
what each is and how long it takes. What is done is kept: a second call goes on
where the first was stopped, and ends with the same files in --out:

  NAME/, NAME.json    the checkpoint, and its line of `seqd-train eval` on test
  lecture.md          a table of all that are there
  phonemes.svg        errors of phonemes by letters of the word, where both nets
                      are there

SPDX-License-Identifier: MIT"""
import argparse
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
COMMON = ["--arch", "seq2seq-rnn", "--cell", "lstm", "--bidirectional",
          "--schedule", "cosine", "--precision", "f32"]
CHARACTERS = ["--tokenizer", "characters", "--embedding", "32", "--hidden",
              "128", "--batch-tokens", "1024", "--lr", "0.003", "--max-len",
              "40", "--attention", "additive"]
PHONEMES = ["--tokenizer", "whitespace", "--embedding", "64", "--hidden",
            "256", "--batch-tokens", "2048", "--lr", "0.002", "--max-len",
            "40", "--dropout-embedding", "0.1", "--dropout-output", "0.2",
            "--epochs", "12"]
# name: what it is, its files, options, share that has to be exact or None
TASKS = {
    "phonemes-none": ("letters to phonemes, without attention", "phonemes",
                      [*PHONEMES, "--attention", "none"], None),
    "phonemes-attention": ("letters to phonemes, additive attention",
                           "phonemes",
                           [*PHONEMES, "--attention", "additive"], None),
    "dates": ("dates to ISO 8601, additive attention", "dates",
              [*CHARACTERS, "--epochs", "10"], 0.995),
    "addition": ("sums, from their last digit, additive attention",
                 "addition-reversed", [*CHARACTERS, "--epochs", "30"], 0.99),
}


def run(*args, **more):
    print("+", *args, flush=True)
    return subprocess.run(args, check=True, **more)


def train(a, name):
    _, files, options, _ = TASKS[name]
    out = os.path.join(a.out, name)
    resume = os.path.exists(os.path.join(out, "state.bin"))
    run(a.train, "train", *COMMON, *options, "--threads", str(a.threads),
        "--data", os.path.join(a.data, files + ".train.tsv"),
        "--valid", os.path.join(a.data, files + ".valid.tsv"), "--out", out,
        *(["--max-minutes", a.max_minutes] if a.max_minutes else []),
        *(["--resume"] if resume else []))


def score(a, name):
    out = os.path.join(a.out, name)
    r = run(a.train, "eval", "--model", out, "--data",
            os.path.join(a.data, TASKS[name][1] + ".test.tsv"),
            stdout=subprocess.PIPE, text=True)
    with open(out + ".json.part", "w") as f:
        f.write(r.stdout)
    os.replace(out + ".json.part", out + ".json")


def read_scores(out):
    scores = {}
    for name in TASKS:
        path = os.path.join(out, name + ".json")
        if os.path.exists(path):
            with open(path) as f:
                scores[name] = json.load(f)
    return scores


def write_table(scores, path):
    """The table; whether all reached what they have to."""
    rows, good = [], True
    for name, x in scores.items():
        title, _, _, goal = TASKS[name]
        good &= goal is None or x["exact"] >= goal
        rows.append(f"| {title} | {x['sentences']} | {100 * x['exact']:.2f} | "
                    f"{100 * (1 - x['exact']):.2f} | "
                    f"{100 * x['token_error_rate']:.2f} | "
                    f"{'' if goal is None else f'>= {100 * goal:g}'} |")
    text = "\n".join(["| task | held out | exact, % | wrong, % | token errors, "
                      "% | exact, goal |", "|---|---|---|---|---|---|", *rows])
    with open(path, "w") as f:
        f.write(text + "\n")
    print(text)
    return good


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--shared", default="../shared/data")
    p.add_argument("--data", default="training/data")
    p.add_argument("--out", default="training/lecture")
    p.add_argument("--train", default="build/release/seqd-train")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--max-minutes", help="of each training: for a try")
    p.add_argument("--only", default=",".join(TASKS))
    a = p.parse_args()
    names = a.only.split(",")
    for name in names:
        if name not in TASKS:
            p.error(f"no such task: {name}")
    os.makedirs(a.out, exist_ok=True)
    if not os.path.exists(os.path.join(a.data, "addition-reversed.test.tsv")):
        run(sys.executable, os.path.join(HERE, "prepare.py"), "--data",
            a.shared, "--out", a.data, "--only", "lecture")
    for name in names:
        if not os.path.exists(os.path.join(a.out, name + ".json")):
            train(a, name)
            score(a, name)
    scores = read_scores(a.out)
    both = [f"{title}={os.path.join(a.out, name)}.json" for title, name in (
        ("without attention", "phonemes-none"),
        ("with attention", "phonemes-attention")) if name in scores]
    if len(both) == 2:
        run(sys.executable, os.path.join(HERE, "draw_bleu.py"), "--errors",
            "--unit", "letters", os.path.join(a.out, "phonemes.svg"), *both)
    if not write_table(scores, os.path.join(a.out, "lecture.md")):
        sys.exit("lecture: not all are as good as they have to be")


if __name__ == "__main__":
    main()
