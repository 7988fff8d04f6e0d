#!/usr/bin/env python3
"""Clients as they are: heads that must not be understood, names that a page
could make up, too many connections, halves of connections, and the end of a
server that many are talking to. Prints cmocka's lines.

SPDX-License-Identifier: MIT
"""
import concurrent.futures
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from harness import MODELS, SEQD, TOP, wait  # noqa: E402

GET = b"GET /version HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" \
       b"Content-Type: application/json\r\n"
BODY = b'{"input":"the"}'
BEHIND = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


class Server(harness.Seqd):
    def __init__(self, *args, **more):
        super().__init__("--threads", "1", "--model",
                         "words=" + MODELS + "next-word-lstm", *args, **more)

    def open(self):
        s = socket.create_connection((self.host, self.port), timeout=10)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def ask(self, data, half=False):
        """All that comes until the server closes."""
        with self.open() as s:
            s.sendall(data)
            if half:
                s.shutdown(socket.SHUT_WR)
            got = b""
            while True:
                part = s.recv(65536)
                if not part:
                    return got
                got += part


def head(line):
    """A request with this line in its head, and another one behind it."""
    return GET + line + b"\r\n" + BEHIND


REFUSED = [
    head(b": v\r\n"), head(b"X: a\0b\r\n"),
    head(b"Transfer-Encoding: chunked\0zzz\r\n"),
    POST + b"Content-Length: 15\0x\r\n\r\n" + BODY + BEHIND,
    head(b"Authorization: Bearer key\0x\r\n"),
    b"GET /ver\0sion HTTP/1.1\r\nHost: localhost\r\n\r\n" + BEHIND,
    b"GET /version HTTP/1.1\nHost: localhost\n\n" + BEHIND,
    b"GET /version HTTP/1.1\r\nHost: localhost\n\r\n" + BEHIND,
    GET + b"\n" + BEHIND, GET + b"X: y\n\n" + BEHIND,
    head(b"X: a\r\n b\r\n"), head(b" X: a\r\n"), head(b"X: a\x01b\r\n"),
    head(b"X: a\x7f\r\n"), head(b"X : a\r\n"), head(b"X\r\n"),
    b"GET /version HTTP/1.1\r\nHost: a b\r\n\r\n" + BEHIND,
    b"GET /version HTTP/1.1\r\nHost: a/b\r\n\r\n" + BEHIND,
    b"GET /version HTTP/1.1\r\n\r\n" + BEHIND, head(b"Host: localhost\r\n"),
    b"G@T /version HTTP/1.1\r\nHost: localhost\r\n\r\n" + BEHIND,
    b"GET  /version HTTP/1.1\r\nHost: localhost\r\n\r\n" + BEHIND,
    b"GET /version HTTP/3.0\r\nHost: localhost\r\n\r\n" + BEHIND,
    b"GET /version\r\n\r\n" + BEHIND,
    POST + b"Content-Length: +15\r\n\r\n" + BODY + BEHIND,
    POST + b"Content-Length: 15, 15\r\n\r\n" + BODY + BEHIND,
    POST + b"Content-Length: 15\r\nContent-Length: 15\r\n\r\n" + BODY + BEHIND,
    CHUNKED + b"f\n" + BODY + b"\r\n0\r\n\r\n" + BEHIND,
    CHUNKED + b"f;x\n" + BODY + b"\r\n0\r\n\r\n" + BEHIND,
    CHUNKED + b"f\r\n" + BODY + b"\n0\r\n\r\n" + BEHIND,
    CHUNKED + b"1000000000000000f\r\n" + BODY + b"\r\n0\r\n\r\n" + BEHIND,
    CHUNKED + b"8000000000000000\r\n" + BODY + b"\r\n0\r\n\r\n" + BEHIND,
    CHUNKED + b"-f\r\n" + BODY + b"\r\n0\r\n\r\n" + BEHIND,
    CHUNKED + b"f\r\n" + BODY + b"\r\n0\r\n\n" + BEHIND,
]


