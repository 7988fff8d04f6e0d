#!/usr/bin/env python3
"""Tunes by a server whose nets are noise: constraints, and what a checkpoint
says where a request does not. Bars are counted by models/recipes/abc_tune.py,
which shares nothing with the machine that serves. Prints cmocka's lines.

SPDX-License-Identifier: MIT
"""
import concurrent.futures
import json
import os
import random
import struct
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE + "/../support")
sys.path.insert(0, HERE + "/../../models/recipes")
import abc_tune  # noqa: E402
import harness  # noqa: E402
from contract import Contract  # noqa: E402

CHARS = ("\n !\"#&'(),-./0123456789:<=>ABCDEFGHIJKLMNOPQRSTUVWXYZ[]^_"
         "abcdefghijklmnopqrstuvwxyz{|}+\u00e9")
E, H = 8, 24
JIG = "X:1\nM:6/8\nL:1/8\nK:G\n"


def make(path, seed, generation=None, loud=4.0, **config):
    """An LSTM of random weights over characters; `loud`: how sure it is."""
    r = random.Random(seed)
    V = len(CHARS) + 1
    shapes = {"embedding.weight": (V, E), "rnn.weight_ih_l0": (4 * H, E),
              "rnn.weight_hh_l0": (4 * H, H), "rnn.bias_ih_l0": (4 * H,),
              "rnn.bias_hh_l0": (4 * H,), "output.weight": (V, H),
              "output.bias": (V,)}
    head, data = {}, b""
    for name, shape in shapes.items():
        n = shape[0] * (shape[1] if len(shape) > 1 else 1)
        size = loud if name.startswith("output") else 1
        part = struct.pack(f"<{n}f", *(r.gauss(0, size) for _ in range(n)))
        head[name] = {"dtype": "F32", "shape": shape,
                      "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    head = json.dumps(head).encode()
    os.makedirs(path)
    with open(path + "/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + data)
    vocab = ["</s>"] + list(CHARS)
    with open(path + "/config.json", "w") as f:
        json.dump(dict({"model_type": "rnn", "cell": "lstm", "vocab_size": V,
                        "embedding_dim": E, "hidden_size": H, "num_layers": 1,
                        "head": "lm"}, **config), f)
    with open(path + "/tokenizer.json", "w") as f:
        json.dump({"version": "1.0", "added_tokens": [
            {"id": 0, "content": "</s>", "special": True}],
            "normalizer": {"type": "seqd-characters"},
            "seqd": {"bos": "</s>", "eos": "</s>", "add_bos": True},
            "model": {"type": "WordLevel",
                      "vocab": {w: i for i, w in enumerate(vocab)}}}, f)
    if generation is not None:
        with open(path + "/generation_config.json", "w") as f:
            json.dump(generation, f)


MADE = {"abc1": dict(seed=1, seqd_constraint="abc",
                     generation=dict(max_new_tokens=1200)),
        "abc2": dict(seed=2, loud=1.0, seqd_constraint="abc",
                     generation=dict(max_new_tokens=1200)),
        "abc3": dict(seed=3, loud=0.3, seqd_constraint="abc",
                     generation=dict(max_new_tokens=1200)),
        "plain": dict(seed=1),
        "greedy": dict(seed=1, generation=dict(
            do_sample=False, temperature=0.5, max_new_tokens=30)),
        "said": dict(seed=1, generation=dict(
            do_sample=True, temperature=0.7, top_k=9, top_p=0.8,
            max_new_tokens=40))}


class Server(harness.Seqd):
    def __init__(self, folder):
        models = ["--model", "words=" + harness.MODELS + "next-word-lstm"]
        for name, how in MADE.items():
            make(f"{folder}/{name}", **how)
            models += ["--model", f"{name}={folder}/{name}"]
        super().__init__(*models)
        self.contract = Contract(json.loads(self.send(
            "GET", "/openapi.json")[1]))

    def ask(self, **body):
        """The items of a good answer that fits the contract."""
        a = self.post("/generate", body)
        said = self.contract.fault(self.contract.schema("GenerateAnswer"), a)
        assert not said, (said, a)
        return a["data"] if isinstance(body["input"], list) else a["data"][0]

    def refuses(self, code, param, says="", **body):
        status, text = self.send("POST", "/generate", json.dumps(body))
        e = json.loads(text).get("error", {})
        assert (status, e.get("code"), e.get("param")) == (400, code, param), (
            body, status, text)
        assert says in e["message"], (says, e)


server = None


def bars_of(text, whole):
    """How many bars a tune has, all of which add up."""
    if not whole:  # the last bar is being written, and the one before may be
        text = text[:text.rfind("|")]  # the last of a section
        text = text[:max(text.rfind("|"), text.rfind("\n"))]
    if "K:" not in text or not text.split("K:")[1].partition("\n")[2].strip(
            "|:\n "):
        return 0
    tune = abc_tune.read_tune(text)
    faults = abc_tune.bar_faults(tune)
    if not whole:  # nobody knows what would have followed
        faults = [f for f in faults if f[0] < len(tune.bars) - 1]
    assert not faults, (faults, text)
    return len(tune.bars)


def test_music_bars_add_up_whatever_the_weights():
    prompts = ["", JIG, "M:C|\nK:Bb\n", "X:1\nT:A \u00e9\nM:9/8\nL:1/16\nK:Em\n",
               "K:D\n", "X:1\nM:2/4\nL:1/8\nK:Ador\n|:AB|c2", JIG + "D|"]
    ended = bars = 0
    for model in "abc1", "abc2", "abc3":
        for seed in range(8):
            for prompt, a in zip(prompts, server.ask(
                    model=model, input=prompts, seed=seed)):
                assert a["constraint"] == "abc"
                assert a["finish_reason"] in ("stop", "length"), a
                whole = a["finish_reason"] == "stop"
                ended += whole
                bars += bars_of(prompt + a["text"], whole)
    assert ended > 8 and bars > 5000, (ended, bars)


def test_music_is_the_same_alone_and_in_company():
    prompts = ["", JIG, "hello", "M:3/4\nK:C\n", JIG + "|:G3"] * 2
    alone = {p: server.ask(model="abc2", input=p, seed=5, max_tokens=200)
             for p in prompts}
    several = server.ask(model="abc2", input=JIG, seed=5, max_tokens=200, n=4)
    assert several["text"] == alone[JIG]["text"]

    def one(i):
        if i % 3:
            p = prompts[i % len(prompts)]
            return [p], [server.ask(model="abc2", input=p, seed=5,
                                    max_tokens=200)]
        return prompts, server.ask(model="abc2", input=prompts, seed=5,
                                   max_tokens=200)

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        for asked, got in pool.map(one, range(24)):
            for p, a in zip(asked, got):
                assert dict(a, index=0) == alone[p], (p, a)


def test_music_stream_says_what_the_text_was_held_to():
    for prompt, held in ((JIG, "abc"), ("hello", "none")):
        body = dict(model="abc1", input=prompt, seed=3, max_tokens=120)
        status, text = server.send("POST", "/generate", json.dumps(
            dict(body, stream=True)))
        assert status == 200
        chunks = [json.loads(e[6:]) for e in text.decode().split("\n\n")[:-2]]
        for c in chunks:
            said = server.contract.fault(
                server.contract.schema("GenerateChunk"), c)
            assert not said, said
        whole = server.ask(**body)
        assert "".join(c["data"][0]["text"] for c in chunks) == whole["text"]
        last = chunks[-1]["data"][0]
        assert last["constraint"] == whole["constraint"] == held


def test_music_request_chooses_the_constraint():
    free = dict(input=JIG, seed=4, max_tokens=60, temperature=1)
    plain = server.ask(model="plain", **free)
    assert "constraint" not in plain
    none = server.ask(model="abc1", constraint="none", **free)
    assert none == plain, "the same weights, and nothing that holds them"
    held = server.ask(model="plain", constraint="abc", **free)
    assert held == server.ask(model="abc1", **free)
    assert held == server.ask(model="abc1", constraint=None, **free)
    assert held["constraint"] == "abc" and held["text"] != plain["text"]
    server.refuses("invalid_value", "constraint", "none or abc", model="abc1",
                   input=JIG, constraint="json")
    server.refuses("invalid_value", "constraint", model="abc1", input=JIG,
                   constraint=1)
    server.refuses("task_not_supported", "constraint", "by characters",
                   model="words", input="the", constraint="abc")
    assert "constraint" not in server.ask(model="words", input="the",
                                          constraint="none", max_tokens=1)


def test_music_prompt_that_is_none_is_refused_or_not_held():
    wrong = ["hello", "X:1\nhello", JIG + "G7|", JIG + "[K:D]",
             "{\"a\": [1]}", "M:1/0\n", "M:0/4\n", "\n\n", "X:1\nK:\n",
             "K:" + "G" * 500, "\u00e9", "X:1\nM:6/8\nL:1/8\nK:G\nABc|]x\n"]
    for text in wrong:
        a = server.ask(model="abc1", input=text, max_tokens=20, seed=1)
        if a["constraint"] == "none":
            server.refuses("invalid_value", "input", "tune in ABC notation",
                           model="abc1", input=text, constraint="abc")
            b = server.ask(model="abc1", input=text, max_tokens=20, seed=1,
                           constraint="none")
            assert b["text"] == a["text"]
    held = [server.ask(model="abc1", input=t, max_tokens=1)["constraint"]
            for t in wrong]
    assert held.count("none") >= 9, held
    server.refuses("invalid_value", "input[1]", model="abc1",
                   input=[JIG, "hello"], constraint="abc")


def test_music_hostile_prompts_are_answered():
    r = random.Random(7)
    long = [JIG + "GAB c2d|" * 2000, "T:" + "a" * 9000, "%" * 9000,
            JIG + "(" * 3000, JIG + "\"" + "x" * 3000, JIG + "{" * 3000,
            JIG + "[1" * 999, "X:1\n" * 999, JIG + "|" * 3000, JIG + "\n" * 999,
            JIG + "G" + "/" * 999, JIG + "G" + "9" * 999, JIG + "G>" * 999,
            JIG + "^" * 999 + "A", "\0" * 99, JIG + "\0"]
    short = ["".join(r.choice(CHARS) for _ in range(r.randint(1, 60)))
             for _ in range(60)]
    short += [JIG + t for t in short]
    for text in long + short:
        status, body = server.send("POST", "/generate", json.dumps(
            dict(model="abc1", input=text, max_tokens=12, truncate=True)))
        assert status in (200, 400), (text[:40], status, body)
        if status == 200:
            assert json.loads(body)["data"][0]["constraint"] in ("abc", "none")


def test_music_checkpoint_says_what_a_request_does_not():
    ask = dict(input="A", seed=2)
    greedy = server.ask(model="greedy", **ask)
    assert greedy["text"] == server.ask(
        model="plain", temperature=0, max_tokens=30, **ask)["text"]
    said = server.ask(model="said", **ask)
    same = dict(temperature=0.7, top_k=9, top_p=0.8, max_tokens=40)
    assert said["text"] == server.ask(model="plain", **same, **ask)["text"]
    for name, other in dict(temperature=1.5, top_k=1, top_p=0.3,
                            max_tokens=7).items():  # the request wins
        got = server.ask(model="said", **{name: other}, **ask)
        want = server.ask(model="plain", **dict(same, **{name: other}), **ask)
        assert got["text"] == want["text"] != said["text"], name
    warm = server.ask(model="greedy", temperature=0.9, **ask)
    assert warm["text"] == server.ask(model="plain", temperature=0.9,
                                      max_tokens=30, **ask)["text"]


def test_music_models_say_their_own():
    models = {m["id"]: m for m in json.loads(
        server.send("GET", "/v1/models")[1])["data"]}
    for m in models.values():
        said = server.contract.fault(server.contract.schema("Model"), m)
        assert not said, (said, m)
    assert models["abc1"]["constraint"] == "abc"
    assert models["abc1"]["defaults"] == {"max_tokens": 1200}
    assert models["greedy"]["defaults"] == {"temperature": 0, "max_tokens": 30}
    assert models["said"]["defaults"] == {
        "temperature": 0.7, "top_k": 9, "top_p": 0.8, "max_tokens": 40}
    assert not {"constraint", "defaults"} & set(models["plain"])


def main(folder):
    global server
    with Server(folder) as server:
        return harness.main(globals())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        sys.exit(main(place))
