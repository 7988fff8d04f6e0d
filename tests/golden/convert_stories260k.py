#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bring stories260K, a Transformer of llama2.c (shared data,
models/stories260K), into the two containers that seqd serves.

    tests/golden/convert_stories260k.py SHARED OUT

OUT/hf gets config.json and model.safetensors, OUT/stories260k.gguf the same
weights with the tokenizer (SentencePiece BPE with scores). The source turns
neighbouring pairs (2i, 2i+1), as GGUF's llama does: in the Hugging Face
directory the rows of the queries and keys stand in halves instead. All
numbers are moved, none is changed.
"""
import json
import struct
import sys
from array import array
from pathlib import Path

import checkpoint as ck

STRING, ARRAY, U32, I32, F32, BOOL = 8, 9, 4, 5, 6, 7
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


class Source:
    """The legacy layout: 7 int32, then the matrices layer by layer."""

    def __init__(self, path):
        raw = path.read_bytes()
        self.dim, self.hidden, self.layers, self.heads, self.kv, self.vocab, \
            self.length = struct.unpack_from("<7i", raw)
        self.data, self.at = array("f", raw[28:]), 0
        self.head = self.dim // self.heads
        kv, L = self.kv * self.head, self.layers
        take = self.take
        self.embedding = take(self.vocab, self.dim)[0]
        self.attn_norm = take(1, self.dim, L)
        self.q = take(self.dim, self.dim, L)
        self.k = take(kv, self.dim, L)
        self.v = take(kv, self.dim, L)
        self.o = take(self.dim, self.dim, L)
        self.ffn_norm = take(1, self.dim, L)
        self.gate = take(self.hidden, self.dim, L)
        self.down = take(self.dim, self.hidden, L)
        self.up = take(self.hidden, self.dim, L)
        self.norm = take(1, self.dim)[0]

    def take(self, rows, cols, n=1):
        out = []
        for _ in range(n):
            out.append((rows, cols, self.data[self.at:self.at + rows * cols]))
            self.at += rows * cols
        return out


def halves(t, head):
    """Rows 0, 2, 4 ... of each head, then 1, 3, 5 ..."""
    rows, cols, data = t
    out = array("f")
    for base in range(0, rows, head):
        for i in [*range(0, head, 2), *range(1, head, 2)]:
            out.extend(data[(base + i) * cols:(base + i + 1) * cols])
    return rows, cols, out


def write_hf(s, out):
    t = {"model.embed_tokens.weight": s.embedding, "model.norm.weight": s.norm}
    for i in range(s.layers):
        p = f"model.layers.{i}."
        t[p + "input_layernorm.weight"] = s.attn_norm[i]
        t[p + "self_attn.q_proj.weight"] = halves(s.q[i], s.head)
        t[p + "self_attn.k_proj.weight"] = halves(s.k[i], s.head)
        t[p + "self_attn.v_proj.weight"] = s.v[i]
        t[p + "self_attn.o_proj.weight"] = s.o[i]
        t[p + "post_attention_layernorm.weight"] = s.ffn_norm[i]
        t[p + "mlp.gate_proj.weight"] = s.gate[i]
        t[p + "mlp.up_proj.weight"] = s.up[i]
        t[p + "mlp.down_proj.weight"] = s.down[i]
    config = dict(model_type="llama", vocab_size=s.vocab, hidden_size=s.dim,
                  intermediate_size=s.hidden, num_hidden_layers=s.layers,
                  num_attention_heads=s.heads, num_key_value_heads=s.kv,
                  max_position_embeddings=s.length, rms_norm_eps=1e-5,
                  rope_theta=10000.0, hidden_act="silu",
                  tie_word_embeddings=True, bos_token_id=1, eos_token_id=2)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    ck.write(out / "model.safetensors",
             {n: ck.Tensor("F32", [r, c] if r > 1 else [c], d)
              for n, (r, c, d) in t.items()})


def read_tokens(path, n):
    raw, at, out = path.read_bytes(), 4, []
    for _ in range(n):
        score, size = struct.unpack_from("<fi", raw, at)
        out.append((raw[at + 8:at + 8 + size], score))
        at += 8 + size
    return out


def text(b):
    return struct.pack("<Q", len(b)) + b


def entry(key, kind, value):
    return text(key.encode()) + struct.pack("<I", kind) + value


def listed(key, kind, values, pack):
    return entry(key, ARRAY, struct.pack("<IQ", kind, len(values)) +
                 b"".join(map(pack, values)))


def tokenizer_keys(tokens):
    """As llama.cpp's converter has them: a space is U+2581, the first three
    are unknown, begin and end, then come the 256 bytes."""
    names = [b"<unk>", b"<s>", b"</s>"]
    names += [t.replace(b" ", "\u2581".encode()) for t, _ in tokens[3:]]
    kinds = [UNKNOWN, CONTROL, CONTROL] + [BYTE] * 256
    kinds += [NORMAL] * (len(tokens) - len(kinds))
    return [
        entry("tokenizer.ggml.model", STRING, text(b"llama")),
        listed("tokenizer.ggml.tokens", STRING, names, text),
        listed("tokenizer.ggml.scores", F32, [s for _, s in tokens],
               lambda x: struct.pack("<f", x)),
        listed("tokenizer.ggml.token_type", I32, kinds,
               lambda x: struct.pack("<i", x)),
        entry("tokenizer.ggml.bos_token_id", U32, struct.pack("<I", 1)),
        # llama2.c ends a story at 1, the begin token of the next one.
        entry("tokenizer.ggml.eos_token_id", U32, struct.pack("<I", 1)),
        entry("tokenizer.ggml.unknown_token_id", U32, struct.pack("<I", 0)),
        entry("tokenizer.ggml.add_bos_token", BOOL, b"\1"),
    ]


def write_gguf(s, tokens, path):
    u32 = lambda key, v: entry("llama." + key, U32, struct.pack("<I", v))
    keys = [
        entry("general.architecture", STRING, text(b"llama")),
        entry("general.name", STRING, text(b"stories260K")),
        u32("context_length", s.length), u32("embedding_length", s.dim),
        u32("block_count", s.layers), u32("feed_forward_length", s.hidden),
        u32("attention.head_count", s.heads),
        u32("attention.head_count_kv", s.kv),
        u32("rope.dimension_count", s.head),
        entry("llama.attention.layer_norm_rms_epsilon", F32,
              struct.pack("<f", 1e-5)),
    ] + tokenizer_keys(tokens)
    t = {"token_embd": s.embedding, "output_norm": s.norm}
    for i in range(s.layers):
        p = f"blk.{i}."
        t |= {p + "attn_norm": s.attn_norm[i], p + "attn_q": s.q[i],
              p + "attn_k": s.k[i], p + "attn_v": s.v[i],
              p + "attn_output": s.o[i], p + "ffn_norm": s.ffn_norm[i],
              p + "ffn_gate": s.gate[i], p + "ffn_up": s.up[i],
              p + "ffn_down": s.down[i]}
    head, data = b"", b""
    for name, (rows, cols, values) in t.items():
        shape = [cols, rows] if rows > 1 else [cols]
        head += text(name.encode() + b".weight")
        head += struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0,
                            len(data))
        data += values.tobytes()
        data += b"\0" * (-len(data) % 32)
    raw = b"GGUF" + struct.pack("<IQQ", 3, len(t), len(keys))
    raw += b"".join(keys) + head
    path.write_bytes(raw + b"\0" * (-len(raw) % 32) + data)


def main():
    src = Path(sys.argv[1]) / "data/models/stories260K"
    out = Path(sys.argv[2])
    s = Source(src / "stories260K.bin")
    write_hf(s, out / "hf")
    write_gguf(s, read_tokens(src / "tok512.bin", s.vocab),
               out / "stories260k.gguf")


if __name__ == "__main__":
    main()
