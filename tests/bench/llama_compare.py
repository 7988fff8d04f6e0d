#!/usr/bin/env python3
"""Tokens per second of seqd and of llama.cpp on one GGUF file, in one run.

In process: llama-bench (pp64, pp512, tg64) beside bench_decode, in turn, for
each number of threads. Over HTTP: llama-server (one slot a client, its prompt
cache off) beside seqd, greedy, 32 tokens after a prompt of some 30, each
request another text, a new connection each, in turn for each number of
clients. The rate counts the tokens that each side says it generated.

    tests/bench/llama_compare.py --model FILE.gguf --llama BUILD/bin

BUILD is a native release build of llama.cpp. `foreign` is the share of a core
that other processes took. Printed as TSV, or --markdown.

SPDX-License-Identifier: MIT
"""
import argparse
import http.client
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

MADE = 32
TEXT = ("Once upon a time there was a little girl named Lily who loved to "
        "play outside in the park with her friends every day")
NAMES = ["Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry"]


def cpu_line():
    info = {}
    for line in open("/proc/cpuinfo"):
        if ":" not in line:
            break
        k, v = line.split(":", 1)
        info[k.strip()] = v.strip()
    flags = info.get("flags", "").split()
    has = [f for f in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16",
                       "amx_int8") if f in flags]
    return (f"{info.get('vendor_id', platform.machine())} family "
            f"{info.get('cpu family')} model {info.get('model')}, "
            f"{os.cpu_count()} cores, {' '.join(has)}")


def busy_seconds():
    f = [int(x) for x in open("/proc/stat").readline().split()[1:]]
    return (sum(f[:3]) + sum(f[5:7])) / os.sysconf("SC_CLK_TCK")


def cpu_of(pid):
    f = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    t = os.times()
    return t.user + t.system + t.children_user + t.children_system


class Foreign:
    """Share of a core that processes other than ours took."""

    def __init__(self, pids=()):
        self.pids = pids
        self.start = self.now()
        self.t0 = time.monotonic()

    def now(self):
        return busy_seconds() - own_seconds() - sum(
            cpu_of(p) for p in self.pids)

    def share(self):
        return max(0.0, (self.now() - self.start)
                   / (time.monotonic() - self.t0))


