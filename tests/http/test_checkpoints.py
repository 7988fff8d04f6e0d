#!/usr/bin/env python3
"""models/recipes/checkpoints.py: its stages are those of what is bundled, a
training goes on from its state, time ends, and what comes out is served. Prints
cmocka's lines.

SPDX-License-Identifier: MIT
"""
import json
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from harness import TOP  # noqa: E402

RECIPES = TOP + "/models/recipes"
sys.path.insert(0, RECIPES)
import stage  # noqa: E402
import stages  # noqa: E402

TRAIN = os.path.abspath(os.environ.get("SEQD_TRAIN",
                                       TOP + "/build/release/seqd-train"))
OPINIONS = [("negative", "a bad film"), ("positive", "a good film"),
            ("neutral", "a film"), ("positive", "good and good"),
            ("negative", "bad , so bad")]
TINY = {"tiny": stage.Train(
    "--task", "classifier", "--id2label", stages.LABELS, "--embedding", "8",
    "--hidden", "8", "--data", "{data}/tiny.tsv", "--valid", "{data}/tiny.tsv",
    "--batch", "4", "--epochs", "60", "--lr", "0.01", "--seed", "1"),
    "tiny-served": stage.Bundle(
        "tiny", {"seqd_temperature": 3}, {"max_new_tokens": 7},
        ("--data", "{data}/tiny.tsv", "--scaling", "one")),
    "scores-tiny-served": stage.Figures(
        "tiny-served", "{here}/score_sentiment.py", "--table",
        "{data}/tiny.tsv"),
    "endless": stage.Run("sleep", "600")}
PROGRAM = """
import sys
sys.dont_write_bytecode = True
sys.path[:0] = [%r, %r]
import checkpoints, test_checkpoints
checkpoints.STAGES.update(test_checkpoints.TINY)
checkpoints.main()
""" % (RECIPES, os.path.dirname(os.path.abspath(__file__)))


def stage_run(folder, *args):
    with open(folder + "/tiny.tsv", "w") as f:
        f.writelines(f"{label}\t{text}\n" for label, text in OPINIONS * 20)
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, "--data", folder, "--out", folder,
         "--train", TRAIN, "--seqd", harness.SEQD, "--threads", "1",
         "--products", "f32", "--port", str(free_port()), "--stage", *args],
        check=False, capture_output=True, text=True, timeout=120)


def free_port():
    with harness.Seqd() as s:
        return s.port


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def test_checkpoints_has_stages_for_what_is_bundled():
    for name, needed in stages.NEEDS.items():
        for x in needed:
            assert x in stages.STAGES, f"{name} needs {x}"
    named = {m["name"] for m in json.loads(
        read(harness.MODELS + "seqd.json"))["models"]}
    assert {"sentiment-lstm", "sentiment-transformer", "next-word-lstm",
            "stories-gpt", "music-lstm"} <= named & set(stages.NEEDS)
    r = subprocess.run([RECIPES + "/checkpoints.py", "--list", "--out",
                        tempfile.gettempdir()], check=False,
                       capture_output=True, text=True, timeout=60)
    assert r.returncode == 0, r.stderr
    listed = r.stdout.splitlines()
    assert all("{" not in x for x in listed), listed
    assert any(" student-lstm: " in x and "--optimizer muon" in x
               for x in listed), listed
    r = subprocess.run([RECIPES + "/checkpoints.py", "--only", "oboe"],
                       check=False, capture_output=True, text=True, timeout=60)
    assert r.returncode == 2 and "stage: oboe" in r.stderr, r.stderr


def test_checkpoints_go_on_and_are_served():
    with tempfile.TemporaryDirectory() as folder:
        r = stage_run(folder, "endless", "--until", "0.005")
        assert r.returncode != 0 and "time is over" in r.stderr, r
        assert not os.path.exists(folder + "/endless.done")
        # what has a state and no mark of its end goes on from there
        r = stage_run(folder, "tiny")
        assert r.returncode == 0 and " --resume" not in r.stdout, r
        os.remove(folder + "/tiny.done")
        r = stage_run(folder, "tiny,tiny-served,scores-tiny-served")
        assert r.returncode == 0, r.stderr
        assert r.stdout.count(" --resume") == 1, r.stdout
        config = json.loads(read(folder + "/tiny-served/config.json"))
        assert 0.01 <= config["seqd_temperature"] < 3, config
        more = json.loads(read(
            folder + "/tiny-served/generation_config.json"))
        assert more["max_new_tokens"] == 7, more
        assert os.path.exists(folder + "/tiny-served/curve.svg")
        table = read(folder + "/scores-tiny-served.md")
        assert "| tiny.tsv | 3 | 100 | 100.0 |" in table, table
        assert table in r.stdout, r.stdout
        # what is done is not done again
        r = stage_run(folder, "tiny,tiny-served,scores-tiny-served")
        assert r.returncode == 0 and "+" not in r.stdout, r.stdout
        assert table in r.stdout, r.stdout


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
