#!/usr/bin/env python3
"""seqd-train as a program: what its exit status and output say, and that a
SIGINT leaves a training that goes on to the same checkpoint. Prints cmocka's
lines.

SPDX-License-Identifier: MIT
"""
import csv
import json
import math
import os
import random
import re
import signal
import subprocess
import sys
import textwrap
from xml.etree import ElementTree

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
                                         "unk_share", "bits_per_byte"}
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
    # the training says the first four of them
    said = [x for x in r.stderr.splitlines() if x.startswith("checkpoint: ")]
    assert json.loads(said[0][12:]) == {k: figures[k] for k in (
        "items", "accuracy", "nll", "ece")}, said
    assert [x["label"] for x in figures["labels"]] == ["down", "flat", "up"]
    # two of the labels, by name and by place; two files
    for name, labels in (("names", ("up", "down")), ("places", "01")):
        with open(f"{folder}/{name}.tsv", "w") as f:
            f.write("text\tlabel\n" + (f"good\t{labels[0]}\nbad\t"
                                       f"{labels[1]}\n") * 3)
    of_two = ["--labels", "up,down"]
    some = both(folder, "c", "names.tsv", *of_two)
    assert some == both(folder, "c", "places.tsv", *of_two)
    assert [x["label"] for x in some["labels"]] == ["down", "up"], some
    assert some["items"] == 6 and some["accuracy"] == 1, some
    pair = both(folder, "c", f"names.tsv,{folder}/places.tsv", *of_two)
    assert pair["items"] == 12 and [x["items"] for x in pair["files"]] == [6, 6]
    assert {**pair["files"][1], "file": ""} == {**some, "file": ""}, pair
    # for seqd a comma may be part of a name
    os.link(folder + "/names.tsv", folder + "/a,b.tsv")
    r = subprocess.run([SEQD, "eval", "--model", folder + "/c", "--data",
                        folder + "/a,b.tsv", *of_two], capture_output=True,
                       text=True, timeout=120)
    assert r.returncode == 0 and json.loads(r.stdout) == some, r.stderr
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


def write_stories(path, seed, n):
    """Sentences whose adjectives are made of parts that come again."""
    rng = random.Random(seed)
    stems = ["kind", "cheer", "thank", "play", "hope", "taste", "care", "rest"]
    with open(path, "w") as f:
        for _ in range(n):
            a, b = rng.sample(stems, 2)
            end = rng.choice(["ful", "less"])
            f.write(f"The Größe is {a}{end}, the Straße is {b}{end}.\n")


