#!/usr/bin/env python3
"""The page at /, in a browser without a window: the key, texts that break off
or are stopped, characters that are put together as they are, refusals, small
screens, the keyboard, what a screen reader is told. Chromium is driven through
a pipe (the DevTools protocol); without it all tests are skipped. Answers that
no healthy server gives come from a stand-in that serves the same page with the
same headers. Prints cmocka's lines.

SPDX-License-Identifier: MIT
"""
import http.server
import json
import os
import sys
import tempfile
import threading
import time
import urllib.request

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from browser import Browser, CHROMIUM, Page  # noqa: E402
from harness import MODELS, WAIT_S as LIMIT  # noqa: E402

CONTRAST = 4.5  # WCAG 2.1, 1.4.3 (AA)

# ------------------------------------------------------------------ servers


def serve(*args):
    return harness.Seqd("--threads", "1", "--log-level", "warn", *args)


def model(name, level, *tasks):
    return {"id": name, "tasks": list(tasks), "level": level,
            "attention": None}


WORDS = model("words", "word", "predict", "sentiment", "generate")
CHARS = model("music-like", "character", "predict", "generate")
INFO = {"status": "ready", "threads": 1, "kernels": "portable",
        "version": "0", "options": {"max_output_tokens": 2048}}


class StandIn:
    """The page of a real server, and answers of one's own: `say` maps a path
    to (status, value or bytes, headers) or to a function of the handler."""

    def __init__(self, page, **say):
        self.asked, self.gone = [], threading.Event()
        self.say = {"/readyz": (200, {"status": "ready"}),
                    "/v1/models": (200, {"data": [WORDS, CHARS]}),
                    "/info": (200, INFO), "/": page}
        self.say.update({"/" + k.replace("__", "/"): v
                         for k, v in say.items()})
        stand_in = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                n = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(n)
                stand_in.asked.append((self.path, body and json.loads(body)))
                self.do_GET()

            def do_GET(self):
                said = stand_in.say.get(self.path, (404, b"nothing here"))
                if callable(said):
                    self.close_connection = True
                    try:
                        said(self)
                    except OSError:
                        stand_in.gone.set()
                    return
                status, value, headers = (*said, {})[:3]
                if not isinstance(value, bytes):
                    value = json.dumps(value).encode()
                self.send_response(status)
                for k, v in headers.items():
                    self.send_header(k, v)
                self.send_header("Content-Length", str(len(value)))
                self.end_headers()
                self.wfile.write(value)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0),
                                                      Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, args=(0.02,),
                         daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


def refused(status, code, message, **headers):
    return (status, {"error": {"message": message, "type": "x", "param": None,
                               "code": code, "request_id": "id-1"}}, headers)


def event(text, **more):
    value = {"data": [dict({"index": 0, "text": text}, **more)]}
    if more:
        value["usage"] = {"prompt_tokens": 1, "completion_tokens": 2,
                          "total_tokens": 3}
    return b"data: " + json.dumps(value).encode() + b"\n\n"


LAST = event("", finish_reason="stop", seed=7, truncated=False)
DONE = b"data: [DONE]\n\n"


