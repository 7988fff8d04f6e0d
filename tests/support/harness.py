"""What the tests in Python share: a wait with an end, a seqd on a free port,
and a main() that runs the tests of a file and prints cmocka's lines, which
tests/run.sh counts.

SPDX-License-Identifier: MIT
"""
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
SEQD = os.path.abspath(os.environ.get("SEQD", TOP + "/build/release/seqd"))
MODELS = TOP + "/models/checkpoints/"
WAIT_S = 30  # for what takes a moment, on a machine that others keep busy
END_S = 20  # below --drain-ms: nothing that a test leaves holds a server up


class Skip(Exception):
    """This test cannot run here, for the reason given."""


def wait(what, why, seconds=WAIT_S):
    """what(), as soon as that is true; else the test fails with why()."""
    end = time.monotonic() + seconds
    while True:
        got = what()
        if got:
            return got
        assert time.monotonic() < end, why() if callable(why) else why
        time.sleep(0.01)


class Seqd:
    """A server that is ready, with a folder of its own, `path`. `with` kills
    what is still there; popen: further arguments of subprocess.Popen."""

    def __init__(self, *args, program=SEQD, host="127.0.0.1", **popen):
        self.folder = tempfile.TemporaryDirectory()
        self.path = self.folder.name + "/"
        self.host = host
        with open(self.path + "log", "w") as log:
            self.child = subprocess.Popen(
                [program, "--port", "0", "--port-file", self.path + "port",
                 *args], **{"stderr": log, **popen})
        try:
            wait(lambda: self.runs() and os.path.exists(self.path + "port"),
                 "no port")
            with open(self.path + "port") as f:
                self.port = int(f.read())
            wait(lambda: self.runs() and
                 self.send("GET", "/readyz")[0] == 200, "it is not ready")
        except BaseException:
            self.__exit__()
            raise
        name = f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{self.port}"

    def runs(self):
        assert self.child.poll() is None, "it ended: " + self.log()
        return True

    def log(self):
        with open(self.path + "log") as f:
            return f.read()

    def send(self, method, path, body=None):
        """(status, body) of a request on a connection of its own."""
        conn = http.client.HTTPConnection(self.host, self.port, timeout=WAIT_S)
        try:
            conn.request(method, path, body, {
                "Connection": "close", "Content-Type": "application/json"})
            a = conn.getresponse()
            return a.status, a.read()
        finally:
            conn.close()

    def post(self, path, value):
        """The value that a request of this value is answered with."""
        status, body = self.send("POST", path, json.dumps(value))
        assert status == 200, (path, value, status, body)
        return json.loads(body)

    def stop(self):
        """Its exit status after SIGTERM."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(timeout=END_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        self.folder.cleanup()


def in_folder(test):
    with tempfile.TemporaryDirectory() as folder:
        test(folder)


def main(names, call=lambda test: test(), only=None):
    """The exit status after call(test) for each function of `names` (a file's
    globals()) that is called test_...; `only` (the command line's arguments):
    those with one of these in their names."""
    only = sys.argv[1:] if only is None else only
    tests = [(n, f) for n, f in names.items() if n.startswith("test_") and
             (not only or any(o in n for o in only))]
    said, not_ok = set(), {"SKIPPED": [], "FAILED": []}
    print(f"[==========] Running {len(tests)} test(s).")
    for name, test in tests:
        print(f"[ RUN      ] {name}", flush=True)
        try:
            call(test)
            print(f"[       OK ] {name}", flush=True)
            continue
        except Skip as e:
            word = "SKIPPED"
            if str(e) not in said:
                print(f"skipped: {e}")
            said.add(str(e))
        except Exception:  # whatever it is, the others run
            word = "FAILED"
            traceback.print_exc(file=sys.stdout)
        print(f"[  {word:8}] {name}", flush=True)
        not_ok[word].append(name)
    n = len(tests) - sum(map(len, not_ok.values()))
    print(f"[  PASSED  ] {n} test(s).")
    for word, names in not_ok.items():
        if names:
            print(f"[  {word:8}] {len(names)} test(s), listed below:")
            for name in names:
                print(f"[  {word:8}] {name}")
    return 1 if not_ok["FAILED"] else 0
