#!/usr/bin/env python3
"""Translation of seqd and of CTranslate2 in one run, in turn: one checkpoint of
random weights (translate_model.py), sources of 10 to 40 tokens, 32 tokens
written of each, greedy and with 4 beams, fp32 on both sides.

    tests/bench/translate.py [--size small] [--threads 1,2] [--rounds 5]

seqd in process (bench_translate), CTranslate2 in process (its Python package:
inter_threads 1, intra_threads as many as ours), and seqd's /translate with the
batch as one request's list. First all three write greedy words for the same
sources: `equal` of the first line. Rates are medians of tokens/s by the clock
(sentences/s: a 32nd); ratios are seqd's over CTranslate2's, those of CPU time
for machines that do other work. Needs the Python packages torch, transformers
and ctranslate2; without them it says so and ends.

SPDX-License-Identifier: MIT
"""
import argparse
import http.client
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

from llama_compare import Foreign, cpu_line, free_port, get

try:
    import ctranslate2

    import translate_model
except ImportError as missing:
    print(f"skipped: {missing.name} is not installed")
    sys.exit(0)

MADE = 32
SIDES = ("ct2", "seqd", "http")


def sources(rng, vocab, n):
    return [[f"w{rng.randrange(2, vocab - 1)}"
             for _ in range(rng.randint(10, 40))] for _ in range(n)]


def threads_seconds(pid):
    """CPU time of all threads of a process, to the nanosecond."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
        except OSError:
            pass
    return total * 1e-9


class CTranslate2:
    def __init__(self, o, threads):
        self.t = ctranslate2.Translator(
            os.path.join(o.folder, "ct2"), device="cpu",
            compute_type=o.compute_type, inter_threads=1,
            intra_threads=threads)
        self.pid = os.getpid()

    def words(self, texts, beams):
        r = self.t.translate_batch(
            [t + ["</s>"] for t in texts], beam_size=beams,
            min_decoding_length=MADE, max_decoding_length=MADE)
        return [x.hypotheses[0] for x in r]

    def run(self, texts, beams):
        wall, cpu = time.monotonic(), threads_seconds(self.pid)
        made = sum(len(x) for x in self.words(texts, beams))
        return time.monotonic() - wall, threads_seconds(self.pid) - cpu, made

    def stop(self):
        del self.t


class InProcess:
    def __init__(self, o, threads):
        self.child = subprocess.Popen(
            [o.bench, os.path.join(o.folder, "hf"), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self.child.pid

    def run(self, texts, beams):
        self.child.stdin.write(f"{len(texts)} {beams}\n")
        self.child.stdin.flush()
        wall, cpu, made = self.child.stdout.readline().split()
        return float(wall), float(cpu), int(made)

    def stop(self):
        self.child.stdin.close()
        self.child.wait(timeout=15)


class Http:
    def __init__(self, o, threads):
        self.port = free_port()
        self.child = subprocess.Popen(
            [o.seqd, "--port", str(self.port), "--log-level", "warn",
             "--threads", str(threads), "--timeout-ms", "0", "--model",
             "m=" + os.path.join(o.folder, "hf")])
        self.pid = self.child.pid
        end = time.monotonic() + 60
        while get(self.port, "/readyz") != 200:
            if self.child.poll() is not None or time.monotonic() > end:
                sys.exit("seqd did not become ready")
            time.sleep(0.05)

    def words(self, texts, beams):
        c = http.client.HTTPConnection("127.0.0.1", self.port)
        c.request("POST", "/translate", json.dumps(
            {"input": [" ".join(t) for t in texts], "beams": beams,
             "max_tokens": MADE}), {"Content-Type": "application/json"})
        answer = json.load(c.getresponse())
        c.close()
        return [r["text"].split() for r in answer["data"]]

    def run(self, texts, beams):
        wall, cpu = time.monotonic(), threads_seconds(self.pid)
        made = sum(len(x) for x in self.words(texts, beams))
        return time.monotonic() - wall, threads_seconds(self.pid) - cpu, made

    def stop(self):
        self.child.terminate()
        self.child.wait(timeout=15)


def measure(o, sides, rng, batch, beams):
    """By side: tokens per second of the clock, and of CPU time."""
    got = {s: [] for s in SIDES}
    for turn in range(-1, o.rounds * (1 if batch > 8 else 3)):
        for name in SIDES:
            wall, cpu, made = sides[name].run(
                sources(rng, o.vocab, batch), beams)
            if made != batch * MADE:
                sys.exit(f"{name} wrote {made} tokens, not {batch * MADE}")
            if turn >= 0:  # the first one warms up
                got[name].append((made / wall, made / cpu))
    return {s: [statistics.median(x) for x in zip(*v)]
            for s, v in got.items()}


def rows_of(o, threads, rng):
    sides = {"ct2": CTranslate2(o, threads), "seqd": InProcess(o, threads),
             "http": Http(o, threads)}
    try:
        texts = sources(rng, o.vocab, 16)
        same = sum(a == b for a, b in zip(sides["ct2"].words(texts, 1),
                                          sides["http"].words(texts, 1)))
        print(f"# {threads} threads: equal {same} of {len(texts)}",
              flush=True)
        for beams in (1, 4):
            for batch in o.batches:
                f = Foreign([sides["seqd"].pid, sides["http"].pid])
                r = measure(o, sides, rng, batch, beams)
                foreign = f.share()
                yield [str(threads), "beam 4" if beams > 1 else "greedy",
                       str(batch)] + [f"{r[s][0]:.0f}" for s in SIDES] + [
                    f"{r[s][k] / r['ct2'][k]:.2f}"
                    for s in SIDES[1:] for k in (0, 1)] + [
                    f"{100 * foreign:.0f} %"]
    finally:
        for s in sides.values():
            s.stop()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--size", default="base", choices=translate_model.SIZES)
    p.add_argument("--folder", help="made before, else made for this run")
    p.add_argument("--seqd", default="build/release/seqd")
    p.add_argument("--bench",
                   default="build/release/tests/bench/bench_translate")
    p.add_argument("--compute-type", default="float32",
                   help="CTranslate2's: int8 for what it gains by that")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--batches", default="1,8,64")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--markdown", action="store_true")
    o = p.parse_args()
    o.vocab = translate_model.SIZES[o.size]["vocab_size"]
    o.batches = [int(x) for x in o.batches.split(",")]
    made = None if o.folder else tempfile.TemporaryDirectory()
    if made:
        o.folder = made.name
        translate_model.make(o.folder, o.size)
    print(f"# {cpu_line()}; CTranslate2 {ctranslate2.__version__}, "
          f"{o.compute_type}; {o.size}")
    head = ["threads", "search", "batch", "ct2 tok/s", "seqd tok/s",
            "http tok/s", "seqd ratio", "by CPU", "http ratio", "by CPU",
            "foreign"]
    heads = [head, ["---"] * len(head)] if o.markdown else [head]
    for r in heads:
        print("| " + " | ".join(r) + " |" if o.markdown else "\t".join(r))
    rng = random.Random(1)
    for threads in (int(x) for x in o.threads.split(",")):
        for r in rows_of(o, threads, rng):
            print("| " + " | ".join(r) + " |" if o.markdown
                  else "\t".join(r), flush=True)


if __name__ == "__main__":
    main()