def stream(*parts, end=True, pause=0):
    """A stream of chunks; without `end` the connection drops."""
    def say(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for part in parts:
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            handler.wfile.flush()
            time.sleep(pause)
        if end:
            handler.wfile.write(b"0\r\n\r\n")
    return say


# -------------------------------------------------------------------- tests


def test_page_asks_for_the_key_and_keeps_it_for_the_tab(b, page):
    with tempfile.NamedTemporaryFile("w", encoding="utf-8") as keys:
        keys.write("right-k\u00e9y\n")
        keys.flush()
        with serve("--api-key-file", keys.name, "--model",
                   "words=" + MODELS + "next-word-lstm") as s, \
                Page(b, s.url) as p:
            p.wait("!document.getElementById('key').hidden")
            say = "document.getElementById('key-say').innerText"
            assert p.js(say) == "This server asks for an API key."
            assert p.js("document.activeElement.id") == "key-text"
            assert p.js("boxes.predict.button.disabled")

            def give(key):
                p.js("document.getElementById('key-text').value = " +
                     json.dumps(key) + "; document.querySelector("
                     "'#key form').requestSubmit()")
            give("wrong")
            p.wait(say + " === 'The server does not know this key.'")
            assert p.js("sessionStorage.length") == 0
            give(" right-k\u00e9y ")
            p.filled()
            assert p.js("document.getElementById('key').hidden")
            assert p.js("sessionStorage.getItem('seqd-key')") == \
                "right-k\u00e9y"
            assert p.js("localStorage.length") == 0
            p.ask("predict", "This morning I took my cat for a")
            p.wait("boxes.predict.out.querySelectorAll('.bar').length === 10")
            p.js("document.querySelector('footer a[href=\"/info\"]').click()")
            p.wait("document.getElementById('shown').innerText"
                   ".includes('\"uptime_seconds\"')")
            p.js("window.old = 1")
            p.call("Page.reload")  # the tab still has it
            p.wait("!window.old && typeof boxes === 'object' && "
                   "!boxes.predict.button.disabled")
            p.js("document.getElementById('forget').click()")
            p.wait("!document.getElementById('key').hidden")
            assert p.js(say) == "This server asks for an API key."
            assert p.js("sessionStorage.length") == 0


def test_page_asks_again_when_a_key_is_taken_back(b, page):
    wrong = refused(401, "invalid_api_key", "the API key is not known")
    with StandIn(page) as s, Page(b, s.url) as p:
        p.filled()
        s.say["/predict"] = wrong
        p.js("keepKey('old')")
        p.ask("predict")
        p.wait("!document.getElementById('key').hidden")
        assert "does not know this key" in p.text("predict")
        assert p.js("sessionStorage.length") == 0


def test_page_shows_a_text_that_broke_off(b, page):
    failed = b'data: {"error": {"message": "the deadline passed"}}\n\n'
    ended = "Broken off: the connection ended before the text did."
    begin = event("Half a"), event(" text")
    for say, want in (
            (stream(*begin, end=False, pause=0.2), ended),
            (stream(*begin), ended),
            (stream(*begin, LAST), ended),
            (stream(*begin, failed), "Broken off: the deadline passed."),
            (stream(*begin, b"data: {oh\n\n"), "Broken off: ")):
        with StandIn(page, generate=say) as s, Page(b, s.url) as p:
            p.filled()
            p.ask("generate", "Given.")
            p.wait("boxes.generate.out.querySelector('.error')")
            p.done("generate")
            assert p.js("boxes.generate.out.querySelector('.story.broken')"
                        ".textContent") == "Given.Half a text"
            said = p.js("boxes.generate.out.querySelector("
                        "'.error[role=alert]').innerText")
            assert said.startswith(want), said


def test_page_shows_a_text_that_ended(b, page):
    with StandIn(page, generate=stream(event("All of"), event(" it"),
                                       b": ping\n\n", LAST, DONE)) as s, \
            Page(b, s.url) as p:
        p.filled()
        p.ask("generate", "Given.")
        p.wait("boxes.generate.out.innerText.includes('seed 7')")
        p.done("generate")
        assert not p.js("boxes.generate.out.querySelector('.error')")
        assert not p.js("boxes.generate.out.querySelector('.broken')")
        assert p.js("boxes.generate.stop.hidden")


def test_page_reads_no_more_of_what_broke(b, page):
    with StandIn(page, generate=stream(event("a"), b"data: {oh\n\n",
                                       *[event("word ")] * 2000,
                                       pause=0.02)) as s, \
            Page(b, s.url) as p:
        p.filled()
        p.ask("generate")
        p.wait("boxes.generate.out.querySelector('.error')")
        assert s.gone.wait(LIMIT / 2), "the server still writes"
        assert "Broken off: " in p.text("generate")


def test_page_stops_a_text_when_told(b, page):
    with StandIn(page, generate=stream(*[event("word ")] * 2000,
                                       pause=0.02)) as s, \
            Page(b, s.url) as p:
        p.filled()
        assert p.js("boxes.generate.stop.hidden")
        p.ask("generate", "Given.")
        p.wait("boxes.generate.out.innerText.includes('word word')")
        p.js("boxes.generate.stop.focus(); boxes.generate.stop.click()")
        p.wait("boxes.generate.out.innerText.includes('Stopped.')")
        p.done("generate")
        assert "Given.word word" in p.text("generate")
        assert not p.js("boxes.generate.out.querySelector('.error')")
        assert p.js("boxes.generate.stop.hidden")
        assert p.js("document.activeElement === boxes.generate.button")
        assert s.gone.wait(LIMIT), "the server still writes"
        s.say["/generate"] = stream(event("anew"), LAST, DONE)
        p.ask("generate")
        p.wait("boxes.generate.out.innerText.includes('anew')")
        p.wait("boxes.generate.out.innerText.includes('seed 7')")
        assert "word" not in p.text("generate")


def test_page_sends_the_seed_that_is_given(b, page):
    with StandIn(page, generate=stream(event("a"), LAST, DONE)) as s, \
            Page(b, s.url) as p:
        p.filled()
        p.ask("generate")
        p.wait("boxes.generate.out.querySelector('.note button')")
        assert "seed" not in s.asked[-1][1]
        p.js("boxes.generate.out.querySelector('.note button').click()")
        assert p.js("boxes.generate.form.elements.seed.value") == "7"
        p.ask("generate")
        p.done("generate")
        assert s.asked[-1][1]["seed"] == 7, s.asked
        assert s.asked[-1][1]["max_tokens"] == 128, s.asked
        n = len(s.asked)
        p.js("boxes.generate.form.elements.seed.value = '-1'")
        p.ask("generate")
        assert p.js("!boxes.generate.form.checkValidity()")
        assert len(s.asked) == n


def test_page_puts_characters_together_as_they_are(b, page):
    with serve("--model", "words=" + MODELS + "next-word-lstm",
               "--model", "tunes=" + MODELS + "music-lstm") as s, \
            Page(b, s.url) as p:
        p.filled()

        def click(box_model, text):
            p.ask("predict", text, box_model)
            p.done("predict")
            p.wait("boxes.predict.out.querySelector('.bar')")
            first = p.js("boxes.predict.out.querySelector('.bar b')"
                         ".textContent")
            p.js("boxes.predict.out.querySelector('.bar').focus();"
                 "boxes.predict.out.querySelector('.bar').click()")
            p.done("predict")
            return first, p.js("boxes.predict.text.value")
        first, text = click("tunes", "X:1\nM:4/4\n")
        assert (first, text) == ("L", "X:1\nM:4/4\nL"), (first, text)
        font = "getComputedStyle(boxes.predict.text).fontFamily"
        assert "monospace" in p.js(font)
        # whoever goes on by keyboard stays where the characters are
        assert p.js("boxes.predict.out.contains(document.activeElement)")
        first, text = click("words", "This morning I took my cat for a")
        assert text == "This morning I took my cat for a " + first, text
        assert "monospace" not in p.js(font)

        p.ask("generate", "X:1\nM:4/4\nL:1/8\nK:D\n\u20ac", "tunes")
        p.wait("boxes.generate.out.innerText.includes('seed')")
        assert "One character is unknown" in p.text("generate")
        style = ("getComputedStyle(boxes.generate.out.querySelector("
                 "'.story'))")
        assert p.js(style + ".whiteSpace") == "pre"
        assert "monospace" in p.js(style + ".fontFamily")
        p.ask("generate", "The old man", "words")
        p.wait("boxes.generate.out.innerText.includes('seed')")
        assert p.js(style + ".whiteSpace") == "pre-wrap"
        assert "monospace" not in p.js(style + ".fontFamily")


def test_page_joins_words_as_they_are_written(b, page):
    with StandIn(page) as s, Page(b, s.url) as p:
        for before, word, plain, want in (
                ("a cat", "sat", False, "a cat sat"),
                ("a cat ", "sat", False, "a cat sat"),
                ("A cat,\n", "sat", False, "A cat,\nsat"),
                ("", "A", False, "A"),
                ("a cat", ",", False, "a cat,"),
                ("a cat", "'s", False, "a cat's"),
                ("we do", "n't", False, "we don't"),
                ("was", "\u00e9", False, "was \u00e9"),
                ("AB", "c", True, "ABc"), ("AB ", " ", True, "AB  "),
                ("AB", "\n", True, "AB\n")):
            got = p.js("joined(%s, %s, %s)" % tuple(
                json.dumps(x) for x in (before, word, plain)))
            assert got == want, (before, word, got)
        for text, want in (("constructor", "constructor"), (" ", "\u2423"),
                           ("\n", "\u21b5")):
            assert p.js(f"visible({json.dumps(text)})") == want


def test_page_says_what_a_refusal_means(b, page):
    with StandIn(page) as s, Page(b, s.url) as p:
        p.filled()
        for said, want in (
                (refused(429, "queue_full", "the queue is full",
                         **{"Retry-After": "3"}),
                 "The server is busy: the queue is full. Try again in 3 s."),
                (refused(413, "body_too_large", "the body is larger"),
                 "This is too much text: the body is larger."),
                ((413, b"<html>too large</html>"),
                 "This is too much text: status 413."),
                (refused(500, "internal_error", "internal error"),
                 "The server failed: internal error. Its log says why. "
                 "Look for id-1."),
                (refused(503, "loading", "the models are being loaded",
                         **{"Retry-After": "1"}),
                 "The server cannot answer now: the models are being loaded."
                 " Try again in 1 s."),
                (refused(504, "deadline_exceeded", "the deadline passed"),
                 "It took too long: the deadline passed."),
                (refused(400, "invalid_value", "the text is empty"),
                 "the text is empty"),
                ((502, b"bad gateway"), "status 502"),
                (lambda handler: None, "The server does not answer.")):
            for box in "predict", "sentiment", "generate":
                s.say["/" + box] = said
                p.ask(box, "a text")
                p.done(box)
                got = p.text(box).strip()
                if callable(said) and box == "generate":
                    want = "a text\n\nBroken off: " + want
                assert got == want, (box, got, want)
                assert p.js(f"!!boxes.{box}.out.querySelector("
                            "'.error[role=alert]')")


def test_page_says_that_an_answer_is_empty(b, page):
    last = event("", finish_reason="stop", seed=7, truncated=True,
                 hint="it wants <b>a template</b>")
    none = {"data": [{"index": 0, "predictions": [], "covered_mass": 0,
                      "truncated": False}]}
    with StandIn(page, generate=stream(last, DONE),
                 predict=(200, none)) as s, Page(b, s.url) as p:
        p.filled()
        p.ask("generate", "What is a cup of tea?")
        p.wait("boxes.generate.out.querySelector('.hint')")
        got = p.text("generate")
        assert "The model ended at once: there is no text." in got, got
        assert "Hint: it wants <b>a template</b>." in got, got
        assert "Only the end of the text was read" in got, got
        p.ask("predict", "a")
        p.done("predict")
        assert p.text("predict") == "The model offers nothing here."


def scored(**scores):
    rows = [{"label": k, "score": v} for k, v in scores.items()]
    best = max(rows, key=lambda r: r["score"])
    return 200, {"data": [dict(best, index=0, scores=rows, truncated=False)]}


def test_page_shows_scores_as_what_they_are(b, page):
    models = (200, {"data": [dict(WORDS, scores="softmax"),
                             dict(WORDS, id="numbers", scores="raw")]})
    with StandIn(page, v1__models=models) as s, Page(b, s.url) as p:
        p.filled()
        for name, said, want, bars in (
                ("words", scored(a=0.25, b=0.75), "b, 75.0 %", 2),
                ("words", scored(negative=0.25, positive=0.75),
                 "positive, 75.0 %", 0),
                ("numbers", scored(stars=3.14159265), "stars, 3.142", 0),
                ("numbers", scored(negative=-2.5, positive=-0.5),
                 "positive, -0.5", 0)):
            s.say["/sentiment"] = said
            p.ask("sentiment", "a text", name)
            p.done("sentiment")
            got = p.text("sentiment")
            assert got.startswith(want), got
            assert ("%" in got) == (name == "words"), got
            assert p.js("boxes.sentiment.out.querySelectorAll('.bar i')"
                        ".length") == bars, got
        for windows, note in ((1, ""), (3, "It was read in 3 parts.")):
            said = scored(a=0.25, b=0.75, c=0)
            said[1]["data"][0]["windows"] = windows
            s.say["/sentiment"] = said
            p.ask("sentiment", "a text", "words")
            p.done("sentiment")
            assert p.text("sentiment").endswith(note), p.text("sentiment")
            assert ("read in" in p.text("sentiment")) == (windows > 1)


def test_page_shows_what_has_no_probability(b, page):
    none = {"data": [{"index": 0, "covered_mass": 0, "truncated": False,
                      "predictions": [{"text": "a", "prob": 0}]}]}
    with StandIn(page, predict=(200, none)) as s, Page(b, s.url) as p:
        p.filled()
        p.ask("predict", "x")
        p.wait("boxes.predict.out.querySelector('.bar')")
        assert p.js("boxes.predict.out.querySelector('.bar i').offsetWidth"
                    ) < 5


PAIR = dict(model("pair", "subword", "translate"), languages=["fr", "de"],
            attention={"layers": 2, "heads": 8})
ALIGNED = event(" chat", finish_reason="stop", score=-0.25, truncated=False,
                alternatives=[{"text": "<b>Chat</b>", "score": -1.5,
                               "finish_reason": "stop"}],
                attention={"source": [" The", " cat", "</s>"],
                           "target": [" Le", " chat"],
                           "weights": [[0.75, 0.25, 0], [0, 0.125, 0.875]]})


def test_page_draws_where_a_translation_looks(b, page):
    models = 200, {"data": [WORDS, PAIR]}
    for wide in 1200, 400:
        with StandIn(page, v1__models=models, translate=stream(
                event("Le"), ALIGNED, DONE, pause=0.1)) as s, \
                Page(b, s.url, wide=wide) as p:
            p.wait("!boxes.translate.button.disabled")
            assert p.js("boxes.translate.section.offsetHeight") > 0
            assert p.js("[...boxes.translate.languages.options].map("
                        "o => o.value)") == ["fr", "de"]
            p.js("boxes.translate.languages.value = 'de';"
                 "boxes.translate.form.elements.beams.value = 2")
            p.ask("translate", "The cat")
            p.wait("boxes.translate.out.innerText.startsWith('Le')")
            p.done("translate")
            assert s.asked[-1] == ("/translate", {
                "input": "The cat", "truncate": True, "stream": True,
                "beams": 2, "n_best": 2, "attention": True, "target": "de",
                "model": "pair"}), s.asked
            assert p.js("[...boxes.translate.languages.options].map("
                        "o => o.text)") == ["French (fr)", "German (de)"]
            assert "2 tokens of 2 texts in " in p.text("translate")
            out = "boxes.translate.out.querySelector"
            assert p.js(out + "('.story').textContent") == "Le chat"
            assert p.js(f"[...{out}All('.texts li')].map("
                        "l => l.textContent)") == \
                ["Le chat-0.250", "<b>Chat</b>-1.500"]
            assert p.js(f"[...{out}All('rect')].map("
                        "r => Number(r.getAttribute('fill-opacity')))") == \
                [0.75, 0.25, 0, 0, 0.125, 0.875]
            assert p.js(f"[...{out}All('svg > text')].map("
                        "t => t.textContent)") == \
                ["The", "cat", "</s>", "Le", "chat"]
            said = p.js(out + "('svg').getAttribute('aria-label')")
            assert "Le at The (75.0 %), chat at </s> (87.5 %)" in said, said
            assert p.js(out + "('rect title').textContent") == \
                "Le looks at The: 75.0 %"
            assert p.js("document.documentElement.scrollWidth <= innerWidth")
            top = p.js("boxes.translate.section.offsetTop")
            p.ask("translate")  # nothing above moves
            p.wait("boxes.translate.out.innerText.startsWith('Le')")
            assert p.js("boxes.translate.section.offsetTop") == top
            p.done("translate")
            weak = [r for r in p.js(READABLE) if r[1] < CONTRAST]
            assert not weak, weak


def test_page_translates_what_is_too_long_for_a_picture(b, page):
    """The attention is looked at unless one says no, and the server refuses it
    of a long text, before it begins or at its end."""
    models = 200, {"data": [dict(PAIR, languages=["w_1", "x!"])]}
    too_long = {"error": {"message": "it is too long", "code": "invalid_value",
                          "param": "attention"}}
    early = [json.dumps(too_long).encode()]
    late = [event("Le"), b"data: " + json.dumps(too_long).encode() + b"\n\n"]
    for first in early, late:
        def say(handler):
            if not s.asked[-1][1].get("attention"):
                stream(event("Le cha"), event("t", finish_reason="stop",
                                              score=-0.25), DONE)(handler)
            elif first is late:
                stream(*late)(handler)
            else:
                handler.send_response(400)
                handler.send_header("Content-Length", str(len(early[0])))
                handler.end_headers()
                handler.wfile.write(early[0])
        with StandIn(page, v1__models=models, translate=say) as s, \
                Page(b, s.url) as p:
            p.wait("!boxes.translate.button.disabled")
            assert p.js("[...boxes.translate.languages.options].map("
                        "o => o.text)") == ["w_1", "x!"]
            p.ask("translate", "The cat")
            p.done("translate")
            said = p.text("translate").split("\n")
            assert said[0] == "Le chat", said
            assert said[-1].endswith("No picture: it is too long."), said
            assert not p.js("boxes.translate.out.querySelector('.error')")
            assert [x[1].get("attention") for x in s.asked
                    if x[0] == "/translate"] == [True, None]


def test_page_offers_no_continuation_by_a_translator(b, page):
    both = dict(PAIR, id="both", tasks=["generate", "translate"])
    with StandIn(page, v1__models=(200, {"data": [both, WORDS]})) as s, \
            Page(b, s.url) as p:
        p.filled()
        assert p.js("[...boxes.generate.model.options].map(o => o.value)") == \
            ["words"]
        assert p.js("boxes.translate.model.value") == "both"


def test_page_has_a_translation_only_where_a_model_has(b, page):
    with StandIn(page) as s, Page(b, s.url) as p:
        p.filled()
        assert p.js("boxes.translate.section.offsetHeight") == 0
    plain = dict(model("one", "subword", "translate"))
    with StandIn(page, v1__models=(200, {"data": [plain]}),
                 translate=stream(event("Le"), b'data: {"error":{"message":'
                                  b'"it failed"}}\n\n')) as s, \
            Page(b, s.url) as p:
        p.wait("!boxes.translate.button.disabled")
        assert p.js("boxes.translate.languages.hidden")
        p.ask("translate", "The cat")
        p.wait("boxes.translate.out.querySelector('.error')")
        assert p.text("translate").split("\n")[0] == "Le"
        assert "Broken off: it failed." in p.text("translate")
        assert "target" not in s.asked[-1][1]
        assert "attention" not in s.asked[-1][1]
        s.say["/translate"] = refused(400, "invalid_value", "too much")
        p.ask("translate")
        p.wait("boxes.translate.out.innerText === 'too much'")


def test_page_waits_for_the_models(b, page):
    loading = refused(503, "loading", "the models are being loaded",
                      **{"Retry-After": "1"})
    with StandIn(page, readyz=loading) as s, Page(b, s.url) as p:
        about = "document.getElementById('about').innerText"
        p.wait(about + ".includes('the models are being loaded')")
        assert p.js("boxes.generate.button.disabled")
        s.say["/readyz"] = (200, {"status": "ready"})
        p.filled()
        p.wait(about + " === '2 models, 1 thread, portable kernels, "
               "version 0'")


def test_page_of_a_server_with_little_to_say(b, page):
    about = "document.getElementById('about').innerText"
    with StandIn(page, v1__models=(200, {"data": []})) as s, \
            Page(b, s.url) as p:
        p.wait(about + ".startsWith('0 models')")
        assert p.text("predict") == "No model here does this."
        assert p.js("boxes.predict.button.disabled")
    # a proxy keeps probes and /info to itself
    with StandIn(page, readyz=(404, b"no"), info=(404, b"no")) as s, \
            Page(b, s.url) as p:
        p.filled()
        p.wait(about + " === '2 models'")
    damaged = refused(500, "internal_error", "internal error")
    with StandIn(page, readyz=damaged) as s, Page(b, s.url) as p:
        p.filled()
        p.wait(about + ".includes(\"A model's file was changed\")")
    small = dict(INFO, options={"max_output_tokens": 100})
    with StandIn(page, info=(200, small)) as s, Page(b, s.url) as p:
        p.wait(about + ".includes('version')")
        assert int(p.js("document.querySelector('[name=max_tokens]').value")
                   ) <= 100


def test_page_shows_the_last_of_two_questions(b, page):
    def answer(text):
        return {"data": [{"index": 0, "covered_mass": 1, "truncated": False,
                          "predictions": [{"text": text, "prob": 1}]}]}

    def slow(handler):
        time.sleep(0.5)
        value = json.dumps(answer("old")).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(value)))
        handler.end_headers()
        handler.wfile.write(value)
    with StandIn(page, predict=slow) as s, Page(b, s.url) as p:
        p.filled()
        p.ask("predict", "one")
        p.wait("boxes.predict.run !== null")
        while not s.asked:
            time.sleep(0.01)
        s.say["/predict"] = (200, answer("new"))
        p.ask("predict", "two")
        p.done("predict")
        time.sleep(0.7)
        assert p.js("boxes.predict.out.querySelector('.bar b').textContent"
                    ) == "new"
        assert not p.js("boxes.predict.out.querySelector('.error')")


