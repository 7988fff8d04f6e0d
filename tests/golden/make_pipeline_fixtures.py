#!/usr/bin/env python3
"""Write tests/golden/tokenizer/pipelines.json: random pipelines of normalizers,
pre-tokenizers, models and decoders, and what Hugging Face tokenizers makes of
random texts with them: ids, places in code points, the ids as text.

    pip install tokenizers==0.23.3
    tests/golden/make_pipeline_fixtures.py [out [pipelines [texts [seed]]]]

SPDX-License-Identifier: MIT"""
import json
import random
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders as D, models as M
from tokenizers import normalizers as N, pre_tokenizers as P, trainers as T

VERSION = "0.23.3"
BITS = ["hello", "world", "the", "low", "lower", "lowest", "new", " ", " ", " ",
        "  ", "\t", "\n", "don't", "I'll", "123", "45", "7", ".", ",", "!", "?",
        "--", "(", ")", "``", "''", "caf\u00e9", "cafe\u0301", "na\u00efve",
        "\u00c5ngstr\u00f6m", "\ufb01ne", "\u2460\u00bd", "\uff21\uff42",
        "\u65e5\u672c\u8a9e", "\ud55c\uad6d", "\u1112\u1161\u11ab",
        "\u0440\u0443\u0441\u0441\u043a\u0438\u0439", "\u03a3\u03af\u03c3",
        "\u05e9\u05c1", "\u0627\u0644\u0639", "\u0939\u093f\u0928",
        "\U0001f600", "\U0001f469\u200d\U0001f467", "\u200b", "\u00a0",
        "\u2009", "\u3000", "UPPER", "MiXed", "\u0130st", "\u1e9e\u00df",
        "\u0661\u0662", "\u216b", "_", "x_y", "\u2581", "\u2581low", "##er",
        "e\u0323\u0301", "\u0085", "\u2028", "\x07", "\u00ad", "$5", "a+b",
        "\u20ac", "\u201cq\u201d", "#", "@", "\u24b6", "\ufeff", "xx", "\u0e33",
        "a\u1ac0", "\u1cf2"]


def text(r, n=8):
    return "".join(r.choice(BITS) for _ in range(r.randrange(1, n)))


def pattern(r):
    return r.choice([" ", "l", "lo", "``", "-", "\u2581", "e", Regex(r"\s+"),
                     Regex(" {2,}"), Regex(r"\d"), Regex(r"[aeiou]"),
                     Regex(r"\p{L}+"), Regex("lo|w"), Regex(r"\s*")])


def normalizer(r):
    return r.choice([
        N.NFC, N.NFD, N.NFKC, N.NFKD, N.Lowercase, N.StripAccents, N.Nmt,
        lambda: N.Strip(r.random() < .7, r.random() < .7),
        lambda: N.Replace(pattern(r), r.choice(["", " ", "\u2581", "lo", "xy"])),
        lambda: N.Prepend(r.choice(["\u2581", " ", "ab"])),
        lambda: N.BertNormalizer(*[r.random() < .6 for _ in range(4)])])()


BEHAVIORS = ["isolated", "removed", "contiguous", "merged_with_previous",
             "merged_with_next"]


def pre_tokenizer(r):
    return r.choice([
        P.Whitespace, P.WhitespaceSplit, P.BertPreTokenizer,
        lambda: P.Punctuation(r.choice(BEHAVIORS)),
        lambda: P.Digits(r.random() < .5),
        lambda: P.Split(pattern(r), r.choice(BEHAVIORS), r.random() < .4),
        lambda: P.Metaspace("\u2581", r.choice(["always", "first", "never"]),
                            r.random() < .7),
        lambda: P.ByteLevel(r.random() < .5, True, r.random() < .6),
        lambda: P.CharDelimiterSplit(r.choice([" ", "-", "e"]))])()


def decoder(r, suffix, prefix):
    return r.choice([
        None, D.ByteLevel(), D.Metaspace("\u2581", "always"),
        D.Metaspace("\u2581", "never"), D.WordPiece(prefix, r.random() < .5),
        D.BPEDecoder(suffix),
        D.Sequence([D.Replace("\u2581", " "), D.ByteFallback(), D.Fuse(),
                    D.Strip(" ", 1, 0)]),
        D.Sequence([D.ByteFallback(), D.Metaspace("\u2581", "first")]),
        D.Sequence([D.Replace("e", "E"), D.Fuse()])])


