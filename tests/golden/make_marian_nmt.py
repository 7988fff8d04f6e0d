#!/usr/bin/env python3
"""Write tests/golden/marian_nmt: a small random translator in Marian NMT's own
binary form (Transformer encoder, SSRU decoder; 8-bit matrices) with a
SentencePiece model, and what a plain numpy forward pass says about some random
sources and targets: last hidden states, logits, weights over the source, greedy
ids (first the start, which is one more than the last token).

    make_marian_nmt.py tests/golden/marian_nmt

The equations are those of Marian 1.9 (transformer.h, rnn/cells.h: SSRU), in
fp64 here, on the numbers that the file holds. float.dat holds the same
translator as `tiny` with plain numbers, whose matrices Marian keeps as [in,
out]. `wide` has rows of whole blocks of 32, which seqd multiplies in 8 bits:
fast/ says what comes out when each row that enters a product is rounded to 127
steps of its largest magnitude; the seed is one where fp32 rounds all of them as
fp64 does (the test says so when it does not).
numpy 2, sentencepiece 0.2.3, safetensors. SPDX-License-Identifier: MIT
"""
import os
import struct
import sys

import numpy as np
from safetensors.numpy import save_file

from make_spm_model_fixtures import DE, EN, train

# D, HEADS, FFN, seed
SIZES = {"tiny": (24, 3, 41, 20), "wide": (64, 4, 96, 47)}
ENC, DEC = 2, 2
EOS = 0
PAIRS = ((1, 1), (19, 23), (41, 34))
SHOWN = 1  # the pair whose attention is kept
GREEDY = 12  # tokens
YML = """bert-train-type-embeddings: true
dec-cell: ssru
dec-cell-base-depth: 2
dec-cell-high-depth: 1
dec-depth: %d
dim-emb: %d
dim-vocabs:
  - %d
  - %d
enc-depth: %d
input-types: []
layer-normalization: false
output-omit-bias: false
tied-embeddings: false
tied-embeddings-all: true
tied-embeddings-src: false
transformer-decoder-autoreg: rnn
transformer-dim-ffn: %d
transformer-ffn-activation: relu
transformer-ffn-depth: 2
transformer-heads: %d
transformer-no-projection: false
transformer-postprocess: dan
transformer-postprocess-emb: d
transformer-postprocess-top: ""
transformer-preprocess: ""
transformer-tied-layers: []
transformer-train-position-embeddings: false
type: transformer
version: v1.9.56 of a test
"""
F32, INT8, INTGEMM8 = 0x404, 0x101, 0x4101


def weights(V, D, FFN, seed):
    r = np.random.default_rng(seed)
    w = {"Wemb": r.normal(0, .3, (V, D)),
         "decoder_ff_logit_out_b": r.normal(0, .5, (1, V))}

    def linear(name, b, n_in, n_out, bias=True):
        w[name] = r.normal(0, 1.2 / np.sqrt(n_in), (n_in, n_out))
        if bias:
            w[b] = r.normal(0, .2, (1, n_out))

    def norm(name):
        w[name + "_ln_scale"] = r.normal(1, .2, (1, D))
        w[name + "_ln_bias"] = r.normal(0, .2, (1, D))

    def attention(p):
        for c in "qkvo":
            linear(p + "_W" + c, p + "_b" + c, D, D)
        norm(p + "_Wo")

    def ffn(p):
        linear(p + "_W1", p + "_b1", D, FFN)
        linear(p + "_W2", p + "_b2", FFN, D)
        norm(p + "_ffn")

    for i in range(1, ENC + 1):
        attention(f"encoder_l{i}_self")
        ffn(f"encoder_l{i}_ffn")
    for i in range(1, DEC + 1):
        p = f"decoder_l{i}_rnn"
        linear(p + "_W", None, D, D, bias=False)
        linear(p + "_Wf", p + "_bf", D, D)
        norm(p + "_ffn")
        attention(f"decoder_l{i}_context")
        ffn(f"decoder_l{i}_ffn")
    return {k: v.astype(np.float32) for k, v in w.items()}


def quantised(w):
    """8 bits with one factor a matrix, and what that stands for."""
    q, exact = {}, {}
    for name, v in w.items():
        if v.shape[0] == 1:
            q[name] = exact[name] = v
            continue
        factor = np.float32(127 / np.abs(v).max())
        n = np.clip(np.rint(v * factor), -127, 127).astype(np.int8)
        q[name] = (n, factor)
        exact[name] = n.astype(np.float32) / factor
    return q, exact


def pad(b):
    return b + b"\0" * (-len(b) % 256)


def write_bin(path, w, yml):
    items = []
    for name in sorted(w):
        v = w[name]
        if isinstance(v, tuple):
            n = v[0] if name == "Wemb" else v[0].T
            items.append((name, INTGEMM8, v[0].shape,
                          pad(n.tobytes() + struct.pack("<f", v[1]))))
            items.append((name + "_QuantMultA", F32, (1, 1),
                          pad(struct.pack("<f", 1))))
        else:
            items.append((name, F32, v.shape, pad(v.tobytes())))
    text = yml.encode() + b"\0"
    items.append(("special:model.yml", INT8, (len(text),), text))
    out = struct.pack("<QQ", 1, len(items))
    for name, kind, shape, data in items:
        out += struct.pack("<QQQQ", len(name) + 1, kind, len(shape), len(data))
    for name, _, _, _ in items:
        out += name.encode() + b"\0"
    for _, _, shape, _ in items:
        out += struct.pack("<%di" % len(shape), *shape)
    gap = -(len(out) + 8) % 256
    out += struct.pack("<Q", gap) + b"\0" * gap
    with open(path, "wb") as f:
        f.write(out + b"".join(data for _, _, _, data in items))


