#!/usr/bin/env python3
"""Write engine/text/unicode/unicode_class.c, unicode_decomp.c,
unicode_compat.c and unicode_parts.c: the tables of the Unicode character
database that the tokenizers need.

    pip install unicodedata2==16.0.0
    tools/make_unicode.py && clang-format-14 -i engine/text/unicode/unicode_*.c

Unicode 16.0, because that is what the reference (Hugging Face tokenizers
0.23.3, its regular expressions) classifies by; but it normalises by Unicode 9
(its unicode-normalization-alignments), where younger code points stay as they
are, and takes lower case from Unicode 17 (Rust's char). Run by Python 3.11,
whose own database is 14.0: the oldest that PCRE2 may have.
SPDX-License-Identifier: MIT"""
import re
import unicodedata

import unicodedata2 as ud

VERSION = "16.0.0"
END = 0x110000
PAGE = 0x800  # code points whose runs are kept together: 11 bits and 5
# The order is that of enum uni_cat in unicode.h.
CATS = ("Cn Cc Cw Cf Co Cs Zs Zl Zp Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No "
        "Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So").split()
ALTERNATING = len(CATS)  # Lu and Ll in turn, beginning with Lu
MONGOLIAN_SEPARATOR = 0x180e  # Cf; white space to PCRE2
DEPRECATED_FORMAT = 0x206f  # Cf, not in use
CONTROL_SPACE = {9, 10, 11, 12, 13, 0x85}

HEAD = """/* %s: made by tools/make_unicode.py from the Unicode character
 * database %s; not written by hand. %s
 *
 * SPDX-License-Identifier: MIT */
#include "engine/text/unicode/unicode_tables.h"

"""


def category(cp):
    name = "Cw" if cp in CONTROL_SPACE else ud.category(chr(cp))
    return CATS.index(name)


def class_pages():
    """The page that each PAGE code points look in, and these pages' runs."""
    cats = [category(c) for c in range(END)]
    pages, of = [], []
    for at in range(0, END, PAGE):
        runs = class_runs(cats[at:at + PAGE])
        if runs not in pages:
            pages.append(runs)
        of.append(pages.index(runs))
    return of, pages


def class_runs(cats):
    """(first, code), where code may be ALTERNATING."""
    lu, ll = CATS.index("Lu"), CATS.index("Ll")
    runs, c = [], 0
    while c < len(cats):
        n = 0
        while c + n < len(cats) and cats[c + n] == (lu if n % 2 == 0 else ll):
            n += 1
        if n >= 4:
            n -= n % 2
            runs.append((c, ALTERNATING))
        else:
            n = 1
            if not runs or runs[-1][1] != cats[c]:
                runs.append((c, cats[c]))
        c += n
    return runs


def lower_runs():
    """(first, last, stride, delta) of the simple lower case mapping."""
    pairs = []
    for c in range(END):
        if 0xD800 <= c < 0xE000:
            continue
        low = chr(c).lower() if c < 0x80 else None
        if low is None:
            low = LOWER.get(c, chr(c))
        if ord(low[0]) != c:
            pairs.append((c, ord(low[0]) - c))
    runs = []
    for c, d in pairs:
        if runs:
            r = runs[-1]
            step = c - r[1]
            if d == r[3] and step <= 2 and (r[0] == r[1] or step == r[2]):
                r[1], r[2] = c, step
                continue
        runs.append([c, c, 1, d])
    return runs


def simple_lower():
    """Of Python's own database where the code point is in it, else of the
    case pairs that Unicode 15 to 16 added (UnicodeData.txt, field 13)."""
    table = {c: chr(c).lower() for c in range(END)
             if not 0xD800 <= c < 0xE000 and chr(c).lower() != chr(c)}
    table.update({0x1C89: "\u1c8a", 0xA7CB: "\u0264", 0xA7CC: "\ua7cd",
                  0xA7DA: "\ua7db", 0xA7DC: "\u019b"})
    table.update({c: chr(c + 0x20) for c in range(0x10D50, 0x10D66)})
    table.update({0xA7CE: "\ua7cf", 0xA7D2: "\ua7d3", 0xA7D4: "\ua7d5"})  # 17
    table.update({c: chr(c + 0x1B) for c in range(0x16EA0, 0x16EB9)})
    return table


