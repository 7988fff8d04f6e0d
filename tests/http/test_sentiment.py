#!/usr/bin/env python3
"""POST /sentiment of classifiers of several labels: some of the labels alone,
temperatures of a checkpoint, and long texts, whole (recurrent nets) or in parts
(Transformers with `seqd_windows`). What is expected is computed from other
answers: of the same net without the keys, and of each part by itself. Prints
cmocka's lines.

SPDX-License-Identifier: MIT
"""
import concurrent.futures
import json
import math
import os
import random
import shutil
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from contract import Contract  # noqa: E402
from harness import MODELS, TOP  # noqa: E402

GOLDEN = TOP + "/tests/golden/"
BERT = GOLDEN + "bert/bert-class"  # three labels, [CLS] and [SEP], 48 positions
LABELS = ["bad", "so so", "good"]
# A score is a float, and what is expected a double of products of floats.
TOLERANCE = 3e-6
WORDS = "the good bad film music was is very and a b c".split()
RULES = {"parts": dict(length=20, stride=9),
         "apart": dict(length=12),
         "context": dict(length=48, stride=46)}
MOST = 8192  # --max-item-tokens
LONG_S = 10  # for so many; 0.1 to 0.2 s on two cores of a Xeon with other work


def copy(folder, name, source, **more):
    """The checkpoint with these members of config.json, too."""
    path = f"{folder}/{name}"
    shutil.copytree(source, path)
    with open(path + "/config.json") as f:
        config = json.load(f)
    with open(path + "/config.json", "w") as f:
        json.dump({**config, **more}, f)
    return path


def decoder(folder, name, **more):
    """A decoder with labels, and words for the tokenizer that it lacks."""
    path = copy(folder, name, GOLDEN + "decoder_class/gpt2-class", **more)
    with open(path + "/config.json") as f:
        n = json.load(f)["vocab_size"]
    with open(path + "/tokenizer.json", "w") as f:
        json.dump({"version": "1.0", "added_tokens": [],
                   "normalizer": {"type": "seqd-whitespace"},
                   "model": {"type": "WordLevel", "unk_token": "w0",
                             "vocab": {f"w{i}": i for i in range(n)}}}, f)
    return path


class Server(harness.Seqd):
    def __init__(self, folder, *args):
        models = {"plain": BERT, "many": GOLDEN + "bert/bert-class-many",
                  "one": GOLDEN + "bert/bert-class-one",
                  "number": GOLDEN + "bert/bert-regression",
                  "lstm": MODELS + "sentiment-lstm",
                  "cooler": copy(folder, "cooler", BERT, seqd_temperature=2.5),
                  "each": copy(folder, "each", BERT,
                               seqd_temperature=[0.5, 1, 4],
                               seqd_bias=[0.25, -1, 0.5]),
                  "gpt": decoder(folder, "gpt"),
                  "gpt-parts": decoder(folder, "gpt-parts", seqd_windows=dict(
                      length=24, stride=10))}
        for name, rule in RULES.items():
            models[name] = copy(folder, name, BERT, seqd_windows=rule)
        models["all"] = copy(folder, "all", BERT, seqd_windows=RULES["parts"],
                             seqd_temperature=[0.5, 1, 4],
                             seqd_bias=[0.25, -1, 0.5])
        models["many-parts"] = copy(folder, "many-parts", models["many"],
                                    seqd_windows=RULES["parts"])
        models["number-parts"] = copy(folder, "number-parts", models["number"],
                                      seqd_windows=RULES["parts"])
        super().__init__(*(x for name, path in models.items()
                           for x in ("--model", f"{name}={path}")), *args)
        self.contract = Contract(json.loads(self.send(
            "GET", "/openapi.json")[1]))

    def ask(self, model, text, **more):
        """The item of a good answer, or their list, which fits the
        contract."""
        a = self.post("/classify", dict(model=model, input=text, **more))
        said = self.contract.fault(self.contract.schema("ClassifyAnswer"), a)
        assert not said, (said, a)
        self.usage = a["usage"]["prompt_tokens"]
        return a["data"] if isinstance(text, list) else a["data"][0]

    def refused(self, code, param, **body):
        status, text = self.send("POST", "/classify", json.dumps(body))
        e = json.loads(text)["error"]
        assert (status, e["code"], e["param"]) == (400, code, param), (body, e)
        return e["message"]


