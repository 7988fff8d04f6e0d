#!/usr/bin/env python3
"""The recipes of docs/, run as they stand: three lines from one's own text to
a served model, and a .pt file of PyTorch to a served model, whose scores are
compared with PyTorch's own; and its lists of options and metrics, held against
the program. Prints cmocka's lines; the second recipe needs Debian's
python3-torch and is skipped without it.

SPDX-License-Identifier: MIT
"""
import json
import os
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from harness import SEQD, Skip, TOP  # noqa: E402

TOLERANCE = 1e-5  # fp32 through a few steps, printed shortest
PYTHON = "/usr/bin/python3"  # Debian's, the one that has torch


def page(name):
    return open(f"{TOP}/docs/{name}", encoding="utf-8").read()


def block(name, mark):
    """The text of the fenced block after <!-- mark --> in a page of docs/."""
    m = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```\n", page(name), re.S)
    assert m, f"docs/{name} has no block marked {mark}"
    return m.group(1)


def serve(command, folder):
    """A seqd command of a page."""
    program, *args = command.split()
    return harness.Seqd(*args, program=program, cwd=folder)


def own_text(page, folder, most):
    """The three lines of a page on a made-up text, in a folder with what a
    fresh clone has after make."""
    if os.path.basename(os.path.dirname(SEQD)) != "release":
        raise Skip("the page's commands name the release build")
    os.symlink(os.path.dirname(os.path.dirname(SEQD)), folder + "/build")
    os.symlink(TOP + "/models", folder + "/models")
    nouns = ["cat", "dog", "bird", "fox", "hen"]
    for name, n in (("train", 2500), ("valid", 20)):
        with open(f"{folder}/{name}.txt", "w") as f:
            for i in range(n):
                f.write(f"The {nouns[i % 5]} sees the {nouns[(i + 2) % 5]} .\n")
    train, score, run = block(
        page, "own-text").replace("\\\n", "").strip().splitlines()
    said = subprocess.run(train.split(), cwd=folder, check=True, timeout=120,
                          stderr=subprocess.PIPE, text=True).stderr
    out = subprocess.run(score.split(), cwd=folder, check=True, timeout=60,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    figures = json.loads(out.stdout)
    assert figures["perplexity"] < most, figures
    with serve(run, folder) as s:
        best = s.post("/predict", {"input": "the dog sees"})
        assert best["data"][0]["predictions"][0]["text"] == "the", best
        assert s.stop() == 0
    return said


def test_readme_own_text_becomes_a_served_model(folder):
    # All is certain but the noun of each line (1.61 nats of 7 tokens): 1.26,
    # and the text has far more to learn from than ten epochs need.
    own_text("training.md", folder, 2)


def test_readme_own_text_starts_from_a_bundled_model(folder):
    # 16 steps at a low rate; the bundled model itself gives 18.9
    said = own_text("../README.md", folder, 8)
    assert "8 of 8 tensors, 10000 of 10000 entries" in said, said
    with open(folder + "/mine/CARD.md") as f:
        card = f.read()
    for part in ("# mine", "`train.txt`: 2500 records", "`--init next-word-",
                 "| Seed | 1,", "Best validation", "`seqd eval` on",
                 "seqd --model my-model=mine"):
        assert part in card, (part, card)
    assert folder not in card


def write_pairs(folder):
    nouns = {"cat": "chat", "dog": "chien", "bird": "merle", "fox": "renard",
             "wolf": "loup", "bear": "ours", "horse": "cheval", "ox": "boeuf"}
    verbs = {"sees": "voit", "likes": "aime", "hears": "entend"}
    ends = {"": "", " here": " ici", " now": " maintenant"}
    rows = [(f"The {a} {v} the {b}{w}.",
             f"Le {nouns[a]} {verbs[v]} le {nouns[b]}{ends[w]}.")
            for a in nouns for v in verbs for b in nouns for w in ends]
    for name, n in (("pairs", 2304), ("test", 100)):
        with open(f"{folder}/{name}.tsv", "w") as f:
            f.writelines("\t".join(rows[i % len(rows)]) + "\n"
                         for i in range(n))


