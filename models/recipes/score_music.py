#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Score the music model: is what it writes ABC, is it copied, does it obey?

    python3 models/recipes/score_music.py --url http://127.0.0.1:8080 \\
        --train training/abc.train.txt --n 100 --keep out/tunes

Asks a running seqd for n tunes from the empty text (seeds 1..n), with nothing
in the request but the seed: as the checkpoint says. Then for as many with a
kind, metre and key stated (`asked`: all of R:, M:, L: and K:; `some`: a few of
them, in an order that a user might write), and prints one JSON line for each
set:

  clean, warned, wrong  tunes that abc2midi (Debian's package abcmidi) reads
                 without a line of Warning or Error, with Warning lines, with
                 Error lines or without a MIDI file
  ended          tunes that ended by themselves
  bars, full     bars, and how many of them add up (abc_tune.py, bar_faults)
  metre          tunes whose bars add up in 95 of 100, by the metre asked for
  key            tunes of which at least 85 of 100 notes are in the scale of the
                 key (of a minor key with both sixths and sevenths) and the last
                 note is its tonic; `scale` and `tonic`: each by itself
  repeats        tunes of which every section is repeated (AABB)
  copy, copy_all the longest run of characters that also stands in a training
                 tune, of the music alone and with the header, which is one of
                 a few: the median tune's and the longest

Notes are counted as they sound: an accidental counts to the end of its bar.
Standard library only.
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import urllib.request

import abc_tune

IN_SCALE = 0.85
BARS_FULL = 0.95

ASKED = [(r, m, k) for r, m, keys in (
    ("jig", "6/8", "G D A C F Am Em Bm Edor Ador Amix Dmix"),
    ("reel", "4/4", "D G A F Bb Em Dm Ador Edor Dmix"),
    ("hornpipe", "4/4", "D G A C F"),
    ("waltz", "3/4", "G D C A Am"),
    ("polka", "2/4", "G D A"),
    ("slip jig", "9/8", "G D Em"),
) for k in keys.split()]
SOME = ["M:6/8\nK:D\n", "R:reel\n", "K:G\n", "X:1\nR:jig\nK:Edor\n",
        "X:1\nT:My Own Tune\nM:4/4\nK:Am\n", "R:waltz\nM:3/4\n",
        "X:7\nM:C|\nL:1/8\nK:D major\n", "K:A dorian\nM:4/4\n",
        "X:1\nM:3/4\nL:1/4\nK:C\n", "X:1\nM:2/4\nK:G\n|:"]


def generate(args, text, seed):
    """One answer's item to a prompt."""
    body = {"model": args.model, "input": text, "seed": seed}
    for name in ("max_tokens", "temperature", "top_p", "constraint"):
        value = getattr(args, name)
        if value is not None:
            body[name] = value
    request = urllib.request.Request(
        args.url + "/generate", json.dumps(body).encode(),
        {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as reply:
        return json.load(reply)["data"][0]


def said(tune, path):
    """"clean", "warned" or "wrong", as abc2midi has it."""
    with open(path + ".abc", "w", encoding="utf-8") as f:
        f.write(tune.rstrip("\n") + "\n")
    run = subprocess.run(["abc2midi", path + ".abc", "-o", path + ".mid"],
                         capture_output=True, text=True, timeout=30,
                         check=False)
    lines = (run.stdout + run.stderr).splitlines()
    if (run.returncode or not os.path.exists(path + ".mid") or
            any(line.startswith("Error") for line in lines)):
        return "wrong"
    return ("warned" if any(line.startswith("Warning") for line in lines)
            else "clean")


def longest_copy(tune, train):
    """Length of the longest substring of tune found in train."""
    best = start = 0
    while start + best < len(tune):
        while start + best < len(tune) and tune[start:start + best + 1] in train:
            best += 1
        start += 1
    return best


def music_of(text):
    """The text behind the last field."""
    return re.sub(r"^(?:[A-Z]:[^\n]*\n)+", "", text)


def look(text, keep):
    """What a tune is by its own fields: a dict of numbers."""
    try:
        tune = abc_tune.read_tune(text)
    except ValueError as error:
        print("unread: %s" % error, file=sys.stderr)
        return {"bars": 1, "full": 0, "metre": 0, "scale": 0, "tonic": 0,
                "key": 0, "repeats": 0}
    wrong = len({i for i, _ in abc_tune.bar_faults(tune)})
    notes = abc_tune.sounding(tune)
    scale = abc_tune.scale_of(*tune.key)
    inside = sum(p in scale for p, _ in notes) >= IN_SCALE * len(notes)
    home = abc_tune.last_degree(tune) == 0 if notes else False
    ends = [b for b in tune.bars if b.end != "|"]
    return {"bars": len(tune.bars), "full": len(tune.bars) - wrong,
            "metre": len(tune.bars) - wrong >= BARS_FULL * len(tune.bars),
            "scale": inside, "tonic": home, "key": inside and home,
            "repeats": all(b.end == ":|" or b.ending for b in ends)}


def score(args, name, prompts, train, folder):
    """One line for a set of prompts."""
    sums = {"tunes": len(prompts), "clean": 0, "warned": 0, "wrong": 0,
            "ended": 0}
    copies, copies_all, tokens = [], [], 0
    for seed, prompt in enumerate(prompts, 1):
        item = generate(args, prompt, seed)
        text = prompt + item["text"]
        tune = text if text.startswith("X:") else "X:%d\n%s" % (seed, text)
        kind = said(tune, os.path.join(folder, "%s%03d" % (name, seed)))
        sums[kind] += 1
        sums["ended"] += item["finish_reason"] == "stop"
        facts = look(tune, prompt)
        for key, value in facts.items():
            sums[key] = sums.get(key, 0) + int(value)
        if train:
            copies.append(longest_copy(music_of(text), train))
            copies_all.append(longest_copy(text, train))
        tokens += len(item["text"])
        print("%s %d/%d %s %s%s%s%s" % (
            name, seed, len(prompts), kind, item["finish_reason"],
            "" if facts["metre"] else " metre", "" if facts["key"] else " key",
            " copy %d" % copies[-1] if copies else ""), file=sys.stderr)
    sums["set"] = name
    sums["characters"] = tokens // len(prompts)
    if copies:
        sums["copy"] = [statistics.median(copies), max(copies)]
        sums["copy_all"] = [statistics.median(copies_all), max(copies_all)]
    return sums


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", default="music-lstm")
    parser.add_argument("--train", help="training tunes, to look for copies")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--sets", default="free,asked,some")
    parser.add_argument("--keep", help="folder that keeps tunes and MIDI files")
    parser.add_argument("--max-tokens", type=int, dest="max_tokens")
    parser.add_argument("--temperature", type=float)
    parser.add_argument("--top-p", type=float, dest="top_p")
    parser.add_argument("--constraint")
    args = parser.parse_args()

    train = ""
    if args.train:
        with open(args.train, encoding="utf-8") as f:
            train = f.read()
    folder = args.keep or tempfile.mkdtemp(prefix="tunes")
    os.makedirs(folder, exist_ok=True)
    whole = ["X:1\nR:%s\nM:%s\nL:1/8\nK:%s\n" % a for a in ASKED]
    sets = {"free": [""] * args.n,
            "asked": [whole[i % len(whole)] for i in range(args.n)],
            "some": [SOME[i % len(SOME)] for i in range(args.n)]}
    for name in args.sets.split(","):
        print(json.dumps(score(args, name, sets[name], train, folder)),
              flush=True)


if __name__ == "__main__":
    main()
