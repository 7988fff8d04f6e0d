#!/usr/bin/env python3
"""What a client that asks one thing after the other waits, alone and beside two
clients with 256 generations of 4,000 tokens each (three keys, the bundled
checkpoints), and how fast those two are, alone and beside it.

    tests/bench/fair.py [--probes N] [--limit X] [--only NAME] [--cpu]
        [seqd's options]

One TSV line a probe: p50, p99 and max in ms, the ratios, and the tokens a
second that the two heavy clients get. Only ratios within one run count, and a
p99 means something on an idle machine only. With --limit the exit status is 1
when some p99 beside is more than X times that alone. With --cpu a second is one
of the server's CPU time: with --threads 1 that says on a machine in use, too,
what an idle one would do.

SPDX-License-Identifier: MIT
"""
import argparse
import gc
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

ITEMS, TOKENS = 256, 4000
HEAVY, LIGHT = ("heavy-1", "heavy-2"), "light"
LINGER_S = 1.5  # a client is taken to be there for a second after it asked
# name, path, body, model of the load
PROBES = (
    ("predict-lstm", "/predict",
     {"model": "next-word-lstm", "input": "it was a"}, "next-word-lstm"),
    ("predict-gpt", "/predict",
     {"model": "stories-gpt", "input": "it was a"}, "stories-gpt"),
    ("sentiment", "/sentiment",
     {"input": "what a day this was for all of us"}, "stories-gpt"),
    ("sentiment-beside-lstm", "/sentiment",
     {"input": "what a day this was for all of us"}, "next-word-lstm"),
)


def message(method, path, key, body=b""):
    return (f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode() + body


class Client:
    """One connection that is kept, and no more work than that needs."""

    def __init__(self, port):
        self.s = socket.create_connection(("127.0.0.1", port))
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, text):
        self.s.sendall(text)
        got, need = b"", -1
        while need < 0 or len(got) < need:
            part = self.s.recv(1 << 16)
            if not part:
                raise OSError("the server closed the connection")
            got += part
            end = got.find(b"\r\n\r\n")
            if need < 0 and end >= 0:
                n = re.search(rb"(?i)\r\ncontent-length: *(\d+)", got[:end])
                need = end + 4 + int(n.group(1))
        return got

    def close(self):
        self.s.close()


class Server:
    def __init__(self, o, args, folder):
        keys = os.path.join(folder, "keys")
        self.port_file = os.path.join(folder, "port")
        with open(keys, "w") as f:
            f.write("\n".join(HEAVY + (LIGHT,)) + "\n")
        os.chmod(keys, 0o600)
        self.log = open(os.path.join(folder, "log"), "w+")
        self.child = subprocess.Popen(
            [o.seqd, "--port", "0", "--port-file", self.port_file,
             "--api-key-file", keys, "--data-dir", o.data_dir, "--timeout-ms",
             "0", "--log-level", "warn"] + args,
            stdout=self.log, stderr=self.log)
        self.port = self.wait()

    def wait(self):
        for _ in range(2000):
            if self.child.poll() is not None:
                break
            try:
                port = int(open(self.port_file).read() or 0)
                if port and b" 200 " in Client(port).ask(
                        message("GET", "/readyz", LIGHT))[:16]:
                    return port
            except OSError:
                pass
            time.sleep(0.01)
        self.stop()
        self.log.seek(0)
        sys.exit("fair: seqd did not become ready:\n" + self.log.read()[-2000:])

    def metric(self, name, *labels):
        """The sum of the series that have these labels."""
        c = Client(self.port)
        text = c.ask(message("GET", "/metrics", LIGHT)).decode()
        c.close()
        return sum(float(x.rsplit(" ", 1)[1]) for x in text.splitlines()
                   if x.startswith(name + "{") and all(k in x for k in labels))

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.child.kill()


