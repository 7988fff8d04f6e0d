#!/usr/bin/env python3
"""The contract against the answers: some 2,000 requests that are made from
/openapi.json, those that fit it, those that do not, those that are no JSON, all
methods of all paths, with and without a key. An answer's status, headers,
content type and body have to be in the contract, a body that fits is answered
but for what `x-errors` lists, and one that does not fit is refused. Prints
cmocka's lines.

    tests/http/test_openapi.py [SEED [TIMES]]    other requests, more of them

SPDX-License-Identifier: MIT
"""
import http.client
import json
import os
import random
import re
import socket
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from contract import Contract, read_json, text_of  # noqa: E402
from harness import TOP  # noqa: E402
from toy_pair import LANGUAGES, TOY, make  # noqa: E402

# All tasks, and all kinds of tokens and scores; "toy" translates.
MODELS = [f"models/checkpoints/{n}" for n in (
    "next-word-lstm", "sentiment-lstm", "music-lstm", "stories-gpt",
    "sentiment-transformer", "translate-en")] + [
        f"tests/golden/bert/{n}" for n in (
            "bert-embed-mean", "bert-fill", "bert-class-many",
            "bert-regression")]
NAMES = [os.path.basename(m) for m in MODELS] + ["toy"]
KEY = "key-of-the-test"
SEED = sys.argv[1] if len(sys.argv) > 1 else "1"
TIMES = int(sys.argv[2]) if len(sys.argv) > 2 else 1
MOST_TOKENS = 32  # --max-output-tokens: answers are short
METHODS = ["GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE",
           "BREW", "get"]

# What a schema cannot know: names of models, and numbers that cost little.
OWN = {"model": lambda r: r.choice(NAMES * 3 + ["toy"] * 9 + [
           None, "", "none", "\0"]),
       "labels": lambda r: r.choice([None, None, ["negative", "positive"],
                                     ["positive", "none"], ["x", "long"]]),
       "target": lambda r: r.choice(["fr", "fr", "fr", "de", "xx", None]),
       "beams": lambda r: r.choice([None, 1, 2, 4, 16]),
       "n_best": lambda r: r.choice([None, 1, 2, 1, 16]),
       "max_tokens": lambda r: r.choice([0, 1, 2, 4, MOST_TOKENS, None,
                                         MOST_TOKENS + 1, 1048576]),
       "timeout_ms": lambda r: r.choice([60000, 3600000, 30000, None, 1])}


class Server(harness.Seqd):
    def __init__(self, key=None, *args):
        self.toy = tempfile.TemporaryDirectory()
        make(self.toy.name + "/toy", LANGUAGES[2:], kind="shown")
        models = [a for n, m in zip(NAMES, [
            f"{TOP}/{m}" for m in MODELS] + [self.toy.name + "/toy"])
            for a in ("--model", f"{n}={m}")]
        env = {k: v for k, v in os.environ.items() if k[:5] != "SEQD_"}
        if key:
            env["SEQD_API_KEY"] = key
        super().__init__("--max-batch", "9", "--max-output-tokens",
                         str(MOST_TOKENS), *models, *args, env=env,
                         program=TOY)
        self.n = 0
        self.key = key
        self.conn = http.client.HTTPConnection("127.0.0.1", self.port,
                                               timeout=30)
        self.contract = Contract(
            read_json(self.ask("GET", "/openapi.json")[2].decode()))

    def ask(self, method, path, body=None, headers=()):
        """(status, headers, body)"""
        h = dict(headers)
        if self.key and "Authorization" not in h:
            h["Authorization"] = "Bearer " + self.key
        if h.get("Authorization") == "":
            del h["Authorization"]
        if body is not None:
            h.setdefault("Content-Type", "application/json")
        self.n += 1
        self.conn.request(method, path, body, h)
        return self.answer(self.conn)

    def answer(self, conn):
        a = conn.getresponse()
        heads = {}
        for name, value in a.getheaders():
            assert name.lower() not in heads, f"{name} stands there twice"
            heads[name.lower()] = value
        return a.status, heads, a.read()

    def ask_raw(self, method, path, *lines):
        """The answer to a head of these lines, on a connection of its own."""
        conn = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        conn.putrequest(method, path, skip_host=True,
                        skip_accept_encoding=True)
        for line in lines:
            conn.putheader(*line.split(": "))
        conn.endheaders()
        a = self.answer(conn)
        conn.close()
        return a

    def stop(self):
        self.conn.close()
        return super().stop()


def shown(what, answer, said):
    status, heads, body = answer
    return f"seed {SEED}: {what:.2000}\n{status} {heads}\n{body[:1000]}\n{said}"


