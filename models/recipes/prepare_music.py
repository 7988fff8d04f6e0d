#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The training tunes of music-lstm from the two collections of ABC tunes.

    python3 models/recipes/prepare.py --only music ...

calls it; models/recipes/music.md says what was decided and why. Every tune is
read (abc_tune.py), written in one form and moved into the keys of two flats
to three sharps; what does not add up, changes key or metre, or brings a
warning of abc2midi is left out. Titles are not kept: a tune has a kind (R:).

Standard library, and Debian's package abcmidi.
"""
import hashlib
import os
import random
import re
import subprocess
import tempfile
from fractions import Fraction

import abc_tune
from abc_tune import Note

SEED = 7
HELD_OUT = 0.05        # of the titles
SHARPS = range(-2, 4)  # of the keys that tunes are moved into
LOWEST, HIGHEST = -5, 14  # D, to c', in steps from middle C
MOST_CHARS, LEAST_BARS = 1000, 8
UNIT = Fraction(1, 8)

KINDS = {"hornpipe": "hornpipe", "jig": "jig", "polka": "polka",
         "reel": "reel", "setdance": "set dance", "slide": "slide",
         "slipjig": "slip jig", "waltz": "waltz", "ocarolan": "air"}
FILES = {"hpps": "hornpipe", "jigs": "jig", "morris": "morris",
         "reels": "reel", "slip": "slip jig", "waltzes": "waltz",
         "xmas": "carol", "playford": "country dance"}
# A kind that does not go with its metre says nothing.
METRES = {"jig": ("6/8",), "slip jig": ("9/8",), "waltz": ("3/4",),
          "reel": ("4/4", "2/2"), "polka": ("2/4",),
          "hornpipe": ("4/4", "2/2", "2/4"), "slide": ("6/8", "12/8")}

RARE_METRES = ("3/4", "9/8", "2/4")  # as often again: a tenth of the tunes

MODE_WORDS = {"": ("", "maj", " major", " Major"),
              "m": ("m", "min", " minor", " Minor"),
              "dor": ("dor", " dorian", " Dorian", " dor"),
              "mix": ("mix", " mixolydian", " Mixolydian", " mix")}
SYLLABLES = ("ba be bra by can co dan de do el fa fer gal go han in ja ka la "
             "lo ma mer mor na no o pa qui ra ri ro sa sha ta ter the to u va "
             "wen wil xa y zo").split()


def kind_of(record, file, metre):
    """What goes into R:, or ""."""
    match = re.search(r"id:dc-([a-z]+)-", record)
    kind = (KINDS.get(match.group(1), "") if match else
            next((v for k, v in FILES.items() if file.startswith(k)), ""))
    if kind == "reel" and metre == "2/4":
        kind = "polka"
    return kind if metre in METRES.get(kind, (metre,)) else ""


def records_of(data):
    """(file, record) of both collections."""
    paths = [os.path.join(data, "abc-irish", "irish.abc")]
    folder = os.path.join(data, "abc-nottingham")
    paths += [os.path.join(folder, n) for n in sorted(os.listdir(folder))
              if n.endswith(".abc")]
    for path in paths:
        with open(path, encoding="utf-8") as f:
            text = f.read().replace("\r", "")
        for record in re.split(r"\n\s*(?=X:)", text):
            yield os.path.basename(path), record


def clean(tune):
    """One spelling: eighths are the unit, chords have names that abc2midi
    knows, rests are z, and marks of ornaments are gone."""
    scale = tune.unit / UNIT
    tune.fields["L"] = "1/8"
    for bar in tune.bars:
        items = []
        for item in bar.items:
            if items and isinstance(item, str) and item.startswith('"') and (
                    str(items[-1]).startswith('"')):
                items.pop()  # two chords at one place: the second
            if isinstance(item, Note):
                item.length *= scale
                item.time *= scale
                item.rest = "z" if item.rest else ""
            elif item.startswith('"') and not abc_tune.CHORD.match(item):
                continue
            if item != " " or not (items and str(items[-1]).startswith('"')):
                items.append(item)
        bar.items = items
    last = tune.bars[-1]
    if len(tune.bars) > 1 and tune.bars[-2].end != "|" and (
            last.time() < tune.full and not last.ending):
        tune.bars.pop()  # the upbeat of a section that is not there


def tune_of(file, record):
    """A Tune in the one form; ValueError says why not."""
    tune = abc_tune.read_tune(record)
    metre = tune.fields.get("M", "4/4")
    metre = {"C": "4/4", "C|": "2/2"}.get(metre, metre)
    kind = kind_of(record, file, metre)
    if kind == "hornpipe" and metre == "2/2":
        metre = "4/4"  # abc2midi knows no others
    tonic, mode = tune.key
    title = re.sub(r"[^a-z]", "", tune.fields.get("T", "").lower())
    clean(tune)
    tune.fields = {"R": kind, "M": metre, "L": "1/8",
                   "K": tonic + mode, "T": title}
    if mode not in MODE_WORDS:
        raise ValueError("a mode that is too rare")
    abc_tune.begin_sections(tune)
    if not abc_tune.endings_fit(tune):
        raise ValueError("endings")
    if abc_tune.bar_faults(tune):
        raise ValueError("bars")
    repeat_sections(tune)
    if len(tune.bars) < LEAST_BARS or short_section(tune):
        raise ValueError("short")
    if not fix_key(tune):
        raise ValueError("the last note is not the tonic")
    body = abc_tune.write_body(tune)
    if len(body) > MOST_CHARS:
        raise ValueError("long")
    again = abc_tune.read_tune("M:%s\nL:1/8\nK:%s\n%s" % (
        metre, tune.fields["K"], body))
    if abc_tune.write_body(again) != body or abc_tune.bar_faults(again):
        raise ValueError("it does not come back")
    return tune


def short_section(tune):
    """True for a section of under four bars, or an upbeat of over half one."""
    count = 0
    if tune.full / 2 < tune.bars[0].time() < tune.full:
        return True
    for i, bar in enumerate(tune.bars):
        count += 1
        second = i + 1 < len(tune.bars) and tune.bars[i + 1].ending == "2"
        if bar.end != "|" and not second:
            if count < 4:
                return True
            count = 0
    return False


def repeat_sections(tune):
    """Eight bars that the collection writes once are danced twice: where all
    sections of a tune are such, and add up so, they are written as repeats."""
    count, starts = 0, [0]
    for i, bar in enumerate(tune.bars):
        if bar.ending or bar.end == ":|":
            return
        first = i == starts[-1]
        count += not (first and bar.time() < tune.full)
        if bar.end != "|":
            if count != 8:
                return
            starts.append(i + 1)
            count = 0
    ends = [b.end for b in tune.bars]
    for bar in tune.bars:
        bar.end = "|" if bar.end == "|" else ":|"
    if abc_tune.bar_faults(tune):
        for bar, end in zip(tune.bars, ends):
            bar.end = end
    else:
        abc_tune.begin_sections(tune)


def fix_key(tune):
    """The collections give some tunes the signature's major key though they
    are in another mode of it. A tune whose last note is not its tonic gets the
    mode on that note, where no section ends on the tonic; what remains would
    teach that a key says little, and is left out (False)."""
    tonic, mode = tune.key
    home = abc_tune.LETTERS.index(tonic[0])
    ends = [b.notes()[-1].pitches[0][1] for b in tune.bars
            if b.end != "|" and b.notes()[-1].pitches]
    if not ends or not tune.bars[-1].notes()[-1].pitches:
        return False
    last = (ends[-1] - home) % 7
    if last == 0:
        return True
    if any((e - home) % 7 == 0 for e in ends):
        return False
    key = abc_tune.mode_on(tonic, mode, last)
    if key is None:
        return False
    tune.fields["K"] = key[0] + key[1]
    return True


def has_chords(tune):
    return any(isinstance(i, str) and i.startswith('"')
               for b in tune.bars for i in b.items)


def without_chords(body):
    return re.sub(r'"[^"]*"', "", body)


def into_key(tune, sharps):
    """The tune with this signature, as near as its range allows, or None."""
    mode = tune.key[1]
    tonic = next(t + a for t in abc_tune.LETTERS for a in ("", "#", "b")
                 if abc_tune.sharps_of(t + a, mode) == sharps)
    low, high = abc_tune.pitch_range(tune)
    up = (abc_tune.LETTERS.index(tonic[0]) -
          abc_tune.LETTERS.index(tune.key[0][0])) % 7
    fits = [s for s in (up - 7, up, up + 7)
            if low + s >= LOWEST and high + s <= HIGHEST]
    if tonic == tune.key[0]:
        fits = [0]
    return (abc_tune.transpose(tune, tonic, min(fits, key=abs))
            if fits else None)


def warned(texts):
    """Which of the tunes bring a line of abc2midi with Warning or Error."""
    bad = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "t")
        for i, text in enumerate(texts):
            with open(path + ".abc", "w", encoding="utf-8") as f:
                f.write(text + "\n")
            run = subprocess.run(
                ["abc2midi", path + ".abc", "-o", path + ".mid"],
                capture_output=True, text=True, check=False)
            if re.search(r"^(Error|Warning)", run.stdout + run.stderr, re.M):
                bad.append(i)
    return bad


def title_of(rng):
    """Words that mean nothing: a title that a user states must not surprise
    the model, and those of the collections must not be learned."""
    words = ["".join(rng.choice(SYLLABLES)
                     for _ in range(rng.randint(1, 3)))
             for _ in range(rng.randint(1, 5))]
    words = [w.capitalize() if rng.random() < 0.8 else w for w in words]
    if rng.random() < 0.3:
        words[0] += "'s"
    if rng.random() < 0.1:
        words.append("No. %d" % rng.randint(1, 9))
    if rng.random() < 0.1:
        words.insert(1, "&")
    return " ".join(words)


def header_of(rng, tune):
    """The fields, mostly in their order; sometimes those that a user might
    state come first, and the others behind them. K: ends a header, so it is
    the last, or M: and L: follow it where they were not stated."""
    tonic, mode = tune.key
    words = MODE_WORDS[mode]
    key = tonic + (words[0] if rng.random() < 0.8 else rng.choice(words[1:]))
    metre = tune.fields["M"]
    if rng.random() < 0.15 and tune.fields["R"] != "hornpipe":
        metre = {"4/4": "C", "2/2": "C|"}.get(metre, metre)
    value = {"R": tune.fields["R"], "M": metre, "L": tune.fields["L"],
             "K": key}
    names = [n for n in "RMLK" if value[n]]
    if rng.random() < 0.1:
        names = [n for n in names if n != "R"]
    if rng.random() < 0.4:
        first = rng.sample(names, rng.randint(1, len(names)))
        names = first + [n for n in names if n not in first]
        if "R" in names and names.index("R") > names.index("K"):
            names.remove("R")
    lines = [n + ":" + value[n] for n in names]
    if rng.random() < 0.06:  # a title says nothing, and harms nothing
        lines.insert(0, "T:" + title_of(rng))
    if rng.random() < 0.92:
        lines.insert(0, "X:%d" % (1 if rng.random() < 0.7 else
                                  rng.randint(1, 200)))
    return "\n".join(lines) + "\n"


def scaled(tune, unit):
    """Lengths in another unit; None where they become fine or long."""
    again = abc_tune.transpose(tune, tune.key[0], 0)
    again.fields["L"] = "1/%d" % unit.denominator
    for bar in again.bars:
        for note in bar.notes():
            note.length *= UNIT / unit
            if note.length.denominator > 4 or note.length > 16:
                return None
    return again


def copies_of(rng, tune):
    """(tune, body) of each key."""
    for sharps in SHARPS:
        moved = into_key(tune, sharps)
        if moved is None:
            continue
        if rng.random() < 0.06:
            moved = scaled(moved, rng.choice((2 * UNIT, UNIT / 2))) or moved
        body = abc_tune.write_body(moved)
        if has_chords(moved) and rng.random() < 0.35:
            body = without_chords(body)
        yield moved, body


def prepare(data, out, report=print):
    """abc.train.txt and abc.valid.txt: tunes with a blank line between."""
    rng = random.Random(SEED)
    tunes, why, seen = [], {}, set()
    for file, record in records_of(data):
        try:
            tune = tune_of(file, record)
            body = without_chords(abc_tune.write_body(tune))
            if body in seen:
                raise ValueError("seen before")
            seen.add(body)
            tunes.append(tune)
        except ValueError as error:
            key = str(error).split(":")[0]
            why[key] = why.get(key, 0) + 1
    plain = ["X:1\nM:%s\nL:1/8\nK:%s\n%s" % (
        t.fields["M"], t.fields["K"], abc_tune.write_body(t)) for t in tunes]
    bad = set(warned(plain))
    why["abc2midi warns"] = len(bad)
    tunes = [t for i, t in enumerate(tunes) if i not in bad]
    report("music: %d tunes, left out: %s" % (len(tunes), why))
    parts = {"train": [], "valid": []}
    for tune in tunes:
        times = 2 if tune.fields["M"] in RARE_METRES else 1
        digest = hashlib.sha256(tune.fields["T"].encode()).digest()
        held = digest[0] / 256 < HELD_OUT
        for _ in range(1 if held else times):
            parts["valid" if held else "train"] += [
                header_of(rng, moved) + body
                for moved, body in copies_of(rng, tune)]
    for name, part in parts.items():
        rng.shuffle(part)
        with open(os.path.join(out, "abc.%s.txt" % name), "w",
                  encoding="utf-8") as f:
            f.write("\n\n".join(part) + "\n")
        report("abc.%s.txt: %d tunes, %d characters" % (
            name, len(part), sum(map(len, part))))


if __name__ == "__main__":
    import sys
    prepare(sys.argv[1], sys.argv[2])
