#!/usr/bin/env python3
"""Train the bundled checkpoints from their seeds, stage by stage.

    make checkpoints                      # or, of some of them:
    models/recipes/checkpoints.py --only sentiment-lstm,sentiment-transformer

A stage is a command with an output below --out; what is done is kept, so that
a second call goes on where the first was stopped (a training in its batch).
--list prints the stages, their commands and whether they are done; --until
MINUTES ends after so long, with the training in a state to go on from. The
pages beside this file say what each stage is for and what it gave.

SPDX-License-Identifier: MIT"""
import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
GENRES = ("talk", "facts", "news", "sentences", "posts", "reviews", "novels")
LABELS = "negative,neutral,positive"
# Sentiment: files and how much of each an epoch takes
OPINIONS = {"phrases": 0.5, "films": 1, "tweets": 1, "talk": 0.6, "mood": 0.6,
            "airline": 0.6, "gadgets": 0.6, "business": 1, "laptops": 1,
            "restaurants": 1, "restaurants-more": 1, "products": 1,
            "speaker": 1, "reviews-parts": 0.35, "facts": 0.4, "order": 0.5}
DOMAINS = ("films", "tweets", "talk", "mood", "airline", "gadgets", "business",
           "laptops", "restaurants", "products", "speaker", "imdb")


def mix(weights, kind="train.tsv"):
    """--data of files by their weights."""
    return ",".join(f"{{data}}/{name}.{kind}" + (f":{w:g}" if w != 1 else "")
                    for name, w in weights.items())


def dev(without=()):
    """The dev sets of all domains but these."""
    return ",".join(f"{{data}}/{name}.dev.tsv" for name in DOMAINS
                    if name not in without)


DEV = dev()


class Train:
    """A training into OUT/NAME; done when its checkpoint is marked so."""

    def __init__(self, *options):
        self.options = options

    def command(self, a, name):
        out = os.path.join(a.out, name)
        args = [x.format(data=a.data, out=a.out, shared=a.shared)
                for x in self.options]
        args = [a.train, "train", *args, "--out", out, "--threads",
                str(a.threads), "--products", a.products]
        if os.path.exists(os.path.join(out, "state.bin")):
            args.append("--resume")
        return args

    def run(self, a, name):
        return call(a, self.command(a, name))


class Run:
    """A program of this folder, or any other, that has done when it ends."""

    def __init__(self, *args):
        self.args = args

    def command(self, a, name):
        del name
        args = [x.format(data=a.data, out=a.out, shared=a.shared, here=HERE,
                         train=a.train) for x in self.args]
        return [sys.executable, *args] if args[0].endswith(".py") else args

    def run(self, a, name):
        return call(a, self.command(a, name))


class Score(Run):
    """A program whose output is kept as OUT/NAME.txt."""

    def run(self, a, name):
        with open(os.path.join(a.out, name + ".txt"), "wb") as f:
            return call(a, self.command(a, name), stdout=f)


class Served(Run):
    """A program that asks models which a seqd serves meanwhile: NAME=PATH."""

    def __init__(self, models, *args):
        super().__init__(*args)
        self.models = models

    def run(self, a, name):
        options = [x for m in self.models
                   for x in ("--model", m.format(out=a.out))]
        server = subprocess.Popen(
            [a.seqd, "--port", str(a.port), "--threads", str(a.threads),
             "--max-batch", "256", "--bf16", *options],
            stderr=subprocess.DEVNULL)
        try:
            for _ in range(100):
                try:
                    urllib.request.urlopen(
                        f"http://127.0.0.1:{a.port}/readyz", timeout=5)
                    break
                except OSError:
                    time.sleep(0.2)
            return call(a, [*self.command(a, name), "--url",
                            f"http://127.0.0.1:{a.port}"])
        finally:
            server.terminate()
            server.wait()


