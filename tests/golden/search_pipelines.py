#!/usr/bin/env python3
"""Search for a pipeline and a text of which seqd makes something else than
Hugging Face tokenizers: random tokenizer.json files of all normalizers,
pre-tokenizers, models, post-processors, decoders and flags of added tokens,
random texts and lists of ids. Compared are ids, places in code points, and
texts; what seqd refuses by its name is counted. Prints each difference and
exits with 1 when there is one.

    pip install tokenizers==0.23.3
    make build/release/tests/golden/tokenizer_probe
    tests/golden/search_pipelines.py [pipelines [texts [seed [folder]]]]

With a folder the files that differ are kept there. What is known to be
otherwise, and meant to be:

- bytes that are no UTF-8 (known_bytes): the reference takes the whole of a run
  of <0x..> tokens for U+FFFDs, which a stream cannot know;
- the text "<0x41>" is no byte (known_literal), as in sentencepiece;
- special tokens that the model makes of plain text are none;
- added tokens are decoded to their own text, not through GPT-2's alphabet
  (known_added), and special ones are left out whatever they are normalised to
  (known_special);
- places of the bytes of `</w>` and `##` (known_marks), which the reference has
  outside of the text, and of what post-processors put around it: (0, 0) there;
- places in byte-level BPE where bytes that have no token fall away
  (known_marks, too): there the rest moves up, here it stays;
- files without a decoder for what their tokens hold (no_decoder) are joined as
  the kinds that know them do it.

SPDX-License-Identifier: MIT"""
import collections
import json
import os
import random
import re
import struct
import subprocess
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders as D, models as M
from tokenizers import normalizers as N, pre_tokenizers as P
from tokenizers import processors as X, trainers as T

PROBE = os.environ.get("PROBE", "build/release/tests/golden/tokenizer_probe")
BITS = [
    "hello", "world", "the", "low", "lower", "lowest", "new", " ", " ", " ",
    "  ", "   ", "\t", "\n", "\r\n", "\n\n", "don't", "I'll", "123", "45", "7",
    ".", ",", "!", "?", "...", "--", "(", ")", "``", "''", "caf\u00e9",
    "cafe\u0301", "na\u00efve", "\u00c5ngstr\u00f6m", "\ufb01ne", "\u2460\u00bd",
    "\uff21\uff42", "\u65e5\u672c\u8a9e", "\ud55c\uad6d", "\u1112\u1161\u11ab",
    "\u1100\u1161", "\u0440\u0443\u0441\u0441", "\u03a3\u03af\u03c3",
    "\u05e9\u05c1", "\u0627\u0644\u0639", "\u0939\u093f\u0928\u094d\u0926",
    "\U0001f600", "\U0001f469\u200d\U0001f467", "\u2764\ufe0f", "\u200b",
    "\u00a0", "\u2009", "\u3000", "UPPER", "MiXed", "\u0130st", "\u1e9e\u00df",
    "\u0661\u0662", "\u216b", "_", "x_y", "\u2581", "\u2581low", "##er", "</w>",
    "e\u0323\u0301", "e\u0301\u0323", "\u1ed2", "o\u0302\u0300", "\u0085",
    "\u2028", "\x07", "\u00ad", "$5", "a+b", "\u20ac", "\u201cq\u201d", "#",
    "@", "\u24b6", "\ufeff", "xx", "\u0e33", "a\u1ac0", "\u1cf2", "\u0344",
    "\u0958", "\u304b\u3099", "\u30ac", "\u3300", "\ufdfa", "\U0001d15e",
    "\u1e4ec", "\U00016e98", "\u0307", "i\u0307", "\x00", "\ufffd", "\x7f",
    "<0x41>", "|", "<pad>", "\U00010400", "\u2126", "\u00c0\u0300", "a\u0300",
    "\u0301\u0316", "\u00e9\u0323", "\U000e0041", "\ue000", "''s", "1,234.5"]
ADDED = ["Low", "the", "UPPER", "Caf\u00e9", "new w", "\u2460", "don't", "xy",
         "\uff21", "lowest", "123", "\u0130st", "<m>", " x", "\u65e5\u672c"]
SPECIAL = ["<s>", "</s>", "<unk>", "<pad>"]


