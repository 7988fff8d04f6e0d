#!/usr/bin/env python3
"""POST /translate, and /generate of a model with a source, by a server that has
the toy pair of tests/support/ports_arch.h (tests/http/seqd_toy.c): beams,
samples, streams and languages; what is refused, and how; and answers that do
not depend on company. Prints cmocka's lines.

SPDX-License-Identifier: MIT
"""
import concurrent.futures
import http.client
import json
import os
import random
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from contract import Contract  # noqa: E402
from toy_pair import CONTEXT, LANGUAGES, TOY, make  # noqa: E402

TUNED = dict(num_beams=2, length_penalty=-1.5, max_length=8,
             repetition_penalty=1.3, encoder_no_repeat_ngram_size=0)

STRICT = dict(min_length=7, no_repeat_ngram_size=1)


class Server(harness.Seqd):
    def __init__(self, folder, *args):
        names = {"one": {}, "many": dict(languages=LANGUAGES),
                 "sole": dict(languages=LANGUAGES[2:]),
                 "forced": dict(seqd_languages=["w3", "w5"]),
                 "forced-sole": dict(seqd_languages=["w3"]),
                 "stated": dict(seqd_languages=["w3", "w5"],
                                forced_bos_token_id=14),
                 "ended": dict(forced_eos_token_id=2),
                 "shown": dict(kind="shown"), "tuned": TUNED,
                 "eager": dict(early_stopping=True),
                 "strict": STRICT, "shown-strict": dict(STRICT, kind="shown")}
        models = ["--model", "words=" + harness.MODELS + "next-word-lstm"]
        for name, how in names.items():
            make(f"{folder}/{name}", **how)
            models += ["--model", f"{name}={folder}/{name}"]
        super().__init__(*models, *args, program=TOY)
        self.contract = Contract(json.loads(self.send(
            "GET", "/openapi.json")[1]))

    def ask(self, path="/translate", **body):
        """The item of a good answer, or their list, which fits the
        contract."""
        status, text = self.send("POST", path, json.dumps(body))
        assert status == 200, (body, status, text)
        a = json.loads(text)
        name = "Translate" if path == "/translate" else "Generate"
        said = self.contract.fault(self.contract.schema(name + "Answer"), a)
        assert not said, (said, a)
        self.usage = a["usage"]
        return a["data"] if isinstance(body["input"], list) else a["data"][0]

    def stream(self, path="/translate", **body):
        """The text that came in parts and the last chunk's item, of each
        item."""
        status, text = self.send("POST", path, json.dumps(
            dict(body, stream=True)))
        assert status == 200, (status, text)
        events = text.decode().split("\n\n")
        assert events[-2:] == ["data: [DONE]", ""], events
        texts, last = {}, {}
        for e in events[:-2]:
            c = json.loads(e[6:])
            name = "Translate" if path == "/translate" else "Generate"
            said = self.contract.fault(self.contract.schema(name + "Chunk"), c)
            assert not said, (said, c)
            d = c["data"][0]
            assert d["index"] not in last
            texts.setdefault(d["index"], []).append(d["text"])
            if "finish_reason" in d:
                last[d["index"]] = d
        return texts, last

    def refuses(self, status, code, param, path="/translate", says="", **body):
        got, text = self.send("POST", path, json.dumps(body))
        e = json.loads(text)["error"]
        assert (got, e["code"], e["param"]) == (status, code, param), (body, e)
        assert says in e["message"], (says, e)


server = None


def some_text(r, most=30):
    return " ".join(f"w{r.randrange(28)}" for _ in range(r.randint(1, most)))


def test_translate_answers_with_the_best_of_its_beams():
    r = random.Random(1)
    longer = 0
    for _ in range(20):
        text = some_text(r)
        best = server.ask(input=text, max_tokens=12)
        assert set(best) == {"index", "text", "score", "finish_reason",
                             "unknown", "truncated"}, best
        all4 = server.ask(input=text, max_tokens=12, n_best=4)
        alternatives = all4.pop("alternatives")
        assert all4 == best and len(alternatives) == 3
        scores = [best["score"]] + [a["score"] for a in alternatives]
        assert scores == sorted(scores, reverse=True), scores
        assert len({best["text"]} | {a["text"] for a in alternatives}) == 4
        greedy = server.ask(input=text, max_tokens=12, beams=1)
        drawn = server.ask("/generate", model="one", input=text,
                           max_tokens=12, temperature=0)
        assert greedy["text"] == drawn["text"]
        assert greedy["finish_reason"] == drawn["finish_reason"]
        short = server.ask(input=text, max_tokens=12, length_penalty=-5)
        long = server.ask(input=text, max_tokens=12, length_penalty=5)
        longer += len(long["text"].split()) > len(short["text"].split())
    assert longer > 10, longer


