#!/usr/bin/env python3
"""Write tests/golden/blocks.json: random blocks of every quantised type and
the floats that the Python package gguf decodes them to (both as hex).

    make_blocks.py >tests/golden/blocks.json    # gguf 0.19.0, numpy 2.4.6

Bits are random all over, so that every field takes every value; only the
half-precision scales are drawn from finite numbers, the first of them
subnormal and the second negative.
SPDX-License-Identifier: MIT
"""
import json

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

# type: offsets of its halves
HALVES = {"Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0],
          "Q5_1": [0, 2], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0]}

rng = np.random.default_rng(20240)
out = {}
for name, halves in HALVES.items():
    block, size = GGML_QUANT_SIZES[T[name]]
    n = 6 if block == 32 else 3
    raw = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for at in halves:
        half = rng.normal(0, 0.02, n).astype(np.float16)
        half[0] = np.float16(3e-6)
        half[1] = -abs(half[1])
        raw[:, at:at + 2] = half.view(np.uint8).reshape(n, 2)
    values = dequantize(raw, T[name]).astype("<f4").reshape(-1)
    out[name] = {"hex": raw.tobytes().hex(), "f32": values.tobytes().hex()}
print("{")
for i, (name, v) in enumerate(out.items()):
    print(f' "{name}": {json.dumps(v)}' + ("," if i < len(out) - 1 else ""))
print("}")