def test_page_fits_a_narrow_screen(b, page):
    long = "W" * 3000 + " word" * 2000
    with StandIn(page, generate=stream(event("x" * 5000), LAST, DONE)) as s, \
            Page(b, s.url, wide=320, high=640) as p:
        p.filled()
        for name in "words", "music-like":
            p.ask("generate", long, name)
            p.wait("boxes.generate.out.innerText.includes('seed 7')")
            assert p.js("document.documentElement.scrollWidth") <= 320
        p.js("wantKey('This server asks for an API key.')")
        assert p.js("document.documentElement.scrollWidth") <= 320


def test_page_works_by_keyboard(b, page):
    with StandIn(page, generate=stream(event("by hand"), LAST, DONE)) as s, \
            Page(b, s.url) as p:
        p.filled()
        p.js("boxes.generate.text.focus()")

        def enter(modifiers=0):
            for kind in "keyDown", "keyUp":
                p.call("Input.dispatchKeyEvent", type=kind, key="Enter",
                       code="Enter", text="\r", modifiers=modifiers,
                       windowsVirtualKeyCode=13)
        before = p.js("boxes.generate.text.value")
        enter(8)  # with shift: a line more
        assert "\n" in p.js("boxes.generate.text.value"), before
        assert s.asked == []
        enter()
        p.wait("boxes.generate.out.innerText.includes('by hand')")
        assert p.js("boxes.generate.out.querySelector('.story').tabIndex"
                    ) == 0


