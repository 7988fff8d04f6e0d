"""Checkpoints of the toy that makes texts from texts (ports_arch.h), and the
server that has it in its list (tests/http/seqd_toy.c).

SPDX-License-Identifier: MIT
"""
import json
import os
import re
import struct

TOY = os.path.abspath(os.environ.get("B", "build/release") +
                      "/tests/http/seqd_toy")
FIXED = ["<unk>", "<s>", "</s>"] + [f"<{i}>" for i in range(3, 9)]
LANGUAGES = [">>de<<", ">>es<<", ">>fr<<"]


def source_limit():
    """The most tokens of a source, as ports_arch.c has it."""
    here = os.path.dirname(os.path.abspath(__file__))
    with open(here + "/ports_arch.c") as c, open(here + "/ports_arch.h") as h:
        n = re.search(r"context_length = (\w+);", c.read())[1]
        return int(n) if n.isdigit() else int(re.search(
            rf"define {n} (\d+)", h.read())[1])


CONTEXT = source_limit()


def words(languages):
    return (FIXED + languages + [f"w{i}" for i in range(40)])[:40]


def make(path, languages=(), **config):
    os.makedirs(path)
    vocab = words(list(languages))
    with open(path + "/config.json", "w") as f:
        json.dump(dict(dict(model_type="ports", kind="pair", max_chain=0,
                            eos_token_id=2), **config), f)
    with open(path + "/tokenizer.json", "w") as f:
        json.dump({"version": "1.0", "added_tokens": [
            {"id": i, "content": w, "special": True}
            for i, w in enumerate(FIXED)],
            "normalizer": {"type": "seqd-whitespace"},
            "model": {"type": "WordLevel", "unk_token": "<unk>",
                      "vocab": {w: i for i, w in enumerate(vocab)}},
            "seqd": {"bos": "<s>", "eos": "</s>", "add_bos": False}}, f)
    head = json.dumps({"table": {"dtype": "F32", "shape": [4096],
                                 "data_offsets": [0, 16384]}}).encode()
    with open(path + "/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + bytes(16384))
