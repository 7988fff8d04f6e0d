#!/usr/bin/env python3
"""Run the commands of README.md against a real server and compare what they
print with what README.md shows.

A command is a ```sh block after a line `<!-- checked -->`; the block after it
holds its output. `<!-- checked: 401 -->` expects another HTTP status. JSON is
compared by keys, types, strings and numbers, but for fields that differ by
nature (ids, times, digests): an answer is the same on every machine, except
for the last digits of a portable build. `--update` writes what was printed
into README.md instead. Blocks whose output is empty wait to be filled: they
are run and their status is checked.

The server is `build/release/seqd` with its bundled checkpoints on a free port;
localhost:8080 in the commands becomes that port.

SPDX-License-Identifier: MIT
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

VOLATILE = {"id", "created", "request_id", "digest", "uptime_s", "queue_us",
            "run_us", "commit", "build", "version"}
TOLERANCE = 2e-3  # a probability in another kernel family, or a printed digit
BLOCK = re.compile(
    r"<!-- checked(?:: (\d+))? -->\n```sh\n(.*?)```\n"
    r"(?:\n*```(?:json|text)\n(.*?)```\n)?", re.S)


def same(a, b, where="answer"):
    """None, or what differs between two JSON values."""
    if isinstance(a, dict) and isinstance(b, dict):
        if list(a) != list(b):
            return f"{where}: keys {list(a)}, README has {list(b)}"
        for k in a:
            if k in VOLATILE and type(a[k]) is type(b[k]):
                continue
            d = same(a[k], b[k], f"{where}.{k}")
            if d:
                return d
        return None
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"{where}: {len(a)} items, README has {len(b)}"
        for i, (x, y) in enumerate(zip(a, b)):
            d = same(x, y, f"{where}[{i}]")
            if d:
                return d
        return None
    number = (int, float)
    if (isinstance(a, number) and isinstance(b, number)
            and not isinstance(a, bool) and not isinstance(b, bool)):
        if abs(a - b) <= TOLERANCE * max(1.0, abs(a), abs(b)):
            return None
    elif a == b and type(a) is type(b):
        return None
    return f"{where}: {a!r}, README has {b!r}"


def parse(text):
    """The JSON values of an answer: one, or one a line (with or without the
    `data: ` of server-sent events); None when it is not JSON."""
    try:
        return [json.loads(text)]
    except ValueError:
        pass
    out = []
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("data: "):
            line = line[6:]
        if not line or line == "[DONE]":
            continue
        try:
            out.append(json.loads(line))
        except ValueError:
            return None
    return out or None


def compare(got, shown):
    a, b = parse(got), parse(shown)
    if a is not None and b is not None:
        return same(a, b)
    return None if got.strip() == shown.strip() else (
        f"printed {got.strip()[:200]!r}, README has {shown.strip()[:200]!r}")


class Server:
    def __init__(self, seqd, folder):
        port_file = os.path.join(folder, "port")
        self.log = open(os.path.join(folder, "log"), "w+")
        self.child = subprocess.Popen(
            [seqd, "--port", "0", "--port-file", port_file],
            stdout=self.log, stderr=self.log)
        end = time.monotonic() + 20
        while time.monotonic() < end and self.child.poll() is None:
            if os.path.exists(port_file) and open(port_file).read().strip():
                self.port = int(open(port_file).read())
                if subprocess.run(
                        ["curl", "-sf", "-o", "/dev/null",
                         f"http://127.0.0.1:{self.port}/readyz"]).returncode == 0:
                    return
            time.sleep(0.02)
        self.stop()
        self.log.seek(0)
        sys.exit("readme-check: the server did not become ready:\n" +
                 self.log.read()[-2000:])

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        return self.child.wait(timeout=30)


def run_block(command, port, folder):
    """(output, HTTP statuses) of a block; curl reports its status through its
    configuration file, so the command is README's, letter by letter."""
    with open(os.path.join(folder, ".curlrc"), "w") as f:
        f.write('write-out = "%{stderr}\\nhttp=%{http_code}\\n"\n')
    command = re.sub(r"(localhost|127\.0\.0\.1):8080",
                     rf"127.0.0.1:{port}", command)
    r = subprocess.run(["bash", "-euo", "pipefail", "-c", command],
                       capture_output=True, text=True, timeout=120,
                       env={**os.environ, "CURL_HOME": folder})
    codes = [int(c) for c in re.findall(r"^http=(\d+)$", r.stderr, re.M)]
    if r.returncode != 0:
        sys.exit(f"readme-check: status {r.returncode} from:\n{command}\n"
                 f"{r.stdout}{r.stderr}")
    return r.stdout, codes


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seqd", default="build/release/seqd")
    p.add_argument("--readme", default="README.md")
    p.add_argument("--update", action="store_true")
    o = p.parse_args()
    text = open(o.readme, encoding="utf-8").read()
    blocks = list(BLOCK.finditer(text))
    if not blocks:
        sys.exit("readme-check: no checked block in " + o.readme)
    bad, waiting, pieces, last = 0, 0, [], 0
    with tempfile.TemporaryDirectory() as folder:
        server = Server(o.seqd, folder)
        try:
            for m in blocks:
                want = int(m.group(1) or 200)
                got, codes = run_block(m.group(2), server.port, folder)
                line = m.group(2).strip().splitlines()[0][:70]
                if any(c != want for c in codes) or not codes:
                    print(f"FAILED {line}\n  status {codes}, expected {want}")
                    bad += 1
                shown = m.group(3)
                if o.update and shown is not None:
                    pieces += [text[last:m.start(3)], got.rstrip("\n") + "\n"]
                    last = m.end(3)
                elif not (shown or "").strip():
                    waiting += shown is not None
                else:
                    d = compare(got, shown)
                    if d:
                        print(f"FAILED {line}\n  {d}")
                        bad += 1
                        continue
                print(f"ok {line}")
        finally:
            rc = server.stop()
    if rc != 0:
        print(f"FAILED the server ended with status {rc}")
        bad += 1
    if o.update:
        with open(o.readme, "w", encoding="utf-8") as f:
            f.write("".join(pieces) + text[last:])
    if waiting:
        print(f"{waiting} blocks wait for their output (--update)")
    print(f"{len(blocks) - min(bad, len(blocks))} passed, {bad} failed,"
          " 0 skipped")
    sys.exit(bad != 0)


main()
