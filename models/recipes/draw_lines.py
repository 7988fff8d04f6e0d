#!/usr/bin/env python3
"""Draw lines as an SVG: what the recipes measure over time or over steps.

    models/recipes/draw_lines.py out.svg <lines.json

The input is {"x": "label", "y": "label", "lines": [{"name": "LSTM", "points":
[[x, y], ...]}, ...]}; "log": true draws y by its logarithm, "low" and "high"
are its bounds (those of the points else), "marks": [[y, "label"], ...] are
dotted lines across. A line may have "dash": true and a "colour", a number.
Points without a y (null) and, with "log", those of 0 are left out.

SPDX-License-Identifier: MIT"""
import json
import math
import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 60, 50 # TOP: two rows of four names
COLOURS = ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#8c564b",
           "#e377c2", "#7f7f7f"]
MOST_POINTS = 200 # of a line: more are thinned out, the plot has 630 columns


def text(x, y, words, **more):
    attributes = "".join(f' {k.replace("_", "-")}="{v}"'
                         for k, v in more.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(words)}</text>'


def line(x1, y1, x2, y2, **more):
    attributes = "".join(f' {k.replace("_", "-")}="{v}"'
                         for k, v in more.items())
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
            f'{attributes}/>')


def steps_of(low, high):
    """About five round numbers between two."""
    each = 10 ** math.floor(math.log10((high - low) / 5))
    each *= next(k for k in (1, 2, 5, 10) if (high - low) / (k * each) <= 6)
    first = math.ceil(low / each - 1e-9)
    return [k * each for k in range(first, math.floor(high / each + 1e-9) + 1)]


def powers_of(low, high):
    """At most some eight powers of ten between two."""
    a, b = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    each = max(1, math.ceil((b - a) / 8))
    return [10.0 ** k for k in range(a, b + 1) if k % each == 0]


def drawn(points, log):
    kept = [p for p in points if p[1] is not None and (p[1] > 0 or not log)]
    each = math.ceil(len(kept) / MOST_POINTS)
    return kept[::each] + (kept[-1:] if (len(kept) - 1) % each else []) \
        if kept else []


def draw(plot):
    log = plot.get("log", False)
    lines = [dict(x, points=drawn(x["points"], log)) for x in plot["lines"]]
    marks = plot.get("marks", [])
    xs = [p[0] for x in lines for p in x["points"]]
    ys = [p[1] for x in lines for p in x["points"]] + [m[0] for m in marks]
    if not xs:
        sys.exit("no line has a point")
    low, high = plot.get("low", min(ys)), plot.get("high", max(ys))
    if not high > low:
        high = low * 10 if log and low > 0 else low + 1
    x0, x1 = min(xs), max(xs)
    x1 = x1 if x1 > x0 else x0 + 1
    more = max(0, math.ceil(len(lines) / 4) - 2) * 16
    top, height = TOP + more, HEIGHT + more

    def place(x, y):
        if log:
            share = math.log(y / low) / math.log(high / low)
        else:
            share = (y - low) / (high - low)
        return (LEFT + (x - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT),
                height - BOTTOM - min(max(share, 0), 1) *
                (height - top - BOTTOM))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" '
           f'height="{height}" font-family="sans-serif" font-size="12">',
           '<rect width="100%" height="100%" fill="white"/>']
    for y in powers_of(low, high) if log else steps_of(low, high):
        at = place(x0, y)[1]
        out.append(line(LEFT, at, WIDTH - RIGHT, at, stroke="#ddd"))
        out.append(text(LEFT - 6, at + 4, f"{y:g}", text_anchor="end"))
    for x in steps_of(x0, x1):
        at = place(x, low)[0]
        out.append(text(min(at, WIDTH - RIGHT - 4), height - BOTTOM + 18,
                        f"{x:g}", text_anchor="middle"))
    for y, words in marks:
        at = place(x0, y)[1]
        out.append(line(LEFT, at, WIDTH - RIGHT, at, stroke="#777",
                        stroke_dasharray="2 4"))
        out.append(text(WIDTH - RIGHT - 4, at - 4, words, text_anchor="end",
                        fill="#777"))
    for k, x in enumerate(lines):
        colour = COLOURS[x.get("colour", k) % len(COLOURS)]
        dash = ' stroke-dasharray="6 3"' if x.get("dash") else ""
        points = " ".join("{:.1f},{:.1f}".format(*place(*p))
                          for p in x["points"])
        out.append(f'<polyline fill="none" stroke="{colour}" '
                   f'stroke-width="2"{dash} points="{points}"/>')
        at = LEFT + k % 4 * 160
        out.append(line(at, 16 + k // 4 * 16, at + 18, 16 + k // 4 * 16,
                        stroke=colour, stroke_width=2) if not dash else
                   line(at, 16 + k // 4 * 16, at + 18, 16 + k // 4 * 16,
                        stroke=colour, stroke_width=2,
                        stroke_dasharray="6 3"))
        out.append(text(at + 23, 20 + k // 4 * 16, x["name"], fill=colour))
    out.append(text((LEFT + WIDTH - RIGHT) / 2, height - 10, plot["x"],
                    text_anchor="middle"))
    out.append(text(6, top - 10, plot["y"]))
    return "\n".join(out + ["</svg>"]) + "\n"


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: draw_lines.py OUT.svg <LINES.json")
    with open(sys.argv[1], "w") as f:
        f.write(draw(json.load(sys.stdin)))


if __name__ == "__main__":
    main()