def call(a, args, **popen):
    """Run it; False where time is over."""
    print("+", shlex.join(args), flush=True)
    process = subprocess.Popen(args, **popen)
    while True:
        try:
            code = process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            if a.end is not None and time.time() > a.end:
                process.terminate()
                process.wait()
                return False
            continue
        except KeyboardInterrupt:
            process.wait()
            sys.exit("stopped: the same command goes on from here")
        if code != 0:
            sys.exit(f"{args[0]} ended with {code}")
        return a.end is None or time.time() < a.end


RNN = ("--embedding", "256", "--hidden", "512", "--layers", "2")
LM = ("--task", "lm", "--record", "line", "--valid",
      ",".join(f"{{data}}/{g}.valid.txt" for g in GENRES), "--shuffle", "1",
      "--softmax", "sampled", "--samples", "2048", "--beta2", "0.99",
      "--average", "ema", "--average-decay", "0.999")
MINILM = ("--arch", "bert", "--embedding", "384", "--heads", "12", "--inner",
          "1536", "--context", "512")

CLASSIFIER = ("--task", "classifier", "--id2label", LABELS,
              "--warmup", "400", "--weight-decay", "0.01", "--average", "ema",
              "--average-decay", "0.998", "--eval-every", "1500")
# Files that teachers label: name, of which files, options of distil.py
SOFT = {
    "soft-films": ("phrases.train.tsv", "films.train.tsv", "--gold", "0.4"),
    "soft-domains": (*(f"{n}.train.tsv" for n in OPINIONS if n not in
                       ("phrases", "films", "reviews-parts")),
                     "--gold", "0.4", "--least", "0.1"),
    "soft-sentences": ("unlabelled-sentences.txt", "--most", "160000"),
    "soft-products": ("unlabelled-products.txt",),
    "soft-everyday": ("sentences.train.txt", "talk.train.txt",
                      "posts.train.txt", "--most", "15000"),
    "soft-parts": ("unlabelled-parts.txt", "--most", "15000"),
    "soft-whole": ("unlabelled-reviews.txt", "--most", "8000"),
}
STUDENT = ",".join("{data}/" + name for name in (
    "soft-films.tsv", "soft-domains.tsv", "soft-sentences.tsv:0.7",
    "soft-products.tsv:0.7", "soft-everyday.tsv:0.7", "soft-parts.tsv",
    "soft-whole.tsv:0.5", "reviews.train.tsv:0.4"))