def test_translate_searches_as_the_checkpoint_says():
    r = random.Random(5)
    early = other = 0
    for _ in range(20):
        text = some_text(r)
        said = server.ask(model="tuned", input=text)
        ask = dict(input=text, beams=2, length_penalty=-1.5, max_tokens=7)
        assert said == server.ask(model="one", **ask), text
        other += said != server.ask(model="one", input=text, max_tokens=7)
        greedy = server.ask(model="tuned", input=text, beams=1)
        assert greedy["text"] == server.ask(
            "/generate", model="tuned", input=text, temperature=0)["text"]
        assert len(greedy["text"].split()) <= 7
        ask = dict(input=text, beams=5, n_best=5, max_tokens=20)
        early += server.ask(model="eager", **ask) != server.ask(
            model="one", **ask)
    assert early and other, (early, other)
    server.refuses(400, "invalid_value", "n_best", model="tuned", input="w1",
                   n_best=3, says="n_best must be at most beams")
    warned = [x for x in server.log().splitlines() if "unheeded" in x]
    assert len(warned) == 1 and "model=tuned" in warned[0], warned
    assert 'keys="repetition_penalty"' in warned[0], warned


def test_translate_keeps_the_rules_of_the_checkpoint():
    r = random.Random(6)
    short = again = 0
    for i in range(20):
        text = some_text(r)
        asks = [("/translate", dict(n_best=4)), ("/translate", dict(beams=1)),
                ("/translate", dict(temperature=1, n_best=3, seed=i)),
                ("/generate", dict(temperature=0)),
                ("/generate", dict(n=3, seed=i)),
                ("/translate", dict(model="shown-strict", temperature=1,
                                    seed=i, attention=True))]
        for path, ask in asks:
            ask = dict(ask, input=text, max_tokens=12)
            a = server.ask(path, **dict(dict(model="strict"), **ask))
            for t in [a] + a.get("alternatives", []):
                words = t["text"].split()
                assert len(words) >= 6, (path, ask, t)
                assert len(set(words)) == len(words), (path, ask, t)
            ask.pop("attention", None)
            a = server.ask(path, **dict(ask, model="one"))
            for t in [a] + a.get("alternatives", []):
                words = t["text"].split()
                short += len(words) < 6
                again += len(set(words)) < len(words)
    assert short and again, (short, again)


def test_translate_draws_where_it_has_a_temperature():
    text = "w1 w2 w3"
    ask = dict(input=text, max_tokens=10, temperature=0.9)
    a = server.ask(seed=5, n_best=6, **ask)
    assert a["seed"] == 5 and len(a["alternatives"]) == 5
    scores = [a["score"]] + [b["score"] for b in a["alternatives"]]
    assert scores == sorted(scores, reverse=True), scores
    assert server.ask(seed=5, n_best=6, **ask) == a
    one = server.ask(seed=5, **ask)
    assert one["text"] in [a["text"]] + [b["text"] for b in a["alternatives"]]
    assert len({server.ask(**ask)["seed"] for _ in range(4)}) == 4
    texts, last = server.stream(seed=5, **ask)
    assert "".join(texts[0]) == one["text"]
    assert last[0]["score"] == one["score"]


def test_translate_streams_what_is_never_taken_back():
    r = random.Random(2)
    parts = 0
    for beams in 1, 2, 4, 7:
        inputs = [some_text(r) for _ in range(5)]
        ask = dict(input=inputs, max_tokens=20, beams=beams, n_best=beams)
        plain = server.ask(**ask)
        texts, last = server.stream(**ask)
        for i, item in enumerate(plain):
            assert "".join(texts[i]) == item["text"]
            assert {**last[i], "text": ""} == {**item, "text": ""}
            parts += len(texts[i]) > 2
    assert parts > 5, parts


