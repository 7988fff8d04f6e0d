#!/usr/bin/env python3
"""The lecture's comparison of recurrent cells: tasks of lecture.py that are no
pairs of texts.

    models/recipes/lecture_cells.py --list
    models/recipes/lecture_cells.py --fill docs/lecture.md

The first says of each task how long it takes and whether it is done, the second
writes what has come out so far into a page, between <!-- lecture: NAME --> and
<!-- /lecture -->, and its drawings beside it.

  adding-T-NET      the adding problem over T vectors; mean squared error
  copying-T-NET     ten symbols after T blanks; nats a symbol
  gradients-NET-free  adding-100-NET without clipping; the others are drawn
                    beside it
  gradients-elman-X at its start only: the recurrent matrix times X
  tricks-X          adding-100 with one thing of a net changed
  ptb-char-NET      characters of the Penn Treebank; bits a character
  bptt-N            a small LSTM of these whose gradients go N steps back
  ptb               words of the Penn Treebank, the recipe of AWD-LSTM: tens of
                    hours, and only where it is asked for by its name

NET is elman, irnn (Le et al. 2015), gru, lstm or transformer, of characters
relu, too; the nets of a task have about as many parameters each.

SPDX-License-Identifier: MIT"""
import argparse
import csv
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys

import draw_lines

HERE = os.path.dirname(os.path.abspath(__file__))
NETS = {"elman": "Elman (tanh)", "irnn": "IRNN", "gru": "GRU", "lstm": "LSTM",
        "transformer": "Transformer", "relu": "Elman (ReLU), orthogonal"}
COLOURS = {name: k for k, name in enumerate(NETS)}
IRNN = ["--cell", "elman", "--nonlinearity", "relu", "--init-recurrent",
        "identity"]

# 16,000 to 22,000 parameters each
ADDING = {
    "elman": ["--cell", "elman", "--hidden", "128", "--lr", "0.001"],
    "irnn": [*IRNN, "--hidden", "128", "--lr", "0.001"],
    "gru": ["--cell", "gru", "--hidden", "72", "--lr", "0.003"],
    "lstm": ["--cell", "lstm", "--hidden", "64", "--lr", "0.003"],
    "transformer": ["--arch", "bert", "--embedding", "32", "--heads", "2",
                    "--inner", "64", "--layers", "2", "--lr", "0.001"],
}
# The longer the sequence, the more often a gain over 1 is multiplied: with the
# options of T = 100 the loss of T = 400 is not finite after some 200 steps
ADDING_LONGER = {
    (400, "irnn"): ["--lr", "0.0003", "--lr-scale-recurrent", "0.03",
                    "--init-input", "0.01"],
    (1000, "irnn"): ["--lr", "0.0001", "--lr-scale-recurrent", "0.01",
                     "--init-input", "0.01"],
}
# length: sequences, epochs, sequences of a step, steps between validations
ADDING_SIZES = {100: (50000, 2, 50, 200), 400: (50000, 2, 20, 500),
                1000: (20000, 4, 20, 500)}