def test_train_cli_learns_sub_words_and_serves_them(folder):
    write_stories(folder + "/train.txt", 1, 600)
    write_stories(folder + "/valid.txt", 2, 40)
    for arch in ("rnn", "gpt2"):
        r = run(*small(folder, arch, "--arch", arch, "--tokenizer", "bpe:290",
                       "--special", ">>fr<<,<pad>", "--epochs", "20", "--lr",
                       "0.01", "--embedding", "32", "--hidden", "32", "--bptt",
                       "32"))
        assert r.returncode == 0, r.stderr
        assert "vocabulary: 290 entries" in r.stderr, r.stderr
        assert "0.00 % unknown" in r.stderr, r.stderr
        with open(f"{folder}/{arch}/CARD.md") as f:
            card = f.read()
        assert "`--tokenizer bpe:290` `--special >>fr<<,<pad>`" in card, card
        assert "--vocab-size" not in card, card
        with open(f"{folder}/{arch}/tokenizer.json") as f:
            model = json.load(f)["model"]
        assert len(model["vocab"]) == 290
        assert [model["vocab"][s] for s in ("</s>", ">>fr<<", "<pad>")] == \
            [0, 1, 2]
        figures = both(folder, arch, "valid.txt")
        # 8 words and the end; of them two stems of 8 and an ending of 2
        assert figures["perplexity"] < figures["word_perplexity"] < 4, figures
        words = math.exp(figures["nats"] / (40 * 9))
        assert arch != "rnn" or abs(figures["word_perplexity"] - words) < 1e-3
        with harness.Seqd("--model", f"m={folder}/{arch}") as s:
            a = s.post("/predict", {"input": "The Größe is kindful, the",
                                    "top_k": 3})
            assert a["data"][0]["predictions"][0]["text"] == "Straße", a
            a = s.post("/generate", {"input": "The Größe is playful, the",
                                     "max_tokens": 60, "temperature": 0})
            made = a["data"][0]
            assert made["finish_reason"] == "stop", made
            assert made["text"].startswith(" Straße is "), made
            assert made["text"].endswith("ful."), made
            a = s.post("/tokenize", {"input": "Größe\n🙂"})
            assert a["data"][0].get("unknown", 0) == 0, a
    # what was learned goes on with --vocab-from and --resume, ends and all
    r = run(*small(folder, "again", "--vocab-from", folder + "/rnn"))
    assert r.returncode == 0, r.stderr
    for name in ("tokenizer.json", "tokenizer_config.json"):
        with open(f"{folder}/rnn/{name}") as f, \
             open(f"{folder}/again/{name}") as g:
            assert f.read() == g.read()
    r = run(*small(folder, "again", "--vocab-from", folder + "/rnn",
                   "--resume", "--epochs", "4"))
    assert r.returncode == 0, r.stderr
    r = run(*small(folder, "words", "--init", folder + "/rnn"))
    assert r.returncode == 0, r.stderr
    r = run(*small(folder, "again", "--overwrite"))
    assert r.returncode == 0, r.stderr
    assert not os.path.exists(folder + "/again/tokenizer_config.json")


def write_opinions(path, seed, n, wrong):
    """Texts of three labels; a share of them has another one."""
    rng = random.Random(seed)
    says = {"down": "bad", "flat": "plain", "up": "good"}
    with open(path, "w") as f:
        for _ in range(n):
            label = rng.choice(list(says))
            text = f"it is {says[label]} " + "yes " * rng.randrange(4)
            if rng.random() < wrong:
                label = rng.choice(list(says))
            f.write(f"{label}\t{text}\n")


def config_of(model):
    with open(model + "/config.json") as f:
        return json.load(f)


