#!/usr/bin/env python3
"""models/recipes/score_sentiment.py: figures counted by hand, and a run against
a bundled model. Prints cmocka's lines.

SPDX-License-Identifier: MIT
"""
import json
import math
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from harness import TOP  # noqa: E402

sys.path.insert(0, TOP + "/models/recipes")
import score_sentiment  # noqa: E402

PAIRS = TOP + "/tests/golden/lecture/pairs.txt"


def near(a, b):
    return abs(a - b) < 1e-9


def row(negative, neutral, positive):
    return {"negative": negative, "neutral": neutral, "positive": positive}


def test_score_sentiment_figures():
    own = ["negative", "negative", "positive", "positive", "neutral"]
    shares = [row(0.7, 0.2, 0.1), row(0.1, 0.2, 0.7), row(0.1, 0.2, 0.7),
              row(0.05, 0.05, 0.9), row(0.1, 0.5, 0.4)]
    got = score_sentiment.figures(own, shares)
    assert near(got["accuracy"], 4 / 5), got
    # precisions 1, 2/3, 1 and recalls 1/2, 1, 1
    assert near(got["macro_f1"], (2 / 3 + 4 / 5 + 1) / 3), got
    assert near(got["macro_recall"], 2.5 / 3), got
    assert near(got["nll"], -(2 * math.log(0.7) + math.log(0.1) +
                              math.log(0.9) + math.log(0.5)) / 5), got
    # bins of 1/15: three of 0.7 with two right, one of 0.9 and of 0.5, right
    assert near(got["ece"], (abs(2 - 2.1) + 0.1 + 0.5) / 5), got


def test_score_sentiment_error_by_chance():
    # one text: its hit is 1 or 0, off by 1 - p or p: 2 p (1 - p) in the mean
    assert abs(score_sentiment.by_chance([0.6]) - 0.48) < 0.05
    assert near(score_sentiment.by_chance([1.0, 1.0]), 0)
    many = score_sentiment.by_chance([0.6] * 10000)
    assert 0.002 < many < 0.006, many


def test_score_sentiment_takes_the_labels_that_a_file_has():
    got = score_sentiment.figures(["positive", "positive"],
                                  [row(0.1, 0.2, 0.7), row(0.5, 0.2, 0.3)])
    assert near(got["macro_f1"], 2 / 3) and near(got["macro_recall"], 0.5), got


def scored(server, *args):
    r = subprocess.run(
        [sys.executable, TOP + "/models/recipes/score_sentiment.py", "--url",
         server.url, "--model", "sentiment-lstm", *args], check=False,
        capture_output=True, text=True, timeout=300)
    assert r.returncode == 0, r.stderr
    return r


def test_score_sentiment_asks_a_server():
    with harness.Seqd() as server, tempfile.NamedTemporaryFile(
            "w", suffix=".tsv") as f:
        f.write("positive\tA wonderful film.\n0 A terrible film.\n"
                "positive\tAn awful, boring film.\n")
        f.flush()
        r = scored(server, f.name, "--pairs", PAIRS, "--wrong", "1")
        got, pairs = map(json.loads, r.stdout.splitlines())
        assert got["labels"] == 2 and got["items"] == 3, got
        assert near(got["accuracy"], 2 / 3), got
        assert "positive: An awful, boring film." in r.stderr, r.stderr
        assert pairs["pairs"] == 20 and pairs["right"] >= 15, pairs
        table = scored(server, f.name, "--table").stdout.splitlines()
        assert table[2].startswith(f"| {os.path.basename(f.name)} | 2 | 3 | "
                                   "66.7 |"), table


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