def test_clients_get_one_json_error_for_what_is_not_http():
    with Server() as s:
        for ask in REFUSED:
            got = s.ask(ask)
            top, _, body = got.partition(b"\r\n\r\n")
            assert got.startswith(b"HTTP/1.1 400 "), (ask, got)
            assert got.count(b"HTTP/1.1 ") == 1, (ask, got)
            assert top.count(b"X-Request-Id: ") == 1, (ask, got)
            assert b"Connection: close" in top, (ask, got)
            assert b'"code":"invalid_request"' in body, (ask, got)
        got = s.ask(GET + b"X: " + b"x" * 40000 + b"\r\n\r\n" + BEHIND)
        assert got.startswith(b"HTTP/1.1 431 "), got
        assert b'"code":"head_too_large"' in got, got
        assert s.ask(CHUNKED.replace(b"Host", b"Connection: close\r\nHost") +
                     b"f;x=y\r\n" + BODY + b"\r\n0\r\nA: b\r\n\r\n"
                     ).startswith(b"HTTP/1.1 200 ")
        got = s.ask(b"HEAD /version HTTP/1.1\r\n\r\n")  # no body, then
        assert got.startswith(b"HTTP/1.1 400 "), got
        assert got.endswith(b"\r\n\r\n"), got
        got = s.ask(b"SEARCH /version HTTP/1.1\r\nHost: localhost\r\n"
                    b"Connection: close\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 405 "), got
        got = s.ask(b"G@T / HTTP/1.1\r\nX-Request-Id: last\r\n\r\n")
        assert s.stop() == 0
        line = [x for x in s.log().splitlines() if "status=400" in x][-1]
        assert "method=other" in line and "code=invalid_request" in line, line


def test_clients_that_ask_without_an_end_do_not_keep_others_out():
    with Server("--log-level", "warn") as s:
        c, over = s.open(), threading.Event()
        block = (GET + b"\r\n") * 20000

        def say():
            try:
                while not over.is_set():
                    c.sendall(block)
            except OSError:
                pass  # it was closed

        def hear():
            try:
                while c.recv(1 << 20):
                    pass
            except OSError:
                pass
        threads = [threading.Thread(target=f) for f in (say, hear)]
        for t in threads:
            t.start()
        try:
            time.sleep(0.1)
            slowest = 0
            for _ in range(20):
                start = time.time()
                got = s.ask(GET + b"Connection: close\r\n\r\n")
                slowest = max(slowest, time.time() - start)
                assert got.startswith(b"HTTP/1.1 200 "), got
            assert slowest < 5, slowest
        finally:
            over.set()
            c.shutdown(socket.SHUT_RDWR)
            for t in threads:
                t.join()
            c.close()


def test_clients_cannot_make_up_a_name():
    def status(s, host, more=b"", url=b""):
        return s.ask(b"GET " + url + b"/version HTTP/1.1\r\nHost: " + host +
                     b"\r\nConnection: close\r\n" + more + b"\r\n")[9:12]
    with Server("--host-name", "front.example",
                "--cors-origin", "https://app.example") as s:
        # the host of a whole URL counts, whatever the header says
        assert status(s, b"localhost", url=b"http://evil.example") == b"403"
        assert status(s, b"evil.example", url=b"http://localhost:1") == b"200"
        for host in [b"localhost", b"LOCALHOST:1", b"127.0.0.1", b"[::1]:80",
                     b"front.example", b"10.0.0.1:8080", b"localhost.",
                     b"front.example.:80"]:
            assert status(s, host) == b"200", host
        for host in [b"evil.example", b"localhost.evil.example", b"",
                     b"127.0.0.1.evil.example", b"evil.example.", b"."]:
            assert status(s, host) == b"403", host
        for origin, want in [(b"http://evil.example", b"403"),
                             (b"null", b"403"),
                             (b"http://203.0.113.5", b"403"),
                             (b"http://[2001:db8::1]:80", b"403"),
                             (b"http://[::1].evil.example", b"403"),
                             (b"http://localhost:80@evil.example", b"403"),
                             (b"http://localhost:x", b"403"),
                             (b"http://127.1x", b"403"),
                             (b"x://localhost", b"403"),
                             (b"://localhost", b"403"),
                             (b"http://", b"403"),
                             (b"http://127.0.0.2:1", b"200"),
                             (b"http://[::1]:1", b"200"),
                             (b"http://front.example", b"200"),
                             (b"http://localhost:8080", b"200"),
                             (b"https://app.example", b"200")]:
            assert status(s, b"localhost",
                          b"Origin: " + origin + b"\r\n") == want, origin
        # whoever forwards a port asks by an address, and so does our page
        page = b"Origin: http://10.0.0.1:8080\r\n"
        assert status(s, b"10.0.0.1:8080", page) == b"200"
        assert status(s, b"10.0.0.1:8081", page) == b"403"
        for host in [b"1..2", b"999.1.1.1", b"1.2.3.4.5"]:
            assert status(s, host) == b"403", host
        got = s.ask(b"GET / HTTP/1.1\r\nHost: evil.example\r\n"
                    b"Connection: close\r\n\r\n")
        assert b'"code":"host_not_allowed"' in got, got
        assert b"--host-name" in got, got
    key = tempfile.NamedTemporaryFile("w")
    key.write("secret\n")
    key.flush()
    with Server("--api-key-file", key.name) as s:
        assert status(s, b"evil.example",
                      b"Authorization: Bearer secret\r\n") == b"200"


