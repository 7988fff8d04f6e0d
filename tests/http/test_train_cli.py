#!/usr/bin/env python3
"""seqd-train as a program: what its exit status and output say, and that a
SIGINT leaves a training that goes on to the same checkpoint. Prints cmocka's
lines.

SPDX-License-Identifier: MIT
"""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
TRAIN = os.path.abspath(os.environ.get("SEQD_TRAIN",
                                       TOP + "/build/release/seqd-train"))
SEQD = os.path.abspath(os.environ.get("SEQD", TOP + "/build/release/seqd"))
EPOCHS = "60"


def run(*args, **kw):
    return subprocess.run([TRAIN, *args], capture_output=True, text=True,
                          timeout=120, **kw)


def write_text(folder):
    nouns = ["cat", "dog", "bird", "fox", "hen"]
    path = os.path.join(folder, "text.txt")
    with open(path, "w") as f:
        for i in range(400):
            f.write(f"the {nouns[i % 5]} sees the {nouns[i * 3 % 5]} .\n")
    return path


def training(folder, out):
    text = os.path.join(folder, "text.txt")
    return ["train", "--data", text, "--valid", text,
            "--out", os.path.join(folder, out), "--embedding", "32",
            "--hidden", "64", "--batch", "16", "--bptt", "10", "--threads",
            "1", "--epochs", EPOCHS]


def read(folder, out):
    with open(os.path.join(folder, out, "model.safetensors"), "rb") as f:
        return f.read()


def test_train_cli_sigint_ends_well_and_can_be_resumed(folder):
    write_text(folder)
    whole = run(*training(folder, "whole"))
    assert whole.returncode == 0, whole.stderr
    child = subprocess.Popen([TRAIN, *training(folder, "parts")],
                             stderr=subprocess.PIPE, text=True)
    # the first validation is written: it is under way
    for _ in range(2000):
        if os.path.exists(os.path.join(folder, "parts", "curve.csv")):
            break
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) == 0
    assert "--resume goes on" in child.stderr.read()
    with open(os.path.join(folder, "parts", "curve.csv")) as f:
        assert len(f.readlines()) <= int(EPOCHS), "it was not interrupted"
    rest = run(*training(folder, "parts"), "--resume")
    assert rest.returncode == 0, rest.stderr
    assert read(folder, "parts") == read(folder, "whole")


def test_train_cli_eval_prints_one_line_of_json(folder):
    text = write_text(folder)
    assert run(*training(folder, "m")).returncode == 0
    r = run("eval", "--model", os.path.join(folder, "m"), "--data", text)
    assert r.returncode == 0, r.stderr
    lines = r.stdout.splitlines()
    assert len(lines) == 1, lines
    assert set(json.loads(lines[0])) == {"tokens", "nats", "perplexity",
                                         "unk_share"}
    assert json.loads(lines[0])["tokens"] == 400 * 7


def ask(folder, model, path, body):
    """One answer of a server of the model."""
    port = os.path.join(folder, "port")
    child = subprocess.Popen([SEQD, "--model", "m=" + model, "--port", "0",
                              "--port-file", port, "--log-level", "warn"])
    try:
        for _ in range(2000):
            if os.path.exists(port) and os.path.getsize(port):
                break
            time.sleep(0.01)
        with open(port) as f:
            url = f"http://127.0.0.1:{int(f.read())}"
        for _ in range(2000):
            try:
                urllib.request.urlopen(url + "/readyz").close()
                break
            except OSError:
                time.sleep(0.01)
        with urllib.request.urlopen(url + path,
                                    json.dumps(body).encode()) as r:
            return json.load(r)
    finally:
        child.terminate()
        child.wait(timeout=60)


def test_train_cli_masked_model_fills_in_a_word_when_served(folder):
    write_text(folder)
    out = os.path.join(folder, "masked")
    text = os.path.join(folder, "text.txt")
    r = run("train", "--data", text, "--valid", text, "--out", out, "--arch",
            "bert", "--embedding", "16", "--heads", "2", "--layers", "1",
            "--context", "10", "--bptt", "10", "--batch", "16", "--threads",
            "1", "--epochs", "20", "--lr", "0.01", "--mask-rate", "0.3")
    assert r.returncode == 0, r.stderr
    a = ask(folder, out, "/predict",
            {"input": "the <mask> sees the zebra .", "top_k": 5})
    words = {p["text"] for p in a["data"][0]["predictions"]}
    assert words == {"cat", "dog", "bird", "fox", "hen"}, words


def test_train_cli_says_what_is_wrong_and_exits_1(folder):
    for args, message in (
            (["train"], "train needs --data, --valid and --out"),
            (["eval"], "eval needs --model and --data"),
            (["fly"], "COMMAND is 'fly', expected train|eval|gradcheck|help"),
            (["--task", "lm"], "the command is missing"),
            (["train", "--kernels", "avx2"], "--kernels is no option of train"),
            (["train", "--epochs", "0"], "--epochs is '0', expected"),
            (["gradcheck"], "needs the double build"),
            (["train", "--data", "none", "--valid", "none", "--out",
              os.path.join(folder, "o")], "none: no such file")):
        r = run(*args)
        assert r.returncode == 1, (args, r.returncode)
        assert message in r.stderr, (args, r.stderr)


def test_train_cli_help_names_every_option(folder):
    r = run("--help")
    assert r.returncode == 0
    for word in ("--task lm|classifier", "--softmax full|sampled", "--resume",
                 "--init", "seqd-train eval", "[cosine]"):
        assert word in r.stdout, word


def main():
    tests = [v for k, v in globals().items() if k.startswith("test_")]
    failed = []
    for t in tests:
        print("[ RUN      ] " + t.__name__)
        with tempfile.TemporaryDirectory() as folder:
            try:
                t(folder)
                print("[       OK ] " + t.__name__)
            except Exception:
                traceback.print_exc(file=sys.stdout)
                print("[  FAILED  ] " + t.__name__)
                failed.append(t.__name__)
    print(f"[  PASSED  ] {len(tests) - len(failed)} test(s).")
    if failed:
        print(f"[  FAILED  ] train_cli: {len(failed)} test(s), listed below:")
        for name in failed:
            print("[  FAILED  ] " + name)
    sys.exit(bool(failed))


main()
