#!/usr/bin/env python3
"""Train and score the lecture's small tasks.

    make lecture                    # or, of some of them:
    models/recipes/lecture.py --only dates,addition

From one text into another: letters to phonemes without attention and with,
dates, sums, captions of pictures by an LSTM, with attention, and by a
Transformer. Of recurrent cells beside each other (lecture_cells.py): adding,
copying, gradients, ptb-char, and, only where it is asked for, ptb. lecture.md
says what each is and how long it takes. What is done is kept: a second call
goes on where the first was stopped, and ends with the same files in --out:

  NAME/, NAME.json    the checkpoint, and its line of `seqd-train eval` on test
  lecture.md          a table of all that are there
  phonemes.svg        errors of phonemes by letters of the word, where both nets
                      are there
  captions.svg        BLEU by words of the source, where the three are there
  cells.txt           tables of the cells, in Markdown
  adding-T.svg, copying-T.svg, ptb-char.svg, gradients-*.svg  their errors, and
                      where gradients go (lecture_cells.py: which, how long it
                      takes and what of it is done, --list)

SPDX-License-Identifier: MIT"""
import argparse
import json
import os
import subprocess
import sys

import lecture_cells as cells

HERE = os.path.dirname(os.path.abspath(__file__))
RECURRENT = ["--arch", "seq2seq-rnn", "--cell", "lstm", "--bidirectional",
             "--schedule", "cosine", "--precision", "f32"]
CHARACTERS = [*RECURRENT, "--tokenizer", "characters", "--embedding", "32",
              "--hidden", "128", "--batch-tokens", "1024", "--lr", "0.003",
              "--max-len", "40", "--attention", "additive"]
PHONEMES = [*RECURRENT, "--tokenizer", "whitespace", "--embedding", "64",
            "--hidden", "256", "--batch-tokens", "2048", "--lr", "0.002",
            "--max-len", "40", "--dropout-embedding", "0.1",
            "--dropout-output", "0.2", "--epochs", "12"]
# Embeddings of an nn.LSTM's two sides are two matrices: half the entries make
# these nets as large as the Transformer, 2.3 to 2.4 million parameters
CAPTIONS = [*RECURRENT, "--tokenizer", "bpe:4000", "--embedding", "128",
            "--batch-tokens", "2048", "--lr", "0.003", "--max-len", "100",
            "--dropout-embedding", "0.3", "--dropout-output", "0.3",
            "--label-smoothing", "0.1", "--epochs", "25"]
# Wu et al. 2021 (arXiv 2105.14462), "Transformer-Tiny"
TINY = ["--arch", "seq2seq-transformer", "--tokenizer", "bpe:8000",
        "--embedding", "128", "--heads", "4", "--inner", "256", "--layers",
        "4", "--decoder-layers", "4", "--max-len", "100", "--context", "128",
        "--dropout", "0.3", "--dropout-embedding", "0.3",
        "--dropout-attention", "0.1", "--label-smoothing", "0.1",
        "--batch-tokens", "4096", "--optimizer", "adam", "--beta2", "0.98",
        "--lr", "0.005", "--schedule", "inverse-sqrt", "--warmup", "2000",
        "--epochs", "140", "--average", "last", "--average-last", "10"]
# name: what it is, its files, options, and what it has to reach on its test
TASKS = {
    "phonemes-none": ("letters to phonemes, without attention", "phonemes",
                      [*PHONEMES, "--attention", "none"], {}),
    "phonemes-attention": ("letters to phonemes, additive attention",
                           "phonemes",
                           [*PHONEMES, "--attention", "additive"], {}),
    "dates": ("dates to ISO 8601, additive attention", "dates",
              [*CHARACTERS, "--epochs", "10"], {"exact": 99.5}),
    "addition": ("sums, from their last digit, additive attention",
                 "addition-reversed", [*CHARACTERS, "--epochs", "30"],
                 {"exact": 99}),
    "captions-de-none": ("captions en-de, LSTM without attention",
                         "captions-de", [*CAPTIONS, "--hidden", "160",
                                         "--attention", "none"], {}),
    "captions-de-attention": ("captions en-de, LSTM, additive attention",
                              "captions-de", [*CAPTIONS, "--hidden", "192",
                                              "--attention", "additive",
                                              "--projection", "128", "--tie"],
                              {}),
    "captions-de-transformer": ("captions en-de, Transformer", "captions-de",
                                TINY, {"bleu": 38}),
    "captions-fr-transformer": ("captions en-fr, Transformer", "captions-fr",
                                TINY, {}),
}
# file: what draw_bleu.py draws there, a name and a task for each line
DRAWINGS = {
    "phonemes.svg": (("--errors", "--unit", "letters"),
                     (("without attention", "phonemes-none"),
                      ("with attention", "phonemes-attention"))),
    "captions.svg": ((), (("LSTM", "captions-de-none"),
                          ("LSTM with attention", "captions-de-attention"),
                          ("Transformer", "captions-de-transformer"))),
}


