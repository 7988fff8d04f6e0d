#!/usr/bin/env python3
"""seqd-train as a program: what its exit status and output say, and that a
SIGINT leaves a training that goes on to the same checkpoint. Prints cmocka's
lines.

SPDX-License-Identifier: MIT
"""
import csv
import json
import os
import random
import signal
import subprocess
import sys
import textwrap

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from harness import SEQD, TOP  # noqa: E402

TRAIN = os.path.abspath(os.environ.get("SEQD_TRAIN",
                                       TOP + "/build/release/seqd-train"))
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
    curve = os.path.join(folder, "parts", "curve.csv")
    harness.wait(lambda: os.path.exists(curve), "no validation")
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=60) == 0
    assert "--resume goes on" in child.stderr.read()
    with open(curve) as f:
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


def ask(model, path, body):
    """One answer of a server of the model."""
    with harness.Seqd("--model", "m=" + model) as s:
        return s.post(path, body)


def test_train_cli_masked_model_fills_in_a_word_when_served(folder):
    write_text(folder)
    out = os.path.join(folder, "masked")
    text = os.path.join(folder, "text.txt")
    r = run("train", "--data", text, "--valid", text, "--out", out, "--arch",
            "bert", "--embedding", "16", "--heads", "2", "--layers", "1",
            "--context", "10", "--bptt", "10", "--batch", "16", "--threads",
            "1", "--epochs", "20", "--lr", "0.01", "--mask-rate", "0.3")
    assert r.returncode == 0, r.stderr
    a = ask(out, "/predict",
            {"input": "the <mask> sees the zebra .", "top_k": 5})
    words = {p["text"] for p in a["data"][0]["predictions"]}
    assert words == {"cat", "dog", "bird", "fox", "hen"}, words


def write_book(path, seed, paragraphs):
    """Paragraphs of a small grammar, wrapped at 68 columns, CRLF."""
    rng = random.Random(seed)
    nouns = ["cat", "dog", "bird", "fox", "hen", "old man", "river"]
    with open(path, "w", newline="\r\n") as f:
        for _ in range(paragraphs):
            text = " ".join(
                f"The {rng.choice(nouns)} sees the {rng.choice(nouns)} near "
                f"the {rng.choice(nouns)}." for _ in range(6))
            f.write("\n".join(textwrap.wrap(text, 68)) + "\n\n")


def small(folder, out, *more):
    return ["train", "--data", folder + "/train.txt", "--valid",
            folder + "/valid.txt", "--out", f"{folder}/{out}", "--embedding",
            "16", "--hidden", "16", "--heads", "2", "--batch", "8", "--bptt",
            "16", "--context", "32", "--threads", "1", "--epochs", "3", *more]


def test_train_cli_joins_the_lines_of_a_wrapped_book(folder):
    write_book(folder + "/train.txt", 1, 120)
    write_book(folder + "/valid.txt", 2, 6)
    r = run(*small(folder, "book"))
    assert r.returncode == 0, r.stderr
    assert "lines are joined to paragraphs (--record line" in r.stderr
    assert "training: 120 records" in r.stderr, r.stderr
    assert "validation: 6 records" in r.stderr, r.stderr
    r = run(*small(folder, "lines", "--record", "line"))
    assert r.returncode == 0 and "joined" not in r.stderr, r.stderr
    assert "training: 120 records" not in r.stderr
    # no special token of the vocabulary is offered
    with open(folder + "/book/tokenizer.json") as f:
        tokenizer = json.load(f)
    special = {t["content"] for t in tokenizer["added_tokens"]}
    assert special == {"<unk>", "</s>"}
    a = ask(folder + "/book", "/predict",
            {"input": "The cat", "top_k": 1000})
    offered = {p["text"] for p in a["data"][0]["predictions"]}
    assert offered == set(tokenizer["model"]["vocab"]) - special


def both(folder, model, data, *more):
    """The line of `seqd eval` and of `seqd-train eval`: one and the same."""
    args = ["eval", "--model", f"{folder}/{model}", "--data",
            f"{folder}/{data}", *more]
    ours = run(*args)
    theirs = subprocess.run([SEQD, *args], capture_output=True, text=True,
                            timeout=120)
    assert ours.returncode == 0, ours.stderr
    assert theirs.returncode == 0, theirs.stderr
    assert ours.stdout == theirs.stdout, (ours.stdout, theirs.stdout)
    return json.loads(ours.stdout)


def test_train_cli_eval_says_that_its_line_is_lost(folder):
    text = write_text(folder)
    r = run(*small(folder, "m"), "--data", text, "--valid", text)
    assert r.returncode == 0, r.stderr
    for program in (TRAIN, SEQD):
        with open("/dev/full", "w") as full:
            r = subprocess.run([program, "eval", "--model", folder + "/m",
                                "--data", text], stdout=full, text=True,
                               stderr=subprocess.PIPE, timeout=120)
        assert r.returncode == 1, (program, r.returncode)
        assert "the figures cannot be written" in r.stderr, r.stderr


