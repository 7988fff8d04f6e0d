#!/usr/bin/env python3
"""Write tests/golden/tokenizer/pipelines.json: random pipelines of
search_pipelines.py and what Hugging Face tokenizers makes of random texts with
them: ids, places in code points, the ids as text (null where seqd means to be
otherwise, which that script tells).

    pip install tokenizers==0.23.3
    tests/golden/make_pipeline_fixtures.py [out [pipelines [texts [seed]]]]

SPDX-License-Identifier: MIT"""
import json
import random
import sys

import tokenizers
from tokenizers import Tokenizer

from search_pipelines import is_marked, known, pipeline, reference, text

VERSION = "0.23.3"
MAX_FILE = 9000  # bytes of a tokenizer.json


def cases(r, file, special, n):
    t = Tokenizer.from_str(file)
    texts = [text(r) for _ in range(n)]
    for s, want in zip(texts, reference(t, texts, [], special)):
        if want and "<0x" not in s and "\0" not in s:
            meant = known(file, want[0], None, want[2])
            marked = is_marked(json.loads(file)["model"])
            yield [s, want[0], None if marked else want[1],
                   None if meant else want[2]]


def main():
    assert tokenizers.__version__ == VERSION, tokenizers.__version__
    out, n, n_texts, seed = (sys.argv[1:] + [
        "tests/golden/tokenizer/pipelines.json", "160", "6", "1"][
            len(sys.argv) - 1:])[:4]
    r = random.Random(int(seed))
    rows = []
    while len(rows) < int(n):
        file, special = pipeline(r), r.random() < .5
        if len(file) <= MAX_FILE:
            rows.append({"tokenizer": file, "special": special, "cases": list(
                cases(r, file, special, int(n_texts)))})
    with open(out, "w", encoding="utf-8") as f:
        f.write("[\n")
        f.write(",\n".join(json.dumps(x, ensure_ascii=True,
                                      separators=(",", ":")) for x in rows))
        f.write("\n]\n")


main()