def check(server, method, path, answer, what, at=None):
    """Status, headers and body of an answer are in the contract."""
    op = server.contract.operation(at or path, method)
    said = server.contract.answer_fault(op, *answer, method == "HEAD")
    status, heads, body = answer
    if not said and heads.get("content-type") == "text/event-stream":
        said = stream_fault(server.contract, body.decode(), (
            "Translate" if path == "/translate" else "Generate") + "Chunk")
    elif not said and method == "POST" and status == 200:
        if read_json(body.decode())["id"] != heads["x-request-id"]:
            said = "another id than X-Request-Id"
    assert not said, shown(f"{method} {path} {what}", answer, said)


def stream_fault(contract, text, chunk="GenerateChunk"):
    """Chunks, an end for each item, then usage and [DONE]; or an error."""
    events = [e for e in text.split("\n\n") if e and e != ": ping"]
    if not text.endswith("\n\n") or any(e[:6] != "data: " for e in events):
        return "no server-sent events"
    if events[-1] != "data: [DONE]":
        return contract.fault(contract.schema("Error"),
                              read_json(events[-1][6:]))
    chunks = [read_json(e[6:]) for e in events[:-1]]
    for c in chunks:
        said = contract.fault(contract.schema(chunk), c)
        if said:
            return said
    items = [d for c in chunks for d in c["data"]]
    ended = [d["index"] for d in items if "finish_reason" in d]
    if sorted(ended) != sorted({d["index"] for d in items}):
        return "items do not end once each"
    whole = {"truncated", "seed" if chunk[0] == "G" else "score"}
    if any(whole - set(d) for d in items
           if "finish_reason" in d):
        return "the last chunk of an item is not whole"
    if [c for c in chunks if "usage" in c] != chunks[-1:]:
        return "usage is not in the last chunk alone"
    return None


def posts(contract):
    """(path, schema of the body)"""
    return [(path, ops["post"]["requestBody"]["content"]["application/json"][
        "schema"]) for path, ops in contract.root["paths"].items()
        if "post" in ops]


def test_openapi_bodies_that_fit_are_answered():
    rng = random.Random(SEED + " fit")
    c = server.contract
    good = {}
    for _ in range(150 * TIMES):
        for path, schema in posts(c):
            v = c.make(rng, schema, OWN)
            text = text_of(rng, v)
            a = server.ask("POST", path, text.encode())
            check(server, "POST", path, a, text)
            good[path] = good.get(path, 0) + (a[0] == 200)
            if a[0] == 200:
                continue
            e = read_json(a[2].decode())["error"]
            assert c.may_refuse(schema, v, e["code"], e["param"]), shown(
                path + " " + text, a, "it fits the contract")
    assert all(n > 8 * TIMES for n in good.values()), good


def test_openapi_bodies_that_do_not_fit_are_refused():
    rng = random.Random(SEED + " unfit")
    c = server.contract
    for _ in range(150 * TIMES):
        for path, schema in posts(c):
            v = c.spoil(rng, schema, c.make(rng, schema, OWN))
            text = text_of(rng, v)
            a = server.ask("POST", path, text.encode())
            check(server, "POST", path, a, text)
            assert a[0] in (400, 404, 413), shown(
                path + " " + text, a, c.fault(schema, v))


BROKEN = [
    ("a member twice", lambda t: t[:-1] + b"," + t[1:]),
    ("a member twice, escaped", lambda t: t[:-1] + b',"\\u006dodel":"x","model"'
                                                   b':"x"}'),
    ("cut", lambda t: t[:-1]),
    ("something behind", lambda t: t + b"x"),
    ("a second value", lambda t: t + b"{}"),
    ("a comma too many", lambda t: t[:-1] + b",}"),
    ("no UTF-8", lambda t: t[:-1] + b',"model":"\xff"}'),
    ("a surrogate in UTF-8", lambda t: t[:-1] + b',"model":"\xed\xa0\x80"}'),
    ("too long UTF-8", lambda t: t[:-1] + b',"model":"\xc0\x80"}'),
    ("half a surrogate", lambda t: t[:-1] + b',"model":"\\ud800"}'),
    ("the other half", lambda t: t[:-1] + b',"model":"\\udc00x"}'),
    ("NaN", lambda t: t[:-1] + b',"model":NaN}'),
    ("a number too large", lambda t: t[:-1] + b',"model":1e999}'),
    ("a number too long", lambda t: t[:-1] + b',"model":' + b"1" * 64 + b"}"),
    ("a zero in front", lambda t: t[:-1] + b',"model":01}'),
    ("a plus", lambda t: t[:-1] + b',"model":+1}'),
    ("hexadecimal", lambda t: t[:-1] + b',"model":0x1}'),
    ("True", lambda t: t[:-1] + b',"model":True}'),
    ("single quotes", lambda t: t.replace(b'"', b"'")),
    ("a comment", lambda t: b"/**/" + t),
    ("a byte order mark", lambda t: b"\xef\xbb\xbf" + t),
    ("a line end in a string", lambda t: t[:-1] + b',"model":"a\nb"}'),
    ("a NUL in a string", lambda t: t[:-1] + b',"model":"a\0b"}'),
    ("a NUL behind", lambda t: t + b"\0"),
    ("UTF-16", lambda t: t.decode().encode("utf-16")),
    ("levels", lambda t: t[:-1] + b',"model":' + b"[" * 40 + b"]" * 40 + b"}"),
    ("levels without an end", lambda t: b"[" * 10000),
    ("nothing", lambda t: b""),
    ("a space", lambda t: b" "),
    ("no object", lambda t: b"[" + t + b"]"),
]