def test_train_cli_eval_is_seqd_eval(folder):
    write_book(folder + "/train.txt", 1, 120)
    write_book(folder + "/valid.txt", 2, 6)
    for arch in ("rnn", "gpt2"):
        for record in ("auto", "line", "blank", "whole"):
            out = f"{arch}-{record}"
            r = run(*small(folder, out, "--arch", arch, "--record", record))
            assert r.returncode == 0, r.stderr
            figures = both(folder, out, "valid.txt")
            # what the training says at its end is that number, too
            said = [x for x in r.stderr.splitlines()
                    if x.startswith("checkpoint: ")]
            assert json.loads(said[0][12:]) == figures, (said, figures)
            own = record if record != "auto" else "paragraph"
            assert both(folder, out, "valid.txt", "--record", own) == figures
    # what was learned line by line is scored like that, whatever is scored
    write_text(folder)
    text = folder + "/text.txt"
    r = run(*small(folder, "plain"), "--data", text, "--valid", text)
    assert r.returncode == 0, r.stderr
    assert (both(folder, "plain", "train.txt") ==
            both(folder, "plain", "train.txt", "--record", "line"))
    # the file is too small to be seen as wrapped: the checkpoint knows
    assert (both(folder, "rnn-auto", "valid.txt")["tokens"] !=
            both(folder, "rnn-line", "valid.txt")["tokens"])


def test_train_cli_reads_tables_and_finds_labels(folder):
    rng = random.Random(3)
    for name, n in (("train", 300), ("valid", 40)):
        with open(f"{folder}/{name}.csv", "w", newline="") as f:
            w = csv.writer(f)
            w.writerow(["id", "Review", "Sentiment"])
            for i in range(n):
                word, label = rng.choice([("good", "up"), ("bad", "down"),
                                          ("so, so", "flat")])
                w.writerow([i, f'it is "{word}",\nsay I' + " yes" * (i % 5),
                            label])
    args = ["train", "--task", "classifier", "--data", folder + "/train.csv",
            "--valid", folder + "/valid.csv", "--out", folder + "/c",
            "--embedding", "16", "--hidden", "16", "--threads", "1",
            "--pooling", "max", "--lr", "0.02"]
    r = run(*args)
    assert r.returncode == 0, r.stderr
    with open(folder + "/c/config.json") as f:
        assert json.load(f)["id2label"] == {"0": "down", "1": "flat",
                                            "2": "up"}
    figures = both(folder, "c", "valid.csv")
    assert figures["items"] == 40 and figures["accuracy"] > 0.95, figures
    # long texts are not cut unless asked
    with open(folder + "/long.tsv", "w") as f:
        f.write("text\tlabel\n" + "yes " * 400 + "good\tup\n")
    assert (both(folder, "c", "long.tsv", "--max-len", "256")["nll"] !=
            both(folder, "c", "long.tsv")["nll"])
    with open(folder + "/bad.tsv", "w") as f:
        f.write("text\tlabel\nfine\tneutral\n")
    bad = folder + "/bad.tsv"
    want = bad + ": line 2: 'neutral' is no label, expected down, flat, up"
    for program in (TRAIN, SEQD):
        r = subprocess.run([program, "eval", "--model", folder + "/c",
                            "--data", bad], capture_output=True, text=True)
        assert r.returncode == 1 and want in r.stderr, r.stderr
    r = run(*args, "--overwrite", "--valid", bad)
    assert r.returncode == 1 and want in r.stderr, r.stderr
    # prose is no labelled text
    write_book(folder + "/train.txt", 1, 60)
    with open(folder + "/prose.txt", "w") as f:
        f.writelines(f"w{i} is a word\n" for i in range(50))
    r = run(*args, "--overwrite", "--data", folder + "/prose.txt")
    assert r.returncode == 1 and "are no labels: expected" in r.stderr


def test_train_cli_says_what_is_wrong_and_exits_1(folder):
    for args, message in (
            (["train"], "train needs --data, --valid and --out"),
            (["train", "--arch", "seq2seq-transformer", "--data", "pairs"],
             "train needs --out"),
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


def test_train_cli_says_the_way_out(folder):
    write_text(folder)
    r = run(*training(folder, "nothing"), "--resume")
    assert r.returncode == 1
    assert "nothing: holds no training that could go on" in r.stderr, r.stderr
    short = os.path.join(folder, "short.txt")
    with open(short, "w") as f:
        f.write("a cat\n")
    r = run(*training(folder, "few"), "--data", short)
    assert r.returncode == 1
    assert "or a smaller --batch" in r.stderr, r.stderr


def test_train_cli_help_names_every_option(folder):
    r = run("--help")
    assert r.returncode == 0
    for word in ("--task lm|classifier", "--softmax full|sampled", "--resume",
                 "--init", "seqd-train eval", "[cosine]"):
        assert word in r.stdout, word


if __name__ == "__main__":
    sys.exit(harness.main(globals(), harness.in_folder))