def text(r, most=8):
    kind = r.random()
    if kind < .03:
        return ""
    if kind < .06:
        return r.choice(BITS) * r.randrange(2, 60)
    if kind < .12:
        return "".join(chr(r.choice([
            r.randrange(1, 0x250), r.randrange(0x250, 0x600),
            r.randrange(0x600, 0xd800), r.randrange(0xe000, 0x20000)]))
            for _ in range(r.randrange(1, 9)))
    if kind < .2:
        return "".join(r.choice(BITS + ADDED + SPECIAL + [" ", " "])
                       for _ in range(r.randrange(1, most)))
    if kind < .25:
        return "".join(r.choice("aeouc\u00e9\u1ed2\u0300\u0301\u0316\u0323\u0327"
                                "\u0345\u1100\u1161\u11a8\uac00")
                       for _ in range(r.randrange(1, 8)))
    return "".join(r.choice(BITS) for _ in range(r.randrange(1, most)))


def pattern(r):
    return r.choice([
        " ", "l", "lo", "``", "-", "\u2581", "e", "", Regex(r"\s+"),
        Regex(" {2,}"), Regex(r"\d"), Regex(r"[aeiou]"), Regex(r"\p{L}+"),
        Regex("lo|w"), Regex(r"\s*"), Regex(r"\s+(?!\S)|\s+"),
        Regex(r"\p{N}{1,3}"), Regex(r"(?i:'s|'t|'ll)|[^\r\n\p{L}\p{N}]?\p{L}+"),
        Regex(r"[^\s\p{L}\p{N}]+"), Regex(r"\b"), Regex(r"(?<=l)o"),
        Regex(r"\p{Lu}(?=\p{Ll})"), Regex(r"\w+|[^\w\s]+"), Regex(r"[\p{M}]"),
        Regex(r"^\s+|\s+$"), Regex(r"\r?\n"), Regex(r"\p{Han}|\p{Hangul}")])


def charsmap(r):
    """A small precompiled_charsmap: a double array as darts-clone packs it."""
    pairs = {"\t": " ", "\r": " ", "\n": " ", "\u3000": " ", "\ufb01": "fi",
             "\u2460": "1", "\u00bd": "1/2", "\uff21": "A", "e\u0301": "\u00e9",
             "a\u0300": "\u00e0", "\u200b": "", "\x07": "", "\u00ad": "",
             "\u304b\u3099": "\u304c", "\u1100\u1161": "\uac00", "L": "l",
             "lo": "x", "\u00c5": "A\u030a", "\u0301": "", "\ufdfa": "abc def"}
    pairs = dict(r.sample(sorted(pairs.items()), r.randrange(4, len(pairs))))
    blob, at = b"\0", {}
    for k in pairs:
        at[k] = len(blob)
        blob += pairs[k].encode() + b"\0"
    tree = {}
    for k in pairs:
        node = tree
        for b in k.encode():
            node = node.setdefault(b, {})
        node[0] = at[k]
    units, bases, todo = {0: 0}, set(), [(0, tree)]
    while todo:
        pos, node = todo.pop()
        base = 1
        while base in bases or any(base ^ b in units for b in node):
            base += 1
        bases.add(base)
        units[pos] |= (pos ^ base) << 10 | (1 << 8 if 0 in node else 0)
        for b, child in node.items():
            units[base ^ b] = 1 << 31 | child if b == 0 else b
            if b:
                todo.append((base ^ b, child))
    n = (max(units) | 255) + 1
    raw = b"".join(struct.pack("<I", units.get(i, 0)) for i in range(n))
    return struct.pack("<I", len(raw)) + raw + blob


def normalizer(r):
    return r.choice([
        N.NFC, N.NFD, N.NFKC, N.NFKD, N.Lowercase, N.StripAccents, N.Nmt,
        lambda: N.Strip(r.random() < .7, r.random() < .7),
        lambda: N.Replace(pattern(r), r.choice(["", " ", "\u2581", "lo", "xy"])),
        lambda: N.Prepend(r.choice(["\u2581", " ", "ab"])),
        lambda: N.Precompiled(charsmap(r)), N.ByteLevel,
        lambda: N.BertNormalizer(*[r.random() < .6 for _ in range(4)])])()


BEHAVIORS = ["isolated", "removed", "contiguous", "merged_with_previous",
             "merged_with_next"]


def pre_tokenizer(r):
    return r.choice([
        P.Whitespace, P.WhitespaceSplit, P.BertPreTokenizer,
        lambda: P.Punctuation(r.choice(BEHAVIORS)),
        lambda: P.Digits(r.random() < .5),
        lambda: P.Split(pattern(r), r.choice(BEHAVIORS), r.random() < .4),
        lambda: P.Metaspace(r.choice("\u2581\u2581_"),
                            r.choice(["always", "first", "never"]),
                            r.random() < .7),
        lambda: P.ByteLevel(r.random() < .5, True, r.random() < .6),
        lambda: P.CharDelimiterSplit(r.choice([" ", "-", "e"]))])()


