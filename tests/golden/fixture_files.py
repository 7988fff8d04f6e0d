# SPDX-License-Identifier: MIT
"""Files of fixtures that PyTorch makes, and the walk over a script's cases:
what the scripts beside this file share. Needs torch alone."""
import json
import platform
import struct
import sys
from pathlib import Path

import torch

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def bytes_of(t, dtype):
    t = t.detach().to(DTYPES[dtype]).contiguous()
    if dtype == "BF16":
        return t.view(torch.int16).numpy().tobytes()
    return t.numpy().tobytes()


def write_safetensors(path, tensors, dtype):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, t in tensors:
        raw = bytes_of(t, dtype)
        header[name] = {"dtype": dtype, "shape": list(t.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def start_case(path, config, tensors, dtype):
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    write_safetensors(path / "model.safetensors", tensors, dtype)


def save_net(path, config, tokenizer, tensors, dtype, rows, **made):
    """A net with expected.json: `rows` (a name and a list) and what made
    them."""
    start_case(path, config, tensors, dtype)
    (path / "tokenizer.json").write_text(json.dumps(tokenizer) + "\n")
    made = dict(torch=torch.__version__, python=platform.python_version(),
                **made)
    key, rows = rows
    text = ",\n".join(json.dumps(s, separators=(",", ":")) for s in rows)
    (path / "expected.json").write_text(
        '{"made_with": %s,\n"%s": [\n%s\n]}\n' % (json.dumps(made), key, text))


def save_training(path, config, tensors, expect):
    """A net to be trained, with expect/."""
    start_case(path, config, tensors, "F32")
    (path / "expect").mkdir(exist_ok=True)
    write_safetensors(path / "expect" / "model.safetensors", expect, "F32")


def make_all(cases, folder, seed, make):
    """make(name, case, out, seed) of each case, or of those that the words
    behind OUT name; the seed goes up by 1."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else \
        Path(__file__).resolve().parent / folder
    torch.set_num_threads(1)
    for i, (name, case) in enumerate(cases.items()):
        if not sys.argv[2:] or name in sys.argv[2:]:
            make(name, case, out, seed + i)
