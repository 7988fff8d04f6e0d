# SPDX-License-Identifier: MIT
"""Reading and writing safetensors, and tokenizer.json, with Python's standard
library: what the converters beside this file share."""
import json
import struct
from array import array

CODES = {"F32": "f", "F16": "H", "BF16": "H"}  # halves stay as their bits


class Tensor:
    """Row-major elements as they are stored; one row is one list."""

    def __init__(self, dtype, shape, data):
        self.dtype, self.shape, self.data = dtype, list(shape), data

    def rows(self):
        n = self.shape[1]
        return [self.data[i * n:(i + 1) * n] for i in range(self.shape[0])]


def read(path):
    raw = path.read_bytes()
    (n,) = struct.unpack_from("<Q", raw)
    out = {}
    for name, t in json.loads(raw[8:8 + n]).items():
        if name == "__metadata__":
            continue
        a, b = t["data_offsets"]
        out[name] = Tensor(t["dtype"], t["shape"],
                           array(CODES[t["dtype"]], raw[8 + n + a:8 + n + b]))
    return out


def write(path, tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, t in tensors.items():
        size = len(t.data) * t.data.itemsize
        header[name] = dict(dtype=t.dtype, shape=t.shape,
                            data_offsets=[at, at + size])
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(t.data.tobytes())


def from_rows(dtype, rows):
    data = array(CODES[dtype])
    for r in rows:
        data.extend(r)
    return Tensor(dtype, [len(rows), len(rows[0])], data)


def transposed(rows):
    return [list(c) for c in zip(*rows)]


def gates(matrix, order):
    """[I, G*H], columns in the source's gate order, to PyTorch's [G*H, I]:
    gate g of the result is gate order[g] of the source."""
    cols = transposed(matrix)
    H = len(cols) // len(order)
    return [cols[g * H + j] for g in order for j in range(H)]


def gate_vector(v, order):
    H = len(v) // len(order)
    return [x for g in order for x in v[g * H:(g + 1) * H]]


def vector(dtype, values):
    return Tensor(dtype, [len(values)], array(CODES[dtype], values))


def tokenizer(entries, normalizer, unk=None, **own):
    model = dict(type="WordLevel", vocab={e: i for i, e in enumerate(entries)})
    added = []
    if unk is not None:
        model["unk_token"] = unk
        added = [dict(id=entries.index(unk), content=unk, special=True)]
    return dict(version="1.0", added_tokens=added, normalizer=normalizer,
                model=model, seqd=own)


def save(out, config, tok, tensors):
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    (out / "tokenizer.json").write_text(
        json.dumps(tok, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    write(out / "model.safetensors", tensors)