ADDING_HELD = 1000
# 17,000 to 22,000 parameters
COPYING = {
    "elman": ["--cell", "elman", "--hidden", "112", "--lr", "0.001"],
    "irnn": [*IRNN, "--hidden", "112", "--lr", "0.001"],
    "gru": ["--cell", "gru", "--hidden", "64", "--lr", "0.003"],
    "lstm": ["--cell", "lstm", "--hidden", "56", "--lr", "0.003"],
    "transformer": ["--arch", "gpt2", "--embedding", "32", "--heads", "2",
                    "--inner", "64", "--layers", "2", "--lr", "0.001"],
}
COPYING_SIZES = {20: (50000, 10), 100: (50000, 10)}
# 0.33 million
CHARACTERS = {
    "elman": ["--cell", "elman", "--hidden", "540", "--lr", "0.001",
              "--lr-scale-recurrent", "0.1"],
    "irnn": [*IRNN, "--init-recurrent-scale", "0.5", "--hidden", "540",
             "--lr", "0.001"],
    "relu": ["--cell", "elman", "--nonlinearity", "relu", "--hidden", "540",
             "--lr", "0.001"],
    "gru": ["--cell", "gru", "--hidden", "300", "--lr", "0.003"],
    "lstm": ["--cell", "lstm", "--hidden", "256", "--lr", "0.003"],
    "transformer": ["--arch", "gpt2", "--embedding", "96", "--heads", "4",
                    "--layers", "3", "--context", "128", "--lr", "0.002"],
}
# What adding-100-elman and -lstm would be with something else
TRICKS = {
    "tanh-identity": ("elman", "tanh, identity", "--init-recurrent",
                      "identity"),
    "relu-orthogonal": ("irnn", "ReLU, orthogonal", "--init-recurrent",
                        "orthogonal"),
    "relu-small-input": ("irnn", "IRNN, inputs of 0.001", "--init-input",
                         "0.001"),
    "lstm-forget-0": ("lstm", "LSTM, forget bias 0", "--forget-bias", "0"),
    "lstm-forget-4": ("lstm", "LSTM, forget bias 4", "--forget-bias", "4"),
}
BPTT = (5, 20, 100)
# Merity et al. 2017 (arXiv 1708.01009), with two layers of 1150 and a
# projection to 400 in the place of a third layer of 400
AWD = ["--task", "lm", "--tokenizer", "whitespace", "--vocab-size", "10000",
       "--record", "line", "--cell", "lstm", "--embedding", "400", "--hidden",
       "1150", "--layers", "2", "--projection", "400", "--tie", "--optimizer",
       "sgd", "--lr", "30", "--schedule", "constant", "--clip", "0.25",
       "--batch", "20", "--bptt", "70", "--bptt-random", "--weight-decay",
       "1.2e-6", "--dropout-embedding", "0.4", "--dropout", "0.25",
       "--dropout-output", "0.4", "--dropout-word", "0.1",
       "--dropout-recurrent", "0.5", "--dropout-variational", "--ar", "2",
       "--tar", "1", "--average", "trigger", "--average-patience", "5",
       "--products", "bf16", "--precision", "f32", "--epochs", "60"]
CACHE_THETAS, CACHE_LAMBDAS, CACHE_SIZE = (0.1, 0.3, 0.6), (0.05, 0.1, 0.2), 500


def adding(length, net, *more):
    n, epochs, batch, every = ADDING_SIZES[length]
    context = ["--context", str(length)] * (net == "transformer")
    return {"title": f"adding, T = {length}: {NETS[net]}",
            "files": f"adding-{length}", "kind": "adding", "length": length,
            "count": n, "form": "safetensors",
            "options": ["--task", "regression", *ADDING[net],
                        *ADDING_LONGER.get((length, net), []), *context,
                        "--batch", str(batch), "--schedule", "constant",
                        "--optimizer", "adam", "--epochs", str(epochs),
                        "--eval-every", str(every), "--precision", "f32",
                        *more]}


def copying(length, net):
    n, epochs = COPYING_SIZES[length]
    context = ["--context", str(length + 21)] * (net == "transformer")
    embedding = ["--embedding", "16"] * (net != "transformer")
    return {"title": f"copying, T = {length}: {NETS[net]}",
            "files": f"copying-{length}", "kind": "copying", "length": length,
            "count": n, "form": "txt",
            "options": ["--tokenizer", "whitespace", "--record", "line",
                        "--predict-last", "10", *COPYING[net], *embedding,
                        *context, "--batch", "50", "--schedule", "constant",
                        "--optimizer", "adam", "--epochs", str(epochs),
                        "--eval-every", "200", "--precision", "f32"]}


def characters(net, *more):
    embedding = ["--embedding", "64"] * (net != "transformer")
    return {"title": f"characters of the Penn Treebank: {NETS[net]}",
            "files": "ptb", "kind": "ptb", "form": "txt", "bits": True,
            "options": ["--tokenizer", "characters", "--record", "line",
                        *CHARACTERS[net], *embedding, "--batch", "32",
                        "--bptt", "100", "--optimizer", "adamw", "--epochs",
                        "3", "--clip", "0.25", "--precision", "f32", *more]}


