#!/usr/bin/env python3
"""Write a GGUF file of GPT-2's 124M shape with random weights (fp32), for
speed only; llama-quantize makes other types of it.

    random_gpt2.py VOCAB.gguf OUT.gguf

VOCAB.gguf: a GGUF with GPT-2's vocabulary, as llama.cpp has it for its tests.
Needs the Python packages gguf and numpy.

SPDX-License-Identifier: MIT
"""
import sys

import gguf
import numpy as np

V, C, LAYERS, HEADS, CONTEXT = 50257, 768, 12, 12, 1024


def main():
    source = gguf.GGUFReader(sys.argv[1])
    w = gguf.GGUFWriter(sys.argv[2], "gpt2")
    w.add_block_count(LAYERS)
    w.add_context_length(CONTEXT)
    w.add_embedding_length(C)
    w.add_feed_forward_length(4 * C)
    w.add_head_count(HEADS)
    w.add_layer_norm_eps(1e-5)
    for key, f in source.fields.items():
        if not key.startswith("tokenizer."):
            continue
        if f.types[0] == gguf.GGUFValueType.ARRAY:
            w.add_array(key, f.contents())
        elif f.types[0] == gguf.GGUFValueType.STRING:
            w.add_string(key, f.contents())
        elif f.types[0] == gguf.GGUFValueType.BOOL:
            w.add_bool(key, bool(f.contents()))
        else:
            w.add_uint32(key, int(f.contents()))
    rng = np.random.default_rng(1)

    def tensor(name, *shape):
        if name.endswith("norm.weight"):
            x = np.ones(shape, np.float32)
        else:
            x = (rng.standard_normal(shape) * 0.02).astype(np.float32)
        w.add_tensor(name, x)

    tensor("token_embd.weight", V, C)
    tensor("position_embd.weight", CONTEXT, C)
    for i in range(LAYERS):
        b = f"blk.{i}."
        for norm in ("attn_norm", "ffn_norm"):
            tensor(b + norm + ".weight", C)
            tensor(b + norm + ".bias", C)
        for name, n, k in (("attn_qkv", 3 * C, C), ("attn_output", C, C),
                           ("ffn_up", 4 * C, C), ("ffn_down", C, 4 * C)):
            tensor(b + name + ".weight", n, k)
            tensor(b + name + ".bias", n)
    tensor("output_norm.weight", C)
    tensor("output_norm.bias", C)
    tensor("output.weight", V, C)  # llama.cpp wants it in the file
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


main()