def test_clients_that_are_silent_make_room():
    with Server("--max-connections", "20") as s:
        idle = [s.open() for _ in range(60)]
        time.sleep(0.2)
        start = time.time()
        got = s.ask(GET.replace(b"version", b"livez") +
                    b"Connection: close\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 200 "), got
        assert time.time() - start < 5
        # The youngest are still there.
        idle[-1].sendall(GET + b"\r\n")
        assert idle[-1].recv(65536).startswith(b"HTTP/1.1 200 ")
        assert idle[0].recv(1) == b""
        for c in idle:
            c.close()


def test_clients_at_work_leave_room_for_probes():
    with Server("--max-connections", "3") as s:
        busy = [s.open() for _ in range(3)]
        for c in busy:
            c.sendall(POST + b"Content-Length: 15\r\n\r\n" + BODY[:-1])
        time.sleep(0.3)
        # the room of one is not another's
        probes = [s.open() for _ in range(8)]
        time.sleep(0.1)
        for c in probes:
            c.sendall(GET.replace(b"version", b"livez") + b"\r\n")
        for c in probes:
            got = c.recv(65536)
            assert got.startswith(b"HTTP/1.1 200 "), got
            c.close()
        got = s.ask(GET + b"\r\n")
        assert got.startswith(b"HTTP/1.1 429 "), got
        # of the rest of such a request nothing is waited for
        got = s.ask(POST + b"Content-Length: 15\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 429 "), got
        for c in busy:
            c.sendall(BODY[-1:])
            assert c.recv(65536).startswith(b"HTTP/1.1 200 ")
            c.close()
        wait(lambda: s.ask(GET + b"Connection: close\r\n\r\n").startswith(
            b"HTTP/1.1 200 "), "no place is free again")


def test_clients_with_half_a_body_do_not_keep_all_places():
    """The reserve is not used up by those who got their 429, and a place whose
    body has stopped coming is another's after a while."""
    half = POST + b"Content-Length: 15\r\n\r\n" + BODY[:-1]
    livez = GET.replace(b"version", b"livez") + b"Connection: close\r\n\r\n"
    with Server("--max-connections", "3") as s:
        old = [s.open() for _ in range(3)]
        for c in old:
            c.sendall(half)
        more = []
        for _ in range(24):  # the reserve is 16
            more.append(s.open())
            more[-1].sendall(half)
            got = s.ask(livez)
            assert got.startswith(b"HTTP/1.1 200 "), (len(more), got)
        probe = GET.replace(b"version", b"livez") + b"Content-Length: 9\r\n\r\n"
        for _ in range(20):  # a probe has no body that could stop coming
            more.append(s.open())
            more[-1].sendall(probe)
            got = more[-1].recv(65536)
            assert got.startswith(b"HTTP/1.1 429 "), (len(more), got)
        time.sleep(2.5)
        got = s.ask(GET + b"Connection: close\r\n\r\n")
        assert got.startswith(b"HTTP/1.1 200 "), got
        assert old[0].recv(65536).startswith(b"HTTP/1.1 408 ")
        assert old[0].recv(1) == b""
        old[2].sendall(BODY[-1:])
        assert old[2].recv(65536).startswith(b"HTTP/1.1 200 ")
        for c in old + more:
            c.close()


