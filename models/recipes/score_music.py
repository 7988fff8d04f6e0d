#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Score the music model: does abc2midi accept what it writes, is it copied?

    python3 models/recipes/score_music.py --url http://127.0.0.1:8080 \\
        --train training/abc.train.txt --n 100 --keep out/tunes

Asks a running seqd for n continuations of the empty text (seeds 1..n), puts
an `X:` line in front where the model wrote none, runs abc2midi (Debian's
package abcmidi) on each and prints one JSON line:

  accepted       tunes for which abc2midi exits 0, writes a MIDI file and
                 prints no line that starts with "Error"
  ended          tunes that ended by themselves before --max-tokens
  longest_copy   the longest run of characters, over all tunes, that also
                 stands in the training tunes; median_copy: the median tune's

Standard library only.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import urllib.request


def generate(url, model, seed, args):
    """One continuation of the empty text: (text, finish_reason)."""
    body = {"model": model, "input": "", "max_tokens": args.max_tokens,
            "temperature": args.temperature, "seed": seed}
    if args.top_p < 1:
        body["top_p"] = args.top_p
    request = urllib.request.Request(
        url + "/generate", json.dumps(body).encode(),
        {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        item = json.load(reply)["data"][0]
    return item["text"], item["finish_reason"]


def accepted(tune, path):
    """True when abc2midi takes the tune without an error."""
    with open(path + ".abc", "w", encoding="utf-8") as f:
        f.write(tune)
    run = subprocess.run(["abc2midi", path + ".abc", "-o", path + ".mid"],
                         capture_output=True, text=True, timeout=30,
                         check=False)
    errors = [line for line in (run.stdout + run.stderr).splitlines()
              if line.startswith("Error")]
    return run.returncode == 0 and not errors and os.path.exists(path + ".mid")


def longest_copy(tune, train):
    """Length and text of the longest substring of tune found in train."""
    best = ""
    start = 0
    while start + len(best) < len(tune):
        end = start + len(best) + 1
        while end <= len(tune) and tune[start:end] in train:
            best = tune[start:end]
            end += 1
        start += 1
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--model", default="music-lstm")
    parser.add_argument("--train", help="training tunes, to look for copies")
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--max-tokens", type=int, default=1500)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--keep", help="folder that keeps tunes and MIDI files")
    args = parser.parse_args()

    train = ""
    if args.train:
        with open(args.train, encoding="utf-8") as f:
            train = f.read()
    folder = args.keep or tempfile.mkdtemp(prefix="tunes")
    os.makedirs(folder, exist_ok=True)
    n_ok = n_ended = 0
    copies = []
    for seed in range(1, args.n + 1):
        text, finish = generate(args.url, args.model, seed, args)
        tune = text if text.startswith("X:") else "X:%d\n%s" % (seed, text)
        ok = accepted(tune.rstrip("\n") + "\n",
                      os.path.join(folder, "tune%03d" % seed))
        n_ok += ok
        n_ended += finish == "stop"
        copies.append(longest_copy(text, train) if train else "")
        print("%d/%d %s %s copy %d" % (seed, args.n, "ok " if ok else "BAD",
                                       finish, len(copies[-1])),
              file=sys.stderr)
    lengths = sorted(len(c) for c in copies)
    print(json.dumps({
        "tunes": args.n, "accepted": n_ok, "ended": n_ended,
        "longest_copy": lengths[-1],
        "median_copy": statistics.median(lengths),
        "longest_copy_text": max(copies, key=len),
        "temperature": args.temperature, "top_p": args.top_p}))


if __name__ == "__main__":
    main()
