#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make tests/golden/bare_vocab/bart/: a vocab.json and a merges.txt with no
file beside them, as BART and RoBERTa were published, and expected.json: texts
with the ids that transformers' BartTokenizer and RobertaTokenizer give them,
special tokens in the texts read as such.

    python3 tests/golden/make_bare_vocab_fixtures.py [OUT]

Needs transformers 4.57 (its Python classes) and tokenizers 0.22, which learns
the vocabulary from the lines below.
"""
import json
import sys
from pathlib import Path

import transformers as tr
from tokenizers import ByteLevelBPETokenizer

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
LINES = ["the house of the old king", "the king has no house here",
         "he reads the newest news, and she sees it's his",
         "lower and lowest, newer and newest: 12 of 345"]
TEXTS = LINES + [
    "", " ", "a", " a", "the", " the", "the ", "The House", "na\u00efve",
    "\u4e2d\u6587", "\U0001f600!", "it's, isn't it?", "tabs\tand\nlines",
    "<mask>", "the <mask>", "the  <mask> king", "the<mask>king.", "<mask> king",
    "</s>", "a</s> b", "<s>the", "<pad><unk>", "<mas k>", "x <mask><mask> y"]


def main():
    here = Path(__file__).parent
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else here / "bare_vocab"
    out = out / "bart"
    out.mkdir(parents=True, exist_ok=True)
    t = ByteLevelBPETokenizer()
    t.train_from_iterator(LINES, vocab_size=320, min_frequency=2,
                          special_tokens=SPECIAL, show_progress=False)
    t.save_model(str(out))
    files = [str(out / "vocab.json"), str(out / "merges.txt")]
    bart, roberta = tr.BartTokenizer(*files), tr.RobertaTokenizer(*files)
    rows = []
    for text in TEXTS:
        ids = bart(text).input_ids
        assert ids == roberta(text).input_ids, text
        rows.append(json.dumps({"text": text, "ids": ids}))
    (out / "expected.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")
    print(len(rows), "texts,", t.get_vocab_size(), "entries; transformers",
          tr.__version__)


if __name__ == "__main__":
    main()