def test_clients_whose_request_waits_are_not_sent_away():
    with Server("--max-connections", "300") as s:
        old = [s.open() for _ in range(300)]
        for c in old[-1], old[0]:  # all are accepted, and one has spoken
            c.sendall(GET + b"\r\n")
            assert c.recv(65536).startswith(b"HTTP/1.1 200 ")
        s.child.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, s.child.pid, os.WSTOPPED)  # all of its threads
        new = [s.open() for _ in range(40)]
        for c in old:  # more than one round of the loop
            c.sendall(GET + b"\r\n")
        s.child.send_signal(signal.SIGCONT)
        for c in old:
            assert c.recv(65536).startswith(b"HTTP/1.1 200 ")
        for c in old + new:
            c.close()


def healthcheck(*args):
    return subprocess.run([SEQD, "healthcheck", *args], timeout=30,
                          stderr=subprocess.DEVNULL).returncode


def ask_who_drips():
    """Its answer would take 19 s; this only waits, beside the tests."""
    with socket.create_server(("127.0.0.1", 0)) as slow:
        start = time.time()
        child = subprocess.Popen([
            SEQD, "healthcheck", "--url",
            f"http://127.0.0.1:{slow.getsockname()[1]}"],
            stderr=subprocess.DEVNULL)
        c, _ = slow.accept()
        with c:
            for b in b"HTTP/1.1 200 OK\r\n\r\n" * 2:
                try:
                    c.sendall(bytes([b]))
                except OSError:
                    break
                try:
                    child.wait(timeout=0.5)
                    break
                except subprocess.TimeoutExpired:
                    pass
        return child.wait(), time.time() - start


def test_clients_of_healthcheck_find_their_server():
    with Server() as s:
        assert healthcheck("--port", str(s.port)) == 0
        # a name with more than one address
        assert healthcheck("--url", f"http://localhost:{s.port}/livez") == 0
    if not socket.has_ipv6:
        return
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        return  # this machine has no IPv6
    with Server("--host", "::1", host="::1") as s:
        assert healthcheck("--host", "::1", "--port", str(s.port)) == 0
        assert healthcheck("--url", f"http://[::1]:{s.port}") == 0
        assert healthcheck("--url", f"http://[::1]:{s.port}/none") == 1


def test_clients_that_close_their_side_get_their_answer():
    with Server() as s:
        whole = POST + b"Content-Length: 15\r\n\r\n" + BODY
        got = s.ask(whole, half=True)
        assert got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"}"), got
        got = s.ask(whole + whole + GET + b"\r\n", half=True)
        assert got.count(b"HTTP/1.1 200 ") == 3, got
        long = b'{"input": "the", "max_tokens": 256, "stream": true}'
        got = s.ask(POST.replace(b"predict", b"generate") +
                    b"Content-Length: %d\r\n\r\n" % len(long) + long,
                    half=True)
        assert b"[DONE]" in got, got
        # half a request is none, and nobody waits for it
        assert s.ask(whole[:-3], half=True) == b""
        assert s.stop() == 0, s.log()
        # the time of a stream is all of it
        line = [x for x in s.log().splitlines() if "route=/generate" in x][0]
        us = dict(x.split("=") for x in line.split() if "_us=" in x)
        assert int(us["total_us"]) >= int(us["run_us"]) > 1000, line


def test_clients_that_leave_their_second_request_stop_it():
    def generate(more):
        body = b'{"model":"endless","input":"a","max_tokens":1048576%s}' % more
        return (POST.replace(b"predict", b"generate") +
                b"Content-Length: %d\r\n\r\n" % len(body) + body)
    with Server("--max-output-tokens", "1048576", "--model",
                f"endless={TOP}/tests/golden/rnn/lstm-32") as s:
        c = s.open()
        c.sendall(generate(b',"timeout_ms":700') + generate(b""))
        c.shutdown(socket.SHUT_WR)
        got = c.recv(65536)
        while got.startswith(b"HTTP/1.1 100 ") and got.count(b"HTTP/1.") < 2:
            got += c.recv(65536)
        assert b"HTTP/1.1 504 " in got, got
        c.close()
        wait(lambda: b'{reason="client_gone"} 1' in s.send(
            "GET", "/metrics")[1], "its work was not stopped")