def tasks():
    found = {}
    for length in ADDING_SIZES:
        for net in ADDING:
            found[f"adding-{length}-{net}"] = adding(length, net)
    for net in ADDING:
        found[f"gradients-{net}-free"] = adding(100, net, "--clip", "0")
    for scale in ("0.7", "1.4"):
        found[f"gradients-elman-{scale}"] = dict(
            adding(100, "elman", "--init-recurrent-scale", scale),
            share=":0.01")
    for length in COPYING_SIZES:
        for net in COPYING:
            found[f"copying-{length}-{net}"] = copying(length, net)
    for name, (net, title, *more) in TRICKS.items():
        found[f"tricks-{name}"] = dict(adding(100, net, *more),
                                       title=f"adding, T = 100: {title}")
    for net in CHARACTERS:
        found[f"ptb-char-{net}"] = characters(net)
    for n in BPTT:
        found[f"bptt-{n}"] = dict(
            characters("lstm", "--hidden", "128", "--epochs", "1", "--bptt",
                       str(n), "--batch", str(3200 // n)),
            title=f"characters, LSTM of 128, gradients over {n} steps")
    found["ptb"] = {"title": "words of the Penn Treebank, AWD-LSTM",
                    "files": "ptb", "kind": "ptb", "form": "txt",
                    "cache": True, "options": AWD}
    return found


TASKS = tasks()
USUAL = [name for name in TASKS if name != "ptb"]


# Of a core of an EPYC (family 25, model 17), from the speed of its first steps:
# vectors or tokens a second
SPEEDS = {"adding-100": {"elman": 760e3, "irnn": 750e3, "gru": 500e3,
                         "lstm": 600e3, "transformer": 190e3},
          "adding-400": {"elman": 670e3, "irnn": 670e3, "gru": 450e3,
                         "lstm": 540e3, "transformer": 107e3},
          "adding-1000": {"elman": 610e3, "irnn": 610e3, "gru": 420e3,
                          "lstm": 430e3, "transformer": 43e3},
          "copying": {"elman": 690e3, "irnn": 690e3, "gru": 580e3,
                      "lstm": 520e3, "transformer": 210e3},
          "ptb-char": {"elman": 42e3, "irnn": 42e3, "relu": 39e3, "gru": 38e3,
                       "lstm": 38e3, "transformer": 25e3},
          "bptt": {"lstm": 103e3}, "ptb": {"lstm": 850}}
PTB_CHARACTERS, PTB_WORDS = 5.1e6, 0.93e6
VALIDATION = 1.1 # as much time as the training alone takes


def minutes_of(name):
    """An estimate."""
    task, net = TASKS[name], name.split("-")[-1]
    if task["kind"] == "ptb":
        group = name if name == "ptb" else name.rsplit("-", 1)[0]
        tokens = 60 * PTB_WORDS if name == "ptb" else \
            (1 if group == "bptt" else 3) * PTB_CHARACTERS
        speed = SPEEDS[group].get(net, SPEEDS[group].get("lstm"))
    else:
        sizes = ADDING_SIZES if task["kind"] == "adding" else COPYING_SIZES
        length, epochs = task["length"], sizes[task["length"]][1]
        share = float(task.get("share", ":1")[1:])
        tokens = task["count"] * epochs * share * \
            (length + 21 * (task["kind"] == "copying"))
        speeds = SPEEDS["copying" if task["kind"] == "copying" else
                        f"adding-{length}"]
        speed = next(v for k, v in speeds.items() if k in name.split("-")) \
            if any(k in name.split("-") for k in speeds) else speeds["irnn"]
    return VALIDATION * tokens / speed / 60


def names_of(word):
    """Of --only: a task, or all of a group."""
    if word in TASKS:
        return [word]
    found = [name for name in TASKS if name.startswith(word + "-")]
    if word == "gradients":
        found = [f"adding-100-{net}" for net in ADDING] + found
    return found


def run(*args, **more):
    print("+", *args, flush=True)
    return subprocess.run(args, check=True, **more)


def data_of(a, task, part):
    return os.path.join(a.data, f"{task['files']}.{part}.{task['form']}")


def prepare(a, task):
    for seed, part in enumerate(("train", "valid", "test"), 1):
        path = data_of(a, task, part)
        if os.path.exists(path):
            continue
        if task["kind"] == "ptb":
            run(sys.executable, os.path.join(HERE, "prepare.py"), "--data",
                a.shared, "--out", a.data, "--only", "ptb")
            continue
        count = task["count"] if part == "train" else ADDING_HELD
        run(sys.executable, os.path.join(HERE, "memory_tasks.py"),
            task["kind"], "--length", str(task["length"]), "--count",
            str(count), "--seed", str(seed), path + ".part")
        os.replace(path + ".part", path)


def asked(a, name):
    """What a result depends on: one of other options is none of this task."""
    task = TASKS[name]
    return [*task["options"], *([task["share"]] if "share" in task else []),
            *(["--max-minutes", a.max_minutes] if a.max_minutes else [])]


def result(a, name):
    """What is kept of a task that was done with these options, or None."""
    path = os.path.join(a.out, name + ".json")
    if not os.path.exists(path):
        return None
    with open(path) as f:
        x = json.load(f)
    return x if x.get("options") == asked(a, name) else None


def has_begun(a, name):
    """A training of these options left a state to go on from."""
    out = os.path.join(a.out, name)
    if not os.path.exists(os.path.join(out, "state.bin")) or \
            not os.path.exists(out + ".options.json"):
        return False
    with open(out + ".options.json") as f:
        return json.load(f) == asked(a, name)


def train(a, name):
    task = TASKS[name]
    out = os.path.join(a.out, name)
    state = has_begun(a, name)
    with open(out + ".options.json", "w") as f:
        json.dump(asked(a, name), f)
    norms = ["--gradient-norms", out + ".norms.json"]
    run(a.train, "train", *task["options"], "--threads", str(a.threads),
        "--data", data_of(a, task, "train") + task.get("share", ""), "--valid",
        data_of(a, task, "valid"), "--out", out,
        *(norms if task["kind"] in ("adding", "copying") else []),
        *(["--max-minutes", a.max_minutes] if a.max_minutes else []),
        "--resume" if state else "--overwrite")


def parameters(out):
    """The elements of a checkpoint, from its header."""
    with open(os.path.join(out, "model.safetensors"), "rb") as f:
        n, = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(n))
    return sum(math.prod(t["shape"]) for name, t in header.items()
               if name != "__metadata__")


def evaluate(a, out, data, *more):
    r = run(a.train, "eval", "--model", out, "--data", data, *more,
            stdout=subprocess.PIPE, text=True)
    return json.loads(r.stdout)


def count_test(out):
    """How often the test set was scored, this time with it."""
    path = out + ".test-scores"
    with open(path, "a+") as f:
        f.seek(0)
        n = len(f.read().splitlines()) + 1
        f.write(f"{n}\n")
    return n


def score_words(a, name):
    """The cache's two numbers by the validation set, then the test set once,
    which says what the net has without the cache, too."""
    task, out = TASKS[name], os.path.join(a.out, name)
    tried = [evaluate(a, out, data_of(a, task, "valid"), "--cache-size",
                      str(CACHE_SIZE), "--cache-theta", str(theta),
                      "--cache-lambda", str(share))
             for theta in CACHE_THETAS for share in CACHE_LAMBDAS]
    best = min(tried, key=lambda x: x["nats"])
    test = evaluate(a, out, data_of(a, task, "test"), "--cache-size",
                    str(CACHE_SIZE), "--cache-theta",
                    str(best["cache_theta"]), "--cache-lambda",
                    str(best["cache_lambda"]))
    return {"valid": best, "test": test, "test_scored": count_test(out)}


def score(a, name):
    task, out = TASKS[name], os.path.join(a.out, name)
    with open(os.path.join(out, "curve.csv")) as f:
        rows = list(csv.DictReader(f))
    epochs = [int(value) for option, value in  # the last one counts
              zip(task["options"], task["options"][1:])
              if option == "--epochs"][-1]
    if not a.max_minutes and float(rows[-1]["epoch"]) < epochs - 0.01:
        sys.exit(f"{name}: stopped at epoch {rows[-1]['epoch']} of {epochs}; "
                 "make lecture goes on from there")
    found = {"title": task["title"], "options": asked(a, name),
             "parameters": parameters(out),
             "steps": int(rows[-1]["step"]),
             "seconds": float(rows[-1]["seconds"]),
             "best": min(float(r["valid_nats"]) for r in rows),
             "curve": [[int(r["step"]), float(r["valid_nats"])]
                       for r in rows]}
    if task["kind"] == "adding":
        found["held_out"] = evaluate(a, out, data_of(a, task, "test"))[
            "squared_error"]
    if task.get("bits"):
        for part in ("valid", "test"):
            x = evaluate(a, out, data_of(a, task, part))
            found["bits_" + part] = x["nats"] / x["tokens"] / math.log(2)
        found["test_scored"] = count_test(out)
    if task.get("cache"):
        found.update(score_words(a, name))
    with open(out + ".json.part", "w") as f:
        json.dump(found, f)
        f.write("\n")
    os.replace(out + ".json.part", out + ".json")


def do(a, name, where="1 of 1"):
    if result(a, name):
        return
    print(f"== {where}: {name}: {TASKS[name]['title']}, about "
          f"{minutes_of(name):.0f} minutes of a core", flush=True)
    prepare(a, TASKS[name])
    train(a, name)
    score(a, name)


# ---- what came out ----

def read(a, names):
    return {name: x for name in names for x in [result(a, name)] if x}


def read_norms(a, name):
    """The lines of --gradient-norms of a task that is done. A training that
    went on from an older state has written some twice."""
    path = os.path.join(a.out, name + ".norms.json")
    if not result(a, name) or not os.path.exists(path):
        return None
    with open(path) as f:
        lines = [json.loads(line) for line in f]
    found = {x["step"]: x for x in lines}
    return [found[step] for step in sorted(found)]


def solved_at(x, limit):
    return next((step for step, loss in x["curve"] if loss < limit), None)


def table_of_errors(found, prefix, nets, lengths, unit, limit):
    rows = [f"| {unit} (step below {limit:g}) | parameters | "
            + " | ".join(f"T = {n}" for n in lengths) + " |",
            "|---|---|" + "---|" * len(lengths)]
    for net in nets:
        cells, size = [], "-"
        for n in lengths:
            x = found.get(f"{prefix}-{n}-{net}")
            size = x["parameters"] if x and size == "-" else size
            at = x and solved_at(x, limit)
            cells.append("-" if not x else
                         f"{x.get('held_out', x['best']):.4f}"
                         + (f" ({at})" if at else ""))
        if size != "-":
            rows.append(f"| {NETS[net]} | {size} | " + " | ".join(cells)
                        + " |")
    return rows if len(rows) > 2 else []


def table_of_tricks(found):
    rows = [f"| {TRICKS[name][1]} | {x['held_out']:.4f} | "
            f"{solved_at(x, 0.01) or '-'} |" for name in TRICKS
            for x in [found.get(f"tricks-{name}")] if x]
    return ["| adding, T = 100 | error | step below 0.01 |", "|---|---|---|",
            *rows] if rows else []


def table_of_bits(found):
    rows = [f"| {title} | {x['parameters']} | {x['bits_valid']:.3f} | "
            f"{x['bits_test']:.3f} | {x['seconds'] / 60:.0f} |"
            for title, name in
            [(NETS[net], f"ptb-char-{net}") for net in CHARACTERS] +
            [(f"LSTM of 128, {n} steps back", f"bptt-{n}") for n in BPTT]
            for x in [found.get(name)] if x]
    return ["| characters: bits | parameters | validation | test | minutes |",
            "|---|---|---|---|---|", *rows] if rows else []


def table_of_words(found):
    x = found.get("ptb")
    return ["| words: perplexity | parameters | validation | test | with a "
            "cache |", "|---|---|---|---|---|",
            f"| AWD-LSTM | {x['parameters']} | "
            f"{x['valid']['perplexity_without']:.1f} | "
            f"{x['test']['perplexity_without']:.1f} | "
            f"{x['test']['perplexity']:.1f} |"] if x else []


def tables(a):
    """By name; those of which there is nothing yet are empty."""
    found = read(a, TASKS)
    return {"adding": table_of_errors(found, "adding", ADDING, ADDING_SIZES,
                                      "adding: mean squared error", 0.01),
            "copying": table_of_errors(found, "copying", COPYING,
                                       COPYING_SIZES,
                                       "copying: nats a symbol", 0.1),
            "tricks": table_of_tricks(found), "ptb-char": table_of_bits(found),
            "ptb": table_of_words(found)}


def write_table(a):
    text = "\n\n".join("\n".join(rows) for rows in tables(a).values() if rows)
    if text:
        with open(os.path.join(a.out, "cells.txt"), "w") as f:
            f.write(text + "\n")
        print(text)


def save_plot(a, name, plot):
    if plot["lines"]:
        with open(os.path.join(a.out, name), "w") as f:
            f.write(draw_lines.draw(plot))


def draw_adding(a, length):
    found = read(a, [f"adding-{length}-{net}" for net in ADDING])
    batch = ADDING_SIZES[length][2]
    save_plot(a, f"adding-{length}.svg", {
        "x": f"sequences of {length} vectors seen",
        "y": "mean squared error, validation", "log": True, "high": 1,
        "marks": [[1 / 6, "always 1"]],
        "lines": [{"name": NETS[net], "colour": COLOURS[net],
                   "points": [[step * batch, y] for step, y in x["curve"]]}
                  for net in ADDING
                  for x in [found.get(f"adding-{length}-{net}")] if x]})


def draw_copying(a, length):
    found = read(a, [f"copying-{length}-{net}" for net in COPYING])
    save_plot(a, f"copying-{length}.svg", {
        "x": f"sequences of {length + 21} symbols seen",
        "y": "nats a symbol, validation", "low": 0, "high": 2.5,
        "marks": [[math.log(8), "by chance"]],
        "lines": [{"name": NETS[net], "colour": COLOURS[net],
                   "points": [[step * 50, y] for step, y in x["curve"]]}
                  for net in COPYING
                  for x in [found.get(f"copying-{length}-{net}")] if x]})


def draw_characters(a):
    found = read(a, [f"ptb-char-{net}" for net in CHARACTERS])
    save_plot(a, "ptb-char.svg", {
        "x": "steps of 3,200 characters", "y": "bits a character, validation",
        "lines": [{"name": NETS[net], "colour": COLOURS[net],
                   "points": [[step, y / math.log(2)]
                              for step, y in x["curve"]]}
                  for net in CHARACTERS
                  for x in [found.get(f"ptb-char-{net}")] if x]})


def draw_clipping(a):
    """The mean norm of all gradients of the steps between two validations, as
    it was before it was clipped."""
    lines = []
    for net in ADDING:
        for name, dash in ((f"adding-100-{net}", False),
                           (f"gradients-{net}-free", True)):
            norms = read_norms(a, name)
            if norms:
                lines.append({"name": NETS[net] + ", free" * dash,
                              "dash": dash, "colour": COLOURS[net],
                              "points": [[x["step"], x["norm"]] for x in norms
                                         if x["steps"] > 0]})
    save_plot(a, "gradients-clip.svg", {
        "x": "steps", "y": "norm of the gradient, mean of 200 steps",
        "log": True, "marks": [[1, "--clip 1"]], "lines": lines})


def by_distance(norms, key):
    """From the last time back, over what the last one has; c over that of h,
    the state that the output reads."""
    rows = norms[key] if key == "x" else norms[key][0]
    top = rows[-1] if key == "x" else norms["h"][0][-1]
    return [[n, y / top if top > 0 else None]
            for n, y in enumerate(reversed(rows))]


def draw_gradients(a):
    """Relative to the last time step: h of each recurrent net, what is read of
    the Transformer."""
    for at, name, what in ((0, "gradients-start.svg", "before training"),
                           (-1, "gradients-trained.svg", "after training")):
        lines = []
        for net in ADDING:
            norms = read_norms(a, f"adding-100-{net}")
            if not norms:
                continue
            key = "h" if "h" in norms[at] else "x"
            lines.append({"name": NETS[net], "colour": COLOURS[net],
                          "points": by_distance(norms[at], key)})
            if "c" in norms[at]:
                lines.append({"name": NETS[net] + ", c", "dash": True,
                              "colour": COLOURS[net],
                              "points": by_distance(norms[at], "c")})
        for scale in ("0.7", "1.4"):
            norms = read_norms(a, f"gradients-elman-{scale}")
            if norms and at == 0:
                lines.append({"name": f"Elman, {scale} W", "dash": True,
                              "colour": COLOURS["elman"],
                              "points": by_distance(norms[at], "h")})
        save_plot(a, name, {
            "x": "time steps back from the last one",
            "y": f"gradient of the loss over that of the last step, {what}",
            "log": True, "low": 1e-8, "high": 1e4, "lines": lines})


DRAWINGS = {"adding": [f"adding-{n}.svg" for n in ADDING_SIZES],
            "copying": [f"copying-{n}.svg" for n in COPYING_SIZES],
            "gradients": ["gradients-start.svg", "gradients-trained.svg"],
            "clipping": ["gradients-clip.svg"], "ptb-char": ["ptb-char.svg"]}


def finish(a):
    write_table(a)
    for length in ADDING_SIZES:
        draw_adding(a, length)
    for length in COPYING_SIZES:
        draw_copying(a, length)
    draw_characters(a)
    draw_gradients(a)
    draw_clipping(a)


# ---- how far it is, and the page ----

def fill(a, page):
    """The tables and drawings of a page, by name, between its marks."""
    finish(a)
    found = tables(a)
    beside = os.path.splitext(page)[0]
    with open(page) as f:
        text = f.read()

    def place(match):
        rows = list(found.get(match[2], []))
        for name in DRAWINGS.get(match[2], []):
            path = os.path.join(a.out, name)
            if os.path.exists(path):
                os.makedirs(beside, exist_ok=True)
                shutil.copyfile(path, os.path.join(beside, name))
                rows += [""] * bool(rows) + [
                    f"![{name[:-4]}]({os.path.basename(beside)}/{name})"]
        return "\n".join([match[1], "", *(rows or ["Not measured yet."]), "",
                          "<!-- /lecture -->"])

    text = re.sub(r"(<!-- lecture: ([a-z-]+) -->)\n.*?<!-- /lecture -->",
                  place, text, flags=re.S)
    with open(page, "w") as f:
        f.write(text)


def state_of(a, name):
    x = result(a, name)
    if x:
        return f"done, {x['seconds'] / 60:.1f} min"
    if has_begun(a, name):
        return "begun"
    return "other options" if os.path.exists(
        os.path.join(a.out, name + ".json")) else "-"


def write_list(a, names):
    left = 0
    for name in names:
        state = state_of(a, name)
        left += 0 if state.startswith("done") else minutes_of(name)
        print(f"{name:28} {minutes_of(name):6.1f} min  {state}")
    print(f"{'left':28} {left:6.0f} min of one core")


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--out", default="training/lecture")
    p.add_argument("--list", action="store_true")
    p.add_argument("--fill", metavar="PAGE")
    a = p.parse_args()
    a.max_minutes = None
    if not a.list and not a.fill:
        p.error("--list or --fill; make lecture does the tasks")
    if a.fill:
        fill(a, a.fill)
    if a.list:
        write_list(a, TASKS)


if __name__ == "__main__":
    main()
