#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bring a two-layer character LSTM (shared data, models/charlstm-NAME) into
seqd's layout.

    tests/golden/convert_charlstm.py SHARED NAME OUT

TensorFlow's basic LSTM: gates input, candidate, forget, output of
concat(x, h) W + b, with 1.0 added to the forget gate at run time; that 1.0
becomes bias_hh. text.txt in OUT is the stretch of the training text on which
the source's bits per character are stated.
"""
import gzip
import json
import sys
from pathlib import Path

import checkpoint as ck

ORDER = (0, 2, 1, 3)  # i j f o to i f g o
FIRST, LAST = 100000, 120000  # code points; LAST is the last one predicted
TEXTS = {"charlotte-bronte": "gutenberg/bronte-collected.txt.gz",
         "shakespeare": "tinyshakespeare/input.txt"}


def layer(t, n, inputs):
    kernel, bias = t[f"cell_{n}.kernel"].rows(), t[f"cell_{n}.bias"].data
    H = len(bias) // 4
    return {
        f"rnn.weight_ih_l{n}": ck.from_rows(
            "F32", ck.gates(kernel[:inputs], ORDER)),
        f"rnn.weight_hh_l{n}": ck.from_rows(
            "F32", ck.gates(kernel[inputs:], ORDER)),
        f"rnn.bias_ih_l{n}": ck.vector("F32", ck.gate_vector(bias, ORDER)),
        f"rnn.bias_hh_l{n}": ck.vector(
            "F32", [0.0] * H + [1.0] * H + [0.0] * 2 * H),
    }


def text_of(shared, name):
    raw = (shared / "data" / TEXTS[name]).read_bytes()
    if TEXTS[name].endswith(".gz"):
        raw = gzip.decompress(raw)
    return raw.decode("utf-8")[FIRST:LAST + 1]


def main():
    shared, name, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    src = shared / f"data/models/charlstm-{name}"
    t = ck.read(src / "model.safetensors")
    vocab = json.loads((src / "vocab.json").read_text(encoding="utf-8"))
    chars = sorted(vocab, key=vocab.get)
    V, E = t["embedding"].shape
    tensors = {"embedding.weight": t["embedding"]}
    tensors.update(layer(t, 0, E))
    tensors.update(layer(t, 1, t["softmax_w"].shape[0]))
    tensors["output.weight"] = ck.from_rows(
        "F32", ck.transposed(t["softmax_w"].rows()))
    tensors["output.bias"] = t["softmax_b"]
    config = dict(model_type="rnn", cell="lstm", vocab_size=V, embedding_dim=E,
                  hidden_size=t["softmax_w"].shape[0], num_layers=2, head="lm")
    ck.save(out, config, ck.tokenizer(chars, dict(type="seqd-characters")),
            tensors)
    (out / "text.txt").write_text(text_of(shared, name), encoding="utf-8",
                                  newline="")
    (out / "expected.json").write_text(
        json.dumps(json.loads((src / "expected.json").read_text())))


if __name__ == "__main__":
    main()
