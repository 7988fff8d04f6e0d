#!/usr/bin/env python3
"""Write tests/golden/spm_model/NAME: SentencePiece model files as checkpoints
ship them (spiece.model, tokenizer.model, sentencepiece.bpe.model; source.spm
and target.spm with vocab.json), trained on sentences that are made here, and
expected.json: ids and texts that sentencepiece itself, or the class of
transformers that reads such a folder, gives for some strings.

    make_spm_model_fixtures.py tests/golden/spm_model [LINES [MODEL...]]

With LINES (used: tokenizer-vectors/lines.txt of ../shared/models) lines.json
gets what the ids come to that sentencepiece gives each 100 lines, by the models
made here and by MODEL files (used: marian-tiny-enpt's vocab.enpt.spm): FNV-1a
of the ids in decimal, a space behind each, a line feed behind each line.
sentencepiece 0.2.3, transformers 4.57.6, protobuf.
SPDX-License-Identifier: MIT
"""
import io
import json
import os
import random
import sys
import tempfile

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as pb
from transformers import (LlamaTokenizer, MarianTokenizer, T5Tokenizer,
                          XLMRobertaTokenizer)

MARK = "\u2581"
TEXTS = [
    " ", "  ", "Hello", " Hello", "  Hello", "Hello ", "Hello  ",
    "the house", "the  house", "the   old house ", "the house and the garden",
    "The theatre, then; there!", "\n", "\n\n", "a\nb", "a \n b", "\t", "a\tb",
    MARK, MARK + "a", "a" + MARK + "b", "a " + MARK + " b", "a" + MARK,
    " " + MARK + " ", MARK + MARK + "the", "the" + MARK + MARK,
    "caf\u00e9", "cafe\u0301", "na\u00efve", "\u00c5ngstr\u00f6m",
    "\ufb01nd", "\u2460\u2461", "\uff28\uff25\uff2c\uff2c\uff2f",
    "\u3000wide\u3000space", "no\u00a0break", "\u00a0\u00a0the\u00a0 house",
    "zero\u200bwidth", "\u4f60\u597d\u4e16\u754c",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u043c\u0438\u0440", "\U0001f600",
    "a\U0001f600b", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "x = (y + 1) * 2;", "12345", "3.14", "don't", "...---...", "<0x41>",
    "aaaaaaaaaaaaaaaa", "ababababababab", "a\u0001b", "\u00bd\u00b2", "\u212b",
    "\u00a8the", "the\u00a8house", "of the of the of the",
    "der alte Garten", "stra\u00dfe", "[SEP]", "the[SEP]house",
    "the [SEP] house", "[SEP][SEP]", "\u2460[SEP]\u2461", "a[SE]b", "[CLS]the",
    "[CLS][SEP]old", "hohoho", "ho", "oldhouse", "  [CLS]  the",
]
# One to one, to several, several to one, to nothing; a space and more.
RULES = ["\u2460\t1", "\u2461\t2", "\ufb01\tfi", "\u3000\t ", "\u00a0\t ",
         "\u200b\t", "e\u0301\t\u00e9", "\u212b\t\u00c5", "\u00bd\t1/2",
         "\u00a8\t  x", "\n\t ", "\u0001\t"] + [
    f"{chr(0xff21 + i)}\t{chr(65 + i)}" for i in range(26)]
EN = ("the a old young red house garden tree river walks sees finds reads "
      "writes builds theatre then there and of in under over with book song "
      "water light hello small large naive 12 34 3.14").split()
DE = ("der die das alte junge rote Haus Garten Baum Fluss geht sieht findet "
      "liest schreibt baut Theater dann dort und von in unter \u00fcber mit "
      "Buch Lied Wasser Licht hallo klein gro\u00df Stra\u00dfe 12 34").split()


def sentences(words, seed, n=1500):
    r = random.Random(seed)
    return [" ".join(r.choice(words) for _ in range(r.randint(3, 9))) +
            r.choice([".", "!", "?", ", too."]) for _ in range(n)]