def test_translate_into_a_language_that_the_model_has():
    listed = json.loads(server.send("GET", "/v1/models")[1])["data"]
    by_name = {m["id"]: m for m in listed}
    for m in listed:
        said = server.contract.fault(server.contract.schema("Model"), m)
        assert not said, said
    assert by_name["many"]["languages"] == ["de", "es", "fr"]
    assert by_name["forced"]["languages"] == ["w3", "w5"]
    assert "languages" not in by_name["one"]
    assert by_name["one"]["tasks"] == ["generate", "translate"]
    assert "translate" not in by_name["words"]["tasks"]
    ask = dict(model="many", input="w1 w2", max_tokens=9)
    of = {t: server.ask(target=t, **ask) for t in ("de", "es", "fr")}
    assert len({a["text"] for a in of.values()}) == 3
    assert server.usage["prompt_tokens"] == 2 + 1  # the words, the language
    # The same tokens in the text are the same source.
    plain = server.ask("/generate", temperature=0, **dict(
        ask, input=">>fr<< w1 w2"))
    assert plain["text"] == server.ask(target="fr", beams=1, **ask)["text"]
    for text in "w1 w2", ">>it<< w1", " >>fr<< w1", ">>fr< w1", ">>f", "":
        server.refuses(400, "invalid_value", "input[1]", "/generate",
                       says="to begin with a language", model="many",
                       input=[">>de<<w1", text])
    a = server.ask("/generate", model="many", temperature=0, max_tokens=9,
                   input=[">>de<<w1 w2", ">>es<<  w1 w2"])
    assert [x["text"] for x in a] == [
        server.ask(target=t, beams=1, **ask)["text"] for t in ("de", "es")]
    server.refuses(400, "invalid_value", "model", "/generate", input="w1",
                   model="forced", says="has to be told a language")
    # Of one language, or where the checkpoint states one, none has to be said.
    plain = dict(ask, model="sole", input="w1 w2", beams=1)
    said = [server.ask(**plain), server.ask(target="fr", **plain)] + [
        server.ask("/generate", model="sole", temperature=0, max_tokens=9,
                   input=text) for text in ("w1 w2", ">>fr<< w1 w2")]
    assert server.usage["prompt_tokens"] == 3
    assert len({a["text"] for a in said}) == 1, said
    for name, first in ("forced-sole", "w3"), ("stated", "w5"):
        for path, how in (("/translate", dict(beams=1)),
                          ("/generate", dict(temperature=0))):
            a = server.ask(path, model=name, input="w1", max_tokens=9, **how)
            assert a["text"].split()[0] == first, (name, path, a)
    for t in "w3", "w5":
        a = server.ask(model="forced", input="w1", target=t, max_tokens=9)
        assert a["text"].split()[0] == t, a
        a = server.ask(model="forced", input="w1", target=t, max_tokens=9,
                       temperature=1)
        assert a["text"].split()[0] == t, a
    server.refuses(400, "invalid_value", "target", **ask,
                   says="target is missing, one of: de, es, fr")
    server.refuses(400, "invalid_value", "target", target="it", **ask,
                   says="none of the model's languages: de, es, fr")
    server.refuses(400, "invalid_value", "target", target="", **ask)
    server.refuses(400, "invalid_value", "target", target="fr", input="w1",
                   model="one", says="leave target out")


