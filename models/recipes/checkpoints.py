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
import sys
import time

from stages import NEEDS, STAGES


def is_done(a, name):
    return os.path.exists(os.path.join(a.out, name + ".done"))


def print_figures(a, names):
    """The tables of what was asked for, each test set asked once a version."""
    for name in names:
        path = os.path.join(a.out, name + ".md")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                print(f"\n{name.removeprefix('scores-')}\n\n{f.read()}", end="")


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
    p.add_argument("--only", default=",".join(x for x in NEEDS if x != "ptb"),
                   help="these checkpoints; domains: what the cards say of "
                   "domains left out; ptb: the trainer beside the literature, "
                   "which is not bundled")
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
            commands = STAGES[name].commands(a, name)
            print(f"{'done' if is_done(a, name) else '    '} {name}: "
                  f"{' && '.join(map(shlex.join, commands))}")
        elif not is_done(a, name):
            if not STAGES[name].run(a, name):
                sys.exit("time is over: the same command goes on from here")
            open(os.path.join(a.out, name + ".done"), "w").close()
    if not a.list:
        print_figures(a, names)


if __name__ == "__main__":
    main()
