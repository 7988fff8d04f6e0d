#!/usr/bin/env python3
"""A server on a terminal that is closed: what ends, what stays, what a shell
hands on, and SIGHUPs that mean a reload all the same. The terminals are pairs
of pseudo-terminals, the shells interactive ones. Prints cmocka's lines.

SPDX-License-Identifier: MIT
"""
import fcntl
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from harness import MODELS, WAIT_S, wait  # noqa: E402

SEQD = os.path.realpath(harness.SEQD)
MODEL = "words=" + MODELS + "next-word-elman"


def fresh():
    """A suite under nohup ignores it."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Terminal:
    """A session of its own on a pseudo-terminal, with a program or a shell."""

    def __init__(self, *command, **variables):
        self.folder = tempfile.TemporaryDirectory()
        self.path = self.folder.name + "/"
        self.keys = self.path + "keys"
        self.put_keys("first-key")
        self.seqd = [SEQD, "--port", "0", "--port-file", self.path + "port",
                     "--threads", "1", "--model", MODEL, "--log-file",
                     self.path + "log", "--api-key-file", self.keys]
        self.master, slave = os.openpty()

        def begin():
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            fresh()
        self.child = subprocess.Popen(
            command or self.seqd, stdin=slave, stdout=slave, stderr=slave,
            preexec_fn=begin, env={**os.environ, "HISTFILE": "", **variables})
        os.close(slave)
        self.pid = 0

    def put_keys(self, text):
        with open(self.keys + ".new", "w") as f:
            f.write(text + "\n")
        os.rename(self.keys + ".new", self.keys)

    def type(self, line):
        os.write(self.master, line.encode() + b"\n")

    def run(self, before="", after=""):
        """Type the server's command; wait until it is ready."""
        command = " ".join(shlex.quote(x) for x in self.seqd)
        self.type(f"{before} {command} {after}")
        return self.ready()

    def ready(self):
        wait(lambda: os.path.exists(self.path + "port"), "no port")
        with open(self.path + "port") as f:
            self.port = int(f.read())
        wait(lambda: "server ready" in self.log(), "not ready")
        # Whose is it? The one that has the log open.
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/exe") == SEQD and \
                        self.path in open(f"/proc/{pid}/cmdline").read():
                    self.pid = int(pid)
            except OSError:
                pass
        assert self.pid, "no process"
        return self

    def log(self):
        try:
            with open(self.path + "log") as f:
                return f.read()
        except FileNotFoundError:
            return ""

    def wait_log(self, words):
        wait(lambda: words in self.log(),
             lambda: words + " is not in " + self.log())

    def close(self):
        os.close(self.master)
        self.master = -1

    def is_gone(self):
        try:
            with open(f"/proc/{self.pid}/stat") as f:
                return f.read().rpartition(")")[2].split()[0] in "ZX"
        except (FileNotFoundError, ProcessLookupError):
            return True

    def ask(self, path="/version", key="first-key"):
        with socket.create_connection(("127.0.0.1", self.port), 10) as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n"
                      f"Authorization: Bearer {key}\r\n"
                      "Connection: close\r\n\r\n".encode())
            got = b""
            while part := s.recv(65536):
                got += part
        return got.decode()

    def must_drain(self):
        wait(self.is_gone, lambda: "it did not end: " + self.log())
        log = self.log()
        assert "draining signal=1 why=terminal_closed" in log, log
        assert "server drained" in log, log

    def must_stay(self):
        """And have no more to do than before."""
        time.sleep(1)
        before = self.seconds()
        for _ in range(20):
            assert " 200 " in self.ask()
        time.sleep(1)
        assert not self.is_gone()
        assert self.seconds() - before < 0.5
        assert "draining" not in self.log(), self.log()

    def seconds(self):
        """Of computing so far."""
        with open(f"/proc/{self.pid}/stat") as f:
            field = f.read().rpartition(")")[2].split()
        return (int(field[11]) + int(field[12])) / os.sysconf("SC_CLK_TCK")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.master >= 0:
            os.close(self.master)
        if self.pid and not self.is_gone():
            os.kill(self.pid, signal.SIGTERM)
            wait(self.is_gone,
                 lambda: "SIGTERM did not end it: " + self.log())
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self.folder.cleanup()


def shell(**variables):
    return Terminal("bash", "--norc", "--noprofile", "-i", PS1="$ ",
                    **variables)


def test_hangup_of_its_own_terminal_drains():
    with Terminal() as t:
        t.ready()
        t.close()
        t.must_drain()
        assert t.child.wait() == 0