def decoder(r):
    one = lambda: r.choice([  # noqa: E731
        D.ByteLevel, D.ByteFallback, D.Fuse, D.WordPiece, D.BPEDecoder, D.CTC,
        lambda: D.Metaspace("\u2581", r.choice(["always", "first", "never"])),
        lambda: D.WordPiece(r.choice(["##", "", "l"]), r.random() < .5),
        lambda: D.Strip(r.choice(" \u2581l"), r.randrange(3), r.randrange(2)),
        lambda: D.Replace(r.choice(["\u2581", "e", "lo", " "]),
                          r.choice([" ", "", "E"]))])()
    return r.choice([
        lambda: None, one, one, D.ByteLevel,
        lambda: D.Metaspace("\u2581", r.choice(["always", "first", "never"])),
        lambda: D.Sequence([D.Replace("\u2581", " "), D.ByteFallback(),
                            D.Fuse(), D.Strip(" ", r.randrange(3), 0)]),
        lambda: D.Sequence([D.ByteFallback(), D.Metaspace("\u2581", "first")]),
        lambda: D.Sequence([one() for _ in range(r.randrange(1, 4))])])()


def post_processor(r):
    pair = lambda: [("</s>", 1), ("<s>", 0)]  # noqa: E731
    one = lambda: r.choice([  # noqa: E731
        lambda: X.ByteLevel(r.random() < .7, r.random() < .5),
        lambda: X.RobertaProcessing(*pair(), r.random() < .7, r.random() < .5),
        lambda: X.BertProcessing(*pair()),
        lambda: X.TemplateProcessing(
            single=r.choice(["<s> $A </s>", "<s> </s> $A", "$A <s> </s>",
                             "<s>:1 <unk> $A:1"]), pair="$A $B",
            special_tokens=[("<s>", 0), ("</s>", 1), ("<unk>", 2)])])()
    return r.choice([lambda: None, one,
                     lambda: X.Sequence([one() for _ in range(2)])])()


def sequence(r, one, join, most):
    n = r.randrange(0, most + 1)
    if n == 1 and r.random() < .5:
        return one(r)
    return join([one(r) for _ in range(n)]) if n else None


def bpe(r, special):
    fallback = r.random() < .35
    kw = {"unk_token": "<unk>"} if r.random() < .7 else {}
    prefix = "##" if r.random() < .2 else ""
    suffix = "</w>" if r.random() < .3 else ""
    if prefix:
        kw["continuing_subword_prefix"] = prefix
    if suffix:
        kw["end_of_word_suffix"] = suffix
    t = Tokenizer(M.BPE(byte_fallback=fallback, fuse_unk=r.random() < .5,
                        ignore_merges=r.random() < .25, **kw))
    how = {"continuing_subword_prefix": prefix} if prefix else {}
    if suffix:
        how["end_of_word_suffix"] = suffix
    if fallback:
        special = special + ["<0x%02X>" % b for b in range(256)]
    alphabet = P.ByteLevel.alphabet() if r.random() < .3 else []
    return t, T.BpeTrainer(vocab_size=len(special) + 60 + len(alphabet),
                           limit_alphabet=300 if alphabet else 40,
                           initial_alphabet=alphabet, special_tokens=special,
                           show_progress=False, **how)


def unigram(r, special):
    if r.random() < .3:
        special = special + ["<0x%02X>" % b for b in range(256)]
    return Tokenizer(M.Unigram()), T.UnigramTrainer(
        vocab_size=len(special) + 80, special_tokens=special,
        unk_token="<unk>", show_progress=False)


def model(r):
    special = ["<s>", "</s>", "<unk>", "<pad>"]
    kind = r.choice(["bpe", "bpe", "unigram", "wordpiece", "words"])
    if kind == "bpe":
        return bpe(r, special)
    if kind == "unigram":
        return unigram(r, special)
    if kind == "wordpiece":
        return (Tokenizer(M.WordPiece(
            unk_token="<unk>", max_input_chars_per_word=r.choice([5, 20, 100]))),
            T.WordPieceTrainer(vocab_size=110, limit_alphabet=45,
                               special_tokens=special, show_progress=False))
    return Tokenizer(M.WordLevel(unk_token="<unk>")), T.WordLevelTrainer(
        vocab_size=80, special_tokens=special, show_progress=False)


