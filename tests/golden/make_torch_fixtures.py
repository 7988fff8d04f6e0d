#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make tests/golden/torch/: files of torch.save beside safetensors files of the
same tensors.

    python3 tests/golden/make_torch_fixtures.py [OUT]

Needs torch and safetensors (versions.json says which ones made what is there).
Read: every.pt (each type, views, a transposed and a strided tensor, a shared
storage), lstm.pt (the net of tests/golden/rnn/lstm), training.pt (the same
under model_state_dict, with an optimiser beside), training-model.pt (under
model), parameters.pt, zip64.pt,
tied.pt (two names of one matrix),
shards/ (that net in two files with an index, as transformers wrote large ones).
Refused: those of REFUSED, by the words of their row in test_torch_state.c.
small.pt is what hostile files are made of.
"""
import io
import json
import os
import pathlib
import struct
import sys
import zipfile
import zlib

import safetensors
import safetensors.torch
import torch

HERE = pathlib.Path(__file__).resolve().parent
OUT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "torch")


def save(value, name, **options):
    # By a buffer, so that the archive's folder does not depend on the name.
    data = io.BytesIO()
    torch.save(value, data, **options)
    (OUT / name).write_bytes(data.getvalue())


def every_type():
    torch.manual_seed(1)
    base = torch.randn(6, 5)
    ramp = torch.arange(24, dtype=torch.float32)
    return {
        "f32": torch.randn(3, 4), "f16": torch.randn(5).half(),
        "bf16": torch.randn(2, 3).bfloat16(), "f64": torch.randn(4).double(),
        "i64": torch.tensor([1, -2, 2 ** 40]),
        "i32": torch.tensor([[7, -8]], dtype=torch.int32),
        "u8": torch.tensor([0, 255, 3], dtype=torch.uint8),
        "bool": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4),
        "row": base[2], "rows": base[1:4], "transposed": base.t(),
        "columns": base[:, 1:4], "every second": ramp[1::2],
        "cube": ramp.reshape(2, 3, 4).permute(2, 0, 1),
        "one\u00e9": ramp[5:6].reshape(1, 1), "tied": base,
    }


def repack_zip64(data):
    """The same archive with every size and offset in zip64 fields."""
    source = zipfile.ZipFile(io.BytesIO(data))
    out, directory = b"", b""
    entries = source.infolist()
    for info in entries:
        body, name = source.read(info), info.filename.encode()
        at, crc = len(out), zlib.crc32(body)
        sizes = struct.pack("<HHQQ", 1, 16, len(body), len(body))
        pad = -(at + 30 + len(name) + len(sizes) + 4) % 64
        extra = sizes + struct.pack("<HH", 0x4246, pad) + b"Z" * pad
        out += struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 45, 0, 0, 0, 0, crc,
                           0xffffffff, 0xffffffff, len(name), len(extra))
        out += name + extra + body
        extra = struct.pack("<HHQQQ", 1, 24, len(body), len(body), at)
        directory += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 45, 45, 0, 0,
                                 0, 0, crc, 0xffffffff, 0xffffffff, len(name),
                                 len(extra), 0, 0, 0, 0, 0xffffffff)
        directory += name + extra
    n, at = len(entries), len(out)
    end64 = at + len(directory)
    return (out + directory +
            struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, n, n,
                        len(directory), at) +
            struct.pack("<4sIQI", b"PK\6\7", 0, end64, 1) +
            struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, 0xffff, 0xffff,
                        0xffffffff, 0xffffffff, 0))


def repack(data, change, method=zipfile.ZIP_STORED):
    """The archive with some entries replaced."""
    source, out = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for info in source.infolist():
            z.writestr(zipfile.ZipInfo(info.filename),
                       change.get(info.filename.split("/", 1)[1],
                                  source.read(info)), method)
    return out.getvalue()


def shards(net):
    names = list(net)
    parts = [names[:len(names) // 2], names[len(names) // 2:]]
    index = {"metadata": {"total_size": sum(t.nbytes for t in net.values())},
             "weight_map": {}}
    (OUT / "shards").mkdir(exist_ok=True)
    for i, part in enumerate(parts, 1):
        file = f"pytorch_model-{i:05d}-of-{len(parts):05d}.bin"
        save({name: net[name] for name in part}, "shards/" + file)
        index["weight_map"].update(dict.fromkeys(part, file))
    (OUT / "shards/pytorch_model.bin.index.json").write_text(
        json.dumps(index, indent=2, sort_keys=True) + "\n")


class Whole(torch.nn.Linear):
    """A module that is saved as a whole, by its class."""


class Runs:
    def __reduce__(self):
        return os.system, ("true",)


def refused(small):
    save(Whole(2, 2), "refused-module.pt")
    save({"a": Runs()}, "refused-call.pt")
    save({"a": torch.zeros(2), "b": 3}, "refused-number.pt")
    save({"a": torch.zeros(2, dtype=torch.int8)}, "refused-int8.pt")
    save({"a": torch.zeros(1).expand(1000, 1000)}, "refused-repeats.pt")
    save([torch.zeros(2)], "refused-list.pt")
    state = {"a": torch.zeros(2)}
    save({"state_dict": state, "model_state_dict": state}, "refused-two.pt")
    save(state, "refused-protocol.pt", pickle_protocol=4)
    save(state, "refused-legacy.pt", _use_new_zipfile_serialization=False)
    (OUT / "refused-big.pt").write_bytes(repack(small, {"byteorder": b"big"}))
    (OUT / "refused-compressed.pt").write_bytes(
        repack(small, {}, zipfile.ZIP_DEFLATED))
    (OUT / "refused-length.pt").write_bytes(repack(small, {"data/0": b"1234"}))
    program = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), program)
    (OUT / "refused-script.pt").write_bytes(program.getvalue())


def number(n):
    return b"\x8a\x08" + struct.pack("<q", n)  # LONG1


def text(s):
    return b"X" + struct.pack("<I", len(s)) + s.encode()


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(offset, size, stride):
    """What torch writes for a view of storage 0 of small.pt, 6 floats."""
    storage = (b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") +
               text("cpu") + number(6) + b"tQ")
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage +
            number(offset) + numbers(size) + numbers(stride) +
            b"\x89ccollections\nOrderedDict\n)RtR")


def lies(small):
    """Pickles and directories that do not tell the truth."""
    most = 2 ** 63 - 1

    def put(name, items, memo=b""):
        pickle = b"\x80\x02}" + memo + b"(" + b"".join(
            text(key) + value for key, value in items) + b"u."
        (OUT / f"refused-{name}.pt").write_bytes(
            repack(small, {"data.pkl": pickle}))

    fits = tensor(0, (2, 3), (3, 1))
    put("past", [("a", tensor(1, (2, 3), (3, 1)))])
    put("start", [("a", tensor(-1, (2, 3), (3, 1)))])
    put("sum", [("a", tensor(0, (2, 2, 2), (most, most, most)))])
    put("product", [("a", tensor(0, (2 ** 32, 2 ** 31, 2), (0, 0, 0)))])
    put("empty", [("a", tensor(most, (0, 3), (3, 1)))])
    put("backwards", [("a", tensor(5, (6,), (-1,)))])
    put("nine", [("a", tensor(0, (1,) * 9, (1,) * 9))])
    put("again", [("a", fits), ("a", fits)])
    put("hole", [("a", fits)], memo=b"q\x05")
    data = bytearray(small)
    directory = data.index(b"PK\1\2")
    size = struct.unpack_from("<I", data, directory + 24)[0]
    for at in (20, 24):
        struct.pack_into("<I", data, directory + at, size + len(data))
    (OUT / "refused-longer.pt").write_bytes(data)
    # data/1 becomes data/0, in its header and in the directory
    (OUT / "refused-entry.pt").write_bytes(
        small.replace(b"/data/1", b"/data/0"))


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    state = every_type()
    save(state, "every.pt")
    safetensors.torch.save_file(
        {k: v.contiguous().clone() for k, v in state.items()},
        OUT / "every.safetensors")
    net = safetensors.torch.load_file(HERE / "rnn/lstm/model.safetensors")
    save(net, "lstm.pt")
    shards(net)
    torch.manual_seed(2)
    linear = torch.nn.Linear(3, 2)
    adam = torch.optim.Adam(linear.parameters())
    linear(torch.ones(1, 3)).sum().backward()
    adam.step()
    save({"epoch": 3, "loss": torch.tensor(0.5), "lr": 1e-3, "done": None,
          "model_state_dict": net, "optimizer_state_dict": adam.state_dict()},
         "training.pt")
    save({"model": linear.state_dict(), "iter_num": 7}, "training-model.pt")
    save(dict(linear.named_parameters()), "parameters.pt")
    safetensors.torch.save_file(
        {k: v.detach() for k, v in linear.named_parameters()},
        OUT / "parameters.safetensors")
    save(linear.state_dict(), "small.pt")
    save({"a": linear.weight.data, "b": linear.weight.data}, "tied.pt")
    small = (OUT / "small.pt").read_bytes()
    (OUT / "zip64.pt").write_bytes(repack_zip64(small))
    assert torch.load(OUT / "zip64.pt", weights_only=True)["bias"].equal(
        linear.bias)
    refused(small)
    lies(small)
    (OUT / "versions.json").write_text(json.dumps(
        {"python": sys.version.split()[0], "torch": torch.__version__,
         "safetensors": safetensors.__version__}, indent=1) + "\n")


main()