def test_page_names_all_that_can_be_used(b, page):
    with StandIn(page, generate=stream(event("a"), LAST, DONE)) as s, \
            Page(b, s.url) as p:
        p.filled()
        p.ask("generate")
        p.wait("boxes.generate.out.querySelector('.note button')")
        p.js("document.getElementById('key').hidden = false")
        roles = {"button", "textbox", "combobox", "slider", "spinbutton",
                 "checkbox", "link", "region"}
        nodes = p.call("Accessibility.getFullAXTree")["nodes"]
        seen = [(n["role"]["value"], n.get("name", {}).get("value"))
                for n in nodes
                if not n["ignored"] and n["role"]["value"] in roles]
        assert len(seen) > 15, seen
        assert all(name for _, name in seen), seen
        assert {"API key", "Next word", "Sentiment", "Continuation"} <= {
            name for role, name in seen if role == "region"}, seen
        assert any(n["role"]["value"] == "alert" for n in nodes)


READABLE = """(() => {
    const parse = c => c.match(/[0-9.]+/g).slice(0, 3).map(v =>
        c.startsWith("color(srgb") ? 255 * v : Number(v));
    const light = c => parse(c).map(v => v / 255).map(v =>
        v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((s, v, i) => s + v * [0.2126, 0.7152, 0.0722][i], 0);
    const under = e => {
        for (; e; e = e.parentElement) {
            const c = getComputedStyle(e).backgroundColor;
            if (c !== "rgba(0, 0, 0, 0)")
                return c;
        }
    };
    return [...document.querySelectorAll("p, label, button, h1, h2, a," +
        " .given, .bar span")].filter(e => e.innerText && !e.disabled &&
        e.offsetParent).map(e => {
            const a = light(getComputedStyle(e).color), b = light(under(e));
            return [e.innerText.slice(0, 30), (Math.max(a, b) + 0.05) /
                (Math.min(a, b) + 0.05)];
        });
})()"""