def added(r, vocab):
    return [AddedToken(c, normalized=r.random() < .6, lstrip=r.random() < .3,
                       rstrip=r.random() < .3, single_word=r.random() < .3,
                       special=c not in vocab and r.random() < .3)
            for c in r.sample(ADDED, r.randrange(6))]


def usual(r, t):
    """The parts that published files put together."""
    kind = type(t.model).__name__
    if kind == "WordPiece":
        t.normalizer = N.BertNormalizer(*[r.random() < .6 for _ in range(4)])
        t.pre_tokenizer, t.decoder = P.BertPreTokenizer(), D.WordPiece()
    elif kind == "Unigram" or (kind == "BPE" and t.model.byte_fallback):
        t.normalizer = r.choice([None, N.Precompiled(charsmap(r)),
                                 N.Sequence([N.Precompiled(charsmap(r)),
                                             N.Replace(Regex(" {2,}"), " ")]),
                                 N.Sequence([N.Strip(False, True),
                                             N.Replace(" ", "\u2581")])])
        scheme = r.choice(["always", "first", "never"])
        t.pre_tokenizer = r.choice([
            P.Metaspace("\u2581", scheme, r.random() < .6),
            P.Sequence([P.WhitespaceSplit(), P.Metaspace("\u2581", "always")])])
        t.decoder = r.choice([D.Metaspace("\u2581", scheme), D.Sequence([
            D.Replace("\u2581", " "), D.ByteFallback(), D.Fuse(),
            D.Strip(" ", 1, 0)])])
    elif kind == "BPE":
        t.normalizer = r.choice([None, N.NFC(), N.NFKC()])
        t.pre_tokenizer = r.choice([
            P.ByteLevel(r.random() < .5), P.Sequence([
                P.Split(pattern(r), r.choice(BEHAVIORS), r.random() < .4),
                P.ByteLevel(False, use_regex=False)]),
            P.Sequence([P.Digits(r.random() < .5), P.ByteLevel(False)])])
        t.decoder = D.ByteLevel()


def alike(t):
    """Two tokens that are one when normalised: the reference takes any."""
    made = [t.normalizer.normalize_str(a.content) if t.normalizer else a.content
            for a in t.get_added_tokens_decoder().values() if a.normalized]
    return len(set(made)) < len(made) or "" in made


def pipeline(r):
    while True:
        t, trainer = model(r)
        if r.random() < .35:
            usual(r, t)
        else:
            parts = (sequence(r, normalizer, N.Sequence, 3),
                     sequence(r, pre_tokenizer, P.Sequence, 3), decoder(r))
            for name, x in zip(("normalizer", "pre_tokenizer", "decoder"),
                               parts):
                if x:
                    setattr(t, name, x)
        try:
            t.train_from_iterator([
                re.sub(r"\0|<pad>|<0x41>|</?s>|<unk>", "", text(r, 12))
                for _ in range(300)], trainer)
        except BaseException:  # panics are no Exception
            continue  # the trainer found nothing to train on
        if r.random() < .6:
            t.add_tokens(added(r, t.get_vocab()))
        x = post_processor(r)
        if x:
            t.post_processor = x
        if alike(t):
            continue
        j = json.loads(t.to_str())
        j["added_tokens"] = [a for a in j["added_tokens"]  # without the bytes
                             if not a["content"].startswith("<0x")]
        if j["model"]["type"] == "Unigram":
            j["model"]["byte_fallback"] = r.random() < .6
        return json.dumps(j)


def answer(call):
    try:
        return call()
    except BaseException:
        return None  # the reference has no answer


def reference(t, texts, lists, special):
    def one(s):
        e = t.encode(s, add_special_tokens=special)
        return [e.ids, [x for i, o in enumerate(e.offsets) for x in
                        ((None, None) if special and o == (0, 0) and e.ids[i] < 4
                         else o)],
                t.decode(e.ids)]
    return [answer(lambda: one(s)) for s in texts] + [
        answer(lambda: t.decode(x)) for x in lists]


def shown(file):
    """The file without its vocabulary."""
    j = json.loads(file)
    m = {k: v for k, v in j["model"].items() if k not in ("vocab", "merges")}
    for x in [j.get("normalizer")] + (j.get("normalizer") or {}).get(
            "normalizers", []):
        if x and "precompiled_charsmap" in x:
            x["precompiled_charsmap"] = "..."
    return json.dumps({**{k: j[k] for k in (
        "normalizer", "pre_tokenizer", "post_processor", "decoder")},
        "model": m, "added": [a for a in j["added_tokens"] if a["id"] > 3]},
        ensure_ascii=True)