def test_train_cli_calibrates_a_classifier(folder):
    for name, seed, n, wrong in (("train", 1, 400, 0), ("valid", 2, 60, 0),
                                 ("one", 3, 300, 0.3), ("two", 4, 100, 0.6)):
        write_opinions(f"{folder}/{name}.tsv", seed, n, wrong)
    model, devs = folder + "/c", f"{folder}/one.tsv,{folder}/two.tsv"
    r = run(*small(folder, "c", "--task", "classifier", "--data", folder +
                   "/train.tsv", "--valid", folder + "/valid.tsv", "--pooling",
                   "max", "--lr", "0.02"))
    assert r.returncode == 0, r.stderr
    plain = config_of(model)
    was = both(folder, "c", f"one.tsv,{folder}/two.tsv")
    brief = ("items", "accuracy", "nll", "ece")

    def calibrate(*more):
        got = run("calibrate", "--model", model, "--data", devs, *more)
        assert got.returncode == 0, got.stderr
        return json.loads(got.stdout)

    def nll():
        return [x["nll"] for x in both(
            folder, "c", f"one.tsv,{folder}/two.tsv")["files"]]
    before = was
    for scaling in ("one", "labels", "vector"):
        said = calibrate("--scaling", scaling)
        now = both(folder, "c", f"one.tsv,{folder}/two.tsv")
        for a, b, x in zip(before["files"], now["files"], said["files"]):
            assert x["file"] == a["file"]
            # figures are printed with six digits, and a score is a float
            for key in brief:
                assert abs(x["before"][key] - a[key]) < 5e-6, (key, x, a)
                assert abs(x["after"][key] - b[key]) < 5e-6, (key, x, b)
        mean = sum(x["nll"] for x in now["files"]) / 2  # each file alike
        assert abs(said["nll"]["after"] - mean) < 5e-6
        before = now
        config = config_of(model)
        t = config.pop("seqd_temperature")
        assert t == said["temperature"]
        assert config.pop("seqd_bias", None) == said.get("bias")
        assert config == plain  # nothing else has changed
        assert (isinstance(t, float) if scaling == "one" else len(t) == 3)
        assert ("bias" in said) == (scaling == "vector")
    # it is the least: a little more or less is worse
    best = calibrate()
    assert best["files"][0]["after"]["accuracy"] == was["files"][0]["accuracy"]
    assert best["nll"]["after"] < sum(x["nll"] for x in was["files"]) / 2
    for factor in (0.97, 1.03):
        with open(model + "/config.json", "w") as f:
            json.dump(dict(plain, seqd_temperature=best["temperature"] *
                           factor), f)
        assert sum(nll()) / 2 > best["nll"]["after"] + 1e-5
    # of some labels alone
    two = run("calibrate", "--model", model, "--data", folder + "/valid.tsv",
              "--labels", "up,down")
    assert two.returncode == 1 and "'flat' is no label" in two.stderr
    os.system(f"grep -v flat {folder}/one.tsv > {folder}/some.tsv")
    devs = folder + "/some.tsv"
    some = calibrate("--labels", "up,down")
    figures = both(folder, "c", "some.tsv", "--labels", "up,down")
    assert abs(figures["nll"] - some["nll"]["after"]) < 5e-6
    a = ask(model, "/classify", {"input": "it is good"})
    assert a["data"][0]["label"] == "up"


def test_train_cli_calibrate_refuses_what_it_cannot_do(folder):
    text = write_text(folder)
    assert run(*training(folder, "lm"), "--epochs", "1").returncode == 0
    golden = TOP + "/tests/golden/bert/"
    for model, data, word, *more in (
            (folder + "/lm", text, "is for classifiers of texts"),
            (golden + "bert-class-many", text, "exclude each other"),
            (golden + "bert-regression", text, "gives numbers"),
            (folder + "/none", text, "needs a directory with a config.json"),
            (golden + "bert-class/config.json", text, "needs a directory"),
            (golden + "bert-class", folder + "/none", "no such file"),
            (golden + "bert-class", text, "not with --labels", "--labels",
             "bad,good", "--scaling", "vector"),
            (golden + "bert-class", text, "--beams is no option of calibrate",
             "--beams", "2"),
            (golden + "bert-class", text, "--epochs is no option of calibrate",
             "--epochs", "2")):
        r = run("calibrate", "--model", model, "--data", data, *more)
        assert r.returncode == 1 and word in r.stderr, (model, r.stderr)
        assert r.stdout == ""
    for command in ("eval", "train"):
        r = run(command, "--scaling", "one")
        assert f"--scaling is no option of {command}" in r.stderr, r.stderr
    r = run("calibrate")
    assert r.returncode == 1 and "needs --model and --data" in r.stderr


def test_train_cli_classifies_by_sub_words(folder):
    for name, seed, n in (("train", 1, 400), ("valid", 2, 60)):
        write_stories(f"{folder}/{name}.txt", seed, n)
        with open(f"{folder}/{name}.txt") as f, \
             open(f"{folder}/{name}.tsv", "w") as g:
            g.writelines(f"{'good' if 'ful,' in x else 'bad'}\t{x}" for x in f)
    for arch, more in (("rnn", ["--pooling", "max"]), ("bert", [])):
        r = run(*small(folder, arch, "--task", "classifier", "--arch", arch,
                       "--data", folder + "/train.tsv", "--valid",
                       folder + "/valid.tsv", "--tokenizer", "bpe:300",
                       "--max-len", "32", "--epochs", "6", "--lr", "0.02",
                       *more))
        assert r.returncode == 0, r.stderr
        assert both(folder, arch, "valid.tsv")["accuracy"] == 1.0, arch
        a = ask(f"{folder}/{arch}", "/sentiment",
                {"input": ["The Straße is hopeful, the Größe is playful.",
                           "The Straße is playless, the Größe is hopeless."]})
        assert [x["label"] for x in a["data"]] == ["good", "bad"], a