def scores(item):
    return [s["score"] for s in item["scores"]]


def names(item):
    return [s["label"] for s in item["scores"]]


def near(got, want):
    assert len(got) == len(want) and all(
        abs(g - w) <= TOLERANCE * max(1, abs(w)) for g, w in zip(got, want)
    ), (got, want)


def softmax(z):
    e = [math.exp(x - max(z)) for x in z]
    return [x / sum(e) for x in e]


def check(item, want, labels=LABELS):
    near(scores(item), want)
    best = max(range(len(want)), key=lambda i: want[i])
    assert names(item) == labels and item["label"] == labels[best], item
    assert item["score"] == item["scores"][best]["score"]


def text_of(n, seed):
    rng = random.Random(seed)
    return [rng.choice(WORDS) for _ in range(n)]


def parts_of(n, room, stride):
    """(from, tokens that are new) of each part of a text of n tokens."""
    if n <= room:
        return [(0, n)]
    seen, parts = 0, []
    while seen < n:
        at = min(len(parts) * stride, n - room)
        parts.append((at, at + room - seen))
        seen = at + room
    return parts


def joined(server, model, words, room, stride, to_logit=math.log):
    """The mean of the parts' logits, from the answer of each part alone."""
    parts = parts_of(len(words), room, stride)
    alone = server.ask(model, [" ".join(words[at:at + room])
                               for at, _ in parts])
    z = [[to_logit(x) for x in scores(item)] for item in alone]
    return len(parts), [sum(row[i] * new for row, (_, new) in zip(z, parts)) /
                        len(words) for i in range(len(z[0]))]


# --- labels ---

def test_sentiment_of_some_labels_is_the_rest_renormalised(s):
    text = "the film was very good"
    whole = s.ask("plain", text)
    p = dict(zip(names(whole), scores(whole)))
    for chosen in (["bad", "good"], ["good", "bad"], ["so so", "good"],
                   ["good", "so so", "bad"]):
        labels = [x for x in LABELS if x in chosen]  # the model's order
        want = [p[x] / sum(p[y] for y in chosen) for x in labels]
        check(s.ask("plain", text, labels=chosen), want, labels)
    items = s.ask("plain", ["bad", text], labels=["bad", "good"])
    check(items[1], [p["bad"] / (p["bad"] + p["good"]),
                     p["good"] / (p["bad"] + p["good"])], ["bad", "good"])
    assert names(items[0]) == ["bad", "good"]
    assert s.ask("plain", text, labels=None) == whole


def test_sentiment_of_some_labels_filters_what_excludes_nothing(s):
    whole = s.ask("many", "bad music")
    p = dict(zip(names(whole), scores(whole)))
    item = s.ask("many", "bad music", labels=["x", "long"])
    assert names(item) == ["long", "x"]
    assert scores(item) == [p["long"], p["x"]]
    assert item["label"] == max(["long", "x"], key=p.get)


def test_sentiment_names_a_label_that_is_none(s):
    for labels, param, word in (
            (["bad", "ugly"], "labels[1]", "'ugly' is no label"),
            (["bad", "bad"], "labels[1]", "twice"),
            (["bad", 7], "labels[1]", "number"),
            (["bad", None], "labels[1]", "null"),
            (["bad", "good\0"], "labels[1]", "no label"),
            (["bad"], "labels", "at least two of the model's 3"),
            ([], "labels", "0 names"),
            (["bad", "good", "so so", "bad"], "labels", "4 names"),
            ("bad,good", "labels", "a string, expected a list"),
            ({"bad": 1}, "labels", "an object, expected a list"),
            (True, "labels", "expected a list")):
        said = s.refused("invalid_value", param, model="plain", input="bad",
                         labels=labels)
        assert word in said, said
    s.refused("invalid_value", "labels", model="one", input="bad",
              labels=["LABEL_0", "LABEL_1"])
    s.refused("unknown_field", "label", model="plain", input="bad",
              label=["bad", "good"])


def test_sentiment_models_list_their_labels(s):
    for model, labels, rule in (
            ("plain", LABELS, None), ("lstm", ["negative", "positive"], None),
            ("number", ["stars"], None),
            ("apart", LABELS, dict(length=12, stride=10, max_tokens=MOST))):
        a = json.loads(s.send("GET", "/v1/models/" + model)[1])
        said = s.contract.fault(s.contract.schema("Model"), a)
        assert not said, said
        assert a["labels"] == labels and a.get("windows") == rule, a