def wait_for_quiet(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        f = Foreign()
        time.sleep(0.5)
        if f.share() < 0.06:
            return


# --- in process ---

def run_llama_bench(o, threads):
    out = subprocess.run(
        [os.path.join(o.llama, "llama-bench"), "-m", o.model, "-p", "64,512",
         "-n", "64", "-t", str(threads), "-r", str(o.repeats), "-o", "json"],
        capture_output=True, text=True, check=True).stdout
    rates = {}
    for row in json.loads(out):
        what = (f"pp{row['n_prompt']}" if row["n_prompt"]
                else f"tg{row['n_gen']}")
        rates[what] = row["avg_ts"]
    return rates


def run_seqd_bench(o, threads):
    out = subprocess.run(
        [o.bench, o.model, str(threads), str(o.repeats), "single"]
        + o.path.split(),
        capture_output=True, text=True, check=True).stdout
    return {f[2]: float(f[3])
            for f in (x.split("\t") for x in out.splitlines()[1:])
            if f[2] != "state"}


def in_process(o):
    rows = []
    for threads in o.threads:
        got = {"llama.cpp": [], "seqd": []}
        for _ in range(o.runs):
            for side, run in (("llama.cpp", run_llama_bench),
                              ("seqd", run_seqd_bench)):
                wait_for_quiet(o.wait_quiet)
                f = Foreign()
                got[side].append((run(o, threads), f.share()))
        for what in ("pp64", "pp512", "tg64"):
            rows.append(row_of(f"{what}, {threads} threads",
                               {s: [(r[what], f) for r, f in v]
                                for s, v in got.items()}))
    return rows


# --- over HTTP ---

def free_port():
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    port = s.getsockname()[1]
    s.close()
    return port


def get(port, path):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        c.request("GET", path)
        return c.getresponse().status
    except OSError:
        return 0
    finally:
        c.close()


class Server:
    def __init__(self, o, side, clients, folder):
        self.side = side
        self.port = free_port()
        log = open(os.path.join(folder, side + ".log"), "w")
        if side == "seqd":
            command = [o.seqd, "--port", str(self.port), "--log-level", "warn",
                       "--threads", str(max(o.threads)), "--model",
                       "m=" + o.model] + o.seqd_args.split()
        else:
            command = [os.path.join(o.llama, "llama-server"), "-m", o.model,
                       "--port", str(self.port), "-np", str(clients), "-c",
                       str(256 * clients), "-t", str(max(o.threads))]
        self.child = subprocess.Popen(command, stdout=log, stderr=log)
        ready = "/readyz" if side == "seqd" else "/health"
        for _ in range(600):
            if self.child.poll() is not None:
                sys.exit(f"{side} ended; see {log.name}")
            if get(self.port, ready) == 200:
                return
            time.sleep(0.05)
        sys.exit(f"{side} did not become ready")

    def ask(self, text):
        if self.side == "seqd":
            path = "/generate"
            body = {"input": text, "max_tokens": MADE, "temperature": 0}
        else:
            path = "/completion"
            body = {"prompt": text, "n_predict": MADE, "temperature": 0,
                    "cache_prompt": False}
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        c.request("POST", path, json.dumps(body),
                  {"Content-Type": "application/json"})
        answer = json.load(c.getresponse())
        c.close()
        if self.side == "seqd":
            return answer["usage"]["completion_tokens"]
        return answer["tokens_predicted"]

    def load(self, clients, seconds):
        """Tokens per second, p50 and p99 of a request in ms."""
        end = time.monotonic() + seconds
        lock, took, made = threading.Lock(), [], [0]

        def client(n):
            turn = 0
            while time.monotonic() < end:
                text = f"{NAMES[n % 8]} {n} {turn}. {TEXT}"
                t0 = time.monotonic()
                tokens = self.ask(text)
                with lock:
                    took.append(time.monotonic() - t0)
                    made[0] += tokens
                turn += 1

        t0 = time.monotonic()
        threads = [threading.Thread(target=client, args=(n,))
                   for n in range(clients)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        rate = made[0] / (time.monotonic() - t0)
        took.sort()
        return (rate, 1e3 * statistics.median(took),
                1e3 * took[min(len(took) - 1, int(0.99 * len(took)))])

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self.child.kill()


def over_http(o):
    rows = []
    for clients in o.clients:
        got = {"llama.cpp": [], "seqd": []}
        with tempfile.TemporaryDirectory() as folder:
            servers = []
            try:
                for side in got:
                    servers.append(Server(o, side, clients, folder))
                for s in servers:
                    s.load(clients, 1)
                for _ in range(o.runs):
                    for s in servers:
                        wait_for_quiet(o.wait_quiet)
                        f = Foreign([s.child.pid])
                        r = s.load(clients, o.seconds)
                        got[s.side].append((r[0], f.share(), r[1], r[2]))
            finally:
                for s in servers:
                    s.stop()
        rows.append(row_of(f"HTTP, {clients} clients", got))
    return rows


# --- the table ---

def row_of(what, got):
    cells = [what]
    mid = {}
    for side in ("llama.cpp", "seqd"):
        rates = [r[0] for r in got[side]]
        mid[side] = statistics.median(rates)
        cells.append(f"{mid[side]:.0f} [{min(rates):.0f}-{max(rates):.0f}]")
    cells.append(f"{mid['seqd'] / mid['llama.cpp']:.2f}")
    for side in ("llama.cpp", "seqd"):
        tails = [r[2:] for r in got[side] if len(r) > 2]
        cells.append("%.0f / %.0f" % tuple(
            statistics.median(t[k] for t in tails) for k in (0, 1))
            if tails else "")
    worst = max(r[1] for side in got.values() for r in side)
    cells.append(f"{100 * worst:.0f} %")
    print("\t".join(cells), file=sys.stderr, flush=True)
    return cells


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", required=True, help="a GGUF file")
    p.add_argument("--llama", required=True, metavar="DIR",
                   help="folder of llama-bench and llama-server")
    p.add_argument("--seqd", default="build/release/seqd")
    p.add_argument("--bench", default="build/release/tests/bench/bench_decode")
    p.add_argument("--seqd-args", default="", help="more options, one string")
    p.add_argument("--path", default="", choices=["", "exact"],
                   help="exact: fp32 activations on our side")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--clients", default="1,8,32")
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--seconds", type=int, default=8)
    p.add_argument("--wait-quiet", type=int, default=20, metavar="SECONDS")
    p.add_argument("--markdown", action="store_true")
    o = p.parse_args()
    o.threads = [int(x) for x in o.threads.split(",")]
    o.clients = [int(x) for x in o.clients.split(",") if x]
    if o.path:
        o.seqd_args += " --path " + o.path
    print(f"# {cpu_line()}; {os.path.basename(o.model)}, "
          f"{os.path.getsize(o.model)} bytes")
    rows = [["what", "llama.cpp tok/s", "seqd tok/s", "ratio",
             "llama.cpp p50 / p99 ms", "seqd p50 / p99 ms", "foreign"]]
    rows += in_process(o) + over_http(o)
    if o.markdown:
        rows.insert(1, ["---"] * len(rows[0]))
    for r in rows:
        print("| " + " | ".join(r) + " |" if o.markdown else "\t".join(r))


if __name__ == "__main__":
    main()
