#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The table of a model of next words: how well it knows texts, beside an n-gram
model of the same training texts, and what it is worth to somebody who types.

    python3 models/recipes/words_table.py --seqd build/release/seqd \\
        --dir DIR --kneser-ney kneser-ney.txt --url http://127.0.0.1:8080 \\
        --model next-word-lstm --fifty models/recipes/fifty.txt \\
        talk.test.txt news.test.txt

Perplexity per word and bits per byte are those of `seqd eval` on DIR, a line a
text; the n-gram model's those that kneser_ney_parts.py printed (a JSON line a
file); `top1`, `top3`, `saved` and the fifty beginnings are counted as
score_words.py says, through HTTP. Prints Markdown. Standard library only."""
import argparse
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import score_words  # noqa: E402


def known(path):
    """The rows of a file of JSON lines by the name of the file they are of."""
    if not path:
        return {}
    with open(path, encoding="utf-8") as f:
        rows = [json.loads(line) for line in f if line.startswith("{")]
    return {os.path.basename(row["file"]): row for row in rows}


def evaluated(a, path):
    """What `seqd eval` says of a file."""
    run = subprocess.run([a.seqd, "eval", "--model", a.dir, "--data", path],
                         check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(run.stdout)


def row(a, path, baseline, server):
    """One line of the table."""
    name = os.path.basename(path)
    own = evaluated(a, path)
    other = baseline.get(name)
    typed = score_words.score_file(server, path, a)
    # a closed vocabulary has unknown words, and no figure in bytes
    own_words = own.get("word_perplexity", own["perplexity"])
    bits = own.get("bits_per_byte")
    cells = [name.split(".")[0], f"{own_words:.1f}", "", "",
             f"{bits:.3f}" if bits else "", "",
             *(f"{100 * typed[x]:.1f}" for x in ("top1", "top3", "saved"))]
    if other:
        cells[2] = f"{other['word_perplexity']:.1f}"
        cells[3] = f"{100 * (own_words / other['word_perplexity'] - 1):+.0f} %"
        cells[5] = f"{other['bits_per_byte']:.3f}"
    return "| " + " | ".join(cells) + " |"


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--url", default="http://127.0.0.1:8080")
    p.add_argument("--model", default="")
    p.add_argument("--dir", required=True, help="the checkpoint's folder")
    p.add_argument("--seqd", default="build/release/seqd")
    p.add_argument("--kneser-ney")
    p.add_argument("--fifty")
    p.add_argument("--words", type=int, default=2000)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("files", nargs="+")
    a = p.parse_args()
    a.fold, a.verbose = False, False
    server = score_words.Server(a.url, a.model, a.batch)
    baseline = known(a.kneser_ney)
    print("| text | perplexity per word | Kneser-Ney | | bits per byte | "
          "Kneser-Ney | first, % | among 3, % | keystrokes saved, % |\n"
          "|---|---|---|---|---|---|---|---|---|")
    for path in a.files:
        print(row(a, path, baseline, server), flush=True)
    if a.fifty:
        got = score_words.score_fifty(server, a.fifty, a)
        print(f"\nOf the {got['items']} beginnings of "
              f"{os.path.basename(a.fifty)}, {got['right']} have an accepted "
              "word among five.")


if __name__ == "__main__":
    main()