class Net:
    def __init__(self, w, heads, fast=False):
        self.heads, self.fast = heads, fast
        self.width = w["Wemb"].shape[1]
        self.w = {k: v.astype(np.float64) for k, v in w.items()}

    def norm(self, x, name):
        m = x.mean(-1, keepdims=True)
        v = ((x - m) ** 2).mean(-1, keepdims=True)
        return ((x - m) / np.sqrt(v + 1e-6) * self.w[name + "_ln_scale"] +
                self.w[name + "_ln_bias"])

    def rows(self, x):
        if not self.fast:
            return x
        step = np.abs(x).max(-1, keepdims=True) / 127
        return np.rint(x / step) * step

    def lin(self, x, w, b):
        return self.rows(x) @ self.w[w] + self.w[b]

    def attention(self, x, y, p):
        D, HEADS = self.width, self.heads
        q = self.lin(x, p + "_Wq", p + "_bq").reshape(len(x), HEADS, -1)
        k = self.lin(y, p + "_Wk", p + "_bk").reshape(len(y), HEADS, -1)
        v = self.lin(y, p + "_Wv", p + "_bv").reshape(len(y), HEADS, -1)
        s = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(D // HEADS)
        s = np.exp(s - s.max(-1, keepdims=True))
        s /= s.sum(-1, keepdims=True)
        self.seen = s
        a = np.einsum("hqk,khd->qhd", s, v).reshape(len(x), D)
        return self.norm(self.lin(a, p + "_Wo", p + "_bo") + x, p + "_Wo")

    def ffn(self, x, p):
        h = np.maximum(self.lin(x, p + "_W1", p + "_b1"), 0)
        return self.norm(self.lin(h, p + "_W2", p + "_b2") + x, p + "_ffn")

    def waves(self, n):
        half = self.width // 2
        a = np.arange(n)[:, None] * np.exp(
            np.arange(half) * -(np.log(10000.0) / (half - 1)))
        return np.concatenate([np.sin(a), np.cos(a)], 1)

    def encode(self, ids):
        x = (self.w["Wemb"][ids] * np.sqrt(self.width) +
             self.waves(len(ids)))
        for i in range(1, ENC + 1):
            x = self.attention(x, x, f"encoder_l{i}_self")
            x = self.ffn(x, f"encoder_l{i}_ffn")
        return x

    def decode(self, source, ids):
        """Hidden states of [start] + ids, and weights over the source."""
        shown, D = [], self.width
        e = np.concatenate([np.zeros((1, D)),
                            self.w["Wemb"][ids] * np.sqrt(D)])
        x = e + self.waves(len(e))
        for i in range(1, DEC + 1):
            p = f"decoder_l{i}_rnn"
            f = 1 / (1 + np.exp(-self.lin(x, p + "_Wf", p + "_bf")))
            y, c = self.rows(x) @ self.w[p + "_W"], np.zeros(D)
            cells = []
            for t in range(len(x)):
                c = f[t] * c + (1 - f[t]) * y[t]
                cells.append(c)
            x = self.norm(np.maximum(np.array(cells), 0) + x, p + "_ffn")
            x = self.attention(x, source, f"decoder_l{i}_context")
            shown.append(self.seen)
            x = self.ffn(x, f"decoder_l{i}_ffn")
        return x, shown

    def logits(self, x):
        return self.rows(x) @ self.w["Wemb"].T + self.w["decoder_ff_logit_out_b"]


def expected(net, V, seed):
    rng = np.random.default_rng(seed)
    found = {}
    for i, (n, m) in enumerate(PAIRS):
        source = rng.integers(0, V, n)
        target = rng.integers(0, V, m)
        target[0] = V  # the start, which has no embedding
        mem, made = net.encode(source), [V]
        hidden, shown = net.decode(mem, target[1:])
        while len(made) < GREEDY + 1 and made[-1] != EOS:
            made.append(int(net.logits(net.decode(mem, made[1:])[0][-1])
                            .argmax()))
        found[f"source.{i}"] = source.astype(np.int32)
        found[f"target.{i}"] = target.astype(np.int32)
        found[f"hidden.{i}"] = hidden.astype(np.float32)
        found[f"logits.{i}"] = net.logits(hidden).astype(np.float32)
        found[f"greedy.{i}"] = np.array(made, np.int32)
        if i == SHOWN:
            found["attention"] = np.concatenate(shown).reshape(-1, n).astype(
                np.float32)
    return found


def main():
    model = train(EN + DE, 11, "unigram", 300, unk_id=1, eos_id=EOS, pad_id=-1)
    V = len(model.pieces)
    for name, (D, heads, FFN, seed) in SIZES.items():
        out = os.path.join(sys.argv[1], name)
        wide = name == "wide"
        folders = {"expected": False, "fast": True} if wide else {
            "expected": False}
        for folder in ("hf", *folders):
            os.makedirs(os.path.join(out, folder), exist_ok=True)
        with open(os.path.join(out, "hf", "vocab.xxyy.spm"), "wb") as f:
            f.write(model.SerializeToString())
        w = weights(V, D, FFN, seed)
        yml = YML % (DEC, D, V, V, ENC, FFN, heads)
        q, exact = quantised(w)
        write_bin(os.path.join(out, "hf", "model.bin"), q, yml)
        if not wide:
            write_bin(os.path.join(sys.argv[1], "float.dat"), w, yml)
        for folder, fast in folders.items():
            save_file(expected(Net(exact, heads, fast), V, 7),
                      os.path.join(out, folder, "model.safetensors"))


if __name__ == "__main__":
    main()