LOWER = simple_lower()
# Younger than Unicode 9, from the first to the last of a run that no older code
# point with a decomposition or a class is in. Found by comparing all with
# tokenizers 0.23.3.
YOUNG = (
    (0x7FD, 0x7FD), (0x897, 0x8D3), (0x9FE, 0x9FE), (0xC3C, 0xC3C),
    (0xD3B, 0xD3C), (0xEBA, 0xEBA), (0x1715, 0x1715), (0x1ABF, 0x1ACE),
    (0x1DF6, 0x1DFA), (0x32FF, 0x32FF), (0xA7F2, 0xA7F4), (0xA82C, 0xA82C),
    (0xAB69, 0xAB69), (0x105C9, 0x107BA), (0x10D24, 0x10F85),
    (0x11070, 0x11070), (0x1133B, 0x1133B), (0x11383, 0x113D0),
    (0x1145E, 0x1145E), (0x11839, 0x11A99), (0x11D42, 0x1612F),
    (0x16D68, 0x16FF1), (0x1CCD6, 0x1CCF9), (0x1E030, 0x1E5EF),
    (0x1F16C, 0x1F16C), (0x1FBF0, 0x1FBF9))


def stand_runs():
    """(first, last, code point that stands in): those that changed since 14."""
    with open("engine/text/pretok/pretok_names.c") as f:
        text = re.sub(r'"\s*\\?\s*"', "", f.read())
    char = r"\\(?:u(\w{4})|U(\w{8}))"
    ranges = [(int(a or b, 16), int(c or d or a or b, 16))
              for a, b, c, d in re.findall(f"{char}(?:-{char})?", text)]
    assert len(ranges) > 60

    def listed(c):
        """Which of the ranges of the published expressions hold c."""
        return tuple(r for r in ranges if r[0] <= c <= r[1])

    old = {}  # (category, length, listed): what both databases agree on
    for c in range(END):
        k = ud.category(chr(c))
        if k == unicodedata.category(chr(c)) and c != MONGOLIAN_SEPARATOR:
            old.setdefault((k, utf8_len(c), listed(c)), []).append(c)
    runs = []
    for c in range(END):
        k = ud.category(chr(c))
        if k == unicodedata.category(chr(c)) and c != MONGOLIAN_SEPARATOR:
            continue
        if runs and runs[-1][1] == c - 1 and runs[-1][3] == (k, listed(c)):
            runs[-1][1] = c
            continue
        alike = old[k, utf8_len(c), listed(c)]
        near = min(alike, key=lambda x: abs(x - c))
        if c == MONGOLIAN_SEPARATOR:  # U+200B is in expressions of files
            near = DEPRECATED_FORMAT
            assert near in alike
        runs.append([c, c, near, (k, listed(c))])
    return runs


def utf8_len(c):
    return 1 + (c >= 0x80) + (c >= 0x800) + (c >= 0x10000)


def is_young(c):
    return any(first <= c <= last for first, last in YOUNG)


def decompositions():
    out = []
    for c in range(END):
        d = ud.decomposition(chr(c))
        if is_young(c):
            continue
        if d and not d.startswith("<"):
            parts = [int(x, 16) for x in d.split()]
            out.append((c, parts[0], parts[1] if len(parts) > 1 else 0))
    return out


