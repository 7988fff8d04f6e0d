# SPDX-License-Identifier: MIT
"""What a stage of checkpoints.py may be: a training, a program, a checkpoint
made ready to be served, figures of one that is.

A stage has commands(a, name), what it would run, and run(a, name), which is
False where time was over before its end. `a` is what main() of checkpoints.py
read from the command line."""
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))


def call(a, args, **popen):
    """Run it; False where time is over."""
    print("+", shlex.join(args), flush=True)
    process = subprocess.Popen(args, **popen)
    while True:
        try:
            code = process.wait(timeout=5 if a.end is None else min(
                5, max(0.1, a.end - time.time())))
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


def filled(a, args):
    """The words of a command, with the folders of this run in them."""
    return [x.format(data=a.data, out=a.out, shared=a.shared, here=HERE,
                     train=a.train, seqd=a.seqd) for x in args]


def computing(a):
    """The options of seqd-train that say with what."""
    return ["--threads", str(a.threads), "--products", a.products]


class Train:
    """A training into OUT/NAME; done when its checkpoint is marked so."""

    def __init__(self, *options):
        self.options = options

    def commands(self, a, name):
        out = os.path.join(a.out, name)
        args = [a.train, "train", *filled(a, self.options), "--out", out,
                *computing(a)]
        if os.path.exists(os.path.join(out, "state.bin")):
            args.append("--resume")
        return [args]

    def run(self, a, name):
        return call(a, self.commands(a, name)[0])


class Run:
    """A program of this folder, or any other, that has done when it ends."""

    def __init__(self, *args):
        self.args = args

    def commands(self, a, name):
        del name
        args = filled(a, self.args)
        return [[sys.executable, *args] if args[0].endswith(".py") else args]

    def run(self, a, name):
        return call(a, self.commands(a, name)[0])


class Score(Run):
    """A program whose output is kept as OUT/NAME.txt."""

    def run(self, a, name):
        with open(os.path.join(a.out, name + ".txt"), "wb") as f:
            return call(a, self.commands(a, name)[0], stdout=f)


class Served(Run):
    """A program that asks models which a seqd serves meanwhile: NAME=PATH."""

    def __init__(self, models, *args, fast=True):
        super().__init__(*args)
        self.models = models
        self.fast = fast

    def ask(self, a, name, **popen):
        options = [x for m in self.models
                   for x in ("--model", m.format(out=a.out))]
        server = subprocess.Popen(
            [a.seqd, "--port", str(a.port), "--threads", str(a.threads),
             "--max-batch", "256", *(["--bf16"] if self.fast else []),
             *options], stderr=subprocess.DEVNULL)
        url = f"http://127.0.0.1:{a.port}"
        try:
            for _ in range(100):
                try:
                    urllib.request.urlopen(url + "/readyz", timeout=5)
                    break
                except OSError:
                    time.sleep(0.2)
            return call(a, [*self.commands(a, name)[0], "--url", url], **popen)
        finally:
            server.terminate()
            server.wait()

    def run(self, a, name):
        return self.ask(a, name)


class Figures(Served):
    """The same of a checkpoint as it is bundled; the program's table is kept
    with .md behind its name, and printed at the end."""

    def __init__(self, model, *args):
        super().__init__((f"{model}={{out}}/{model}",), *args, "--model",
                         model, fast=False)

    def run(self, a, name):
        with open(os.path.join(a.out, name + ".md"), "wb") as f:
            return self.ask(a, name, stdout=f)


class Bundle:
    """OUT/NAME from the training OUT/SOURCE, as it is bundled: 8 bits, what
    else its config.json and generation_config.json say, and temperatures of
    the sets `calibrate` names."""

    def __init__(self, source, config=None, generation=None, calibrate=()):
        self.source = source
        self.config = config or {}
        self.generation = generation or {}
        self.calibrate = calibrate

    def commands(self, a, name):
        out = os.path.join(a.out, name)
        args = [[a.train, "convert", "--model",
                 os.path.join(a.out, self.source), "--out", out,
                 "--precision", "int8", "--overwrite"]]
        if self.calibrate:
            args.append([a.train, "calibrate", "--model", out,
                         *filled(a, self.calibrate), "--threads",
                         str(a.threads)])
        return args

    def run(self, a, name):
        out = os.path.join(a.out, name)
        convert, *calibrate = self.commands(a, name)
        if not call(a, convert):
            return False
        for file, members in (("config.json", self.config),
                              ("generation_config.json", self.generation)):
            if members:
                path, known = os.path.join(out, file), {}
                if os.path.exists(path):
                    with open(path, encoding="utf-8") as f:
                        known = json.load(f)
                with open(path, "w", encoding="utf-8") as f:
                    json.dump({**known, **members}, f, indent=2)
                    f.write("\n")
        shutil.copy(os.path.join(a.out, self.source, "curve.svg"), out)
        return all(call(a, args) for args in calibrate)
