#!/usr/bin/env python3
"""Run the commands of README.md and docs/*.md against a real server and
compare what they print with what the page shows.

A command is a ```sh block after a line `<!-- checked -->`; the block after it
holds its output, if the page shows it. `<!-- checked: 401 -->` expects another
HTTP status. JSON is compared by keys, types, strings and numbers, but for
fields that differ by nature (ids, times, digests): an answer is the same on
every machine, except for the last digits of a portable build. `--update` writes
what was printed into the pages instead, JSON broken into lines of some 100
columns (a line that begins with a space goes on with the one above). Blocks
whose output is empty wait to be filled: they are run and their status is
checked.

The server is `build/release/seqd` with its bundled checkpoints on a free port;
localhost:8080 in the commands becomes that port.

SPDX-License-Identifier: MIT
"""
import argparse
import glob
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
WIDTH = 96  # of a line of JSON in a page, the closing brackets apart
BLOCK = re.compile(
    r"<!-- checked(?:: (\d+))? -->\n```sh\n(.*?)```\n"
    r"(?:\n*```(?:json|text)\n(.*?)```\n)?", re.S)


def same(a, b, where="answer"):
    """None, or what differs between two JSON values."""
    if isinstance(a, dict) and isinstance(b, dict):
        if list(a) != list(b):
            return f"{where}: keys {list(a)}, the page has {list(b)}"
        for k in a:
            if k in VOLATILE and type(a[k]) is type(b[k]):
                continue
            d = same(a[k], b[k], f"{where}.{k}")
            if d:
                return d
        return None
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"{where}: {len(a)} items, the page has {len(b)}"
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
    return f"{where}: {a!r}, the page has {b!r}"


def parse(text):
    """The JSON values of an answer: one, or one a line (with or without the
    `data: ` of server-sent events); None when it is not JSON."""
    try:
        return [json.loads(text)]
    except ValueError:
        pass
    out = []
    for line in re.sub(r"\n +", "", text).splitlines():
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
        f"printed {got.strip()[:200]!r}, the page has {shown.strip()[:200]!r}")


def layout(v, depth=1, lead=0):
    """JSON as a page shows it, after `lead` columns: what fits stands on one
    line, what does not is filled, one column deeper."""
    one = json.dumps(v, ensure_ascii=False, separators=(",", ":"))
    if len(one) + lead <= WIDTH or not isinstance(v, (dict, list)):
        return one
    keys = ([json.dumps(k, ensure_ascii=False) + ":" for k in v]
            if isinstance(v, dict) else [""] * len(v))
    lines, used = [""], lead + 1
    for i, x in enumerate(v.values() if isinstance(v, dict) else v):
        part = keys[i] + layout(x, depth + 1, depth + len(keys[i]))
        part += "," if i + 1 < len(v) else ""
        if lines[-1] and ("\n" in part or "\n" in lines[-1] or
                          used + len(part) > WIDTH):
            lines.append("")
            used = depth
        lines[-1] += part
        used += len(part)
    a, b = "{}" if isinstance(v, dict) else "[]"
    return a + ("\n" + " " * depth).join(lines) + b


def shown_as(text):
    """Printed text as a page shows it."""
    try:
        return layout(json.loads(text)) + "\n"
    except ValueError:
        pass
    out = []
    for line in text.rstrip("\n").splitlines():
        m = re.match(r"data: (?=\{)", line)
        out.append("data: " + layout(json.loads(line[6:]), 1, 6) if m else line)
    return "\n".join(out) + "\n"


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


class Page:
    def __init__(self, path):
        self.path = path
        self.text = open(path, encoding="utf-8").read()
        self.blocks = list(BLOCK.finditer(self.text))
        if len(self.blocks) != self.text.count("<!-- checked"):
            sys.exit(f"readme-check: {path} marks a block as checked that is"
                     " none")

    def check(self, server, folder, update):
        """Run all blocks: (failures, blocks that wait for their output)."""
        bad, waiting, pieces, last = 0, 0, [], 0
        for m in self.blocks:
            want, wrong = int(m.group(1) or 200), []
            got, codes = run_block(m.group(2), server.port, folder)
            if any(c != want for c in codes) or not codes:
                wrong.append(f"status {codes}, expected {want}")
            shown = m.group(3)
            if update and shown is not None:
                pieces += [self.text[last:m.start(3)], shown_as(got)]
                last = m.end(3)
            elif shown is not None and not shown.strip():
                waiting += 1
            elif shown is not None and compare(got, shown):
                wrong.append(compare(got, shown))
            line = m.group(2).strip().splitlines()[0][:70]
            print(f"{'FAILED' if wrong else 'ok'} {self.path}: {line}",
                  *wrong, sep="\n  ")
            bad += bool(wrong)
        if update:
            with open(self.path, "w", encoding="utf-8") as f:
                f.write("".join(pieces) + self.text[last:])
        return bad, waiting


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--seqd", default="build/release/seqd")
    p.add_argument("--update", action="store_true")
    p.add_argument("pages", nargs="*", help="README.md and docs/*.md")
    o = p.parse_args()
    pages = [Page(f) for f in
             o.pages or ["README.md", *sorted(glob.glob("docs/*.md"))]]
    if not pages[0].blocks:
        sys.exit("readme-check: no checked block in " + pages[0].path)
    n, bad, waiting = 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        server = Server(o.seqd, folder)
        try:
            for page in pages:
                b, w = page.check(server, folder, o.update)
                n, bad, waiting = n + len(page.blocks), bad + b, waiting + w
        finally:
            rc = server.stop()
    if rc != 0:
        print(f"FAILED the server ended with status {rc}")
        n, bad = n + 1, bad + 1
    if waiting:
        print(f"{waiting} blocks wait for their output (--update)")
    print(f"{n - bad} passed, {bad} failed, 0 skipped")
    sys.exit(bad != 0)


main()
