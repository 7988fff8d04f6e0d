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
import tempfile
import textwrap
import time
import urllib.request

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


def ask(port, path, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", json.dumps(body).encode(),
        {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def serve(root):
    """A server of the copy, with the new model and a bundled one."""
    port_file = os.path.join(root, "port")
    checkpoint(os.path.join(root, "bag"))
    child = subprocess.Popen(
        [os.path.join(root, B, "seqd"), "--port", "0", "--port-file",
         port_file, "--model", f"bag={root}/bag", "--model",
         f"words={root}/models/checkpoints/next-word-lstm"],
        stderr=subprocess.DEVNULL)
    for _ in range(400):
        time.sleep(0.05)
        if os.path.exists(port_file):
            with open(port_file) as f:
                port = int(f.read())
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz")
                return child, port
            except OSError:
                pass
    child.kill()
    raise AssertionError("the server of the copy is not ready")


def test_contributing_builds_and_serves(root):
    copy(root)
    follow(root)
    make = subprocess.run(["make", "-s", f"-j{os.cpu_count()}", "seqd"],
                          cwd=root, env=dict(os.environ, CI="1"), text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert make.returncode == 0, make.stdout[-3000:]
    child, port = serve(root)
    try:
        data = ask(port, "/sentiment", {
            "model": "bag", "input": ["good film", "bad bad film"]})["data"]
        assert [d["label"] for d in data] == ["yes", "no"], data
        data = ask(port, "/score", {
            "model": "words", "input": "the king of the country"})["data"]
        assert data[0]["tokens"] > 3 and data[0]["nats"] > 5, data
    finally:
        child.terminate()
        assert child.wait(20) == 0


def main():
    name = "test_contributing_builds_and_serves"
    print(f"[ RUN      ] {name}", flush=True)
    with tempfile.TemporaryDirectory() as root:
        try:
            test_contributing_builds_and_serves(root)
        except AssertionError as e:
            print(e)
            print(f"[  FAILED  ] {name}")
            print("[  FAILED  ] contributing: 1 test(s), listed below:")
            print(f"[  FAILED  ] {name}")
            return 1
    print(f"[       OK ] {name}")
    print("[  PASSED  ] 1 test(s).")
    return 0


sys.exit(main())