def write_compat(f, parts_file):
    """The full compatibility decompositions that are not canonical ones."""
    rows = [(c, ud.normalize("NFKD", chr(c))) for c in range(END)
            if not 0xD800 <= c < 0xE000 and not is_young(c)
            and ud.normalize("NFKD", chr(c)) != ud.normalize("NFD", chr(c))]
    at, pool = [0], []
    for _, parts in rows:
        pool += map(ord, parts)
        at.append(len(pool))
    assert len(pool) < 1 << 16 and max(len(d) for _, d in rows) == 18
    array(f, "uint32_t", "uni_compat", ["0x%x" % c for c, _ in rows])
    array(f, "uint16_t", "uni_compat_at", at, False)
    array(parts_file, "uint32_t", "uni_compat_parts",
          ["0x%x" % c for c in pool], False)


def class_of_combining():
    runs, last = [], 0
    for c in range(END):
        k = 0 if is_young(c) else ud.combining(chr(c))
        if k != last:
            runs.append((c, k))
            last = k
    return runs


def write_classes(f):
    of, pages = class_pages()
    starts = [sum(map(len, pages[:i])) for i in range(len(pages) + 1)]
    array(f, "uint8_t", "uni_class_pages", of, False)
    array(f, "uint16_t", "uni_class_starts", starts, False)
    array(f, "uint16_t", "uni_class_runs",
          [c << 5 | k for runs in pages for c, k in runs], False)


def write_decompositions(f):
    pairs = decompositions()
    seconds = sorted({b for _, _, b in pairs})
    assert len(seconds) <= 128 and len(pairs) < 4096
    assert max(c for c, _, _ in pairs) < 1 << 20
    comp = [i for i, (c, a, b) in enumerate(pairs)
            if b and ud.normalize("NFC", chr(a) + chr(b)) == chr(c)]
    comp.sort(key=lambda i: pairs[i][1:])
    array(f, "uint32_t", "uni_decomp_runs",
          ["0x%x" % (c << 12 | i) for i, (c, _, _) in enumerate(pairs)
           if i == 0 or pairs[i - 1][0] != c - 1])
    array(f, "uint32_t", "uni_seconds", ["0x%x" % b for b in seconds])
    array(f, "uint32_t", "uni_decomp",
          ["0x%x" % (a << 7 | seconds.index(b)) for _, a, b in pairs])
    array(f, "uint16_t", "uni_comp", comp)


def array(f, kind, name, values, counted=True):
    f.write("const %s %s[] = {" % (kind, name))
    f.write(", ".join(map(str, values)))
    f.write("};\n")
    f.write("const int n_%s = %d;\n\n" % (name, len(values)) if counted
            else "\n")


def main():
    assert ud.unidata_version == VERSION, ud.unidata_version
    assert unicodedata.unidata_version == "14.0.0", unicodedata.unidata_version
    with open("engine/text/unicode/unicode_class.c", "w") as f:
        f.write(HEAD % ("unicode_class", VERSION, "Categories,\n"
                        " * lower case and stand-ins as runs; unicode_tables.h "
                        "has the packing."))
        write_classes(f)
        array(f, "struct uni_case_run", "uni_lower_runs",
              ["{0x%x, %d, %d, %d}" % (first, last - first, stride, delta)
               for first, last, stride, delta in lower_runs()])
        array(f, "struct uni_stand_run", "uni_stand_runs",
              ["{0x%x, %d, %d}" % (first, last - first, near - first)
               for first, last, near, _ in stand_runs()])
    with open("engine/text/unicode/unicode_decomp.c", "w") as f:
        f.write(HEAD % ("unicode_decomp", VERSION, "Canonical\n"
                        " * decompositions, compositions and combining classes."))
        write_decompositions(f)
        array(f, "uint32_t", "uni_ccc_runs",
              ["0x%x" % (c << 8 | k) for c, k in class_of_combining()])
    with open("engine/text/unicode/unicode_compat.c", "w") as f, \
            open("engine/text/unicode/unicode_parts.c", "w") as g:
        f.write(HEAD % ("unicode_compat", VERSION, "Which code\n"
                        " * points have compatibility decompositions."))
        g.write(HEAD % ("unicode_parts", VERSION, "\n"
                        " * Compatibility decompositions, in full."))
        write_compat(f, g)


main()
