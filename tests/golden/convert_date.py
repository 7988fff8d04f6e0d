#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bring an LSTM encoder-decoder with dot attention that normalises dates
(shared data, models/date-attention-seq2seq) into seqd's layout.

    tests/golden/convert_date.py SHARED OUT

The source multiplies from the left (y = x W + b), has gates forget, candidate,
input, output and the context before the state; the decoder's cell state begins
as zero. Sources are 29 characters, filled with spaces; targets have 10 after
the start token "_" and no end.
"""
import json
import sys
from pathlib import Path

import checkpoint as ck

ORDER = (2, 0, 1, 3)  # f g i o to i f g o


def side(t, old, new):
    H = t[f"{old}.lstm.w_h"].shape[0]
    return {
        f"{new}.embedding.weight": t[f"{old}.embed"],
        f"{new}.rnn.weight_ih_l0": ck.from_rows(
            "F16", ck.gates(t[f"{old}.lstm.w_x"].rows(), ORDER)),
        f"{new}.rnn.weight_hh_l0": ck.from_rows(
            "F16", ck.gates(t[f"{old}.lstm.w_h"].rows(), ORDER)),
        f"{new}.rnn.bias_ih_l0": ck.vector(
            "F16", ck.gate_vector(t[f"{old}.lstm.bias"].data, ORDER)),
        f"{new}.rnn.bias_hh_l0": ck.vector("F16", [0] * (4 * H)),
    }


def main():
    src = Path(sys.argv[1]) / "data/models/date-attention-seq2seq"
    out = Path(sys.argv[2])
    t = ck.read(src / "model.safetensors")
    vocab = json.loads((src / "vocab.json").read_text())
    chars = sorted(vocab, key=vocab.get)
    V, E = t["dec.embed"].shape
    H = t["dec.lstm.w_h"].shape[0]
    rows = ck.transposed(t["dec.affine.weight"].rows())
    tensors = {
        **side(t, "enc", "encoder"), **side(t, "dec", "decoder"),
        "output.weight": ck.from_rows("F16", [r[H:] + r[:H] for r in rows]),
        "output.bias": t["dec.affine.bias"],
    }
    config = dict(model_type="seq2seq-rnn", cell="lstm", source_vocab_size=V,
                  vocab_size=V, embedding_dim=E, hidden_size=H,
                  attention="dot", bridge_cell=False, reverse_source=True,
                  decoder_start_token_id=vocab["_"])
    ck.save(out, config, ck.tokenizer(chars, dict(type="seqd-characters")),
            tensors)


if __name__ == "__main__":
    main()
