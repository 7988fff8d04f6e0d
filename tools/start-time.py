#!/usr/bin/env python3
"""Time from starting seqd to its first 200 on /readyz, with all bundled
checkpoints: the median of several starts, against a limit. It also ends each
server with SIGTERM and expects exit status 0.

SPDX-License-Identifier: MIT
"""
import argparse
import http.client
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time


def ready(port):
    try:
        c = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        c.request("GET", "/readyz")
        return c.getresponse().status == 200
    except OSError:
        return False


def start_once(seqd, args, folder):
    """Seconds until /readyz answers 200; the server is stopped again."""
    port_file = os.path.join(folder, "port")
    if os.path.exists(port_file):
        os.unlink(port_file)
    t0 = time.monotonic()
    child = subprocess.Popen(
        [seqd, "--port", "0", "--port-file", port_file] + args,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    port = 0
    try:
        while True:
            if child.poll() is not None or time.monotonic() - t0 > 20:
                child.kill()
                sys.exit("start-time: seqd did not become ready:\n" +
                         child.stderr.read().decode()[-2000:])
            if not port and os.path.exists(port_file):
                port = int(open(port_file).read() or 0)
            if port and ready(port):
                took = time.monotonic() - t0
                break
            time.sleep(0.001)
        child.send_signal(signal.SIGTERM)
        rc = child.wait(timeout=20)
        if rc != 0:
            sys.exit(f"start-time: exit status {rc} after SIGTERM")
        return took
    finally:
        if child.poll() is None:
            child.kill()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seqd", default="build/release/seqd")
    p.add_argument("--limit-ms", type=float, default=200)
    p.add_argument("--runs", type=int, default=5)
    o, args = p.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        times = [1000 * start_once(o.seqd, args, folder)
                 for _ in range(o.runs)]
    median = statistics.median(times)
    print("start to ready: median %.0f ms of %s" %
          (median, " ".join("%.0f" % t for t in times)))
    if median > o.limit_ms:
        sys.exit("start-time: over the limit of %.0f ms" % o.limit_ms)


main()