def write_translations(folder):
    """The fixture's pairs as files; what sacreBLEU says about them."""
    with open(harness.TOP + "/tests/golden/bleu.json") as f:
        golden = json.load(f)
    n = golden["lines"]
    names = [f"{folder}/{name}.txt" for name in ("hyp", "ref", "src")]
    for i, name in enumerate(names):
        with open(name, "w", newline="\n") as f:
            f.writelines(p[i] + "\n" for p in golden["pairs"][:n])
    return names, next(c for c in golden["corpora"] if c[:2] == [0, n])


def check_bleu_of_several(folder, names):
    """Three files of references; the sources stay what they are."""
    with open(harness.TOP + "/tests/golden/bleu.json") as f:
        golden = json.load(f)
    files = [names[1]]
    for k in range(2):
        files.append(f"{folder}/ref{k}.txt")
        with open(files[-1], "w", newline="\n") as f:
            f.writelines(x[k] + "\n" for x in golden["further"])
    want = golden["several"][0]
    r = run("bleu", names[0], ",".join(files), names[2])
    assert r.returncode == 0, r.stderr
    got = json.loads(r.stdout)
    for key, value in (("bleu", want[0]), ("chrf2", want[5])):
        assert abs(got[key] - value) <= 5e-5, (key, got[key], value)
    assert [got["hyp_len"], got["ref_len"]] == want[3:5], got
    for key in ("signature", "chrf_signature"):
        assert got[key].startswith("nrefs:3|case:mixed|"), got
    assert [x["sentences"] for x in got["by_source_length"]] == \
        [x[2] for x in golden["lengths"]]


def test_train_cli_bleu_is_sacrebleus(folder):
    names, want = write_translations(folder)
    for files in (names[:2], names):
        r = run("bleu", *files)
        assert r.returncode == 0, r.stderr
        assert len(r.stdout.splitlines()) == 1, r.stdout
        got = json.loads(r.stdout)
        assert got["sentences"] == want[1]
        for key, value in (("bleu", want[2]), ("chrf2", want[7])):
            assert abs(got[key] - value) <= 5e-5, (key, got[key], value)
        assert (got["hyp_len"], got["ref_len"]) == tuple(want[5:7])
        assert len(got.get("by_source_length", [])) == 5 * (len(files) == 3)
    check_bleu_of_several(folder, names)
    with open(names[0], "a") as f:
        f.write("one more")
    with open(folder + "/bad.txt", "wb") as f:
        f.write(b"fine\n\xff\n")
    for args, message in (
            (names, "hyp.txt has 361 lines, "),
            (names[:1], "bleu needs two files"),
            (["none", names[1]], "none: no such file"),
            ([folder + "/bad.txt"] * 2, "bad.txt: line 2: not UTF-8"),
            (["/dev/null", "/dev/null"], "/dev/null"),
            ([names[0], names[1] + ","], "REFERENCES has an empty name"),
            ([names[1], names[2] + "," + names[0]], "hyp.txt has 361"),
            ([*names, "x"], "unknown option 'x'"),
            ([*names[1:], "--data", "x"], "--data is no option of bleu")):
        r = run("bleu", *args)
        assert r.returncode == 1, (args, r.stdout)
        assert message in r.stderr, (args, r.stderr)