def test_hangup_ends_what_runs_in_the_foreground_of_a_shell():
    with shell() as t:
        t.run()
        t.close()
        t.must_drain()


def test_hangup_ends_what_runs_in_the_background_of_a_shell():
    with shell() as t:
        t.run(after="&")
        t.close()
        t.must_drain()


def test_hangup_of_a_shell_that_was_killed_ends_it():
    """The kernel tells the foreground that its session is over."""
    with shell() as t:
        t.run()
        t.child.kill()
        t.must_drain()


def test_hangup_handed_on_before_the_terminal_goes_ends_it():
    """As with xterm: first the shell's, then the terminal goes."""
    with shell() as t:
        t.run(after="& disown")
        os.kill(t.pid, signal.SIGHUP)
        t.wait_log("server reload ")
        time.sleep(0.3)
        t.close()
        t.must_drain()


def test_hangup_is_ignored_under_nohup():
    with shell() as t:
        t.run(before="nohup", after=">/dev/null 2>&1 &")
        assert "hangup_ignored" in t.log()
        t.close()
        wait(lambda: t.child.poll() is not None, "the shell stays")
        t.must_stay()
        os.kill(t.pid, signal.SIGHUP)
        t.must_stay()
        assert "server reload" not in t.log()


def test_hangup_does_not_end_what_the_shell_let_go():
    """Its standard error is the terminal, which takes no more."""
    with shell() as t:
        t.seqd = [x for x in t.seqd if x not in ("--log-file",
                                                 t.path + "log")]
        command = " ".join(shlex.quote(x) for x in t.seqd)
        t.type(f"{command} & disown")
        wait(lambda: os.path.exists(t.path + "port"), "no port")
        t.log = lambda: "server ready"
        t.ready()
        wait(lambda: " 200 " in t.ask("/readyz"), "not ready")
        t.close()
        wait(lambda: t.child.poll() is not None, "the shell stays")
        t.must_stay()
        lost = t.ask("/metrics").split("\nseqd_log_lines_lost_total ")[1]
        assert float(lost.split()[0]) >= 20, lost.split()[0]
        time.sleep(1)  # it looks four times in 2 s, on a busy machine in 3
        t.put_keys("second-key")  # it has outlived the terminal
        os.kill(t.pid, signal.SIGHUP)
        wait(lambda: " 200 " in t.ask(key="second-key"), "no reload")


def test_hangup_is_a_reload_without_a_terminal():
    with Terminal("setsid", "-w", "true") as t:
        t.child.wait()
        with open(os.devnull) as nothing:
            child = subprocess.Popen(t.seqd, stdin=nothing, stderr=nothing,
                                     start_new_session=True, preexec_fn=fresh)
        t.ready()
        t.put_keys("second-key")
        child.send_signal(signal.SIGHUP)
        t.wait_log(f"server reload pid={os.getpid()} log_file=new "
                   "api_keys=new models=not_reloaded")
        assert " 401 " in t.ask()
        assert " 200 " in t.ask(key="second-key")
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=WAIT_S) == 0


def test_hangup_of_a_program_is_a_reload_on_a_terminal():
    with Terminal() as t:
        t.ready()
        t.put_keys("second-key")
        os.kill(t.pid, signal.SIGHUP)
        t.wait_log("api_keys=new")
        assert " 200 " in t.ask(key="second-key")
        t.put_keys("first-key")
        os.kill(t.pid, signal.SIGHUP)
        wait(lambda: " 200 " in t.ask(), "no second reload")
        time.sleep(2.5)  # longer than it looks after the terminal
        t.must_stay()
        t.close()  # and that is another thing
        t.must_drain()


def test_hangup_before_it_has_its_options_waits():
    with Terminal("true") as t:
        t.child.wait()
        fifo = t.path + "config"
        os.mkfifo(fifo)
        child = subprocess.Popen([*t.seqd, "--config", fifo],
                                 start_new_session=True, preexec_fn=fresh)

        def reads():
            names = f"/proc/{child.pid}/fd/"
            return any(os.readlink(names + n) == fifo
                       for n in os.listdir(names) if
                       os.path.lexists(names + n))
        wait(reads, "it does not read")
        child.send_signal(signal.SIGHUP)
        with open(fifo, "w") as f:
            f.write(json.dumps({"max_batch": 7}))
        t.ready()
        t.wait_log("server reload ")
        child.send_signal(signal.SIGTERM)
        assert child.wait(timeout=WAIT_S) == 0


if __name__ == "__main__":
    sys.exit(harness.main(globals()))