def run(*args, **more):
    print("+", *args, flush=True)
    return subprocess.run(args, check=True, **more)


def train(a, name):
    _, files, options, _ = TASKS[name]
    out = os.path.join(a.out, name)
    resume = os.path.exists(os.path.join(out, "state.bin"))
    run(a.train, "train", *options, "--threads", str(a.threads),
        "--data", os.path.join(a.data, files + ".train.tsv"),
        "--valid", os.path.join(a.data, files + ".valid.tsv"), "--out", out,
        *(["--max-minutes", a.max_minutes] if a.max_minutes else []),
        "--resume" if resume else "--overwrite")


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
    """The table; the names of those that are not as good as they have to be."""
    rows, short = [], []
    for name, x in scores.items():
        title, _, _, goal = TASKS[name]
        reached = {"exact": 100 * x["exact"], "bleu": x["bleu"]}
        short += [name for key, least in goal.items() if reached[key] < least]
        rows.append(f"| {title} | {x['sentences']} | {reached['exact']:.2f} | "
                    f"{100 - reached['exact']:.2f} | "
                    f"{100 * x['token_error_rate']:.2f} | {x['bleu']:.1f} | "
                    + ", ".join(f"{key} >= {least:g}"
                                for key, least in goal.items()) + " |")
    text = "\n".join(["| task | held out | exact, % | wrong, % | token errors, "
                      "% | BLEU | goal |", "|---|---|---|---|---|---|---|",
                      *rows])
    with open(path, "w") as f:
        f.write(text + "\n")
    print(text)
    return short


def draw(a, scores):
    for file, (options, lines) in DRAWINGS.items():
        if all(name in scores for _, name in lines):
            run(sys.executable, os.path.join(HERE, "draw_bleu.py"), *options,
                os.path.join(a.out, file),
                *(f"{title}={os.path.join(a.out, name)}.json"
                  for title, name in lines))


def prepare(a):
    for part, last in (("lecture", "addition-reversed"),
                       ("captions", "captions-fr")):
        if not os.path.exists(os.path.join(a.data, last + ".test.tsv")):
            run(sys.executable, os.path.join(HERE, "prepare.py"), "--data",
                a.shared, "--out", a.data, "--only", part)


def do(a, name, where):
    """One task; a training that explodes does not end the others."""
    try:
        if name in cells.TASKS:
            cells.do(a, name, where)
        elif not os.path.exists(os.path.join(a.out, name + ".json")):
            print(f"== {where}: {name}", flush=True)
            train(a, name)
            score(a, name)
    except subprocess.CalledProcessError as e:
        if e.returncode < 0:  # a signal: whoever stopped it means all of them
            raise
        print(f"== {name}: {e}", file=sys.stderr, flush=True)
        return False
    return True


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--shared", default="../shared/data")
    p.add_argument("--data", default="training/data")
    p.add_argument("--out", default="training/lecture")
    p.add_argument("--train", default="build/release/seqd-train")
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--max-minutes", help="of each training: for a try")
    p.add_argument("--only", default=",".join([*TASKS, *cells.USUAL]),
                   help="tasks, or groups: adding, adding-100, copying, "
                   "gradients, ptb-char, ptb")
    a = p.parse_args()
    names = []
    for word in a.only.split(","):
        found = [word] if word in TASKS else cells.names_of(word)
        if not found:
            p.error(f"no such task: {word}")
        names += [name for name in found if name not in names]
    os.makedirs(a.out, exist_ok=True)
    os.makedirs(a.data, exist_ok=True)
    if any(name in TASKS for name in names):
        prepare(a)
    failed = [name for k, name in enumerate(names, 1)
              if not do(a, name, f"{k} of {len(names)}")]
    cells.finish(a)
    scores = read_scores(a.out)
    short = []
    if scores:
        draw(a, scores)
        short = write_table(scores, os.path.join(a.out, "lecture.md"))
    if failed:
        sys.exit("lecture: failed: " + ", ".join(failed))
    if short:
        sys.exit("lecture: not as good as it has to be: " + ", ".join(short))


if __name__ == "__main__":
    main()