STAGES = {
    # ------------------------------------------------------------ the data
    "data-opinions": Run("{here}/opinions.py", "--data", "{shared}/data",
                         "--out", "{data}"),
    "data-texts": Run("{here}/texts.py", "--data", "{shared}/data", "--out",
                      "{data}"),
    "data-stories": Run("{here}/stories_data.py", "--data", "{shared}/data",
                        "--out", "{data}"),
    "minilm": Run("sh", "{shared}/models/get.sh", "{out}/from",
                  "all-minilm-l6-v2"),
    # ----------------------------------------------------------- sentiment
    "teacher": Train(
        "--task", "classifier", "--id2label", LABELS, *MINILM, "--layers",
        "6", "--init", "{out}/from/all-minilm-l6-v2", "--vocab-from",
        "{out}/from/all-minilm-l6-v2", "--data", mix(OPINIONS), "--valid",
        DEV, "--max-len", "192", "--batch", "32", "--lr", "0.0002",
        "--lr-scale-init", "0.45", "--warmup", "400", "--weight-decay",
        "0.01", "--dropout", "0.1", "--dropout-attention", "0.1",
        "--dropout-output", "0.1", "--epochs", "2", "--eval-every", "900",
        "--seed", "1"),
    "teacher-2": Train(
        *CLASSIFIER, "--valid", DEV, *MINILM, "--layers", "6", "--init",
        "{out}/teacher",
        "--vocab-from", "{out}/teacher", "--data",
        mix({**{n: 0.4 for n in OPINIONS}, "phrases": 1, "films": 2,
             "tweets": 1, "business": 1, "laptops": 1, "restaurants": 1,
             "restaurants-more": 0.7, "products": 1, "speaker": 1,
             "reviews-parts": 0.01, "reviews": 0.35, "facts": 0.2,
             "order": 0.3}),
        "--max-len", "384", "--batch", "32", "--lr", "0.00012", "--dropout",
        "0.1", "--dropout-attention", "0.1", "--dropout-output", "0.1",
        "--epochs", "1", "--seed", "2"),
    **{name: Served(("t={out}/teacher-2",), "{here}/distil.py", "--teachers",
                    "t", *("{data}/" + x if x.endswith((".tsv", ".txt"))
                           else x for x in files),
                    "--out", "{data}/" + name + ".tsv")
       for name, files in SOFT.items()},
    "student-transformer": Train(
        *CLASSIFIER, "--valid", DEV, *MINILM, "--layers", "4", "--init",
        "{out}/teacher-2", "--tokenizer", "bpe:9000", "--data", STUDENT,
        "--max-len", "384", "--batch", "32", "--lr", "0.0004", "--lr-end",
        "0.01", "--dropout", "0.05", "--dropout-attention", "0.05",
        "--dropout-output", "0.1", "--epochs", "2", "--seed", "1"),
    "student-lstm": Train(
        *CLASSIFIER, "--valid", DEV, *RNN, "--pooling", "concat", "--init",
        "{out}/lm-2", "--vocab-from", "{out}/lm", "--data", STUDENT,
        "--max-len", "512", "--batch", "128", "--optimizer", "muon", "--lr",
        "0.002", "--lr-end", "0.01", "--lr-layer", "0.5", "--beta2", "0.99",
        "--dropout-embedding", "0.1", "--dropout", "0.1", "--dropout-output",
        "0.3", "--dropout-variational", "--dropout-word", "0.05", "--epochs",
        "2", "--seed", "1"),
    "lm": Train(
        *LM, "--tokenizer", "bpe:12000", *RNN, "--projection", "256", "--tie",
        "--data", mix({g: 0.5 if g == "reviews" else 1 for g in GENRES},
                      "train.txt"),
        "--batch", "64", "--bptt", "64", "--lr", "0.003", "--warmup", "300",
        "--lr-end", "0.03", "--weight-decay", "0.000001", "--clip", "0.5",
        "--dropout-embedding", "0.05", "--dropout", "0.1", "--dropout-output",
        "0.1", "--dropout-variational", "--epochs", "1", "--eval-every",
        "2000", "--seed", "1"),
    "lm-2": Train(
        *LM, *RNN, "--projection", "256", "--tie", "--init", "{out}/lm",
        "--vocab-from", "{out}/lm", "--apart", "--data",
        mix({g: 0.3 if g == "reviews" else 1 for g in GENRES}, "train.txt"),
        "--batch", "128", "--bptt", "64", "--optimizer", "muon", "--lr",
        "0.003", "--warmup", "200", "--lr-end", "0.02", "--weight-decay",
        "0.01", "--clip", "1", "--dropout-embedding", "0.05", "--dropout",
        "0.1", "--dropout-output", "0.1", "--dropout-variational", "--epochs",
        "3", "--eval-every", "1500", "--seed", "2"),
    "words-gpt": Train(
        *LM, "--arch", "gpt2", "--embedding", "320", "--heads", "5",
        "--layers", "6", "--inner", "1280", "--context", "128",
        "--vocab-from", "{out}/lm", "--apart", "--data",
        mix({g: 0.15 if g == "reviews" else 1 for g in GENRES}, "train.txt"),
        "--batch", "64", "--bptt", "128", "--optimizer", "muon", "--lr",
        "0.002", "--warmup", "200", "--lr-end", "0.02", "--weight-decay",
        "0.01", "--clip", "1", "--epochs", "2", "--eval-every", "1500",
        "--seed", "1"),
}

