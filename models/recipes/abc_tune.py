#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ABC tunes as bars of exact durations: reading, checking, transposing.

What prepare.py makes the training tunes of music-lstm with and
score_music.py looks at the model's tunes with. It knows the part of ABC 2.1
that the model writes, and reads some more (other unit lengths, sections
without a written beginning, text in quotes); a tune that it cannot read is a
ValueError with the reason. It shares nothing with the daemon's constraint
(engine/text/abc/), so that one can be held against the other.

Standard library only.
"""
import re
from fractions import Fraction

FIELD = re.compile(r"^([A-Za-z]):[ \t]*(.*)$")
LETTERS = "CDEFGAB"
SEMITONE = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
SHARPS = {"C": 0, "D": 2, "E": 4, "F": -1, "G": 1, "A": 3, "B": 5}
# Sharps that a mode has less than the major key of its tonic.
MODES = {"": 0, "m": -3, "dor": -2, "mix": -1, "phr": -4, "lyd": 1, "loc": -5}
MODE_OF = {"": "", "maj": "", "ion": "", "m": "m", "min": "m", "aeo": "m",
           "dor": "dor", "mix": "mix", "phr": "phr", "lyd": "lyd",
           "loc": "loc"}
# Nominal notes of a tuplet that n notes of it take: (n:q.
TUPLET = {2: 3, 3: 2, 4: 3, 6: 2, 8: 3}
ACCIDENTAL = {"": None, "^^": 2, "^": 1, "=": 0, "_": -1, "__": -2}
SPELLED = {v: k for k, v in ACCIDENTAL.items()}

TOKEN = re.compile(r"""
    (?P<text>"[^"]*")
  | (?P<bar>:+\|+:+|:+\|[\]|]?|\|\|?:+|::|\[\||\|\]|\|\|?)
  | (?P<ending>\[[1-9]|(?<=\|)\s*[1-9])
  | \((?P<tuplet>[2-9])(?::(?P<q>[1-9]?))?(?::(?P<r>[1-9]?))?
  | (?P<chord>\[(?:[_^=]*[A-Ga-g][,']*[0-9]*/*[0-9]*)+\])
        (?P<chordlen>[0-9]*/*[0-9]*)
  | (?P<grace>\{[^}]*\})
  | (?P<acc>[_^=]*)(?P<note>[A-Ga-gzx])(?P<octave>[,']*)(?P<len>[0-9]*/*[0-9]*)
  | (?P<broken>>+|<+)
  | (?P<tie>-)
  | (?P<slur>[()])
  | (?P<newline>\n)
  | (?P<space>[ \t]+)
  | (?P<mark>[.~uvTHLMPSO]|![^!\n]*!)
""", re.X)
INNER = re.compile(r"([_^=]*)([A-Ga-g])([,']*)([0-9]*/*[0-9]*)")


def key_of(text):
    """(tonic, mode) of a K: field, or None: "A Dorian" is ("A", "dor")."""
    match = re.match(r"^([A-G][#b]?)[ \t]*([A-Za-z]*)[ \t]*$", text.strip())
    if match is None:
        return None
    word = match.group(2).lower()
    mode = MODE_OF.get(word if word == "m" else word[:3])
    if mode is None or abs(sharps_of(match.group(1), mode)) > 7:
        return None
    return match.group(1), mode


def sharps_of(tonic, mode):
    """Sharps (flats are negative) of a key's signature."""
    return (SHARPS[tonic[0]] + 7 * (tonic[1:] == "#") - 7 * (tonic[1:] == "b")
            + MODES[mode])


def signature(sharps):
    """Letter -> -1, 0, 1 of a key signature."""
    sign = dict.fromkeys(LETTERS, 0)
    for letter in "FCGDAEB"[:max(sharps, 0)]:
        sign[letter] = 1
    for letter in "BEADGCF"[:max(-sharps, 0)]:
        sign[letter] = -1
    return sign


def metre_of(text):
    """A metre as a fraction of a whole note, or None."""
    text = {"C": "4/4", "C|": "2/2"}.get(text.strip(), text.strip())
    match = re.match(r"^([1-9][0-9]?)/(1|2|4|8|16|32)$", text)
    return Fraction(int(match.group(1)), int(match.group(2))) if match else None


def length_of(text):
    """A written length as a Fraction: "" 1, "3/2", "/" 1/2, "//" 1/4."""
    match = re.match(r"^([0-9]*)(/*)([0-9]*)$", text)
    top = int(match.group(1) or 1)
    slashes = len(match.group(2))
    if match.group(3):
        low = int(match.group(3))
        if slashes != 1 or low == 0:
            raise ValueError("length " + text)
    else:
        low = 2 ** slashes
    if top == 0:
        raise ValueError("length " + text)
    return Fraction(top, low)


def spell_length(length):
    """The shortest usual spelling of a length."""
    top, low = length.numerator, length.denominator
    if low == 1:
        return "" if top == 1 else str(top)
    if top == 1:
        return "/" if low == 2 else "/%d" % low
    return "%d/%d" % (top, low)


def pitch_of(letter, octave):
    """Diatonic steps from C (middle C): c is 7, C, is -7."""
    steps = LETTERS.index(letter.upper()) + (7 if letter.islower() else 0)
    return steps + 7 * (octave.count("'") - octave.count(","))


def spell_pitch(steps):
    """The letter and its octave marks."""
    octave, letter = divmod(steps, 7)
    letter = LETTERS[letter]
    if octave >= 1:
        return letter.lower() + "'" * (octave - 1)
    return letter + "," * -octave


def mode_on(tonic, mode, step):
    """The key of the same signature on the letter `step` above the tonic, or
    None: step 1 of G is A dorian."""
    sharps = sharps_of(tonic, mode)
    letter = LETTERS[(LETTERS.index(tonic[0]) + step) % 7]
    name = letter + {0: "", 1: "#", -1: "b"}[signature(sharps)[letter]]
    for other in ("", "m", "dor", "mix"):
        if sharps_of(name, other) == sharps:
            return name, other
    return None


class Note:
    """A note, a rest (pitches is empty) or several notes at once."""

    def __init__(self, pitches, length, rest=""):
        self.pitches = pitches  # of (accidental or None, diatonic steps)
        self.length = length    # as written, in unit lengths
        self.rest = rest
        self.time = length      # as played
        self.tie = False

    def text(self):
        """As it is written."""
        if self.rest:
            return self.rest + spell_length(self.length)
        names = [SPELLED[a] + spell_pitch(p) for a, p in self.pitches]
        name = names[0] if len(names) == 1 else "[" + "".join(names) + "]"
        return name + spell_length(self.length) + ("-" if self.tie else "")


class Bar:
    """What stands between two bar lines."""

    def __init__(self):
        self.items = []     # Note, or text: chords, tuplets, broken, blanks
        self.begin = ""     # "|:" at the beginning of a repeated section
        self.ending = ""    # "1", "2"
        self.end = ""       # "|", "||", "|]", ":|"
        self.line = False   # a new line follows

    def notes(self):
        return [i for i in self.items if isinstance(i, Note)]

    def time(self):
        return sum((n.time for n in self.notes()), Fraction(0))


class Tune:
    """Fields and bars; lengths are in units of the L: field."""

    def __init__(self):
        self.fields = {}
        self.bars = []

    @property
    def metre(self):
        return metre_of(self.fields.get("M", "4/4"))

    @property
    def unit(self):
        text = self.fields.get("L")
        if text is None:
            return Fraction(1, 8 if self.metre >= Fraction(3, 4) else 16)
        match = re.match(r"^1/(1|2|4|8|16|32)$", text)
        if match is None:
            raise ValueError("L:" + text)
        return Fraction(1, int(match.group(1)))

    @property
    def full(self):
        """A bar in unit lengths."""
        return self.metre / self.unit

    @property
    def key(self):
        return key_of(self.fields["K"])


class Reader:
    """Bars from the text of a body."""

    def __init__(self):
        self.bars = [Bar()]
        self.tuplet = [0, Fraction(1)]  # notes left, what each counts
        self.broken = None              # the factor of the next note
        self.tied = None

    def note(self, note):
        left, factor = self.tuplet
        if left:
            note.time *= factor
            self.tuplet[0] -= 1
        if self.broken is not None:
            note.time *= self.broken
            self.broken = None
        if self.tied is not None:
            self.tie(self.tied, note)
            self.tied = None
        self.bars[-1].items.append(note)

    @staticmethod
    def tie(first, second):
        """A tie is kept between two single notes of one pitch; the second
        has the first one's accidental without saying so."""
        if len(first.pitches) != 1 or len(second.pitches) != 1:
            return
        (accidental, at), (again, to) = first.pitches[0], second.pitches[0]
        if at == to and again in (None, accidental):
            first.tie = True
            second.pitches = [(None, to)]

    def break_rhythm(self, signs):
        notes = self.bars[-1].notes()
        if not notes or self.broken is not None:
            raise ValueError("broken rhythm without a note in front")
        small = Fraction(1, 2 ** len(signs))
        first, second = ((2 - small, small) if signs[0] == ">" else
                         (small, 2 - small))
        notes[-1].time *= first
        self.broken = second
        self.bars[-1].items.append(signs)

    def bar_line(self, text):
        bar = self.bars[-1]
        begins = text.endswith(":") and text != ":" and "|" in text
        if text == "::":
            text, begins = ":|", True
        end = (":|" if text.startswith(":") else
               "|]" if text == "|]" else
               "||" if text.startswith("||") or text == "[|" else "|")
        if bar.notes() and (self.broken is not None or self.tuplet[0]):
            raise ValueError("a bar line inside a tuplet or broken rhythm")
        if bar.notes():
            bar.end = end
            self.bars.append(Bar())
        elif len(self.bars) > 1 and not bar.ending:
            # Two bar lines in a row are one: the stronger counts.
            before = self.bars[-2]
            if "|".join(("", "||", "|]", ":|")).find(end) > 0 and (
                    before.end in ("|", "||") and end != "|"):
                before.end = end
        if begins:
            if self.bars[-1].ending:
                raise ValueError("a repeat in an ending")
            self.bars[-1].begin = "|:"
            if len(self.bars) > 1 and self.bars[-2].end == "|":
                self.bars[-2].end = "||"

    def take(self, match):
        bar, group = self.bars[-1], match.lastgroup
        if match.group("text"):
            bar.items.append(match.group("text"))
        elif match.group("bar"):
            self.bar_line(match.group("bar"))
        elif match.group("ending"):
            if bar.notes():
                raise ValueError("an ending inside a bar")
            bar.ending = match.group("ending").strip()[-1]
        elif match.group("tuplet"):
            n = int(match.group("tuplet"))
            if match.group("q") is None and n not in TUPLET:
                raise ValueError("tuplet of %d" % n)
            q = int(match.group("q") or TUPLET.get(n, 2))
            r = int(match.group("r") or n)
            if self.tuplet[0]:
                raise ValueError("nested tuplets")
            self.tuplet = [r, Fraction(q, n)]
            bar.items.append("(%d" % n)
            if r != n or q != TUPLET.get(n):
                bar.items[-1] += ":%d:%d" % (q, r)
        elif match.group("chord"):
            found = INNER.findall(match.group("chord"))
            lengths = {length_of(f[3]) for f in found}
            if len(lengths) > 1:
                raise ValueError("notes of different length at once")
            self.note(Note([(ACCIDENTAL[a], pitch_of(n, o))
                            for a, n, o, _ in found],
                           lengths.pop() * length_of(match.group("chordlen"))))
        elif match.group("note"):
            name, length = match.group("note"), length_of(match.group("len"))
            if name in "zx":
                self.note(Note([], length, name))
            else:
                self.note(Note([(ACCIDENTAL[match.group("acc")],
                                 pitch_of(name, match.group("octave")))],
                               length))
        elif group == "broken":
            self.break_rhythm(match.group("broken"))
        elif group == "tie" and bar.notes():
            self.tied = bar.notes()[-1]
        elif group == "newline":
            at = bar if bar.items else self.bars[-2] if len(
                self.bars) > 1 else bar
            at.line = True
        elif group == "space" and bar.items and bar.items[-1] != " ":
            bar.items.append(" ")


def read_tune(text):
    """A Tune from ABC; ValueError says what it is that cannot be read."""
    tune, reader = Tune(), Reader()
    for line in text.split("\n"):
        field = FIELD.match(line)
        if field and not re.match(r"^[A-Ga-g]:\|", line):
            name, value = field.group(1), field.group(2).split("%")[0].strip()
            if reader.bars[0].items and name in "MLK":
                if tune.fields.get(name) != value:
                    raise ValueError("%s: changes on the way" % name)
            elif name in "MLK" or name not in tune.fields:
                tune.fields[name] = value
            if reader.bars[0].items and name == "P":
                if reader.bars[-1].notes():
                    raise ValueError("P: inside a bar")
                if len(reader.bars) > 1 and reader.bars[-2].end == "|":
                    reader.bars[-2].end = "||"
            continue
        line = line.split("%")[0].replace("\\", "").rstrip()
        line = re.sub(r"!$|(?<=[|:\]])!|\*", "", line)
        at = 0
        while at < len(line):
            match = TOKEN.match(line, at)
            if match is None or match.end() == at:
                raise ValueError("no music: " + line[at:at + 10])
            reader.take(match)
            at = match.end()
        reader.take(TOKEN.match("\n"))
    tune.bars = [b for b in reader.bars if b.notes()]
    if reader.tied is not None:
        reader.tied.tie = False
    if "K" not in tune.fields or tune.key is None:
        raise ValueError("K:" + tune.fields.get("K", " is missing"))
    if tune.metre is None:
        raise ValueError("M:" + tune.fields["M"])
    if not tune.bars:
        raise ValueError("no notes")
    if reader.tuplet[0] or reader.broken is not None:
        raise ValueError("the last tuplet is not complete")
    return tune


def bar_faults(tune):
    """What does not add up: a list of (index of the bar, message).

    A bar is full, but for: the first one of a tune, an upbeat; the last one
    of a section, which leaves as much as the upbeat of what follows has: of
    the section itself where it is repeated (and behind it of the next one),
    of the next section where it is not. A last bar that is not repeated may
    leave what the tune's or its section's upbeat has, or nothing.
    """
    full, faults = tune.full, []
    # Of the section, of the tune; what the last bar left over.
    upbeat = begun = owed = Fraction(0)
    first = True  # of a section
    for i, bar in enumerate(tune.bars):
        time, want = bar.time(), owed or full
        if first and not owed:
            upbeat = Fraction(0)
        ends = bar.end != "|" or i + 1 == len(tune.bars)
        if first and i == 0 and time < full and not ends:
            upbeat = begun = time
        elif first and owed:
            upbeat = time
            if time != owed:
                faults.append((i, "%s for an upbeat of %s" % (time, owed)))
        elif ends:
            repeats, last = bar.end == ":|", i + 1 == len(tune.bars)
            want = full - upbeat if repeats or last else full
            fits = (time == want or last and not repeats and
                    time in (full, full - begun) or
                    not repeats and not last and time < full)
            if not fits:
                faults.append((i, "%s at the end of a section, not %s" % (
                    time, want)))
        elif time != want:
            faults.append((i, "%s, not %s" % (time, want)))
        owed = Fraction(0)
        first = ends and bar.end != "|"
        if first and not (bar.end == ":|" and i + 1 < len(tune.bars) and
                          tune.bars[i + 1].ending):
            owed = full - time if 0 < time < full else Fraction(0)
        elif first:
            first = False  # the second ending goes on where the first began
    return faults


CHORD = re.compile(r'^"([A-G][#b]?)(m|7|m7|maj7|dim|6|m6|9|sus4|\+)?'
                   r'(?:/([A-G][#b]?))?"$')


def begin_sections(tune):
    """Write |: at the beginning of each section that ends in :|, end the tune
    in :| or |], and number the second of two endings."""
    start = 0
    for i, bar in enumerate(tune.bars):
        if bar.end == ":|":
            tune.bars[start].begin = "|:"
        follows = tune.bars[i + 1] if i + 1 < len(tune.bars) else None
        if bar.ending == "1" or (follows and follows.ending == "2"):
            continue
        if bar.end != "|":
            start = i + 1
    last = tune.bars[-1]
    if last.end != ":|":
        last.end = "|]"
    for bar in tune.bars[:-1]:
        if bar.end == "|]":
            bar.end = "||"


def endings_fit(tune):
    """True when endings come as [1 ... :| [2 ... to a section's end."""
    inside, repeat = "", False
    for i, bar in enumerate(tune.bars):
        if bar.ending == "1":
            if inside or not repeat and not bar.begin == "|:":
                return False
            inside = "1"
        elif bar.ending == "2":
            if inside != "1" or tune.bars[i - 1].end != ":|":
                return False
            inside = "2"
        elif bar.ending:
            return False
        elif inside == "1" and i and tune.bars[i - 1].end == ":|":
            return False
        if bar.begin == "|:":
            repeat = True
        if bar.end == ":|" and inside != "1":
            if inside == "2":
                return False
            repeat = False
        if bar.end in ("||", "|]"):
            if inside == "1" or repeat and inside != "2":
                return False
            inside, repeat = "", False
    return inside != "1" and not (repeat and inside != "2")


def write_bar(bar):
    """The items of a bar, blanks only between notes."""
    out = []
    for item in bar.items:
        if item == " " and (not out or out[-1] == " "):
            continue
        out.append(item.text() if isinstance(item, Note) else item)
    return "".join(out).strip(" ")


def write_body(tune, per_line=4):
    """The music: a section begins a new line, and so do every few bars."""
    out, count = [], 0
    for i, bar in enumerate(tune.bars):
        before = tune.bars[i - 1] if i else None
        if before and before.end != "|" and not (
                bar.ending and before.end == ":|"):
            out.append("\n")
            count = 0
        elif before and count >= per_line and not bar.ending:
            out.append("\n")
            count = 0
        if bar.ending:
            out.append("[" + bar.ending)
        out.append(bar.begin + write_bar(bar) + bar.end)
        upbeat = bar.time() < tune.full and bar.end == "|"
        count += not upbeat
    return "".join(out)


def transposed_chord(text, steps, semitones):
    """A chord's name moved by so many letters and semitones, or None."""
    match = CHORD.match(text)
    if match is None:
        return None

    def move(name):
        letter = LETTERS[(LETTERS.index(name[0]) + steps) % 7]
        pitch = SEMITONE[name[0]] + (name[1:] == "#") - (name[1:] == "b")
        off = (pitch + semitones - SEMITONE[letter] + 6) % 12 - 6
        return letter + {0: "", 1: "#", -1: "b"}[off] if abs(off) < 2 else None

    root = move(match.group(1))
    bass = move(match.group(3)) if match.group(3) else None
    if root is None or (match.group(3) and bass is None):
        return None
    return '"%s%s%s"' % (root, match.group(2) or "", "/" + bass if bass else "")


def transpose(tune, tonic, steps):
    """The same tune with another tonic, `steps` letters higher (negative:
    lower); None where that needs more than one accidental. Accidentals are
    those of the degree: what is raised by one stays raised by one."""
    old, mode = tune.key
    if (LETTERS.index(old[0]) + steps) % 7 != LETTERS.index(tonic[0]):
        raise ValueError("the letters do not fit")
    was = signature(sharps_of(old, mode))
    now = signature(sharps_of(tonic, mode))
    semitones = (7 * (sharps_of(tonic, mode) - sharps_of(old, mode))) % 12
    moved = Tune()
    moved.fields = dict(tune.fields, K=tonic + mode)
    for bar in tune.bars:
        new = Bar()
        new.begin, new.ending, new.end, new.line = (bar.begin, bar.ending,
                                                    bar.end, bar.line)
        for item in bar.items:
            if isinstance(item, Note):
                pitches = []
                for accidental, at in item.pitches:
                    if accidental is not None:
                        accidental += (now[LETTERS[(at + steps) % 7]] -
                                       was[LETTERS[at % 7]])
                        if abs(accidental) > 1:
                            return None
                    pitches.append((accidental, at + steps))
                note = Note(pitches, item.length, item.rest)
                note.time, note.tie = item.time, item.tie
                new.items.append(note)
            elif item.startswith('"'):
                item = transposed_chord(item, steps, semitones)
                if item is None:
                    return None
                new.items.append(item)
            else:
                new.items.append(item)
        moved.bars.append(new)
    return moved


def sounding(tune):
    """(pitch class, diatonic step) of all notes, as they sound: an accidental
    counts to the end of its bar."""
    sign = signature(sharps_of(*tune.key))
    notes = []
    for bar in tune.bars:
        now = {}
        for note in bar.notes():
            for accidental, step in note.pitches:
                letter = LETTERS[step % 7]
                if accidental is not None:
                    now[step] = accidental
                notes.append(((SEMITONE[letter] + now.get(step, sign[letter]))
                              % 12, step))
    return notes


def scale_of(tonic, mode):
    """Pitch classes of a key; of minor keys both sixths and sevenths."""
    sign = signature(sharps_of(tonic, mode))
    scale = {(SEMITONE[x] + sign[x]) % 12 for x in LETTERS}
    if mode == "m":
        root = SEMITONE[tonic[0]] + sign[tonic[0]]
        scale |= {(root + 9) % 12, (root + 11) % 12}
    return scale


def last_degree(tune):
    """Letters between the tonic and the last note: 0 when it is the tonic."""
    return (sounding(tune)[-1][1] - LETTERS.index(tune.key[0][0])) % 7


def pitch_range(tune):
    """Lowest and highest diatonic step."""
    steps = [p for b in tune.bars for n in b.notes() for _, p in n.pitches]
    return min(steps), max(steps)
