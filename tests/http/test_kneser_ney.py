#!/usr/bin/env python3
"""models/recipes/kneser_ney_parts.py: it scores words as the baseline of
tests/golden does, which gives the published figure; the tokens of a model are
those that `seqd eval` scores. Prints cmocka's lines; needs numpy.

SPDX-License-Identifier: MIT
"""
import json
import math
import os
import random
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from harness import SEQD, Skip, TOP  # noqa: E402

PARTS = TOP + "/models/recipes/kneser_ney_parts.py"
WORDS = TOP + "/tests/golden/kneser_ney.py"
TOLERANCE = 1e-6  # of sums in doubles that are printed with three decimals


def run(*args):
    try:
        import numpy  # noqa: F401
    except ImportError as e:
        raise Skip("no numpy") from e
    out = subprocess.run([sys.executable, *args], stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, timeout=60, check=True)
    return [json.loads(line) for line in out.stdout.splitlines()]


def write(folder, name, seed, n):
    """Lines of a few words, some short, some empty."""
    rng = random.Random(seed)
    path = f"{folder}/{name}"
    with open(path, "w") as f:
        for _ in range(n):
            words = [rng.choice("the a cat dog old man sat on in <unk>".split())
                     for _ in range(rng.choice([0, 1, 2, 5, 9]))]
            f.write(" ".join(words) + "\n")
    return path


def test_parts_score_words_as_the_baseline_does():
    with tempfile.TemporaryDirectory() as folder:
        train = [write(folder, f"train{i}", i, 80) for i in range(2)]
        tests = [write(folder, f"test{i}", 7 + i, 20) for i in range(2)]
        of_train = [a for path in train for a in ("--train", path)]
        of_tests = [a for path in tests for a in ("--test", path)]
        for order in "1", "2", "5":
            got = run(PARTS, "--raw", "--order", order, *of_train, *of_tests)
            assert [g["file"] for g in got] == ["test0", "test1"], got
            for path, figures in zip(tests, got):
                want = run(WORDS, "--raw", "--order", order, *of_train,
                           "--test", path)[0]
                assert figures["tokens"] == want["tokens"], (figures, want)
                assert abs(figures["nats"] - want["nats"]) < \
                    TOLERANCE * want["nats"] + 1e-3, (figures, want)
                assert figures["word_perplexity"] == figures["perplexity"]


def test_parts_are_the_tokens_that_eval_scores():
    model = TOP + "/models/checkpoints/next-word-lstm"
    with tempfile.TemporaryDirectory() as folder:
        text = write(folder, "text", 3, 30)
        got = run(PARTS, "--model", model, "--seqd", SEQD, "--train", text,
                  "--test", text)[0]
        of_eval = json.loads(subprocess.run(
            [SEQD, "eval", "--model", model, "--data", text, "--record",
             "line"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            timeout=60, check=True).stdout)
        with open(text) as f:
            size = sum(len(line) for line in f if line.strip())
    assert got["tokens"] == of_eval["tokens"], (got, of_eval)
    for figures in got, of_eval:  # printed with four decimals
        bits = figures["nats"] / math.log(2)
        assert abs(figures["bits_per_byte"] - bits / size) < 1e-4, figures



if __name__ == "__main__":
    sys.exit(harness.main(globals()))