def write_reversals(folder):
    """Strings and the same from their end, for a language of each; some have a
    second target, which is wrong."""
    rng = random.Random(4)
    rows = []
    for _ in range(1500):
        word = "".join(rng.choice("abcdef") for _ in range(rng.randint(2, 5)))
        rows.append(("back", " ".join(word), " ".join(word[::-1])))
        rows.append(("same", " ".join(word), " ".join(word)))
    with open(folder + "/train.tsv", "w") as f:
        f.writelines("\t".join(row) + "\n" for row in rows)
    rows = list(dict.fromkeys(rows))[:120]
    with open(folder + "/valid.tsv", "w") as f:
        for language, source, target in rows:
            f.write(f"{language}\t{source}\t{target}\n")
            if len(source) == 5:
                f.write(f"{language}\t{source}\t{target} f f\n")
    return rows


def without_times(line):
    return {k: v for k, v in json.loads(line).items()
            if k not in ("seconds", "tokens_per_second")}


def check_named_language(folder, rows, two):
    """Files without a column, of a language that --language says: scored by
    both programs, and learned from."""
    half = [row for row in rows if row[0] == "back"]
    for name, column in (("ref", 2), ("src", 1)):
        with open(f"{folder}/{name}.txt", "w") as f:
            f.writelines(row[column] + "\n" for row in half)
    for program in (TRAIN, SEQD):
        r = subprocess.run([program, *two, "--language", "back"],
                           capture_output=True, text=True, timeout=120)
        assert r.returncode == 0, r.stderr
        assert set(json.loads(r.stdout)["languages"]) == {"back"}, r.stdout
        r = subprocess.run([program, *two, "--language", "back",
                            "--language-column"], capture_output=True,
                           text=True, timeout=120)
        assert r.returncode != 0 and "--language" in r.stderr, r.stderr
    r = run("train", "--arch", "seq2seq-rnn", "--tokenizer", "whitespace",
            "--source", folder + "/src.txt," + folder + "/ref.txt",
            "--target", folder + "/ref.txt," + folder + "/src.txt",
            "--language", "back,forth", "--hold-out", "0.1", "--out",
            folder + "/named", "--embedding", "8", "--hidden", "8",
            "--threads", "1", "--epochs", "1")
    assert r.returncode == 0, r.stderr
    assert card_command(folder, "named")[3:] == [
        "--source", "FILE", "--target", "FILE", "--language", "NAME"]
    for language in ("back", "forth"):
        a = ask(folder + "/named", "/translate",
                {"input": "a b", "target": language, "max_tokens": 2})
        assert len(a["data"]) == 1, a


def card_command(folder, name):
    """The words of the command of a card that scores its model."""
    with open(f"{folder}/{name}/CARD.md") as f:
        card = f.read()
    assert "nats a token, perplexity" in card, card
    return re.search(r"^    seqd-train (eval .*)$", card, re.M)[1].split()


