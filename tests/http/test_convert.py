#!/usr/bin/env python3
"""seqd-train's checkpoints in other numbers: `convert` of a directory, and
trainings with --precision int8, of nets of every kind. What 8 bits a file has
is worked out here once more. Prints cmocka's lines.

SPDX-License-Identifier: MIT
"""
import json
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from harness import MODELS, TOP  # noqa: E402

TRAIN = os.path.abspath(os.environ.get("SEQD_TRAIN",
                                       TOP + "/build/release/seqd-train"))
GOLDEN = TOP + "/tests/golden/"


def run(*args):
    return subprocess.run([TRAIN, *args], capture_output=True, text=True,
                          timeout=120)


def convert(source, out, precision, *more):
    return run("convert", "--model", source, "--out", out, "--precision",
               precision, *more)


def converted(source, out, precision):
    r = convert(source, out, precision)
    assert r.returncode == 0, r.stderr
    line = json.loads(r.stdout)
    assert line["bytes"] == os.path.getsize(out + "/model.safetensors"), line
    return line


def tensors(folder):
    """By name: dtype, shape, bytes."""
    with open(folder + "/model.safetensors", "rb") as f:
        p = f.read()
    n, = struct.unpack_from("<Q", p)
    out = {}
    for name, t in json.loads(p[8:8 + n]).items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            assert a % {"F32": 4, "I64": 8}.get(t["dtype"], 1) == 0, name
            out[name] = t["dtype"], t["shape"], p[8 + n + a:8 + n + b]
    return out


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def floats(t):
    return struct.unpack("<%df" % (len(t[2]) // 4), t[2])


def rounded(v, rows, cols, by_column):
    """Bytes and scales of a matrix: fp32 arithmetic, half to even."""
    group = (lambda i: i % cols) if by_column else (lambda i: i // cols)
    most = [0.0] * (cols if by_column else rows)
    for i, x in enumerate(v):
        most[group(i)] = max(most[group(i)], abs(x))
    scale = [f32(m / 127) for m in most]
    q = []
    for i, x in enumerate(v):
        s = scale[group(i)]
        q.append(max(-127, min(127, round(f32(x / s)))) if s else 0)
    return struct.pack("%db" % len(q), *q), struct.pack("<%df" % len(scale),
                                                        *scale)


def test_convert_rounds_by_the_rule(folder):
    for source, conv in (("gpt2/gpt2/hf", ("c_attn", "c_proj", "c_fc")),
                         ("rnn/lstm", ()), ("marian/marian/hf", ())):
        line = converted(GOLDEN + source, folder + "/m", "int8")
        old, new = tensors(GOLDEN + source), tensors(folder + "/m")
        assert line["tensors"] == len(old)
        names = set()
        for name, (dtype, shape, data) in old.items():
            assert dtype == "F32"
            names.add(name)
            if len(shape) != 2 or shape[0] < 2:
                assert new[name] == old[name], name
                continue
            column = any("." + c + "." in name for c in conv)
            q, scale = rounded(floats(old[name]), *shape, column)
            names.add(name + ".scale")
            assert new[name] == ("I8", shape, q), name
            assert new[name + ".scale"] == (
                "F32", [1, shape[1]] if column else shape[:1], scale), name
        assert names == set(new)
        assert line["bytes"] < 0.45 * os.path.getsize(
            GOLDEN + source + "/model.safetensors")
        shutil.rmtree(folder + "/m")


def test_convert_there_and_back(folder):
    source = MODELS + "sentiment-transformer"
    line = converted(source, folder + "/i8", "int8")
    assert line["parameters"] == 2948738
    assert line["bytes"] < 1.05 * line["parameters"], line
    converted(folder + "/i8", folder + "/f32", "f32")
    small, wide = tensors(folder + "/i8"), tensors(folder + "/f32")
    for name, (dtype, shape, _) in wide.items():
        assert dtype == "F32"
        if small[name][0] == "I8":
            scale = floats(small[name + ".scale"])
            q = struct.unpack("%db" % math.prod(shape), small[name][2])
            want = [f32(b * scale[i // shape[1]]) for i, b in enumerate(q)]
            assert floats(wide[name]) == tuple(want), name
    converted(folder + "/f32", folder + "/bf16", "bf16")
    converted(folder + "/f32", folder + "/f16", "f16")
    assert {t[0] for t in tensors(folder + "/bf16").values()} == {"BF16"}
    assert {t[0] for t in tensors(folder + "/f16").values()} == {"F16"}
    # all of them are served, with the same answers but for the rounding
    ask = {"input": "a moving and funny film", "model": "i8"}
    with harness.Seqd(*[x for m in ("i8", "f32", "bf16", "f16") for x in
                        ("--model", f"{m}={folder}/{m}")],
                      "--path", "exact") as s:
        got = {m: s.post("/sentiment", dict(ask, model=m))["data"][0]["score"]
               for m in ("i8", "f32", "bf16", "f16")}
        assert got["i8"] == got["f32"], got
        assert max(got.values()) - min(got.values()) < 0.01, got
        told = {m["id"]: (m["dtype"], m["path"], m["parameters"]) for m in
                json.loads(s.send("GET", "/v1/models")[1])["data"]}
    assert told["i8"] == ("I8", "exact", 2948738), told
    with harness.Seqd("--model", f"i8={folder}/i8") as s:
        told = json.loads(s.send("GET", "/v1/models")[1])["data"][0]
        assert told["path"] == "fast", told
        near = s.post("/sentiment", ask)["data"][0]["score"]
    assert abs(near - got["i8"]) < 0.01, (near, got)


def test_convert_copies_what_lies_beside(folder):
    source, out = folder + "/from", folder + "/to"
    shutil.copytree(MODELS + "music-lstm", source)
    for name in ("state.bin", "curve.csv", "notes.bin", "merges.txt",
                 "model.safetensors.index.json", "generation_config.json",
                 ".hidden.json"):
        with open(f"{source}/{name}", "w") as f:
            f.write("{}")
    converted(source, out, "int8")
    assert set(os.listdir(out)) == {
        "model.safetensors", "config.json", "tokenizer.json", "curve.svg",
        "CARD.md", "merges.txt", "generation_config.json"}
    for name in ("config.json", "tokenizer.json"):
        with open(f"{source}/{name}") as a, open(f"{out}/{name}") as b:
            assert a.read() == b.read(), name
    with open(source + "/CARD.md") as a, open(out + "/CARD.md") as b:
        old, new = a.read(), b.read()
    assert new.startswith(old) and "in 8 bits with a scale" in new[len(old):]
    # the parts of a sentence encoder
    converted(GOLDEN + "bert/bert-embed-mean", folder + "/s", "int8")
    assert os.path.exists(folder + "/s/1_Pooling/config.json")
    # a state dict of PyTorch
    shutil.copytree(GOLDEN + "rnn/lstm", folder + "/pt")
    os.remove(folder + "/pt/model.safetensors")
    shutil.copy(GOLDEN + "torch/lstm.pt", folder + "/pt/model.pt")
    converted(folder + "/pt", folder + "/p", "f32")
    assert tensors(folder + "/p") == tensors(GOLDEN + "rnn/lstm")


def patched(folder, name, change):
    """A copy of a small checkpoint with another config.json or weights."""
    out = f"{folder}/{name}"
    shutil.copytree(GOLDEN + "rnn/lstm", out)
    for file in ("config.json", "model.safetensors"):
        with open(f"{out}/{file}", "rb") as f:
            p = f.read()
        with open(f"{out}/{file}", "wb") as f:
            f.write(change(file, p))
    return out


def test_convert_refuses_what_it_cannot_do(folder):
    small = GOLDEN + "rnn/lstm"
    nan = patched(folder, "nan", lambda n, p: p if n[0] == "c" else
                  p[:-4] + struct.pack("<f", math.nan))
    big = patched(folder, "big", lambda n, p: p if n[0] == "c" else
                  p[:-4] + struct.pack("<f", 1e6))
    other = patched(folder, "other", lambda n, p:
                    p.replace(b'"rnn"', b'"xyz"'))
    os.mkdir(folder + "/full")
    shutil.copy(small + "/model.safetensors", folder + "/full")
    out = folder + "/out"
    for args, message in [
            (["--model", small, "--out", out], "convert needs --model, --out"),
            (["--model", small, "--precision", "int8"], "convert needs"),
            (["--out", out, "--precision", "int8"], "convert needs"),
            (["--model", small, "--out", out, "--precision", "int4"],
             "'int4'"),
            (["--model", small, "--out", out, "--precision", "int8", "--lr",
              "1"], "--lr is no option of convert"),
            (["--model", folder + "/none", "--out", out, "--precision",
              "int8"], "none is no directory"),
            (["--model", small + "/model.safetensors", "--out", out,
              "--precision", "int8"], "is no directory"),
            (["--model", GOLDEN + "gpt2/gpt2-q", "--out", out, "--precision",
              "int8"], "holds a GGUF file"),
            (["--model", small, "--out", folder + "/full", "--precision",
              "int8"], "holds a checkpoint (model.safetensors)"),
            (["--model", big, "--out", big + "/../big", "--precision",
              "int8", "--overwrite"], "--out is --model"),
            (["--model", other, "--out", out, "--precision", "int8"],
             "model_type 'xyz' is not one that"),
            (["--model", nan, "--out", out, "--precision", "int8"],
             "holds a number that is not finite"),
            (["--model", big, "--out", out, "--precision", "f16"],
             "holds a number that is not finite")]:
        r = run("convert", *args)
        assert r.returncode == 1 and message in r.stderr, (args, r.stderr)
        assert not os.path.exists(out + "/model.safetensors"), args
    assert os.path.exists(big + "/model.safetensors")
    r = convert(small, folder + "/full", "int8", "--overwrite")
    assert r.returncode == 0, r.stderr
    assert tensors(folder + "/full")["output.weight"][0] == "I8"


# --- trainings ---

def write_data(folder):
    nouns = ["cat", "dog", "bird", "fox", "hen"]
    with open(folder + "/text.txt", "w") as f:
        for i in range(200):
            f.write(f"the {nouns[i % 5]} sees the {nouns[i * 3 % 5]} .\n")
    with open(folder + "/class.txt", "w") as f:
        for i in range(200):
            f.write(f"{i % 2}\ta {'good' if i % 2 else 'bad'} "
                    f"{nouns[i % 5]} .\n")
    with open(folder + "/pairs.tsv", "w") as f:
        for i in range(300):
            a, b = nouns[i % 5], nouns[i * 3 % 5]
            f.write(f"{a} {b} {nouns[i * 7 % 5]}\t{b} {a}\n")


COMMON = ["--precision", "int8", "--threads", "1", "--epochs", "2",
          "--embedding", "32", "--lr", "0.01"]
LM, CLASS, PAIRS = "text.txt", "class.txt", "pairs.tsv"
RNN = ["--hidden", "32"]
TF = ["--heads", "2", "--layers", "1", "--context", "32"]
KINDS = {
    "lstm": (LM, RNN + ["--tie"]),
    "gru": (LM, RNN + ["--cell", "gru", "--projection", "16"]),
    "elman": (LM, RNN + ["--cell", "elman", "--layers", "2"]),
    "class": (CLASS, RNN + ["--bidirectional", "--pooling", "max"]),
    "gpt2": (LM, TF + ["--arch", "gpt2", "--bptt", "16"]),
    "bert": (CLASS, TF + ["--arch", "bert", "--max-len", "16"]),
    "masked": (LM, TF + ["--arch", "bert", "--bptt", "16"]),
    "causal": (LM, TF + ["--arch", "bert", "--causal", "--bptt", "16"]),
    "marian": (PAIRS, ["--arch", "seq2seq-transformer", "--heads", "2",
                       "--layers", "1", "--context", "32",
                       "--tokenizer", "whitespace"]),
    "seq2seq": (PAIRS, RNN + ["--arch", "seq2seq-rnn", "--tie",
                              "--projection", "32", "--tokenizer",
                              "whitespace"]),
}
BY_COLUMN = {"gpt2": 4}


def arguments(folder, kind):
    data, options = KINDS[kind]
    task = ["--task", "classifier"] if data == CLASS else []
    return ["train", *task, "--data", f"{folder}/{data}", "--valid",
            f"{folder}/{data}", *COMMON, *options]


def training(folder, kind, *more):
    return run(*arguments(folder, kind), *more)


def test_train_writes_8_bits_of_every_kind(folder):
    write_data(folder)
    for kind, (data, _) in KINDS.items():
        out = f"{folder}/{kind}"
        r = training(folder, kind, "--out", out)
        assert r.returncode == 0, (kind, r.stderr)
        got, columns = tensors(out), 0
        for name, (dtype, shape, _) in got.items():
            if len(shape) == 2 and shape[0] > 1:
                assert dtype == "I8", (kind, name)
                columns += got[name + ".scale"][1][0] == 1 < shape[1]
            else:
                assert dtype == "F32", (kind, name)
        assert columns == BY_COLUMN.get(kind, 0), (kind, columns)
        with open(out + "/CARD.md") as f:
            assert "`--precision int8`" in f.read(), kind
        if kind in ("masked", "causal"):
            continue
        # what the card says of the checkpoint is of the rounded weights
        r = run("eval", "--model", out, "--data", f"{folder}/{data}")
        assert r.returncode == 0, (kind, r.stderr)
        if data != PAIRS:
            with open(out + "/CARD.md") as f:
                card = re.search(r"validation data \| `(.*)`", f.read())
            card, whole = json.loads(card[1]), json.loads(r.stdout)
            assert len(card) > 2, (kind, card)
            assert {k: whole[k] for k in card} == card, (kind, card, whole)


def test_train_starts_from_8_bits(folder):
    write_data(folder)
    out = folder + "/whole"
    assert training(folder, "gpt2", "--out", out).returncode == 0
    # from a checkpoint of 8 bits, its vocabulary, its tensors, and a copy in
    # fp32 of it: the same training
    converted(out, folder + "/wide", "f32")
    for name in ("whole", "wide"):
        r = training(folder, "gpt2", "--out", f"{folder}/from-{name}",
                     "--init", f"{folder}/{name}", "--vocab-from", out)
        assert r.returncode == 0 and "16 of 16 tensors" in r.stderr, r.stderr
    assert tensors(folder + "/from-whole") == tensors(folder + "/from-wide")


def test_train_rounds_only_what_it_saves(folder):
    write_data(folder)
    # the same training in fp32, converted
    for kind in ("gpt2", "gru", "seq2seq"):
        out = f"{folder}/{kind}"
        assert training(folder, kind, "--out", out).returncode == 0
        r = training(folder, kind, "--out", out + "-f32", "--precision",
                     "f32")
        assert r.returncode == 0, r.stderr
        converted(out + "-f32", out + "-i8", "int8")
        assert tensors(out) == tensors(out + "-i8"), kind
    # one that is interrupted goes on with what it had, and ends alike
    more = ["--schedule", "constant", "--epochs", "40"]
    assert training(folder, "lstm", "--out", folder + "/whole",
                    *more).returncode == 0
    parts = folder + "/parts"
    child = subprocess.Popen([TRAIN, *arguments(folder, "lstm"), "--out",
                              parts, *more], stderr=subprocess.PIPE)
    harness.wait(lambda: os.path.exists(parts + "/curve.csv"), "no validation")
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode == 0
    r = training(folder, "lstm", "--out", parts, *more, "--resume")
    assert r.returncode == 0, r.stderr
    assert tensors(parts) == tensors(folder + "/whole")


if __name__ == "__main__":
    sys.exit(harness.main(globals(), harness.in_folder))