def test_translate_shows_where_its_text_looks():
    r = random.Random(4)
    for _ in range(20):
        ask = dict(model="shown", input=some_text(r), max_tokens=12, n_best=2)
        plain = server.ask(**ask)
        assert "attention" not in plain
        got = server.ask(attention=True, **ask)
        shown = got.pop("attention")
        assert got == plain
        words = plain["text"].split()
        assert [t.strip() for t in shown["target"]] == words
        assert [t.strip() for t in shown["source"]] == ask["input"].split()
        assert len(shown["weights"]) == len(words)
        for row in shown["weights"]:
            assert len(row) == len(shown["source"])
            assert all(0 <= w <= 1 for w in row)
        texts, last = server.stream(attention=True, **ask)
        assert last[0]["attention"] == shown
        many = server.ask(**dict(ask, input=[ask["input"]] * 3, attention=True))
        assert [m["attention"] for m in many] == [shown] * 3
    drawn = set()
    for i in range(20):
        ask = dict(model="shown", input=some_text(r), max_tokens=12, seed=i,
                   temperature=1, n_best=1 + i % 4)
        plain = server.ask(**ask)
        got = server.ask(attention=True, **ask)
        shown = got.pop("attention")
        assert got == plain
        assert [t.strip() for t in shown["target"]] == plain["text"].split()
        assert [t.strip() for t in shown["source"]] == ask["input"].split()
        assert {len(row) for row in shown["weights"]} <= {
            len(shown["source"])}
        if ask["n_best"] == 1:
            texts, last = server.stream(attention=True, **ask)
            assert "".join(texts[0]) == plain["text"]
            assert last[0]["attention"] == shown
        drawn.add(plain["text"])
    assert len(drawn) > 15
    refused = 0
    for i in range(28):  # some never end
        ask = dict(model="shown", input=f"w{i}", beams=1, max_tokens=200)
        if len(server.ask(**ask)["text"].split()) > 64:
            server.refuses(400, "invalid_value", "attention", attention=True,
                           says="attention is shown for at most 64", **ask)
            refused += 1
    assert refused, refused


def test_translate_says_what_is_wrong():
    bad = server.refuses
    for field, value in (("beams", 0), ("beams", 17), ("n_best", 0),
                         ("n_best", 5), ("max_tokens", 0),
                         ("length_penalty", 11), ("temperature", 0.001),
                         ("temperature", -1), ("seed", -1), ("beams", "4"),
                         ("target", 4), ("input", []), ("input", ""),
                         ("input", "  \n\t ")):
        bad(400, "invalid_value", field, **{"input": "w1", field: value})
    bad(400, "invalid_value", "beams", input="w1", temperature=1, beams=2)
    bad(400, "invalid_value", "n_best", input="w1", temperature=1, n_best=2,
        stream=True)
    bad(400, "invalid_value", "input[1]", input=["w1", ""])
    bad(400, "unknown_field", "top_k", input="w1", top_k=3)
    bad(400, "task_not_supported", "model", input="w1", model="words")
    bad(400, "task_not_supported", "attention", input="w1", attention=True,
        says="has no attention to look at")
    bad(400, "invalid_value", "attention", input=["w1", "w1 " * 65],
        attention=True, model="shown", says="input has 65 tokens")
    bad(400, "invalid_value", "attention", input="w1", attention=1,
        model="shown")
    bad(404, "model_not_found", "model", input="w1", model="none")
    bad(400, "invalid_value", "max_tokens", input="w1", max_tokens=1 << 19)
    bad(413, "batch_too_large", "input", input=["w1"] * 257)
    long = " ".join(["w1"] * (CONTEXT + 1))
    bad(400, "context_length_exceeded", "input", input=long,
        says=f"more than {CONTEXT} tokens")
    bad(400, "context_length_exceeded", "input", model="many", target="fr",
        input=long[3:], says=f"more than {CONTEXT - 1} tokens")


def test_translate_takes_what_people_send():
    start = time.monotonic()
    words = " ".join(["w1"] * 10000)
    a = server.ask(input=words, truncate=True, max_tokens=9)
    b = server.ask(input=" ".join(["w1"] * CONTEXT), max_tokens=9)
    assert a["truncated"] and not b["truncated"]
    assert (a["text"], a["score"]) == (b["text"], b["score"])
    a = server.ask(model="many", target="de", truncate=True, input=words)
    assert a["truncated"] and server.usage["prompt_tokens"] == CONTEXT
    # What stands in front of a source is kept, whoever put it there.
    a = server.ask(model="many", target="de", truncate=True, input=words,
                   beams=1, max_tokens=9)
    b = server.ask("/generate", model="many", truncate=True, temperature=0,
                   input=">>de<< " + words, max_tokens=9)
    assert b["truncated"] and a["text"] == b["text"], (a, b)
    a = server.ask(input="w1 \x01 w2 \x00 \x1b[0m \u202e w3", max_tokens=9)
    assert a["unknown"] >= 3, a
    a = server.ask(input="</s> >>fr<< <s>", max_tokens=9)
    assert a["unknown"] == 3, a
    assert time.monotonic() - start < harness.WAIT_S