def test_openapi_bodies_that_are_no_json_are_refused():
    c = server.contract
    for path, schema in posts(c):
        need = c.follow(schema)["required"]
        body = {n: {"input": "the", "tokens": [1]}[n] for n in need}
        text = json.dumps(body).encode()
        for name, broken in BROKEN:
            a = server.ask("POST", path, broken(text))
            check(server, "POST", path, a, name)
            code = read_json(a[2].decode())["error"]["code"]
            assert (a[0], code) == (400, "invalid_json"), shown(
                path + " " + name, a, "expected invalid_json")


TYPES = {"application/json": 1, "application/json;charset=utf-8": 1,
         "Application/JSON; charset=\"UTF-8\"": 1, "application/json;": 1,
         "application/x-www-form-urlencoded": 1, "": 0, "text/plain": 0,
         "application/jsonx": 0, "application/json; charset=latin1": 0,
         "multipart/form-data; boundary=x": 0, "application/xml": 0,
         "application/vnd.api+json": 0, "*/*": 0}


def test_openapi_bodies_of_other_types_are_refused():
    for path, _ in posts(server.contract):
        for kind, ok in TYPES.items():
            a = server.ask("POST", path, b"{}", {"Content-Type": kind})
            check(server, "POST", path, a, kind)
            assert a[0] == (400 if ok else 415), shown(f"{path} {kind}", a, "")


def filled(path):
    return path.replace("{m}", NAMES[0])


def test_openapi_methods_of_a_path_are_those_of_the_contract():
    for path, ops in server.contract.root["paths"].items():
        known = {m.upper() for m in ops if m != "parameters"}
        for method in METHODS:
            a = server.ask(method, filled(path),
                           b"{}" if method == "POST" else None)
            what = shown(f"{method} {path}", a, "")
            if method in known:
                check(server, method, filled(path), a, "", path)
                assert a[0] != 405, what
            else:
                assert a[0] == 405, what
                said = server.contract.answer_fault(
                    {"responses": {"405": server.contract.root["components"][
                        "responses"]["405"]}}, *a, method == "HEAD")
                assert not said, what + said
            if a[0] == 405 or method == "OPTIONS":
                assert set(a[1]["allow"].split(", ")) == known, what


def test_openapi_head_says_what_get_says():
    for path, ops in server.contract.root["paths"].items():
        if "head" not in ops:
            continue
        get = server.ask("GET", filled(path))
        head = server.ask("HEAD", filled(path))
        assert get[0] == head[0] == 200 and head[2] == b"", path
        assert int(get[1]["content-length"]) == len(get[2]), path
        for h in "content-type", "content-length":
            if h != "content-length" or path not in ("/metrics", "/info"):
                assert get[1][h] == head[1][h], (path, h)


def test_openapi_reads_are_answered():
    rng = random.Random(SEED + " reads")
    names = NAMES + ["none", "%00", "%ff", "a%2Fb", "..;", "-", "%", "x" * 2000,
                     "{m}", "~", "*"]
    for path, ops in server.contract.root["paths"].items():
        if "get" not in ops:
            continue
        for name in names if "{m}" in path else [""]:
            at = path.replace("{m}", name) + rng.choice(["", "?", "?x=%zz&"])
            a = server.ask("GET", at, None, {"Accept": "*/*;q=0.1"})
            check(server, "GET", at, a, "", path)
            want = 200 if not name or name in NAMES else 404
            assert a[0] == (400 if name == "%" else want), at
    a = server.ask("GET", "/v1/models/")
    assert a[0] == 404 and not server.contract.fault(
        server.contract.schema("Error"), read_json(a[2].decode()))


# Of Prometheus: a line of a text, or of a series.
METRIC = re.compile(
    r'# (HELP|TYPE) [a-z_]+ .+|[a-z_]+(\{([a-z_]+="[^"\n]*",?)+\})? '
    r'(\+Inf|-?[0-9][0-9.e+-]*)')