def test_train_cli_eval_translates(folder):
    rows = write_reversals(folder)
    r = run("train", "--arch", "seq2seq-rnn", "--tokenizer", "whitespace",
            "--language-column", "--data", folder + "/train.tsv", "--out",
            folder + "/m", "--embedding", "16", "--hidden", "32", "--max-len",
            "16", "--batch-tokens", "192", "--lr", "0.01", "--threads", "1",
            "--epochs", "5")
    assert r.returncode == 0, r.stderr
    args = ["eval", "--model", folder + "/m", "--data", folder + "/valid.tsv",
            "--language-column", "--output"]
    lines = []
    for program in (TRAIN, SEQD):
        r = subprocess.run([program, *args, folder + "/out.txt"],
                           capture_output=True, text=True, timeout=120)
        assert r.returncode == 0, r.stderr
        lines.append(r.stdout)
    a = json.loads(lines[0])
    assert without_times(lines[0]) == without_times(lines[1])
    r = run(*[folder + "/valid.tsv" if x == "FILE" else x
              for x in card_command(folder, "m")], cwd=folder)
    assert r.returncode == 0, r.stderr
    assert without_times(lines[0]) == without_times(r.stdout)
    with open(folder + "/out.txt") as f:
        out = f.read().splitlines()
    assert len(out) == len(rows) == a["sentences"]
    right = sum(x == row[2] for x, row in zip(out, rows))
    assert abs(a["exact"] - right / len(rows)) < 1e-6
    assert 0.1 < a["exact"] <= 1, a
    assert set(a["languages"]) == {"back", "same"}
    assert sum(x["sentences"] for x in a["languages"].values()) == len(rows)
    with open(folder + "/line.json", "w") as f:
        f.write(lines[0])
    r = draw(folder + "/errors.svg", "--errors", "--unit", "letters",
             f"net={folder}/line.json")
    assert r.returncode == 0, r.stderr
    svg = ElementTree.parse(folder + "/errors.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    texts = [x.text for x in svg.iter(space + "text")]
    assert "letters of the source" in texts and "token errors, %" in texts
    axis = max(int(x) for x in texts if x.isdigit())
    y = float(next(svg.iter(space + "circle")).get("cy"))
    want = 340 - 100 * a["token_error_rate"] / axis * 280
    assert abs(y - want) < 0.06, (y, want, axis)
    # as a server translates them, with the end behind each source
    for language in ("back", "same"):
        some = [(row[1], x) for x, row in zip(out, rows)
                if row[0] == language][:20]
        got = ask(folder + "/m", "/translate",
                  {"input": [x for x, _ in some], "target": language})
        assert [x["text"] for x in got["data"]] == [x for _, x in some], got
    # the same as those of the lines by themselves
    for name, column in (("ref", 2), ("src", 1)):
        with open(f"{folder}/{name}.txt", "w") as f:
            f.writelines(row[column] + "\n" for row in rows)
    r = run("bleu", *(f"{folder}/{name}.txt" for name in ("out", "ref",
                                                           "src")))
    for key, value in json.loads(r.stdout).items():
        assert a[key] == value, (key, a[key], value)
    assert a["all_references"]["signature"].startswith("nrefs:var|"), a
    assert a["all_references"]["bleu"] >= a["bleu"] > 0, a
    for more, message in (
            (["--source", "x"], "the data are in --data, or in --source"),
            (["--beams", "17"], "--beams"),
            (["--max-target", "0"], "--max-target")):
        r = run(*args, folder + "/out.txt", *more)
        assert r.returncode == 1 and message in r.stderr, r.stderr
    two = [*args[:3], "--source", folder + "/src.txt", "--target",
           folder + "/ref.txt"]
    r = run(*two)
    assert "translates into 2 languages" in r.stderr, r.stderr
    check_named_language(folder, rows, two)


def draw(*args):
    return subprocess.run([sys.executable, "-B", harness.TOP +
                           "/models/recipes/draw_bleu.py", *args],
                          capture_output=True, text=True, timeout=60)


def test_train_cli_bleu_by_length_is_drawn(folder):
    names, _ = write_translations(folder)
    reports = []
    for name, hyp in (("a<b", names[0]), ("itself", names[1])):
        r = run("bleu", hyp, *names[1:])
        reports.append(json.loads(r.stdout))
        with open(folder + "/" + str(len(reports)), "w") as f:
            f.write(r.stdout)
    files = ["a<b=" + folder + "/1", "itself=" + folder + "/2"]
    r = draw(folder + "/out.svg", *files)
    assert r.returncode == 0, r.stderr
    svg = ElementTree.parse(folder + "/out.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    texts = [x.text for x in svg.iter(space + "text")]
    assert "a<b" in texts and "BLEU" in texts and "21+" in texts, texts
    lines = [[float(p.split(",")[1]) for p in x.get("points").split()]
             for x in svg.iter(space + "polyline")]
    assert len(lines) == 2 and all(len(y) == 5 for y in lines), lines
    zero, high = 340, 60  # of the axis, which ends at 120
    for y, report in zip(lines, reports):
        for at, x in zip(y, report["by_source_length"]):
            want = zero - x["bleu"] / 120 * (zero - high)
            assert abs(at - want) < 0.06, (at, want, x)
    with open(folder + "/plain", "w") as f:
        f.write(run("bleu", *names[:2]).stdout)
    r = draw(folder + "/out.svg", "x=" + folder + "/plain")
    assert r.returncode != 0 and "no scores by length" in r.stderr, r.stderr


def test_train_cli_says_what_is_wrong_and_exits_1(folder):
    write_stories(folder + "/train.txt", 1, 60)
    write_stories(folder + "/valid.txt", 2, 10)
    for args, message in (
            (["train"], "train needs --data, --valid and --out"),
            (["train", "--arch", "seq2seq-transformer", "--data", "pairs"],
             "train needs --out"),
            (["eval"], "eval needs --model and --data"),
             (["fly"], "COMMAND is 'fly', expected train|eval|calibrate|convert|bleu|gradcheck|help"),
            (["--task", "lm"], "the command is missing"),
            (["train", "--kernels", "avx2"], "--kernels is no option of train"),
            (["train", "--epochs", "0"], "--epochs is '0', expected"),
            (["gradcheck"], "needs the double build"),
            (["train", "--data", "none", "--valid", "none", "--out",
              os.path.join(folder, "o")], "none: no such file"),
            (["train", "--tokenizer", "bpe"], "--tokenizer is 'bpe', expected"),
            (["train", "--tokenizer", "bpe:1e3"], "characters or bpe:N"),
            (["train", "--tokenizer", "bpe:900", "--vocab-size", "9"],
             "--tokenizer bpe:900 says the size"),
            ([*small(folder, "o", "--tokenizer", "bpe:200")],
             "256 bytes and 1 special tokens are 257"),
            ([*small(folder, "o", "--tokenizer", "bpe:300", "--unk-rate",
                     "0.1")], "--unk-rate needs a vocabulary"),
            ([*small(folder, "o", "--tokenizer", "bpe:300", "--softmax",
                     "sampled", "--noise", "log-uniform")],
             "--noise log-uniform needs entries")):
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


def test_train_cli_leaves_a_checkpoint_however_short_its_time(folder):
    write_text(folder)
    write_reversals(folder)
    pairs = ["train", "--arch", "seq2seq-rnn", "--tokenizer", "whitespace",
             "--language-column", "--data", folder + "/train.tsv", "--threads",
             "1", "--hidden", "16", "--embedding", "16", "--out",
             folder + "/pairs"]
    for args, out in ((training(folder, "words"), "words"), (pairs, "pairs")):
        r = run(*args, "--max-minutes", "0.00001")
        assert r.returncode == 0, r.stderr
        assert "epoch 0." in r.stderr and "best" in r.stderr, r.stderr
        assert len(read(folder, out)) > 1000
    # time that ran out before the first validation, too
    late = folder + "/late"
    pairs[-1] = late
    child = subprocess.Popen([TRAIN, *pairs, "--save-minutes", "0.01",
                              "--eval-every", "1000000", "--epochs", "100000"],
                             stderr=subprocess.DEVNULL)
    harness.wait(lambda: os.path.exists(late + "/state.bin"), "no state")
    child.kill()
    child.wait()
    assert not os.path.exists(late + "/model.safetensors")
    r = run(*pairs, "--resume", "--max-minutes", "0.00001")
    assert r.returncode == 0, r.stderr
    assert len(read(folder, "late")) > 1000


def test_train_cli_help_names_every_option(folder):
    r = run("--help")
    assert r.returncode == 0
    for word in ("--task lm|classifier", "--softmax full|sampled", "--resume",
                 "--init", "seqd-train eval", "[cosine]"):
        assert word in r.stdout, word


if __name__ == "__main__":
    sys.exit(harness.main(globals(), harness.in_folder))
