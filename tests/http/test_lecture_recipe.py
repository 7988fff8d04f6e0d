#!/usr/bin/env python3
"""The recipes of recurrent cells: made-up sequences are what they say and can
be learned from, and what a training leaves is tabled and drawn. Prints cmocka's
lines.

SPDX-License-Identifier: MIT
"""
import array
import json
import math
import os
import struct
import subprocess
import sys
from types import SimpleNamespace
from xml.etree import ElementTree

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)) + "/../support")
import harness  # noqa: E402
from harness import TOP  # noqa: E402

RECIPES = TOP + "/models/recipes"
sys.path.insert(0, RECIPES)
import lecture_cells as cells  # noqa: E402

TRAIN = os.path.abspath(os.environ.get("SEQD_TRAIN",
                                       TOP + "/build/release/seqd-train"))
SPACE = "{http://www.w3.org/2000/svg}"


def run(*args, **kw):
    return subprocess.run(args, capture_output=True, text=True, timeout=120,
                          **kw)


def make(path, *args):
    r = run(sys.executable, RECIPES + "/memory_tasks.py", *args, path)
    assert r.returncode == 0, r.stderr
    with open(path, "rb") as f:
        return f.read()


def numbers_of(data):
    n, = struct.unpack("<Q", data[:8])
    header, found = json.loads(data[8:8 + n]), {}
    for name, t in header.items():
        a = array.array("f", data[8 + n:][slice(*t["data_offsets"])])
        assert len(a) == math.prod(t["shape"]), name
        found[name] = a.tolist()
    return header, found


def test_adding_is_what_it_says(folder):
    data = make(folder + "/a", "adding", "--length", "9", "--count", "50")
    assert data == make(folder + "/b", "adding", "--length", "9", "--count",
                        "50", "--seed", "1")
    assert data != make(folder + "/b", "adding", "--length", "9", "--count",
                        "50", "--seed", "2")
    header, t = numbers_of(data)
    assert header["x"]["shape"] == [50, 9, 2] and header["y"]["shape"] == \
        [50, 1], header
    places = set()
    for i in range(50):
        rows = t["x"][18 * i:18 * i + 18]
        marks = [k for k in range(9) if rows[2 * k + 1]]
        assert len(marks) == 2 and marks[0] < 4 <= marks[1], marks
        places.update(marks)
        assert all(0 <= v < 1 for v in rows[::2])
        assert abs(sum(rows[2 * k] for k in marks) - t["y"][i]) < 1e-6
    assert places == set(range(9))


def test_copying_is_what_it_says(folder):
    data = make(folder + "/a", "copying", "--length", "5", "--count", "30")
    for line in data.decode().splitlines():
        words = line.split(" ")
        assert len(words) == 10 + 5 + 1 + 10, line
        assert words[:10] == words[-10:] and words[10:15] == ["_"] * 5
        assert words[15] == ":" and set(words[:10]) <= set("abcdefgh")
    r = run(sys.executable, RECIPES + "/memory_tasks.py", "copying", "--length",
            "1", "--count", "3", folder + "/a")
    assert r.returncode != 0 and "--length is at least 2" in r.stderr


def test_what_is_made_is_trained_and_scored(folder):
    make(folder + "/adding-100.train.safetensors", "adding", "--length", "12",
         "--count", "300")
    for part, seed in (("valid", "2"), ("test", "3")):
        make(f"{folder}/adding-100.{part}.safetensors", "adding", "--length",
             "12", "--count", "40", "--seed", seed)
    a = SimpleNamespace(shared="", data=folder, out=folder, train=TRAIN,
                        threads=1, max_minutes=None)
    out = os.dup(1)
    os.dup2(2, 1)  # what is run is printed
    try:
        cells.do(a, "adding-100-gru")
        cells.finish(a)
    finally:
        os.dup2(out, 1)
    with open(folder + "/adding-100-gru.json") as f:
        x = json.load(f)
    assert x["parameters"] == 3 * 72 * (72 + 2) + 6 * 72 + 72 + 1, x
    assert x["steps"] == 12 and 0 < x["held_out"] < 2, x
    assert len(cells.read_norms(a, "adding-100-gru")) == 2
    with open(folder + "/cells.txt") as f:
        assert f"| GRU | {x['parameters']} | {x['held_out']:.4f}" in f.read()
    for name in ("adding-100.svg", "gradients-start.svg",
                 "gradients-trained.svg", "gradients-clip.svg"):
        ElementTree.parse(folder + "/" + name)
    expect_kept(a, x)
    expect_filled(a, x)