# --- the two routes ---

def test_sentiment_is_for_models_of_sentiments(s):
    """The same answer on both routes, of models whose labels are sentiments;
    others have /classify alone."""
    one = s.post("/sentiment", dict(model="plain", input="bad"))
    two = s.post("/classify", dict(model="plain", input="bad"))
    assert one["object"] == "sentiments" and two["object"] == "classifications"
    assert one["data"] == two["data"], (one, two)
    for model, tasks in (("plain", ["classify", "sentiment"]),
                         ("lstm", ["classify", "sentiment"]),
                         ("many", ["classify"]), ("number", ["classify"])):
        a = json.loads(s.send("GET", "/v1/models/" + model)[1])
        assert a["tasks"] == tasks, a
    status, text = s.send("POST", "/sentiment", json.dumps(
        dict(model="many", input="bad")))
    e = json.loads(text)["error"]
    assert (status, e["code"]) == (400, "task_not_supported"), e
    assert "POST /classify" in e["message"] and "loud" in e["message"], e


def test_classify_gives_the_best_labels(s):
    for model in "plain", "many", "number":
        everything = s.ask(model, "good and bad")
        ranked = sorted(everything["scores"], key=lambda x: -x["score"])
        for k in (1, 2, 9):
            some = s.ask(model, "good and bad", top_k=k)
            assert some["scores"] == ranked[:k], (some, ranked)
            assert some["label"] == everything["label"]
    s.refused("invalid_value", "top_k", model="many", input="bad", top_k=0)


# --- temperature ---

def test_sentiment_temperature_divides_the_logits(s):
    for n in (1, 2, 5, 9, 20, 46):
        text = " ".join(text_of(n, n))
        z = [math.log(p) for p in scores(s.ask("plain", text))]
        check(s.ask("cooler", text), softmax([x / 2.5 for x in z]))


def test_sentiment_temperature_of_each_label_is_of_the_raw_logits(s):
    """A log-probability is a logit but for one number of a text, the same for
    all labels: two texts' worth of differences find it."""
    text = "the film was very good"
    z = [math.log(p) for p in scores(s.ask("plain", text))]
    t, b = [0.5, 1, 4], [0.25, -1, 0.5]
    got = [math.log(p) for p in scores(s.ask("each", text))]

    def gap(c, i, k):
        """log p_i - log p_k, as the rule has it of logits z + c."""
        return ((z[i] + c) / t[i] + b[i]) - ((z[k] + c) / t[k] + b[k])
    # from one pair of labels the number, which has to explain the other one
    c = (got[0] - got[1] - gap(0, 0, 1)) / (gap(1, 0, 1) - gap(0, 0, 1))
    assert abs(got[0] - got[2] - gap(c, 0, 2)) < 1e-4
    # some labels alone, after the scaling
    some = scores(s.ask("each", text, labels=["bad", "good"]))
    assert abs(math.log(some[0] / some[1]) - (got[0] - got[2])) < 1e-4


# --- long texts in parts ---

def test_sentiment_of_parts_is_the_mean_of_their_logits(s):
    for model, room, stride in (("parts", 18, 9), ("apart", 10, 10),
                                ("context", 46, 46)):
        for n in (1, 9, 10, 11, 18, 19, 20, 27, 28, 46, 47, 92, 93, 200):
            words = text_of(n, 100 + n)
            k, z = joined(s, "plain", words, room, stride)
            item = s.ask(model, " ".join(words))
            assert item["windows"] == k, (model, n, item)
            assert s.usage == n + 2  # each token once, and those around
            check(item, softmax(z))
            assert "windows" not in s.ask("plain", "bad")


def test_sentiment_of_parts_of_other_scores(s):
    words = text_of(70, 7)
    text = " ".join(words)
    _, z = joined(s, "many", words, 18, 9, lambda p: math.log(p / (1 - p)))
    near(scores(s.ask("many-parts", text)), [1 / (1 + math.exp(-x))
                                             for x in z])
    _, z = joined(s, "number", words, 18, 9, lambda x: x)
    near(scores(s.ask("number-parts", text)), z)


