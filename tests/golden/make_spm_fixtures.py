#!/usr/bin/env python3
"""Write tests/golden/spm/NAME/tokenizer.json and expected.json: SentencePiece
tokenizers in the forms that checkpoints ship, and the ids (and texts) that
Hugging Face tokenizers gives for some strings; and NAME/model.gguf with what
sentencepiece itself gives.

    make_spm_fixtures.py CORPUS tests/golden/spm [LINES OUT]

CORPUS is any English text (used: corpus.en of ../shared/data/tokenizers).
With LINES (a file of lines) OUT gets the ids of each, as a larger check. The
table of characters is small; nmt_nfkc in its place gives the same agreement.
tokenizers 0.23.3, sentencepiece 0.2.3, gguf 0.19.0.
SPDX-License-Identifier: MIT
"""
import base64
import io
import json
import os
import sys
import tempfile

import gguf
import sentencepiece as spm
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.trainers import BpeTrainer

MARK = "\u2581"
SPACE = {"type": "Replace", "pattern": {"String": " "}, "content": MARK}
FUSE = [{"type": "Replace", "pattern": {"String": MARK}, "content": " "},
        {"type": "ByteFallback"}, {"type": "Fuse"}]
STRIP = {"type": "Strip", "content": " ", "start": 1, "stop": 0}

TEXTS = [
    "", " ", "  ", "   ", "Hello", " Hello", "  Hello", "Hello ", "Hello  ",
    "Hello world", " Hello world", "Hello  world", "Hello   world ",
    "the house and the garden", "The theatre, then; there!", "\n", "\n\n",
    "a\nb", "a \n b", "\t", "a\tb", "\u2581", "\u2581a", "a\u2581b", "a \u2581 b",
    "caf\u00e9", "cafe\u0301", "na\u00efve", "\u00c5ngstr\u00f6m", "\ufb01nd",
    "\u2460\u2461", "\uff28\uff25\uff2c\uff2c\uff2f", "\u3000wide\u3000space",
    "no\u00a0break", "zero\u200bwidth", "\u4f60\u597d\u4e16\u754c",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440",
    "\u0645\u0631\u062d\u0628\u0627", "\U0001f600", "a\U0001f600b",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "x = (y + 1) * 2;", "12345",
    "3.14", "don't", "I'm we'll they've", "e.g. this, i.e. that", "...---...",
    "<s>", "a<s>b", "<s> a", "</s>", "<0x41>", "<unk>", "aaaaaaaaaaaaaaaa",
    "ababababababab", "a\u0001b", "\u00bd\u00b2", "\u212b", "\u1e9b\u0323",
    "\uac00\u1100\u1161", "of the of the of the", "ing ed ly tion ation",
]


def bpe_pieces(corpus):
    t = Tokenizer(BPE(unk_token="<unk>"))
    t.pre_tokenizer = Metaspace(replacement=MARK, prepend_scheme="always")
    t.train_from_iterator(corpus, BpeTrainer(
        vocab_size=420, special_tokens=["<unk>", "<s>", "</s>"],
        show_progress=False))
    model = json.loads(t.to_str())["model"]
    return model["vocab"], model["merges"]


def special(ids):
    return [{"id": i, "content": s, "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False, "special": True}
            for i, s in ids]


def bpe_file(corpus, normalizer, pre, decoder, fallback=True):
    trained, merges = bpe_pieces(corpus)
    names = ["<unk>", "<s>", "</s>"]
    if fallback:
        names += [f"<0x{b:02X}>" for b in range(256)]
    names += [p for p, _ in sorted(trained.items(), key=lambda x: x[1])
              if p not in names]
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": special(enumerate(names[:3])),
            "normalizer": normalizer, "pre_tokenizer": pre,
            "post_processor": None, "decoder": decoder,
            "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>",
                      "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": True,
                      "byte_fallback": fallback, "ignore_merges": False,
                      "vocab": {p: i for i, p in enumerate(names)},
                      "merges": merges}}


# Characters and what they become: one to one, one to several, several to one,
# to nothing, and one that is the beginning of another.
RULES = ["\u2460\t1", "\u2461\t2", "\ufb01\tfi", "\u3000\t ", "\u00a0\t ",
         "\u200b\t", "e\u0301\t\u00e9", "\u212b\t\u00c5", "\u00bd\t1/2",
         "\n\t ", "\t\t ", "\u0001\t"] + [
    f"{chr(0xff21 + i)}\t{chr(65 + i)}" for i in range(26)]


def train(corpus, kind, fallback, rules, extra):
    """A model's proto; control ids as T5 and Llama have them."""
    out = io.BytesIO()
    args = {"normalization_rule_name": "identity"}
    if rules:
        with tempfile.NamedTemporaryFile("w", suffix=".tsv",
                                         delete=False) as f:
            for r in RULES:
                a, b = (r[0], r[2:]) if r[0] == "\t" else r.split("\t", 1)
                f.write(" ".join(f"{ord(c):x}" for c in a) + "\t" +
                        " ".join(f"{ord(c):x}" for c in b) + "\n")
        args = {"normalization_rule_tsv": f.name}
    ids = ({"unk_id": 0, "bos_id": 1, "eos_id": 2} if kind == "bpe" else
           {"unk_id": 2, "bos_id": 0, "eos_id": 1})
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=out,
        vocab_size=480 + 256 * fallback, model_type=kind,
        byte_fallback=fallback, character_coverage=0.999, pad_id=-1,
        remove_extra_whitespaces=extra, minloglevel=2, **args, **ids)
    if rules:
        os.unlink(f.name)
    return out.getvalue()