def test_readme_own_pairs_become_a_translator(folder):
    if os.path.basename(os.path.dirname(SEQD)) != "release":
        raise Skip("the page's commands name the release build")
    os.symlink(os.path.dirname(os.path.dirname(SEQD)), folder + "/build")
    write_pairs(folder)
    train, score, run, ask = block(
        "training.md", "own-pairs").replace("\\\n", "").strip().splitlines()
    subprocess.run(["sh", "-c", train], cwd=folder, check=True, timeout=300,
                   stderr=subprocess.DEVNULL)
    out = subprocess.run(["sh", "-c", score], cwd=folder, check=True,
                         timeout=100, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL)
    figures = json.loads(out.stdout)
    assert figures["bleu"] > 90 and figures["chrf2"] > 90, figures
    assert figures["signature"].startswith("nrefs:1|case:mixed|"), figures
    with open(folder + "/test.out") as f:
        assert len(f.readlines()) == 100
    with serve(run, folder) as s:
        out = subprocess.run(["sh", "-c", ask.replace("8080", str(s.port))],
                             check=True, timeout=60, stdout=subprocess.PIPE)
        item = json.loads(out.stdout)["data"][0]
        assert item["text"] == "Le chat voit le chien.", item
        assert len(item["alternatives"]) == 1, item
        assert s.stop() == 0


MAKE_NET = """
import json, torch
torch.manual_seed(3)
class Net(torch.nn.Module):
    def __init__(self, V, E, H):
        super().__init__()
        self.embedding = torch.nn.Embedding(V, E)
        self.rnn = torch.nn.LSTM(E, H, batch_first=True)
        self.output = torch.nn.Linear(H, 2)
net = Net(40, 12, 20)
torch.save(net.state_dict(), "net.pt")
with open("vocabulary.txt", "w") as f:
    for i in range(40):
        f.write(("<unk>" if i == 0 else "word" + chr(97 + i % 26) * (1 + i // 26)) + "\\n")
words = open("vocabulary.txt").read().split()
out = []
for ids in [[1], [5, 9, 33], [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]]:
    top, _ = net.rnn(net.embedding(torch.tensor([ids])))
    p = torch.softmax(net.output(top[:, -1]), 1)[0]
    out.append([" ".join(words[i] for i in ids), p.tolist()])
json.dump(out, open("expected.json", "w"))
"""


def test_readme_brings_an_lstm_from_a_pt_file(folder):
    if subprocess.run([PYTHON, "-c", "import torch"],
                      stderr=subprocess.DEVNULL).returncode:
        raise Skip("no python3-torch")
    for program in (MAKE_NET, block("models.md", "from-pt")):
        subprocess.run([PYTHON, "-c", program], cwd=folder, check=True,
                       timeout=120)
    with serve(SEQD + " --model mine=mine", folder) as s:
        for text, want in json.load(open(folder + "/expected.json")):
            item = s.post("/sentiment", {"input": text})["data"][0]
            got = {s["label"]: s["score"] for s in item["scores"]}
            assert item["unknown"] == 0, item
            assert abs(got["negative"] - want[0]) < TOLERANCE, (got, want)
            assert abs(got["positive"] - want[1]) < TOLERANCE, (got, want)
        assert s.stop() == 0


def listed(what, in_page, in_program):
    assert in_page == in_program, (
        f"{what}: only in the page {sorted(in_page - in_program)}, "
        f"not in it {sorted(in_program - in_page)}")


def test_serving_lists_every_option(folder):
    text = subprocess.run([SEQD, "--help"], check=True, timeout=20,
                          stdout=subprocess.PIPE, text=True).stdout
    flags = set(re.findall(r"^  (--[a-z0-9-]+)", text, re.M))
    table = page("serving.md").split("## Options")[1].split("\n## ")[0]
    listed("options", set(re.findall(r"`(--[a-z0-9-]+)`", table)), flags)
    for command in "eval", "tokenize":
        text += subprocess.run([SEQD, command, "--help"], check=True,
                               timeout=20, stdout=subprocess.PIPE,
                               text=True).stdout
    named = set(re.findall(r"`(--[a-z0-9-]+)", page("serving.md") +
                           page("operations.md") + page("api.md")))
    listed("flags", named - set(re.findall(r"--[a-z0-9-]+", text)), set())
    names = set(re.findall(r"SEQD_[A-Z_]+", page("serving.md")))
    listed("variables", names - set(re.findall(r"SEQD_[A-Z_]+", text)), set())


def test_operations_lists_every_metric(folder):
    with serve(SEQD, folder) as s:
        text = s.send("GET", "/metrics")[1]
        assert s.stop() == 0
    listed("metrics", set(re.findall(r"`(seqd_[a-z_]+)`",
                                     page("operations.md"))),
           set(re.findall(r"^# TYPE (seqd_\w+)", text.decode(), re.M)))


if __name__ == "__main__":
    sys.exit(harness.main(globals(), harness.in_folder))
