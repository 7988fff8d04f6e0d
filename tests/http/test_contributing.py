#!/usr/bin/python3
"""The walk-throughs of CONTRIBUTING.md are true: their blocks make a new
architecture and a new endpoint in a copy of the tree, which builds without a
warning and answers. A block follows a comment that says where it goes:

    <!-- file: PATH -->          it is the file
    <!-- after: PATH: TEXT -->   it comes after the first line that holds TEXT

Prints cmocka's lines, so that tests/run.sh counts them.
SPDX-License-Identifier: MIT
"""
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import textwrap

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402

B = os.environ.get("B", "build/release")
WORDS = ["<unk>", "good", "bad", "film"]
ROWS = [[0, 0], [-2, 3], [4, -1], [0.5, 0.25]]
BIAS = [0.125, -0.5]


def steps(text):
    """(kind, path, anchor, block) of each step, in order."""
    shape = (r"<!-- (file|after): ([^\s:]+)(?:: (.*?))? -->\n"
             r"\s*```\w*\n(.*?)\n\s*```$")
    return [(m[1], m[2], m[3], textwrap.dedent(m[4]) + "\n")
            for m in re.finditer(shape, text, re.S | re.M)]


def follow(root):
    with open("CONTRIBUTING.md") as f:
        found = steps(f.read())
    assert len(found) >= 8, f"only {len(found)} blocks in CONTRIBUTING.md"
    for kind, path, anchor, block in found:
        path = os.path.join(root, path)
        if kind == "file":
            assert not os.path.exists(path), path
            old, at = "", 0
        else:
            with open(path) as f:
                old = f.read()
            at = old.find(anchor)
            assert at >= 0, f"{path} has no '{anchor}'"
            at = old.index("\n", at) + 1
            indent = re.search(r"^( *)\S", block, re.M)[1]
            assert indent is not None
        with open(path, "w") as f:
            f.write(old[:at] + block + old[at:])


def copy(root):
    names = subprocess.run(["git", "ls-files"], check=True, text=True,
                           stdout=subprocess.PIPE).stdout.splitlines()
    for name in names:
        if name.startswith("tests/") or not os.path.isfile(name):
            continue
        to = os.path.join(root, name)
        os.makedirs(os.path.dirname(to), exist_ok=True)
        shutil.copy2(name, to)
    for part in "engine", "models", "server", "gen":
        shutil.copytree(os.path.join(B, part), os.path.join(root, B, part))


def checkpoint(path):
    os.makedirs(path)
    data = b"".join(struct.pack("<2f", *row) for row in ROWS + [BIAS])
    head = json.dumps({
        "w": {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, 32]},
        "b": {"dtype": "F32", "shape": [2], "data_offsets": [32, 40]}})
    with open(f"{path}/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head.encode() + data)
    with open(f"{path}/config.json", "w") as f:
        json.dump({"model_type": "bag"}, f)
    with open(f"{path}/tokenizer.json", "w") as f:
        json.dump({"version": "1.0", "added_tokens": [],
                   "normalizer": {"type": "seqd-whitespace"},
                   "model": {"type": "WordLevel", "unk_token": "<unk>",
                             "vocab": {w: i for i, w in enumerate(WORDS)}}},
                  f)


def test_contributing_builds_and_serves(root):
    copy(root)
    follow(root)
    make = subprocess.run(["make", "-s", f"-j{os.cpu_count()}", "seqd"],
                          cwd=root, env=dict(os.environ, CI="1"), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert make.returncode == 0, make.stdout[-3000:]
    checkpoint(os.path.join(root, "bag"))
    with harness.Seqd(
            "--model", f"bag={root}/bag", "--model",
            f"words={root}/models/checkpoints/next-word-lstm",
            program=os.path.join(root, B, "seqd")) as s:
        data = s.post("/classify", {
            "model": "bag", "input": ["good film", "bad bad film"]})["data"]
        assert [d["label"] for d in data] == ["yes", "no"], data
        data = s.post("/score", {
            "model": "words", "input": "the king of the country"})["data"]
        assert data[0]["tokens"] > 3 and data[0]["nats"] > 5, data
        assert s.stop() == 0


if __name__ == "__main__":
    sys.exit(harness.main(globals(), harness.in_folder))