def test_openapi_metrics_are_prometheus_text():
    status, heads, body = server.ask("GET", "/metrics")
    assert heads["content-type"].startswith("text/plain; version=0.0.4")
    lines = body.decode().split("\n")
    assert lines.pop() == "" and len(lines) > 20
    for line in lines:
        assert METRIC.fullmatch(line), line


def test_openapi_ids_of_clients_are_kept():
    op = server.contract.operation("/version", "GET")
    for mine, kept in (("a.B_c-9", 1), ("x" * 64, 1), ("x" * 65, 0), ("", 0),
                       ("a b", 0), ("a\xe9", 0), ("a,b", 0)):
        a = server.ask("GET", "/version", None, {"X-Request-Id": mine})
        assert not server.contract.answer_fault(op, *a)
        assert (a[1]["x-request-id"] == mine) == kept, mine


def test_openapi_examples_are_answered():
    for path, _ in posts(server.contract):
        body = server.contract.operation(path, "POST")["requestBody"]
        v = body["content"]["application/json"]["example"]
        a = server.ask("POST", path, json.dumps(v).encode())
        check(server, "POST", path, a, v)
        assert a[0] == 200, (path, a)


def test_openapi_keys_are_asked_for():
    with Server(KEY) as s:
        for path, ops in s.contract.root["paths"].items():
            for method in sorted(m.upper() for m in ops if m != "parameters"):
                op = s.contract.operation(path, method)
                open_to_all = op.get("security") == [{}]
                for key, code in (("", "missing_api_key"),
                                  ("Bearer x", "invalid_api_key"),
                                  ("Bearer " + KEY, None)):
                    a = s.ask(method, filled(path),
                              b"{}" if method == "POST" else None,
                              {"Authorization": key})
                    what = shown(f"{method} {path} {key}", a, "")
                    check(s, method, filled(path), a, key, path)
                    refused = code if not open_to_all else None
                    assert (a[0] == 401) == bool(refused), what
                    assert (a[1].get("www-authenticate") == "Bearer") == bool(
                        refused), what
                    if refused and method != "HEAD":
                        assert read_json(a[2].decode())["error"][
                            "code"] == code, what
        assert s.stop() == 0


def test_openapi_refusals_of_heads_are_in_the_contract():
    host = "Host: localhost"
    expect = "Expect: 100-continue"
    rows = [(400, [host, host]), (431, [host, "X: " + "x" * 40000]),
            (403, ["Host: example.org"]),
            (413, [host, "Content-Length: 9999999", expect]),
            (408, [host, "Content-Length: 2"]), (429, [host])]
    with Server(None, "--max-connections", "1", "--body-timeout-ms", "500",
                "--janitor-ms", "10") as s:
        s.conn.close()
        for status, lines in rows:
            for method, path in ("GET", "/info"), ("POST", "/generate"):
                with socket.create_connection(("127.0.0.1", s.port)) as c:
                    if status == 429:  # it has the one place that there is
                        c.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost"
                                  b"\r\nContent-Length: 2\r\n"
                                  b"Expect: 100-continue\r\n\r\n")
                        assert b" 100 " in c.recv(64)
                    a = s.ask_raw(method, path, *lines)
                check(s, method, path, a, lines[-1][:40])
                assert a[0] == status, (a, lines[-1][:40])
        assert s.stop() == 0


def test_openapi_the_checks_can_fail():
    c = server.contract
    wrong = [("Version", {"name": "seqd"}), ("Version", []), ("Id", "a b"),
             ("Version", {"name": "seqd", "version": "1", "more": 1}),
             ("Usage", {"prompt_tokens": -1, "completion_tokens": 0,
                        "total_tokens": 0}),
             ("GenerateRequest", {"input": "a", "temperature": 0.001}),
             ("GenerateRequest", {"input": "a", "stop": "\0"}),
             ("GenerateRequest", {"input": "a", "n": True}),
             ("SentimentRequest", {"input": ""}),
             ("DetokenizeRequest", {"tokens": [1, [2]]})]
    for name, v in wrong:
        assert c.fault(c.schema(name), v), (name, v)
    op = c.operation("/version", "GET")
    good = server.ask("GET", "/version")
    assert not c.answer_fault(op, *good)
    for a in ((201, good[1], good[2]), (200, {}, good[2]),
              (200, {**good[1], "content-type": "text/plain"}, good[2]),
              (200, good[1], b"{}"), (200, good[1], good[2] + b"x")):
        assert c.answer_fault(op, *a), a
    assert stream_fault(c, "data: [DONE]") and stream_fault(c, 'data: {}\n\n')


def main():
    global server
    start = time.time()
    with Server() as server:
        code = harness.main(globals(), only=[])
        print(f"{server.n} requests, seed {SEED}, {time.time() - start:.1f} s")
        assert server.stop() == 0
    return code


if __name__ == "__main__":
    sys.exit(main())