def unigram(corpus, fallback, rules):
    proto = train(corpus, "unigram", fallback, rules, True)
    p = spm.SentencePieceProcessor(model_proto=proto)
    vocab = [[p.id_to_piece(i), p.get_score(i)] for i in range(len(p))]
    return vocab, charsmap(proto)


def charsmap(proto):
    from sentencepiece import sentencepiece_model_pb2 as pb
    m = pb.ModelProto()
    m.ParseFromString(proto)
    return base64.b64encode(m.normalizer_spec.precompiled_charsmap).decode()


def token_type(p, i):
    t = gguf.TokenType
    return (t.UNKNOWN if p.is_unknown(i) else t.CONTROL if p.is_control(i) else
            t.BYTE if p.is_byte(i) else t.NORMAL)


def write_gguf(folder, kind, proto, extra):
    p = spm.SentencePieceProcessor(model_proto=proto)
    os.makedirs(folder, exist_ok=True)
    w = gguf.GGUFWriter(os.path.join(folder, "model.gguf"), kind)
    n = range(len(p))
    w.add_tokenizer_model(kind)
    w.add_token_list([p.id_to_piece(i) for i in n])
    w.add_token_scores([p.get_score(i) for i in n])
    w.add_token_types([token_type(p, i) for i in n])
    w.add_add_space_prefix(True)
    w.add_remove_extra_whitespaces(extra)
    w.add_eos_token_id(p.eos_id())
    w.add_unk_token_id(p.unk_id())
    if kind == "llama":
        w.add_bos_token_id(p.bos_id())
    table = base64.b64decode(charsmap(proto))
    if table:
        w.add_precompiled_charsmap(table)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    rows = [{"text": s, "ids": p.encode(s), "decoded": p.decode(p.encode(s))}
            for s in TEXTS if s != MARK]  # alone it goes, as a space does
    for r in rows:
        # A mark decodes to fewer spaces than it has, the unknown to a sign.
        if MARK in r["text"] or p.unk_id() in r["ids"]:
            del r["decoded"]
    write_rows(folder, rows)


def write_rows(folder, rows):
    with open(os.path.join(folder, "expected.json"), "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")


def unigram_file(vocab, normalizer, pre, fallback=False):
    return {"version": "1.0", "truncation": None, "padding": None,
            "added_tokens": special([(0, "<s>"), (1, "</s>"), (2, "<unk>")]),
            "normalizer": normalizer, "pre_tokenizer": pre,
            "post_processor": None,
            "decoder": ({"type": "Sequence", "decoders": FUSE + [STRIP]}
                        if fallback else pre if pre["type"] == "Metaspace"
                        else pre["pretokenizers"][1]),
            "model": {"type": "Unigram", "unk_id": 2, "vocab": vocab,
                      "byte_fallback": fallback}}


def metaspace(scheme, split=True):
    return {"type": "Metaspace", "replacement": MARK,
            "prepend_scheme": scheme, "split": split}


def seq(*steps):
    return {"type": "Sequence", "normalizers": list(steps)}


def main():
    corpus = open(sys.argv[1], encoding="utf-8").read().split("\n")
    llama = {"type": "Sequence", "decoders": FUSE + [STRIP]}
    gemma = {"type": "Sequence", "decoders": FUSE}
    nmt, table = unigram(corpus, False, True)
    plain, _ = unigram(corpus, True, False)
    pre = {"type": "Precompiled", "precompiled_charsmap": table}
    runs = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": MARK}
    strip = {"type": "Strip", "strip_left": False, "strip_right": True}
    files = {
        "llama": bpe_file(corpus, seq({"type": "Prepend", "prepend": MARK},
                                      SPACE), None, llama),
        "mistral": bpe_file(corpus, None, metaspace("first", False), llama),
        "gemma": bpe_file(corpus, SPACE,
                          {"type": "Split", "pattern": {"String": " "},
                           "behavior": "MergedWithPrevious",
                           "invert": False}, gemma),
        "words": bpe_file(corpus, None, metaspace("always"),
                          metaspace("always"), fallback=False),
        "unigram": unigram_file(plain, None, metaspace("always"), True),
        "t5": unigram_file(nmt, seq(pre, strip, runs), metaspace("always")),
        "xlm-r": unigram_file(nmt, None, {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"}, metaspace("always")]}),
    }
    folder = sys.argv[2]
    write_gguf(os.path.join(folder, "gguf-llama"), "llama",
               train(corpus, "bpe", True, False, False), False)
    write_gguf(os.path.join(folder, "gguf-t5"), "t5",
               train(corpus, "unigram", False, True, True), True)
    lines = (open(sys.argv[3], encoding="utf-8", newline="\n").read()
             .rstrip("\n").split("\n") if len(sys.argv) > 4 else None)
    for name, f in files.items():
        folder = os.path.join(sys.argv[2], name)
        os.makedirs(folder, exist_ok=True)
        text = json.dumps(f)
        with open(os.path.join(folder, "tokenizer.json"), "w") as out:
            out.write(text + "\n")
        t = Tokenizer.from_str(text)
        rows = []
        for s in TEXTS:
            if s == "<0x41>" and name == "unigram":
                continue  # takes it for the byte, which sentencepiece does not
            ids = t.encode(s, add_special_tokens=False).ids
            rows.append({"text": s, "ids": ids, "decoded": t.decode(ids)})
        write_rows(folder, rows)
        if lines:
            with open(os.path.join(sys.argv[4], name + ".ids"), "w") as out:
                for s in lines:
                    ids = t.encode(s, add_special_tokens=False).ids
                    out.write(" ".join(map(str, ids)) + "\n")


if __name__ == "__main__":
    main()