LOOKED = {"data": [{"index": 0, "covered_mass": 0, "truncated": False,
                    "predictions": [], "attention": {
                        "tokens": ["dim", "bright"],
                        "layers": [{"heads": [[[1, 0], [0.2, 0.8]]]}]}}]}


def test_page_can_be_read_in_the_light_and_in_the_dark(b, page):
    paper = []
    models = 200, {"data": [dict(WORDS, attention={"layers": 1, "heads": 1})]}
    for dark in False, True:
        with StandIn(page, v1__models=models, predict=(200, LOOKED),
                     generate=stream(event("a"), end=False, pause=0.2)) as s, \
                Page(b, s.url, dark=dark) as p:
            p.filled()
            p.ask("predict", "a text")
            p.wait("boxes.predict.out.querySelector('.tokens .chosen')")
            p.ask("generate")
            p.wait("boxes.generate.out.querySelector('.error')")
            p.js("wantKey('This server asks for an API key.');"
                 "boxes.generate.stop.hidden = false")
            paper.append(p.js("getComputedStyle(document.body)"
                              ".backgroundColor"))
            rows = p.js(READABLE)
            assert len(rows) > 15, rows
            weak = [r for r in rows if r[1] < CONTRAST]
            assert not weak, (dark, weak)
    assert paper[0] != paper[1]


