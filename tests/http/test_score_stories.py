#!/usr/bin/env python3
"""models/recipes/score_stories.py: stories counted by hand, and a run against a
bundled model. Prints cmocka's lines.

SPDX-License-Identifier: MIT
"""
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from harness import TOP  # noqa: E402

sys.path.insert(0, TOP + "/models/recipes")
import score_stories as stories  # noqa: E402

TIM = ('One day a boy named Tim saw a frog. Mom said, "Leave it, Tim!"\n'
       "The frog jumped. It was wet. The sun was hot. Birds sang. "
       "All was well. ")


def test_stories_hero_is_the_name_that_comes_first():
    assert stories.hero_of(TIM) == "Tim"
    assert stories.hero_of("There was a cat. It saw Bob, and Bob ran.") == "Bob"
    assert stories.hero_of("There was a cat. It saw Bob. It ran.") is None
    assert stories.hero_of("A girl called Mom for help. I ran.") is None


def test_stories_end_with_their_hero():
    assert stories.is_kept(TIM + "Tim slept. The end.", "Tim")
    assert stories.is_kept(TIM + "He slept. So it ended.", "Tim")
    assert not stories.is_kept(TIM + "Then he saw Lily. It rained.", "Tim")
    assert not stories.is_kept(TIM + "Rain fell. Rain is good.", "Tim")


def test_stories_counts():
    assert stories.repeated("a b c d e a b c d") == 1 - 5 / 6
    assert stories.repeated("A b, c") == 0
    assert stories.balances('"Yes," she said. "Go."\nShe ran.')
    assert not stories.balances('"Yes,\nno."')
    got = stories.figures([(TIM + "He slept.", True), ('So "it', True),
                           ("So it was.", False)])
    assert got["hero"] == got["kept"] == 1 and got["stories"] == 3, got
    assert got["ended"] == 1 / 3 and got["quotes"] == 2 / 3, got
    assert got["words"] == (len(TIM.split()) + 2 + 2 + 3) / 3, got


def test_stories_are_asked_of_a_server():
    with harness.Seqd("--model", "stories=" + TOP +
                      "/models/checkpoints/stories-gpt") as s, \
            tempfile.TemporaryDirectory() as folder:
        path = folder + "/unseen.txt"
        with open(path, "w") as f:
            f.write("\n\n".join([TIM + "He slept.", "A cat sat. It ran."]))
        run = subprocess.run(
            [TOP + "/models/recipes/score_stories.py", "--url", s.url,
             "--beginnings", path, "--n", "2", "--max-tokens", "60", "--keep",
             folder], stdout=subprocess.PIPE, timeout=60, text=True,
            check=True)
        with open(folder + "/likeliest.txt") as f:
            assert f.read().startswith("One day a boy named Tim saw a frog.")
    rows = [[x.strip() for x in line.split("|")][1:-1]
            for line in run.stdout.splitlines()[2:]]
    assert [x[0] for x in rows] == ["unseen", "likeliest", "drawn"], rows
    assert rows[0][1:] == ["2", "100", "18", "1 of 1", "100", "0.0"], rows
    assert all(0 < int(x[3]) < 80 for x in rows), rows


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