def test_translate_always_ends():
    a = server.ask(model="ended", input="w1", max_tokens=1)
    assert (a["text"], a["finish_reason"]) == ("", "length"), a
    for ask in (dict(beams=16, n_best=16), dict(beams=1),
                dict(temperature=1, n_best=16)):
        a = server.ask(input="w1", max_tokens=3, length_penalty=9, **ask)
        for t in [a] + a.get("alternatives", []):
            assert len(t["text"].split()) <= 3, t
            assert t["finish_reason"] in ("stop", "length")
    # A toy's target takes time that grows with its square: 2^12 tokens.
    server.refuses(504, "deadline_exceeded", None, input="w1 w2",
                   length_penalty=10, beams=16, max_tokens=4096, timeout_ms=1)


def test_translate_has_the_same_answer_in_company():
    r = random.Random(3)
    asks = [dict(input=some_text(r), max_tokens=r.randint(1, 20),
                 beams=r.randint(1, 8), length_penalty=r.choice((0, 1, 2)))
            for _ in range(40)]
    asks += [dict(input=some_text(r), temperature=1, seed=i, n_best=3,
                  max_tokens=9) for i in range(10)]
    alone = [server.ask(**a) for a in asks]

    def again(i):
        return i, server.ask(**asks[i])
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for i, got in pool.map(again, list(range(50)) * 3):
            assert got == alone[i], asks[i]
    batch = server.ask(input=[asks[0]["input"]] * 9, **{
        k: v for k, v in asks[0].items() if k != "input"})
    assert [dict(b, index=0) for b in batch] == [alone[0]] * 9


def test_translate_ends_when_the_client_leaves():
    def gone():
        text = server.send("GET", "/metrics")[1].decode()
        return sum(float(x.split()[1]) for x in text.splitlines() if
                   x.startswith('seqd_requests_cancelled_total{reason="client'
                                '_gone"'))
    before = gone()
    conn = http.client.HTTPConnection("127.0.0.1", server.port)
    conn.request("POST", "/translate", json.dumps(dict(
        input=["w1 w2"] * 32, beams=16, max_tokens=4096, length_penalty=10)),
        {"Content-Type": "application/json"})
    conn.close()
    harness.wait(lambda: gone() > before, "the work goes on")
    server.ask(input="w1", max_tokens=3)


def test_generate_gives_several_choices():
    for model, prompt in ("words", "The old man"), ("one", "w1 w2"):
        ask = dict(model=model, input=prompt, max_tokens=12, seed=9)
        one = server.ask("/generate", **ask)
        assert "alternatives" not in one
        five = server.ask("/generate", n=5, **ask)
        others = five.pop("alternatives")
        assert five == one and len(others) == 4
        assert len({one["text"]} | {o["text"] for o in others}) > 3
        again = server.ask("/generate", n=5, **ask)
        assert again["alternatives"] == others
        two = server.ask("/generate", n=2, **ask)
        assert two["alternatives"] == others[:1]
    server.refuses(400, "invalid_value", "n", path="/generate", input="a",
                   n=2, stream=True, says="n must be 1 where stream is true")
    for n in 0, 17, "2", 1.5:
        server.refuses(400, "invalid_value", "n", path="/generate", input="a",
                       n=n)
    stops = server.ask("/generate", model="words", input="The old man", n=8,
                       max_tokens=30, stop=" the", seed=1)
    for t in [stops] + stops["alternatives"]:
        assert " the" not in t["text"], t
    texts, last = server.stream("/generate", model="one", input="w1 w2",
                                temperature=0, max_tokens=9)
    plain = server.ask("/generate", model="one", input="w1 w2",
                       temperature=0, max_tokens=9)
    assert "".join(texts[0]) == plain["text"]



def main(folder):
    global server
    with Server(folder, "--max-output-tokens", "4096") as s:
        server = s
        status = harness.main(globals())
        assert s.stop() == 0
        return status


if __name__ == "__main__":
    import tempfile
    with tempfile.TemporaryDirectory() as place:
        sys.exit(main(place))
