#!/usr/bin/env python3
"""The model of the HTTP comparison, twice: as an ONNX file for the peer and as
a checkpoint for seqd, from the same random weights (fixed seed): embedding
[10000,128], one LSTM layer of 256, a linear layer to two labels on the last
state, fp32. The vocabulary is w0 .. w9999, so that word and id are the same.
Needs Debian's python3-torch.

SPDX-License-Identifier: MIT
"""
import json
import os
import struct
import sys
import warnings

import torch

V, E, H, C = 10000, 128, 256, 2


class Sentiment(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(V, E)
        self.rnn = torch.nn.LSTM(E, H, batch_first=True)
        self.output = torch.nn.Linear(H, C)

    def forward(self, ids):
        top, _ = self.rnn(self.embedding(ids))
        return self.output(top[:, -1])


def save_safetensors(path, tensors):
    """Header length (u64), JSON header, then the data in header order."""
    header, parts, at = {}, [], 0
    for name, t in tensors.items():
        raw = t.detach().contiguous().numpy().astype("<f4").tobytes()
        header[name] = {"dtype": "F32", "shape": list(t.shape),
                        "data_offsets": [at, at + len(raw)]}
        parts.append(raw)
        at += len(raw)
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head + b"".join(parts))


def save_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f)


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else "build/bench"
    checkpoint = os.path.join(out, "lstm")
    os.makedirs(checkpoint, exist_ok=True)
    torch.manual_seed(7)
    model = Sentiment().eval()
    # The scores of random weights lie close together: a wider output layer
    # makes an error in the states visible in the probabilities.
    with torch.no_grad():
        model.output.weight *= 8
    warnings.filterwarnings("ignore")
    torch.onnx.export(
        model, torch.randint(0, V, (2, 64)), os.path.join(out, "lstm.onnx"),
        input_names=["ids"], output_names=["logits"], opset_version=14,
        dynamic_axes={"ids": {0: "b", 1: "s"}, "logits": {0: "b"}})
    save_safetensors(os.path.join(checkpoint, "model.safetensors"),
                     model.state_dict())
    save_json(os.path.join(checkpoint, "config.json"), {
        "model_type": "rnn", "cell": "lstm", "vocab_size": V,
        "embedding_dim": E, "hidden_size": H, "num_layers": 1,
        "head": "classifier", "pooling": "last",
        "id2label": {"0": "negative", "1": "positive"}})
    save_json(os.path.join(checkpoint, "tokenizer.json"), {
        "version": "1.0", "added_tokens": [],
        "normalizer": {"type": "seqd-english", "lowercase": True},
        "model": {"type": "WordLevel", "unk_token": "w0",
                  "vocab": {f"w{i}": i for i in range(V)}}})


main()