# How a domain is answered that was never seen, and what the sets bring that are
# for non-commercial use: small classifiers of labelled texts alone, from the
# same language model, alike but for what they leave out.
NOT_FREE = ("airline", "business")
LEFT_OUT = {"none": (), "free": NOT_FREE, "films": (
    "films", "phrases", "reviews-parts"), "restaurants": (
        "restaurants", "restaurants-more"), **{n: (n,) for n in (
            "tweets", "talk", "mood", "airline", "gadgets", "business",
            "laptops", "products", "speaker")}}
for _left, _files in LEFT_OUT.items():
    STAGES["without-" + _left] = Train(
        *CLASSIFIER, "--valid",
        dev(() if _left == "free" else (*_files, "imdb") if _left == "films"
            else _files), "--init", "{out}/lm", "--vocab-from", "{out}/lm",
        *RNN, "--pooling", "concat", "--data",
        mix({n: w / 3 for n, w in OPINIONS.items() if n not in _files}),
        "--max-len", "192", "--batch", "64", "--lr", "0.002", "--lr-layer",
        "0.5", "--dropout-embedding", "0.1", "--dropout-output", "0.3",
        "--epochs", "1", "--seed", "1")
    for _name in (DOMAINS if _left in ("none", "free") else (
            ("films", "imdb") if _left == "films" else (_left,))):
        STAGES[f"without-{_left}-on-{_name}"] = Score(
            "{train}", "eval", "--model", "{out}/without-" + _left, "--data",
            "{data}/" + _name + ".dev.tsv", "--max-len", "512",
            *(("--labels", "negative,positive")
              if _name in ("imdb", "products") else ()))
# what each bundled checkpoint needs, in order
NEEDS = {
    "sentiment-lstm": ("data-opinions", "data-texts", "minilm", "teacher",
                       "teacher-2", *SOFT, "lm", "lm-2", "student-lstm"),
    "sentiment-transformer": ("data-opinions", "data-texts", "minilm",
                              "teacher", "teacher-2", *SOFT,
                              "student-transformer"),
    "next-word-lstm": ("data-texts", "lm", "lm-2"),
    "next-word-gpt": ("data-texts", "lm", "words-gpt"),
    "domains": ("data-opinions", "data-texts", "lm",
                *(x for x in STAGES if x.startswith("without-"))),
}


def is_done(a, name):
    return os.path.exists(os.path.join(a.out, name + ".done"))


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("--shared", default="../shared")
    p.add_argument("--data", default="training/data")
    p.add_argument("--out", default="training/checkpoints")
    p.add_argument("--train", default="build/release/seqd-train")
    p.add_argument("--seqd", default="build/release/seqd")
    p.add_argument("--port", type=int, default=18480)
    p.add_argument("--threads", type=int, default=0)
    p.add_argument("--products", default="bf16", choices=("f32", "bf16"))
    p.add_argument("--until", type=float, metavar="MINUTES")
    p.add_argument("--only", default=",".join(NEEDS),
                   help="these checkpoints; domains: what the card says of "
                   "domains left out")
    p.add_argument("--stage", help="these stages alone, whatever needs them")
    p.add_argument("--list", action="store_true")
    a = p.parse_args()
    a.end = time.time() + 60 * a.until if a.until else None
    signal.signal(signal.SIGTERM, lambda *_: setattr(a, "end", 0))
    names = a.stage.split(",") if a.stage else list(dict.fromkeys(
        s for x in a.only.split(",") for s in NEEDS.get(x, (x,))))
    for name in names:
        if name not in STAGES:
            p.error(f"no such checkpoint or stage: {name}")
    os.makedirs(a.out, exist_ok=True)
    for name in names:
        if a.list:
            print(f"{'done' if is_done(a, name) else '    '} {name}: "
                  f"{shlex.join(STAGES[name].command(a, name))}")
        elif not is_done(a, name):
            if not STAGES[name].run(a, name):
                sys.exit("time is over: the same command goes on from here")
            open(os.path.join(a.out, name + ".done"), "w").close()


if __name__ == "__main__":
    main()