def test_sentiment_of_parts_scales_what_is_joined(s):
    """Of one part both are the same, so the logits of a long text are those of
    the plain one, up to what both models make of them."""
    words = text_of(60, 3)
    one, both = (s.ask("all", " ".join(words), labels=x)
                 for x in (None, ["bad", "good"]))
    p = scores(one)
    near(scores(both), [p[0] / (p[0] + p[2]), p[2] / (p[0] + p[2])])
    short = " ".join(words[:18])
    assert scores(s.ask("all", short)) == scores(s.ask("each", short))
    assert one["windows"] == both["windows"] == 6


def test_sentiment_of_parts_of_a_decoder(s):
    rng = random.Random(5)
    for n in (24, 25, 34, 35, 100):
        words = [f"w{rng.randrange(1, 40)}" for _ in range(n)]
        k, z = joined(s, "gpt", words, 24, 10)
        item = s.ask("gpt-parts", " ".join(words))
        assert item["windows"] == k
        near(scores(item), softmax(z))


def test_sentiment_of_parts_has_an_end(s):
    text = " ".join(text_of(MOST - 2, 1))
    whole = s.ask("context", text)
    assert whole["windows"] == 179 and not whole["truncated"], whole
    assert s.usage == MOST
    said = s.refused("context_length_exceeded", "input", model="context",
                     input=text + " bad")
    assert f"more than {MOST} tokens" in said
    cut = s.ask("context", text + " bad", truncate=True)
    assert cut["truncated"] and scores(cut) == scores(whole)
    # without the rule the context is the end, as before
    s.refused("context_length_exceeded", "input[1]", model="plain",
              input=["bad", " ".join(text_of(47, 1))])


def test_sentiment_of_parts_shows_no_attention(s):
    words = text_of(19, 2)
    said = s.refused("invalid_value", "attention", model="parts",
                     input=" ".join(words), attention=True)
    assert "2 parts" in said
    item = s.ask("parts", " ".join(words[:18]), attention=True)
    assert len(item["attention"]["tokens"]) == 20 and item["windows"] == 1


def test_sentiment_of_parts_does_not_depend_on_company(s):
    rng = random.Random(11)
    texts = [" ".join(text_of(rng.choice([3, 18, 19, 60, 150, 700]), i))
             for i in range(40)]
    models = [rng.choice(list(RULES) + ["plain-46", "all"]) for _ in texts]

    def one(model, text):
        if model == "plain-46":
            model, text = "plain", " ".join(text.split()[:46])
        return s.post("/sentiment", dict(model=model, input=text))["data"]
    alone = [one(*x) for x in zip(models, texts)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for _ in range(2):
            assert list(pool.map(one, models, texts)) == alone
    listed = s.ask("parts", texts)
    assert [scores(x) for x in listed] == [
        scores(s.ask("parts", t)) for t in texts]


# --- long texts of recurrent nets ---

def test_sentiment_of_a_recurrent_net_takes_a_long_text(s):
    """As many tokens as an item may have (one of them is the begin token), in
    one piece; the same alone and among others, on one thread and on more."""
    whole = {"b": "and", "c": "the"}  # each word is a token
    words = ["good"] * 2 + [whole.get(x, x) for x in text_of(MOST - 2, 4)]
    text = " ".join(words[1:])
    begun = time.monotonic()
    item = s.ask("lstm", text)
    took = time.monotonic() - begun
    assert s.usage == MOST and "windows" not in item
    assert took < LONG_S, f"{took:.1f} s"
    s.refused("context_length_exceeded", "input", model="lstm",
              input=" ".join(words))
    among = s.ask("lstm", [" ".join(words[i:i + 300]) for i in range(9)] +
                  [text])
    assert scores(among[9]) == scores(item)
    with harness.Seqd("--model", "lstm=" + MODELS + "sentiment-lstm",
                      "--threads", "1", "--max-rows", "2") as other:
        a = other.post("/sentiment", dict(input=["bad", text]))
    assert scores(a["data"][1]) == scores(item)


def main():
    with harness.tempfile.TemporaryDirectory() as folder:
        with Server(folder) as s:
            status = harness.main(globals(), lambda test: test(s))
            return status or s.stop()


if __name__ == "__main__":
    sys.exit(main())
