#!/usr/bin/env python3
"""Write tests/golden/bleu.json: what sacreBLEU says about made-up translations.

    pip install sacrebleu==2.6.0
    tests/golden/make_bleu_fixtures.py

  pairs    [hypothesis, reference, source, tokens of the hypothesis by 13a]; the
           first `lines` of them hold no line feed and can stand in files
  corpora  [from, to, bleu, precisions, bp, hyp_len, ref_len, chrf2]: scores of
           pairs[from:to], parts of the list, single pairs and all of it
  further  two more references for each of the first `lines` pairs
  several  [bleu, precisions, bp, hyp_len, ref_len, chrf2, first member of the
           signature] of these with all three references, and with 1 + i % 3 of
           them for pair i
  lengths  [first, last, sentences, bleu, chrf2]: the same of those of the first
           `lines` whose source has so many words

SPDX-License-Identifier: MIT"""
import json
import random

import sacrebleu
from sacrebleu.metrics import BLEU, CHRF

VERSION = "2.6.0"
OUT = "tests/golden/bleu.json"
SEED = 5
WORDS = ("a the of house garden gate river winter morning children sing slowly "
         "Größe Straße über l'école n'est-ce où été niño señora ¿Cómo ¡Hola! "
         "don't it's we've U.S. e.g. 3.14 1,000 10-12 1999- -5 5% $3.50 €20 "
         "20:30 a/b c++ #tag @user <b> </b> &quot;x&quot; &amp; &lt;i&gt; "
         "&amp;lt; <skipped> [x] {y} (z) \"quoted\" 'single' “low” „hoch“ «à» "
         "… ... .. ., ,. -- — – a-b a- 1-2-3 .5 5. 5.a a.5 é.è 9,ü ü,9 7.“ ~ ^ "
         "_under_ `tick` | \\ = * ; : ! ? ?! x;y 今日は。 привет, мир! 🙂 🙂. "
         "👩‍👩‍👧 e\u0301, \u0301 \u200b \ufeff q\u200bq \x01 \x00 \x7f. ２．５").split()
SPACES = [" "] * 30 + ["  ", "\t", "\u00a0", "\u2003", "\u3000", "\u2028",
                       "\x85", "\x0b", "\x0c", "\x1c", "\x1f", "\r", " \r "]


def join(r, words, feeds):
    spaces = SPACES + (["\n", "-\n", " -\n "] if feeds else [])
    text = r.choice(["", "", "", " ", "\u00a0"])
    for w in words:
        text += w + r.choice(spaces)
    return text if r.random() < 0.5 else text.rstrip()


def change(r, words):
    """A translation that is not quite the reference."""
    words = list(words)
    for _ in range(r.choice([0, 0, 1, 1, 2, 3, 5])):
        k = r.randrange(len(words) + 1)
        what = r.randrange(4)
        if what == 0:
            words.insert(k, r.choice(WORDS))
        elif words and what == 1:
            words.pop(min(k, len(words) - 1))
        elif words and what == 2:
            words[min(k, len(words) - 1)] = r.choice(WORDS)
        elif len(words) > 1:
            i, j = r.sample(range(len(words)), 2)
            words[i], words[j] = words[j], words[i]
    return words


def make_pairs():
    r = random.Random(SEED)
    pairs = [("", "", ""), ("", "a reference", "one"), ("a hypothesis", "", ""),
             ("   ", "x", "two words"), ("a", "a", "a"), ("a b c", "a b c", "x"),
             ("no match here at all", "etwas ganz anderes steht dort", "x y z"),
             ("the the the the the the", "the cat is on the mat", "die Katze"),
             ("aaaaaaaaaaaa", "aaaa aaaa", "a a a a a"),
             ("one line .", "one line.", "eine Zeile.")]
    lines = 360
    while len(pairs) < lines + 40:
        feeds = len(pairs) >= lines
        words = [r.choice(WORDS) for _ in range(r.choice([1, 3, 6, 9, 14, 22]))]
        source = [r.choice(WORDS) for _ in range(r.randrange(27))]
        hyp = change(r, words) if r.random() < 0.9 else \
            [r.choice(WORDS) for _ in range(r.randrange(9))]
        pairs.append((join(r, hyp, feeds), join(r, words, feeds),
                      " ".join(source)))
    return pairs, lines


def make_further(pairs):
    """References that are near the translation, near the first one, or equal;
    of another length, too."""
    r = random.Random(SEED + 1)
    out = []
    for hyp, ref, _ in pairs:
        two = []
        for _ in range(2):
            words = r.choice([hyp, ref, ref]).split(" ")
            words = change(r, words) + ["so"] * r.choice([0, 0, 0, 1, 4])
            two.append(" ".join(words))
        out.append(two)
    return out


def score(pairs, further=None, nrefs="1"):
    bleu, chrf = BLEU(force=True), CHRF()
    hyp = [p[0] for p in pairs]
    ref = [[p[1] for p in pairs]]
    for k in range(2 if further else 0):
        ref.append([x[k] if k < len(x) else None for x in further])
    b = bleu.corpus_score(hyp, ref)
    c = chrf.corpus_score(hyp, ref)
    assert str(bleu.get_signature()) == f"nrefs:{nrefs}" \
        "|case:mixed|eff:no|tok:13a|smooth:exp|version:" + VERSION
    assert str(chrf.get_signature()) == f"nrefs:{nrefs}" \
        "|case:mixed|eff:yes|nc:6|nw:0|space:no|version:" + VERSION
    return b, c


def several(pairs, further, nrefs):
    b, c = score(pairs, further, nrefs)
    return [b.score, b.precisions, b.bp, int(b.sys_len), int(b.ref_len),
            c.score, "nrefs:" + nrefs]


def corpus(pairs, first, last):
    b, c = score(pairs[first:last])
    return [first, last, b.score, b.precisions, b.bp, int(b.sys_len),
            int(b.ref_len), c.score]


def main():
    assert sacrebleu.__version__ == VERSION, sacrebleu.__version__
    pairs, lines = make_pairs()
    cut = BLEU()._preprocess_segment
    n = len(pairs)
    ranges = [(0, n), (0, lines), (lines, n), (0, 10), (10, 60), (100, 250)]
    ranges += [(i, i + 1) for i in range(40)] + \
        [(i, i + 7) for i in range(40, n - 7, 23)]
    lengths = []
    for first, last in ((1, 5), (6, 10), (11, 15), (16, 20), (21, 10 ** 6)):
        some = [p for p in pairs[:lines] if first <= len(p[2].split()) <= last]
        b, c = score(some)
        lengths.append([first, last, len(some), b.score, c.score])
    rows = [json.dumps([*p, cut(p[0]).split()]) for p in pairs]
    further = make_further(pairs[:lines])
    more = [several(pairs[:lines], further, "3"),
            several(pairs[:lines], [x[:i % 3] for i, x in enumerate(further)],
                    "var")]
    with open(OUT, "w") as f:
        f.write('{"lines": %d,\n"pairs": [' % lines + ",\n".join(rows) +
                '],\n"corpora": [' + ",\n".join(
                    json.dumps(corpus(pairs, a, b)) for a, b in ranges) +
                '],\n"further": [' + ",\n".join(map(json.dumps, further)) +
                '],\n"several": [' + ",\n".join(map(json.dumps, more)) +
                '],\n"lengths": ' + json.dumps(lengths) + "}\n")


if __name__ == "__main__":
    main()