def train(words, seed, kind, size, rules=False, **more):
    out = io.BytesIO()
    args = {"normalization_rule_name": "identity", "unk_id": 2, "bos_id": -1,
            "eos_id": 1, "pad_id": 0}
    if rules:
        with tempfile.NamedTemporaryFile("w", suffix=".tsv",
                                         delete=False) as f:
            for rule in RULES:
                a, b = rule.split("\t", 1)
                f.write(" ".join(f"{ord(c):x}" for c in a) + "\t" +
                        " ".join(f"{ord(c):x}" for c in b) + "\n")
        args["normalization_rule_tsv"] = f.name
        del args["normalization_rule_name"]
    args.update(more)
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences(words, seed)), model_writer=out,
        vocab_size=size, model_type=kind, character_coverage=1.0,
        hard_vocab_limit=False, minloglevel=2, num_threads=1, **args)
    if rules:
        os.unlink(f.name)
    m = pb.ModelProto()
    m.ParseFromString(out.getvalue())
    m.trainer_spec.ClearField("input")
    m.normalizer_spec.ClearField("normalization_rule_tsv")
    return m


def folder(name):
    path = os.path.join(sys.argv[1], name)
    os.makedirs(path, exist_ok=True)
    return path


def save(name, file, model):
    with open(os.path.join(folder(name), file), "wb") as f:
        f.write(model.SerializeToString())


def rows(name, encode, decode):
    """Of each text: ids, and the text of these."""
    with open(os.path.join(folder(name), "expected.json"), "w") as out:
        lines = []
        for s in TEXTS:
            ids = encode(s)
            row = {"text": s, "ids": ids}
            text = decode(ids)
            if text is not None:
                row["decoded"] = text
            lines.append(json.dumps(row))
        out.write("[\n" + ",\n".join(lines) + "\n]\n")


def by_library(name, file, model, around=([], [])):
    """What the library gives, with the ids that a class puts around it."""
    save(name, file, model)
    p = spm.SentencePieceProcessor(model_proto=model.SerializeToString())

    def decode(ids):  # the library writes a sign for the unknown
        ids = ids[len(around[0]):len(ids) - len(around[1])]
        return None if p.unk_id() in ids else p.decode(ids)

    rows(name, lambda s: around[0] + p.encode(s) + around[1], decode)


def by_class(name, tokenizer, unknown):
    rows(name, lambda s: tokenizer(s).input_ids,
         lambda ids: None if unknown in ids else
         tokenizer.decode(ids, skip_special_tokens=True,
                          clean_up_tokenization_spaces=False))


def write_json(name, file, value):
    with open(os.path.join(folder(name), file), "w") as f:
        json.dump(value, f, ensure_ascii=False, indent=0)
        f.write("\n")


def marian(name, two):
    """Source and target; ids in an order of their own, codes of languages, some
    pieces of the source missing in the list."""
    source = train(EN, 5, "unigram", 200, rules=True)
    target = train(DE, 6, "unigram", 200, rules=True)
    save(name, "source.spm", source)
    save(name, "target.spm", target)
    a = [p.piece for p in source.pieces if p.type == 1]
    b = [p.piece for p in target.pieces if p.type == 1]
    a = [p for p in a if p not in a[40:160:30]]
    codes = [">>deu<<", ">>fra<<"]
    head, tail = ["</s>", "<unk>"], ["<pad>"]
    if two:  # transformers takes the source's <pad> for one of the target, too
        a += [f"spare{i}" for i in range(len(b) - len(a))]
    one = head + codes + (a if two else sorted(set(a + b), reverse=True)) + tail
    write_json(name, "vocab.json", {p: i for i, p in enumerate(one)})
    if two:
        write_json(name, "target_vocab.json",
                   {p: i for i, p in enumerate(head + b + tail)})
    write_json(name, "tokenizer_config.json",
               {"tokenizer_class": "MarianTokenizer", "source_lang": "eng",
                "target_lang": "deu", "separate_vocabs": two})
    t = MarianTokenizer.from_pretrained(folder(name))
    lines = []
    for s in TEXTS + [">>deu<< the house", ">>fra<<", ">>xxx<< the house",
                      ">>deu<<the >>fra<< house", ">> the << house", ">>the",
                      " >>deu<< the"]:
        source_ids = t(s).input_ids
        ids = t(text_target=s).input_ids
        row = {"text": s, "source": source_ids, "ids": ids}
        if t.unk_token_id not in ids:
            row["decoded"] = t.decode(ids, skip_special_tokens=True,
                                      clean_up_tokenization_spaces=False)
        lines.append(json.dumps(row))
    with open(os.path.join(folder(name), "expected.json"), "w") as out:
        out.write("[\n" + ",\n".join(lines) + "\n]\n")