def test_page_runs_nothing_but_its_own_script(b, page):
    assert "unsafe" not in page[2]["Content-Security-Policy"]
    with StandIn(page) as s, Page(b, s.url) as p:
        p.js("window.bad = 0; const x = document.createElement('script');"
             "x.textContent = 'window.bad = 1'; document.body.append(x)")
        p.js("document.body.insertAdjacentHTML('beforeend',"
             "'<img src=x onerror=\"window.bad = 2\">')")
        time.sleep(0.2)
        assert p.js("window.bad") == 0
        p.b.events = []  # it said so, too


def test_docs_have_every_route_and_can_be_read(b, page):
    del page
    with serve("--model", "words=" + MODELS + "next-word-lstm") as s:
        contract = json.loads(s.send("GET", "/openapi.json")[1])
        for wide, dark in ((1200, False), (360, True)):
            with Page(b, s.url + "/docs", wide=wide, dark=dark,
                      ready="true") as p:
                heads = p.js("[...document.querySelectorAll('h2')].map("
                             "e => e.innerText)")
                for path in contract["paths"]:
                    assert any(h.endswith(" " + path) for h in heads), path
                weak = [r for r in p.js(READABLE) if r[1] < CONTRAST]
                assert not weak, weak
                assert p.js("document.documentElement.scrollWidth") <= wide
                # what a member is stands beside its name
                text = p.js("document.querySelector('#generate').innerText")
                assert "max_tokens" in text and "0 is greedy" in text, text
                assert "session" not in text, text  # not supported yet


def fetch_page():
    with serve("--model", "words=" + MODELS + "next-word-lstm") as s:
        with urllib.request.urlopen(s.url, timeout=LIMIT) as r:
            keep = "Content-Security-Policy", "Content-Type"
            return 200, r.read(), {k: r.headers[k] for k in keep}


def main():
    if not CHROMIUM:
        def skip(_):
            raise harness.Skip("no chromium to look at the page with")
        return harness.main(globals(), skip)
    page, browser = fetch_page(), Browser()
    try:
        return harness.main(globals(), lambda test: test(browser, page))
    finally:
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