def sequence(r, one, join, most):
    n = r.randrange(0, most + 1)
    if n == 1 and r.random() < .5:
        return one(r)
    return join([one(r) for _ in range(n)]) if n else None


def bpe(r, special):
    fallback = r.random() < .3
    kw = {"unk_token": "<unk>"} if r.random() < .7 else {}
    prefix = "##" if r.random() < .2 and not fallback else ""
    suffix = "</w>" if r.random() < .3 and not fallback else ""
    if prefix:
        kw["continuing_subword_prefix"] = prefix
    if suffix:
        kw["end_of_word_suffix"] = suffix
    t = Tokenizer(M.BPE(byte_fallback=fallback, fuse_unk=r.random() < .5,
                        ignore_merges=r.random() < .2, **kw))
    how = {"continuing_subword_prefix": prefix} if prefix else {}
    if suffix:
        how["end_of_word_suffix"] = suffix
    if fallback:
        special = special + ["<0x%02X>" % b for b in range(256)]
    return t, T.BpeTrainer(vocab_size=len(special) + 60, limit_alphabet=40,
                           special_tokens=special, show_progress=False, **how)


def model(r):
    special = ["<unk>", "<s>"]
    kind = r.choice(["bpe", "bpe", "unigram", "wordpiece", "words"])
    if kind == "bpe":
        return bpe(r, special)
    if kind == "unigram":
        return Tokenizer(M.Unigram()), T.UnigramTrainer(
            vocab_size=80, special_tokens=special, unk_token="<unk>",
            show_progress=False)
    if kind == "wordpiece":
        return (Tokenizer(M.WordPiece(unk_token="<unk>",
                                      max_input_chars_per_word=20)),
                T.WordPieceTrainer(vocab_size=110, limit_alphabet=45,
                                   special_tokens=special, show_progress=False))
    return Tokenizer(M.WordLevel(unk_token="<unk>")), T.WordLevelTrainer(
        vocab_size=80, special_tokens=special, show_progress=False)


ADDED = ["Low", "the", "UPPER", "Caf\u00e9", "new w", "\u2460", "don't", "xy",
         "\uff21", "lowest", "123", "\u0130st"]


def added(r):
    return [AddedToken(c, normalized=r.random() < .8, lstrip=r.random() < .3,
                       rstrip=r.random() < .3, single_word=r.random() < .3)
            for c in r.sample(ADDED, 5)]


def pipeline(r, adds):
    while True:
        t, trainer = model(r)
        norm = sequence(r, normalizer, N.Sequence, 3)
        pre = sequence(r, pre_tokenizer, P.Sequence, 3)
        dec = decoder(r, "</w>", "##")
        if norm:
            t.normalizer = norm
        if pre:
            t.pre_tokenizer = pre
        if dec:
            t.decoder = dec
        try:
            t.train_from_iterator([text(r, 12) for _ in range(300)], trainer)
        except BaseException:  # panics are no Exception
            continue  # the trainer found nothing to train on
        if adds:
            t.add_tokens(added(r))
        j = json.loads(t.to_str())
        j["added_tokens"] = [a for a in j["added_tokens"]  # without the bytes
                             if not a["content"].startswith("<0x")]
        return json.dumps(j, separators=(",", ":"))


def cases(r, t, n):
    for _ in range(n):
        s = text(r)
        try:
            e = t.encode(s, add_special_tokens=False)
        except BaseException:
            continue  # the reference has no answer
        yield [s, e.ids, [x for o in e.offsets for x in o],
               t.decode(e.ids, skip_special_tokens=True)]


def main():
    assert tokenizers.__version__ == VERSION, tokenizers.__version__
    out, n, n_texts, seed = (sys.argv[1:] + [
        "tests/golden/tokenizer/pipelines.json", "200", "6", "1"][
            len(sys.argv) - 1:])[:4]
    r = random.Random(int(seed))
    rows = []
    while len(rows) < int(n) * 5 // 4:
        t = pipeline(r, len(rows) >= int(n))  # the last have added tokens
        rows.append({"tokenizer": t, "cases": list(
            cases(r, Tokenizer.from_str(t), int(n_texts)))})
    with open(out, "w", encoding="utf-8") as f:
        f.write("[\n")
        f.write(",\n".join(json.dumps(x, ensure_ascii=True,
                                      separators=(",", ":")) for x in rows))
        f.write("\n]\n")


main()