def expect_kept(a, x):
    """What is done is not done again, but for other options."""
    path = a.out + "/adding-100-gru.json"
    assert not cells.has_begun(SimpleNamespace(out=a.out, max_minutes="1"),
                               "adding-100-gru")
    assert cells.has_begun(a, "adding-100-gru")
    x["title"] = "kept"
    with open(path, "w") as f:
        json.dump(x, f)
    cells.do(a, "adding-100-gru")
    assert cells.result(a, "adding-100-gru")["title"] == "kept"
    assert cells.state_of(a, "adding-100-gru").startswith("done")
    assert cells.state_of(a, "adding-100-lstm") == "-"
    tried = SimpleNamespace(**dict(vars(a), max_minutes="1"))
    assert cells.result(tried, "adding-100-gru") is None
    assert cells.state_of(tried, "adding-100-gru") == "other options"


def expect_filled(a, x):
    page = a.out + "/page.md"
    with open(page, "w") as f:
        f.write("one\n<!-- lecture: adding -->\nold\n<!-- /lecture -->\ntwo\n"
                "<!-- lecture: copying -->\n<!-- /lecture -->\n")
    texts = []
    for _ in range(2):  # a second time it is the same
        r = run(sys.executable, RECIPES + "/lecture_cells.py", "--fill", page,
                "--list", "--out", a.out)
        assert r.returncode == 0, r.stderr
        with open(page) as f:
            texts.append(f.read())
    assert texts[0] == texts[1] and "old" not in texts[0], texts
    assert f"| GRU | {x['parameters']} |" in texts[0]
    assert "![adding-100](page/adding-100.svg)" in texts[0]
    assert "two\n<!-- lecture: copying -->\n\nNot measured yet.\n\n" \
        "<!-- /lecture -->" in texts[0]
    ElementTree.parse(a.out + "/page/adding-100.svg")
    states = {line.split()[0]: line for line in r.stdout.splitlines()
              if " min  " in line}
    assert set(states) == set(cells.TASKS)
    assert " done, " in states["adding-100-gru"]
    assert states["adding-400-lstm"].endswith(" -")
    assert r.stdout.splitlines()[-1].startswith("left ")


def test_each_task_has_an_estimate(folder):
    for name in cells.TASKS:
        assert 0 < cells.minutes_of(name) < 10000, name


def test_a_training_without_a_state_begins_again(folder):
    """One that was killed leaves a checkpoint, perhaps of other options."""
    for part, seed in (("train", "1"), ("valid", "2"), ("test", "3")):
        make(f"{folder}/adding-100.{part}.safetensors", "adding", "--length",
             "5", "--count", "60", "--seed", seed)
    a = SimpleNamespace(shared="", data=folder, out=folder, train=TRAIN,
                        threads=1, max_minutes=None)
    os.makedirs(folder + "/adding-100-elman")
    with open(folder + "/adding-100-elman/model.safetensors", "w") as f:
        f.write("old")
    out = os.dup(1)
    os.dup2(2, 1)
    try:
        cells.do(a, "adding-100-elman")
        first = cells.result(a, "adding-100-elman")
        with open(folder + "/adding-100-elman.options.json", "w") as f:
            f.write('["--hidden", "3"]')
        os.remove(folder + "/adding-100-elman.json")
        cells.do(a, "adding-100-elman")  # not the state of another net
    finally:
        os.dup2(out, 1)
    second = cells.result(a, "adding-100-elman")
    assert first["curve"] == second["curve"], (first, second)