def talk(server, counts, lock, over):
    """Ask on one connection until it closes; then on a new one."""
    while not over.is_set():
        try:
            c = server.open()
        except OSError:
            return  # it listens no more
        with c:
            while True:
                try:
                    c.sendall(POST + b"Content-Length: 15\r\n\r\n" + BODY)
                    got = b""
                    while b"\r\n\r\n" not in got:
                        part = c.recv(65536)
                        if not part:
                            break
                        got += part
                except OSError:
                    with lock:
                        counts["reset"] += 1
                    break
                with lock:
                    counts["answered" if got else "unanswered"] += 1
                if not got:
                    break
                top, _, body = got.partition(b"\r\n\r\n")
                length = int(top.lower().split(b"content-length:")[1].split()[0])
                while len(body) < length:
                    body += c.recv(65536)
                if b"connection: close" in top.lower():
                    break


def test_clients_of_a_server_that_ends_are_answered():
    sums = {"answered": 0, "unanswered": 0, "reset": 0}
    for _ in range(5):
        with Server() as s:
            lock, over = threading.Lock(), threading.Event()
            threads = [threading.Thread(target=talk,
                                        args=(s, sums, lock, over))
                       for _ in range(16)]
            for t in threads:
                t.start()
            time.sleep(0.15)
            code = s.stop()
            over.set()
            for t in threads:
                t.join()
            assert code == 0, s.log()
    print("%(answered)d answered, %(unanswered)d not, %(reset)d reset" % sums)
    assert sums["reset"] == 0 and sums["unanswered"] == 0, sums


def test_clients_are_served_while_nobody_reads_the_terminal():
    """A terminal has room for a part of a line, and write(2) waits then."""
    screen, terminal = os.openpty()
    try:
        with Server(stderr=terminal) as s, s.open() as c:
            for _ in range(400):
                c.sendall(GET + b"\r\n")
                assert c.recv(65536).startswith(b"HTTP/1.1 200 ")
            assert os.get_blocking(terminal)  # it is others' terminal, too
            assert s.stop() == 0
    finally:
        os.close(screen)
        os.close(terminal)


def test_clients_are_served_while_nobody_reads_the_log():
    read, write = os.pipe()
    with os.fdopen(read, "rb", 0) as log, Server(
            "--log-format", "json", "--log-level", "info", stderr=write) as s:
        os.close(write)
        c = http.client.HTTPConnection(s.host, s.port, timeout=30)

        def ask(path):
            c.request("GET", path)
            return c.getresponse().read().decode()
        for _ in range(2000):  # some 400 KB of lines; a pipe holds 64
            ask("/version")
        lost = float(ask("/metrics").split("\nseqd_log_lines_lost_total ")[1]
                     .split()[0])
        assert lost > 500, lost
        text = log.read(1 << 20)
        ask("/version")
        ask("/version")  # the lines of the one before it are written
        text += log.read(1 << 20)
        lines = [json.loads(x) for x in text.decode().splitlines()]
        said = [x for x in lines if x["event"] == "lines_lost"]
        assert len(said) == 1 and said[0]["n"] >= lost, said
        last = lines[-1]
        assert last["method"] == "GET" and last["status"] == 200, last
        assert last["client"] == "127.0.0.1" and last["code"] == "none", last
        for _ in range(2000):
            ask("/version")
        assert s.stop() == 0


def test_clients_do_not_get_the_log_of_a_server_without_standard_error():
    """What is opened first gets the number of what was closed."""
    def close():
        for fd in range(3):
            os.close(fd)
    with Server(preexec_fn=close) as s:
        for fd in range(3):
            at = os.readlink(f"/proc/{s.child.pid}/fd/{fd}")
            assert at == "/dev/null", at
        assert s.stop() == 0


def test_clients_of_healthcheck_have_one_deadline():
    status, seconds = beside.result()
    assert status == 1 and seconds < 10, (status, seconds)


if __name__ == "__main__":
    beside = concurrent.futures.ThreadPoolExecutor().submit(ask_who_drips)
    sys.exit(harness.main(globals()))