class Load:
    """The two heavy clients; whoever is done begins again."""

    def __init__(self, port, model):
        self.ended = False
        self.socks = [socket.create_connection(("127.0.0.1", port))
                      for _ in HEAVY]
        for s, key in zip(self.socks, HEAVY):
            body = json.dumps({
                "model": model, "max_tokens": TOKENS,
                "input": [f"the end of the story {i}" for i in range(ITEMS)]})
            threading.Thread(target=self.run, daemon=True, args=(
                s, message("POST", "/generate", key, body.encode()))).start()

    def run(self, s, text):
        try:
            c = Client.__new__(Client)
            c.s = s
            while not self.ended:
                got = c.ask(text)
                if b" 200 " not in got[:16]:
                    sys.stderr.write("fair: the load: %r\n" % got[:300])
                    return
        except OSError:
            pass

    def stop(self):
        self.ended = True
        for s in self.socks:
            s.shutdown(socket.SHUT_RDWR)
            s.close()


def times(port, text, n):
    """Sorted, in ms."""
    c = Client(port)
    got = []
    for _ in range(n):
        t0 = time.perf_counter()
        answer = c.ask(text)
        got.append(1e3 * (time.perf_counter() - t0))
        if b" 200 " not in answer[:16]:
            sys.exit("fair: %r" % answer[:300])
    c.close()
    return sorted(got)


def cpu_of(pid):
    f = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(f[11]) + int(f[12])) / os.sysconf("SC_CLK_TCK")


def rate(o, sv, model, what):
    """what()'s result, and the tokens a second written meanwhile."""
    labels = f'model="{model}"', 'kind="completion"'

    def now():
        return cpu_of(sv.child.pid) if o.cpu else time.monotonic()
    n, t0 = sv.metric("seqd_tokens_total", *labels), now()
    got = what()
    seconds = now() - t0
    return got, (sv.metric("seqd_tokens_total", *labels) - n) / seconds


def measure(o, args, probe):
    _, path, body, model = probe
    text = message("POST", path, LIGHT, json.dumps(body).encode())
    with tempfile.TemporaryDirectory() as folder:
        sv = Server(o, args, folder)
        try:
            times(sv.port, text, 100)
            alone = times(sv.port, text, o.probes)
            load = Load(sv.port, model)
            until = time.monotonic() + 20
            while sv.metric("seqd_clients", f'model="{model}"') < len(HEAVY):
                if time.monotonic() > until:
                    sys.exit("fair: the load did not arrive")
                time.sleep(0.05)
            time.sleep(LINGER_S)
            _, free = rate(o, sv, model, lambda: time.sleep(o.seconds))
            times(sv.port, text, 20)
            beside, shared = rate(
                o, sv, model, lambda: times(sv.port, text, o.probes))
            load.stop()
        finally:
            sv.stop()
    return alone, beside, free, shared


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seqd", default="build/release/seqd")
    p.add_argument("--data-dir", default="models/checkpoints")
    p.add_argument("--probes", type=int, default=1000)
    p.add_argument("--seconds", type=float, default=5)
    p.add_argument("--limit", type=float, default=0)
    p.add_argument("--cpu", action="store_true")
    p.add_argument("--only", choices=[x[0] for x in PROBES])
    o, args = p.parse_known_args()
    gc.disable()
    late = 0
    print("probe\talone p50\tp99\tmax\tbeside p50\tp99\tmax\tp50 ratio\t"
          "p99 ratio\tload/s alone\tbeside\tratio")
    for probe in PROBES:
        if o.only and o.only != probe[0]:
            continue
        alone, beside, free, shared = measure(o, args, probe)
        a, b = ([t[len(t) // 2], t[len(t) * 99 // 100], t[-1]]
                for t in (alone, beside))
        late |= o.limit > 0 and b[1] > o.limit * a[1]
        print("\t".join([probe[0]] + ["%.2f" % x for x in a + b] +
                        ["%.2f" % (b[i] / a[i]) for i in (0, 1)] +
                        ["%.0f" % free, "%.0f" % shared,
                         "%.2f" % (shared / free)]), flush=True)
    sys.exit(1 if late else 0)


main()