def test_norms_that_were_written_twice_count_once(folder):
    a = SimpleNamespace(out=folder, max_minutes=None)
    name = "adding-100-gru"
    with open(f"{folder}/{name}.norms.json", "w") as f:
        for step, norm in ((0, 1), (200, 2), (400, 3), (200, 4), (600, 5)):
            f.write(json.dumps({"step": step, "norm": norm}) + "\n")
    assert cells.read_norms(a, name) is None  # the task is not done
    with open(f"{folder}/{name}.json", "w") as f:
        json.dump({"options": cells.asked(a, name)}, f)
    assert [(x["step"], x["norm"]) for x in cells.read_norms(a, name)] == \
        [(0, 1), (200, 4), (400, 3), (600, 5)]


def test_lines_are_drawn_where_they_belong(folder):
    plot = {"x": "steps", "y": "a<b", "log": True, "low": 0.01, "high": 1,
            "marks": [[0.1, "a tenth"]],
            "lines": [{"name": "one", "points": [[0, 1], [5, 0.1], [10, 0.01]]},
                      {"name": "two", "dash": True, "colour": 3,
                       "points": [[0, 0], [5, None], [10, 7]]},
                      {"name": "long",
                       "points": [[k / 100, 0.5] for k in range(1001)]}]}
    r = run(sys.executable, RECIPES + "/draw_lines.py", folder + "/out.svg",
            input=json.dumps(plot))
    assert r.returncode == 0, r.stderr
    svg = ElementTree.parse(folder + "/out.svg").getroot()
    texts = [x.text for x in svg.iter(SPACE + "text")]
    for word in ("a<b", "steps", "one", "two", "a tenth", "0.01", "0.1", "10"):
        assert word in texts, (word, texts)
    lines = [[[float(v) for v in p.split(",")] for p in
              x.get("points").split()] for x in svg.iter(SPACE + "polyline")]
    assert lines[0] == [[70, 60], [385, 205], [700, 350]], lines[0]
    assert lines[1] == [[700, 60]], lines[1]  # kept within its bounds
    assert 100 < len(lines[2]) <= 202 and lines[2][-1][0] == 700
    assert svg.findall(f".//{SPACE}polyline[@stroke-dasharray]")
    plot["lines"] *= 3  # a third row of names takes room of its own
    r = run(sys.executable, RECIPES + "/draw_lines.py", folder + "/out.svg",
            input=json.dumps(plot))
    svg = ElementTree.parse(folder + "/out.svg").getroot()
    assert svg.get("height") == "416" and svg.find(
        SPACE + "polyline").get("points").startswith("70.0,76.0 ")
    assert all(float(x.get("y")) < float(y.get("y")) for y in
               svg.iter(SPACE + "text") if y.text == "a<b" for x in
               svg.iter(SPACE + "text") if x.text in ("one", "two", "long"))
    r = run(sys.executable, RECIPES + "/draw_lines.py", folder + "/out.svg",
            input='{"x": "", "y": "", "lines": []}')
    assert r.returncode != 0 and "no line has a point" in r.stderr


def test_tasks_are_asked_for_by_groups(folder):
    assert cells.names_of("ptb") == ["ptb"]
    assert cells.names_of("adding-400") == [f"adding-400-{n}" for n in
                                            cells.ADDING]
    assert len(cells.names_of("adding")) == 15
    assert "adding-100-lstm" in cells.names_of("gradients")
    assert "gradients-lstm-free" in cells.names_of("gradients")
    assert cells.names_of("flying") == []
    assert "ptb" not in cells.USUAL and len(cells.USUAL) + 1 == \
        len(cells.TASKS)
    r = run(sys.executable, RECIPES + "/lecture.py", "--only", "dates,flying")
    assert r.returncode != 0 and "no such task: flying" in r.stderr, r.stderr


if __name__ == "__main__":
    sys.exit(harness.main(globals(), harness.in_folder))