def known(file, ids, got, want):
    """Is this difference of decoded texts one that is meant?"""
    j = json.loads(file)
    dec = json.dumps(j["decoder"])
    if j["decoder"] is None:
        return "no_decoder"
    contents = {a["id"]: a for a in j["added_tokens"]}
    if "\ufffd" in want and "ByteFallback" in dec:
        return "known_bytes"
    if "ByteLevel" in dec and any(i in contents for i in ids):
        return "known_added"
    norm = Tokenizer.from_str(file).normalizer
    if norm and any(a["special"] and a["normalized"] and norm.normalize_str(
            a["content"]) != a["content"] for a in map(contents.get, ids) if a):
        return "known_special"
    return None


def compare(file, texts, lists, got, want):
    """(what, where, got, want) of all that differ."""
    m = json.loads(file)["model"]
    for k, (g, w) in enumerate(zip(got, want)):
        if w is None:
            yield "no answer", k, None, None
        elif k >= len(texts):
            if g != w:
                yield (known(file, lists[k - len(texts)], g, w) or "decode",
                       lists[k - len(texts)], g, w)
        elif g is None:
            yield "text refused", texts[k], None, w
        elif g[0] != w[0]:
            yield "known_literal" if is_literal(m, texts[k]) else "ids", texts[k], g[0], w[0]
        else:
            if any(y is not None and x != y for x, y in zip(g[1], w[1])):
                yield ("known_marks" if is_marked(m) else "places", texts[k],
                       [g[0], g[1]], w[1])
            if g[2] != w[2]:
                yield (known(file, g[0], g[2], w[2]) or "text", texts[k], g[2],
                       w[2])


def is_marked(m):
    falls_away = (m["type"] == "BPE" and not m["unk_token"]
                  and "\u0120" in m["vocab"])
    return falls_away or m.get("byte_fallback") and (
        m.get("end_of_word_suffix") or m.get("continuing_subword_prefix"))


def is_literal(m, s):
    return m["type"] == "Unigram" and m["byte_fallback"] and "<0x" in s


def ask(probe, line):
    probe.stdin.write(json.dumps(line) + "\n")
    probe.stdin.flush()
    reply = probe.stdout.readline()
    if not reply:
        with open("search_pipelines.crash", "w", encoding="utf-8") as f:
            json.dump(line, f)
        sys.exit("the probe ended: search_pipelines.crash has the line")
    return json.loads(reply)


def search(r, n, n_texts, folder):
    probe = subprocess.Popen([PROBE], stdin=subprocess.PIPE, text=True,
                             stdout=subprocess.PIPE)
    counts, refused = collections.Counter(), collections.Counter()
    for at in range(n):
        file = pipeline(r)
        t, special = Tokenizer.from_str(file), r.random() < .5
        texts = [text(r) for _ in range(n_texts)]
        size = t.get_vocab_size()
        lists = [[r.randrange(size)] for _ in range(n_texts // 4)] + [
            [r.randrange(size) for _ in range(r.randrange(2, 6))]
            for _ in range(n_texts // 4)]
        got = ask(probe, [file, texts, lists, special])
        if isinstance(got, str):
            refused[got.split(": ", 1)[-1][:60]] += 1
            continue
        counts["pipelines"] += 1
        counts["texts"] += len(texts)
        found = list(compare(file, texts, lists, got,
                             reference(t, texts, lists, special)))
        counts.update(f[0] for f in found)
        real = [f for f in found if f[0] in ("ids", "places", "text", "decode",
                                             "text refused")]
        if real:
            print(f"--- pipeline {at}: {len(real)} differ; {shown(file)}")
            for what, where, g, w in real[:3]:
                print(f"  {what} {where!a}\n    got  {g!a}\n    want {w!a}")
            if folder:
                with open(f"{folder}/{at}.json", "w", encoding="utf-8") as f:
                    f.write(file)
    print("refused:", dict(refused))
    print("counts:", dict(counts))
    return any(counts[k] for k in ("ids", "places", "text", "decode",
                                   "text refused"))


def main():
    n, n_texts, seed, folder = (sys.argv[1:] + ["300", "50", "1", ""][
        len(sys.argv) - 1:])[:4]
    if folder:
        os.makedirs(folder, exist_ok=True)
    sys.exit(search(random.Random(int(seed)), int(n), int(n_texts), folder))


if __name__ == "__main__":
    main()
