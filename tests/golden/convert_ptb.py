#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bring the word LSTM on Penn Treebank (shared data, models/ptb-lstm100) into
seqd's layout.

    tests/golden/convert_ptb.py SHARED OUT

The source multiplies row vectors, y = x W + b, with the gates forget,
candidate, input, output; its one bias becomes bias_ih. The half-precision bits
are moved, not changed.
"""
import json
import sys
from pathlib import Path

import checkpoint as ck

ORDER = (2, 0, 1, 3)  # f g i o to i f g o


def main():
    src = Path(sys.argv[1]) / "data/models/ptb-lstm100"
    out = Path(sys.argv[2])
    t = ck.read(src / "model.safetensors")
    words = (src / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1]
    H = t["lstm.w_h"].shape[0]
    tensors = {
        "embedding.weight": t["embed.weight"],
        "rnn.weight_ih_l0": ck.from_rows(
            "F16", ck.gates(t["lstm.w_x"].rows(), ORDER)),
        "rnn.weight_hh_l0": ck.from_rows(
            "F16", ck.gates(t["lstm.w_h"].rows(), ORDER)),
        "rnn.bias_ih_l0": ck.vector(
            "F16", ck.gate_vector(t["lstm.bias"].data, ORDER)),
        "rnn.bias_hh_l0": ck.vector("F16", [0] * (4 * H)),
        "output.weight": ck.from_rows(
            "F16", ck.transposed(t["affine.weight"].rows())),
        "output.bias": t["affine.bias"],
    }
    config = dict(model_type="rnn", cell="lstm", vocab_size=len(words),
                  embedding_dim=t["embed.weight"].shape[1], hidden_size=H,
                  num_layers=1, head="lm")
    tok = ck.tokenizer(words, dict(type="seqd-whitespace", newline="<eos>"),
                       unk="<unk>", eos="<eos>")
    ck.save(out, config, tok, tensors)
    (out / "expected.json").write_text(
        json.dumps(json.loads((src / "expected.json").read_text())))


if __name__ == "__main__":
    main()