def main():
    users = {"user_defined_symbols": ["[SEP]", "[CLS]", "[CLS][SEP]", "hoho"]}
    t5 = train(EN, 1, "unigram", 240, rules=True)
    save("t5", "spiece.model", t5)
    write_json("t5", "tokenizer_config.json",
               {"tokenizer_class": "T5Tokenizer", "legacy": True,
                "extra_ids": 10, "eos_token": "</s>", "unk_token": "<unk>",
                "pad_token": "<pad>"})
    t = T5Tokenizer.from_pretrained(folder("t5"))
    by_class("t5", t, t.unk_token_id)
    llama = train(EN + DE, 2, "bpe", 640, byte_fallback=True, unk_id=0,
                  bos_id=1, eos_id=2, pad_id=-1,
                  remove_extra_whitespaces=False)
    save("llama", "tokenizer.model", llama)
    write_json("llama", "tokenizer_config.json",
               {"tokenizer_class": "LlamaTokenizer", "add_bos_token": True,
                "add_eos_token": False, "legacy": True})
    t = LlamaTokenizer.from_pretrained(folder("llama"))
    p = spm.SentencePieceProcessor(model_proto=llama.SerializeToString())
    rows("llama", lambda s: t(s).input_ids, lambda ids: p.decode(ids))
    xlmr = train(EN + DE, 3, "unigram", 300, rules=True, unk_id=0, bos_id=1,
                 eos_id=2, pad_id=-1)
    save("xlm-r", "sentencepiece.bpe.model", xlmr)
    t = XLMRobertaTokenizer.from_pretrained(folder("xlm-r"))
    by_class("xlm-r", t, t.unk_token_id)
    # No file but the model: by the library, what the name asks for around.
    by_library("users-unigram", "spiece.model",
               train(EN, 4, "unigram", 200, rules=True, **users), ([], [1]))
    by_library("users-bpe", "tokenizer.model",
               train(EN, 4, "bpe", 200, unk_id=0, bos_id=1, eos_id=2,
                     pad_id=-1, **users), ([1], []))
    by_library("bytes", "spiece.model",
               train(EN, 7, "unigram", 480, byte_fallback=True), ([], [1]))
    by_library("no-prefix", "spiece.model",
               train(EN, 8, "unigram", 200, rules=True, add_dummy_prefix=False,
                     remove_extra_whitespaces=False), ([], [1]))
    by_library("squeezed", "spiece.model",
               train(EN, 8, "unigram", 200, rules=True,
                     add_dummy_prefix=False), ([], [1]))
    # Spaces stay spaces, and some pieces are out of use.
    bare = train(EN, 9, "unigram", 200, rules=True)
    bare.normalizer_spec.escape_whitespaces = False
    for i, piece in enumerate(bare.pieces):
        piece.piece = piece.piece.replace(MARK, " ")
        if 40 <= i < 60:
            piece.type = pb.ModelProto.SentencePiece.UNUSED
    by_library("bare", "spiece.model", bare, ([], [1]))
    marian("marian", False)
    marian("marian-two", True)
    if len(sys.argv) > 2:
        write_sums()


def fnv(ids_of_lines):
    h = 0x811c9dc5
    for ids in ids_of_lines:
        for b in ("".join(f"{i} " for i in ids) + "\n").encode():
            h = ((h ^ b) * 0x01000193) & 0xffffffff
    return f"{h:08x}"


def write_sums():
    with open(sys.argv[2], encoding="utf-8", newline="\n") as f:
        lines = f.read().rstrip("\n").split("\n")
    paths = [os.path.join(sys.argv[1], p) for p in (
        "t5/spiece.model", "llama/tokenizer.model", "bytes/spiece.model",
        "users-unigram/spiece.model", "users-bpe/tokenizer.model",
        "no-prefix/spiece.model", "squeezed/spiece.model",
        "bare/spiece.model")] + sys.argv[3:]
    sums = {}
    for path in paths:
        p = spm.SentencePieceProcessor(model_file=path)
        ids = [p.encode(s) for s in lines]
        sums["/".join(path.split("/")[-2:])] = [
            fnv(ids[k:k + 100]) for k in range(0, len(ids), 100)]
    with open(os.path.join(sys.argv[1], "lines.json"), "w") as out:
        json.dump(sums, out, indent=0)
        out.write("\n")


if __name__ == "__main__":
    main()
