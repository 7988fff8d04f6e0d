#!/usr/bin/env python3
"""Requests per second of seqd and of its peer, in one run.

First both answer the same texts: the probabilities must agree within 1e-4.
Then wrk loads them in turn (A B A B ...) at each number of connections; the
idle side sleeps. Printed as TSV: each run, then medians, ranges and ratios.
`foreign` is the share of one core that other processes took meanwhile: a run
with more than a few per cent says little.

SPDX-License-Identifier: MIT
"""
import argparse
import json
import os
import platform
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

SAME = 1e-4  # fp32 sums in another order, through 64 steps and a softmax


def cpu_line():
    info = {}
    for line in open("/proc/cpuinfo"):
        if ":" not in line:
            break
        k, v = line.split(":", 1)
        info[k.strip()] = v.strip()
    family, model = info.get("cpu family"), int(info.get("model", "0"))
    kind = ""
    if info.get("vendor_id") == "AuthenticAMD":
        if family == "26":
            kind = " (Zen 5)"
        elif family == "25":  # 0x10-0x1f, 0x60-0x7f, 0xa0-0xaf are Zen 4
            zen4 = model // 16 in (1, 6, 7, 10)
            kind = " (Zen 4)" if zen4 else " (Zen 3)"
    flags = info.get("flags", "").split()
    wide = "AVX-512" if "avx512f" in flags else "AVX2" if "avx2" in flags else ""
    return (f"{info.get('vendor_id', platform.machine())} family {family}"
            f" model {model}{kind}, {os.cpu_count()} cores, {wide}")


def ticks_of(pid):
    try:
        f = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return int(f[11]) + int(f[12])


def busy_ticks():
    f = [int(x) for x in open("/proc/stat").readline().split()[1:]]
    return sum(f[:3]) + sum(f[5:7])


