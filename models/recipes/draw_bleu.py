#!/usr/bin/env python3
"""Draw BLEU by the length of the source, a line for each system, as an SVG.

    seqd-train bleu lstm.txt test.de test.en >lstm.json
    seqd-train bleu attention.txt test.de test.en >attention.json
    models/recipes/draw_bleu.py bleu.svg "LSTM=lstm.json" "with attention=attention.json"

--chrf draws chrF2 instead; --errors the token error rate in percent, of lines
of `seqd eval`; --unit says what the tokens of a source are. A length that no sentence has is left out. The files
have to be scores of the same sentences: other counts are an error.

SPDX-License-Identifier: MIT"""
import argparse
import json
import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 60, 60
COLOURS = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b",
           "#e377c2", "#7f7f7f"]


def read_systems(args, errors):
    key = "errors_by_source_length" if errors else "by_source_length"
    systems = []
    for arg in args:
        name, equals, path = arg.partition("=")
        if not equals:
            sys.exit(f"'{arg}' is no NAME=FILE")
        with open(path) as f:
            report = json.load(f)
        if key not in report:
            sys.exit(f"{path}: no errors by length: seqd eval has them"
                     if errors else
                     f"{path}: no scores by length: seqd-train bleu wants the "
                     "sources, too")
        rows = report[key]
        for x in rows if errors else ():
            x["token_error_rate"] *= 100
        systems.append((name, rows))
    counts = [[x["sentences"] for x in s] for _, s in systems]
    if any(c != counts[0] for c in counts):
        sys.exit("the files are scores of different sentences")
    return systems


def text(x, y, words, **more):
    attributes = "".join(f' {k.replace("_", "-")}="{v}"'
                         for k, v in more.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(words)}</text>'


def draw(systems, key, unit):
    rows = [[x for x in s if x["sentences"]] for _, s in systems]
    most = max((x[key] for s in rows for x in s), default=0)
    step = 5 if most <= 30 else 10 if most <= 60 else 20
    high = step * (int(most / step) + 1)

    def place(i, score):
        each = (WIDTH - LEFT - RIGHT) / len(rows[0])
        return (LEFT + (i + 0.5) * each,
                HEIGHT - BOTTOM - score / high * (HEIGHT - TOP - BOTTOM))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
           f'height="{HEIGHT}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>']
    for score in range(0, high + 1, step):
        y = place(0, score)[1]
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" '
                   f'y2="{y:.1f}" stroke="#ddd"/>')
        out.append(text(LEFT - 6, y + 4, str(score), text_anchor="end"))
    for i, x in enumerate(rows[0]):
        at = place(i, 0)[0]
        out.append(text(at, HEIGHT - BOTTOM + 18, x["words"],
                        text_anchor="middle"))
        out.append(text(at, HEIGHT - BOTTOM + 33, f'n={x["sentences"]}',
                        text_anchor="middle", fill="#777"))
    for k, ((name, _), row) in enumerate(zip(systems, rows)):
        colour = COLOURS[k % len(COLOURS)]
        points = [place(i, x[key]) for i, x in enumerate(row)]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        out.append(f'<polyline fill="none" stroke="{colour}" '
                   f'stroke-width="2" points="{line}"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
                for x, y in points]
        out.append(text(LEFT + k % 4 * 160, 20 + k // 4 * 16, name,
                        fill=colour))
    out.append(text(WIDTH / 2, HEIGHT - 8, f"{unit} of the source",
                    text_anchor="middle"))
    label = {"bleu": "BLEU", "chrf2": "chrF2",
             "token_error_rate": "token errors, %"}[key]
    out.append(text(LEFT - 6, TOP - 10, label,
                    text_anchor="start" if "," in label else "end"))
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("out")
    p.add_argument("system", nargs="+", help="NAME=FILE")
    p.add_argument("--chrf", action="store_true")
    p.add_argument("--errors", action="store_true")
    p.add_argument("--unit", default="words")
    a = p.parse_args()
    systems = read_systems(a.system, a.errors)
    if not any(x["sentences"] for x in systems[0][1]):
        sys.exit("no sentence has a source")
    with open(a.out, "w") as f:
        f.write(draw(systems, "token_error_rate" if a.errors else
                     "chrf2" if a.chrf else "bleu", a.unit))


if __name__ == "__main__":
    main()
