#!/usr/bin/env python3
"""models/recipes/score_words.py: keys counted by hand, and a run against a
bundled model. Prints cmocka's lines.

SPDX-License-Identifier: MIT
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from harness import TOP  # noqa: E402

sys.path.insert(0, TOP + "/models/recipes")
import score_words  # noqa: E402

FIFTY = TOP + "/models/recipes/fifty.txt"
OFFERED = {("", ""): ["See", "I", "You"], ("See ", "y"): ["your", "yes", "you"],
           ("See you ", "late"): ["later"],
           ("See you later, don't ", ""): ["WORRY", "cry", "worry"]}


class Offers:
    """A server that offers what a table says."""

    def words(self, asked, shown):
        assert shown == 3
        return [OFFERED.get(place, []) for place in asked]


def figures(text, *, fold):
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as f:
        f.write(text)
        f.flush()
        args = argparse.Namespace(words=100, seed=1, fold=fold)
        return score_words.score_file(Offers(), f.name, args)


def test_score_words_counts_keys():
    got = figures("See you later, don't worry\n\n", fold=False)
    # See and its space 1, you and its space 1 + 1; later 4 + 1, which is what
    # it has; the comma and the space, don't and its space; worry 1
    keys = 1 + 2 + 5 + 2 + 6 + 1
    assert got["characters"] == 26 and got["keys"] == keys, got
    assert got["words"] == 5 and got["lines"] == 1, got
    assert got["saved"] == round(1 - keys / 26, 4), got
    assert got["top1"] == 0.2 and got["top3"] == 0.4, got
    folded = figures("See you later, don't worry\n", fold=True)
    assert folded["top1"] == 0.4 and folded["keys"] == keys, folded


def test_score_words_cuts_long_lines():
    got = figures("word " * 70 + "\n" + "\u2026\n", fold=False)
    assert got["words"] == 60 and got["characters"] == 60 * 5 - 1, got
    assert got["keys"] == got["characters"] and got["saved"] == 0, got


def test_score_words_asks_a_server():
    with harness.Seqd("--model", "words=" + TOP +
                      "/models/checkpoints/next-word-lstm") as s:
        with open(s.path + "text", "w") as f:
            f.write("once upon a time there was a little girl\n" * 3)
        run = subprocess.run(
            [TOP + "/models/recipes/score_words.py", "--url", s.url, "--fifty",
             FIFTY, "--batch", "7", "-v", s.path + "text"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
            text=True, check=True)
    text, fifty = map(json.loads, run.stdout.splitlines())
    assert text["words"] == 27 and text["characters"] == 3 * 40, text
    assert text["saved"] > 0.5 and text["top3"] >= text["top1"] > 0.2, text
    assert fifty["items"] == 50 and 10 < fifty["right"] < 50, fifty
    assert len(run.stderr.splitlines()) == 50 - fifty["right"], run.stderr


def test_words_table_stands_beside_an_n_gram_model():
    words = TOP + "/models/checkpoints/next-word-lstm"
    with harness.Seqd("--model", "words=" + words) as s:
        with open(s.path + "tales.test.txt", "w") as f:
            f.write("once upon a time there was a little girl\n" * 3)
        with open(s.path + "baseline", "w") as f:
            json.dump({"file": "tales.test.txt", "word_perplexity": 1000.0,
                       "bits_per_byte": 9.5}, f)
        run = subprocess.run(
            [sys.executable, TOP + "/models/recipes/words_table.py", "--url",
             s.url, "--dir", words, "--seqd", harness.SEQD, "--kneser-ney",
             s.path + "baseline", "--fifty", FIFTY, s.path + "tales.test.txt"],
            stdout=subprocess.PIPE, timeout=60, text=True, check=True)
    cells = [x.strip() for x in run.stdout.splitlines()[2].split("|")][1:-1]
    assert cells[0] == "tales" and cells[2] == "1000.0", cells
    own, less = float(cells[1]), float(cells[3].split()[0])
    assert 1 < own < 500 and abs(less - (own / 10 - 100)) <= 0.5, cells
    assert cells[5] == "9.500", cells
    assert all(0 < float(x) <= 100 for x in cells[6:]), cells
    assert "Of the 50 beginnings of fifty.txt, " in run.stdout, run.stdout


def test_fifty_beginnings_have_words():
    with open(FIFTY, encoding="utf-8") as f:
        rows = [line.rstrip("\n") for line in f if not line.startswith("#")]
    assert len(rows) == len(set(rows)) == 50
    for row in rows:
        text, words = row.split("\t")
        assert text == text.strip() and " " in text, row
        words = words.split(",")
        assert len(set(words)) == len(words) and all(
            score_words.WORD.fullmatch(w) and w == w.casefold()
            for w in words), row


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