def post(url, value):
    r = urllib.request.Request(url, json.dumps(value).encode(),
                               {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(r, timeout=30))


def wait_for_quiet(seconds):
    """Until others take less than 6 % of a core, or the time is up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        b0, t0 = busy_ticks(), time.monotonic()
        time.sleep(0.5)
        took = (busy_ticks() - b0) / os.sysconf("SC_CLK_TCK")
        if took / (time.monotonic() - t0) < 0.06:
            return


class Side:
    """A server under test: name, process, URL and the argument of load.lua."""

    def __init__(self, name, command, folder, port_file=None):
        self.name = name
        self.log = open(os.path.join(folder, name + ".log"), "w+")
        self.child = subprocess.Popen(
            command, stderr=self.log,
            stdout=self.log if port_file else subprocess.PIPE, text=True)
        if port_file is None:
            self.port = int(self.child.stdout.readline())
        else:
            self.port = self.wait_for(port_file)
        self.url = f"http://127.0.0.1:{self.port}"

    def wait_for(self, port_file):
        for _ in range(1000):
            if self.child.poll() is not None:
                self.log.seek(0)
                sys.exit(f"{self.name} ended:\n{self.log.read()[-2000:]}")
            try:
                port = int(open(port_file).read())
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz",
                                       timeout=5).close()
                return port
            except (OSError, ValueError):
                time.sleep(0.02)
        sys.exit(f"{self.name} did not become ready")

    def scores(self, ids):
        """Probabilities of (negative, positive)."""
        if self.name == "ort":
            return post(self.url + "/", {"ids": ids})["scores"]
        text = " ".join(f"w{i}" for i in ids)
        item = post(self.url + "/sentiment", {"input": text})["data"][0]
        if item.get("unknown"):
            sys.exit(f"seqd does not know {item['unknown']} of the words")
        by = {s["label"]: s["score"] for s in item["scores"]}
        return [by["negative"], by["positive"]]

    def load(self, connections, seconds):
        """(requests/s, p50, p90, p99, foreign share of a core)."""
        t0, b0, s0 = time.monotonic(), busy_ticks(), ticks_of(self.child.pid)
        c0 = os.times()
        r = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s",
             "--timeout", "20s", "-s",
             os.path.join(os.path.dirname(__file__), "load.lua"), self.url],
            capture_output=True, text=True, env={**os.environ,
                                                 "SIDE": self.name})
        c1, hz = os.times(), os.sysconf("SC_CLK_TCK")
        own = (ticks_of(self.child.pid) - s0
               + hz * (c1.children_user + c1.children_system
                       - c0.children_user - c0.children_system))
        foreign = (busy_ticks() - b0 - own) / hz / (time.monotonic() - t0)
        line = [x for x in r.stdout.splitlines() if x.startswith("result ")]
        if not line:
            sys.exit("wrk: " + r.stdout + r.stderr)
        v = [float(x) for x in line[-1].split()[1:]]
        if v[4]:
            sys.exit(f"{self.name}: {v[4]:.0f} failed requests")
        return v[0], v[1], v[2], v[3], max(0.0, foreign)

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.child.kill()


def check_equal(sides):
    rng, worst = random.Random(5), 0.0
    for n in [1, 2, 7, 16, 64, 64, 64, 64, 200]:
        ids = [rng.randrange(1, 10000) for _ in range(n)]
        answers = [s.scores(ids) for s in sides]
        for a in answers[1:]:
            worst = max(worst, *(abs(x - y) for x, y in zip(a, answers[0])))
    print(f"# answers differ by at most {worst:.2g}")
    if worst > SAME:
        sys.exit(f"http_compare: more than {SAME}")


def summary(results, sides, connections, markdown):
    rows = [["connections", "side", "req/s median", "min", "max", "p50 ms",
             "p99 ms", "ratio"]]
    for c in connections:
        base = None
        for s in reversed(sides):
            runs = results[(s.name, c)]
            rps = [r[0] for r in runs]
            mid = statistics.median(rps)
            base = base or mid
            rows.append([str(c), s.name] + [
                "%.0f" % v for v in (mid, min(rps), max(rps))] + [
                "%.3f" % statistics.median(r[k] for r in runs) for k in (1, 3)]
                + ["%.2f" % (mid / base)])
    if markdown:
        rows.insert(1, ["---"] * len(rows[0]))
    for r in rows:
        print("| " + " | ".join(r) + " |" if markdown else "\t".join(r))


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", required=True)
    p.add_argument("--onnx", required=True)
    p.add_argument("--seqd", default="build/release/seqd")
    p.add_argument("--seqd-args", default="", help="more options, one string")
    p.add_argument("--ort-threads", type=int, default=os.cpu_count())
    p.add_argument("--connections", default="1,8,64")
    p.add_argument("--runs", type=int, default=5)
    p.add_argument("--seconds", type=int, default=4)
    p.add_argument("--markdown", action="store_true",
                   help="print the summary as a table for README.md")
    p.add_argument("--wait-quiet", type=int, default=20, metavar="SECONDS",
                   help="wait at most that long for an idle machine")
    p.add_argument("--only", choices=["seqd", "ort"])
    o = p.parse_args()
    connections = [int(c) for c in o.connections.split(",")]
    here = os.path.dirname(os.path.abspath(__file__))
    sides, results = [], {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            if o.only != "ort":
                port_file = os.path.join(folder, "port")
                sides.append(Side(
                    "seqd", [o.seqd, "--port", "0", "--port-file", port_file,
                             "--log-level", "warn",
                             "--model", "bench=" + o.model]
                    + o.seqd_args.split(), folder, port_file))
            if o.only != "seqd":
                sides.append(Side(
                    "ort", ["node", os.path.join(here, "ort_server.js"),
                            o.onnx, str(o.ort_threads)], folder))
            print(f"# {cpu_line()}; ONNX Runtime with {o.ort_threads} threads")
            check_equal(sides)
            for s in sides:
                s.load(8, 1)  # warm
            print("connections\trun\tside\treq_s\tp50_ms\tp90_ms\tp99_ms\t"
                  "foreign")
            for c in connections:
                for run in range(o.runs):
                    for s in sides:
                        wait_for_quiet(o.wait_quiet)
                        r = s.load(c, o.seconds)
                        results.setdefault((s.name, c), []).append(r)
                        print(f"{c}\t{run + 1}\t{s.name}\t{r[0]:.1f}\t"
                              f"{r[1]:.3f}\t{r[2]:.3f}\t{r[3]:.3f}\t"
                              f"{100 * r[4]:.0f}%", flush=True)
            summary(results, sides, connections, o.markdown)
        finally:
            for s in sides:
                s.stop()


main()
