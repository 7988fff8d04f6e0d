#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make tests/golden/gpt2/gpt2-i8 and tests/golden/llama/llama-i8: small
decoders of random weights whose matrices are stored in 8 bits (models/README.md,
"Matrices of 8 bits"), with what transformers says about the numbers that these
stand for.

    python3 tests/golden/make_int8_fixtures.py [OUT [CASE ...]]

Needs torch, transformers 4.57, numpy, safetensors. The files are those of
make_decoder_fixtures.py: hf/ and expected/. Matrices are [outputs, inputs] with
a scale a row, those of GPT-2's Conv1D [inputs, outputs] with a scale a column;
in the second layer of each net one has the scales the other way, and one is as
it was, in BF16.
"""
import json
import struct
import sys
from pathlib import Path

import numpy as np
import torch
import transformers as tr
from safetensors.torch import save_file

LENGTHS = (1, 19, 41)
SHOWN = 1  # the sequence whose attention is kept
CONV = ("c_attn", "c_proj", "c_fc")
CASES = {
    "gpt2-i8": dict(
        folder="gpt2", model=tr.GPT2LMHeadModel,
        config=tr.GPT2Config(vocab_size=61, n_positions=48, n_embd=32,
                             n_layer=2, n_head=2, bos_token_id=0,
                             eos_token_id=0),
        turned="h.1.mlp.c_fc.weight", bf16="h.1.attn.c_proj.weight"),
    "llama-i8": dict(
        folder="llama", model=tr.LlamaForCausalLM,
        config=tr.LlamaConfig(vocab_size=61, max_position_embeddings=64,
                              hidden_size=64, num_hidden_layers=2,
                              num_attention_heads=4, num_key_value_heads=2,
                              intermediate_size=96, bos_token_id=0,
                              eos_token_id=0, tie_word_embeddings=True),
        turned="layers.1.mlp.down_proj.weight",
        bf16="layers.1.self_attn.q_proj.weight"),
}


def fill(model, seed):
    """Random weights of a size at which every part matters."""
    g = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        rand = torch.randn(p.shape, generator=g)
        if "norm" in name or ".ln_" in name:
            one = 0.0 if name.endswith("bias") else 1.0
            p.data = one + 0.3 * rand
        elif name.endswith("bias") or "wpe" in name:
            p.data = 0.3 * rand
        elif "wte" in name or "embed_tokens" in name:
            p.data = 0.5 * rand
        else:
            sharp = 2.0 if any(s in name for s in (
                "c_attn", "q_proj", "k_proj")) else 1.0
            p.data = sharp * rand / p.shape[-1] ** 0.5


def rounded(a, axis):
    """Bytes and scales: one a row (axis 0), or a column."""
    most = np.abs(a).max(axis=1 - axis, keepdims=True)
    scale = (most / np.float32(127)).astype(np.float32)
    q = np.clip(np.rint(a / np.where(scale > 0, scale, 1)), -127, 127)
    return q.astype(np.int8), scale.reshape(-1) if axis == 0 else scale


def write(path, tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, dtype, shape, raw in tensors:
        header[name] = dict(dtype=dtype, shape=list(shape),
                            data_offsets=[len(data), len(data) + len(raw)])
        data += raw
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def store(model, case):
    """The tensors as they are stored; the model gets what they stand for."""
    out = []
    for name, p in model.named_parameters():
        a = p.detach().numpy().copy()
        if a.ndim == 1:
            out.append((name, "F32", a.shape, a.tobytes()))
        elif name.endswith(case["bf16"]):
            half = p.detach().to(torch.bfloat16)
            p.data = half.float()
            out.append((name, "BF16", a.shape,
                        half.view(torch.int16).numpy().tobytes()))
        else:
            axis = any(s in name for s in CONV)
            if name.endswith(case["turned"]):
                axis = not axis
            q, scale = rounded(a, int(axis))
            by = scale if axis else scale[:, None]
            p.data = torch.from_numpy(q.astype(np.float32) * by)
            out.append((name, "I8", q.shape, q.tobytes()))
            out.append((name + ".scale", "F32", scale.shape, scale.tobytes()))
    return out


def make(name, case, out, seed):
    config = case["config"]
    config._attn_implementation = "eager"
    model = case["model"](config).eval()
    fill(model, seed)
    hf = out / case["folder"] / name / "hf"
    expect = out / case["folder"] / name / "expected"
    hf.mkdir(parents=True, exist_ok=True)
    expect.mkdir(exist_ok=True)
    write(hf / "model.safetensors", store(model, case))
    config.architectures = [type(model).__name__]
    config.save_pretrained(hf)
    g = torch.Generator().manual_seed(1000 + seed)
    expected = {}
    for i, n in enumerate(LENGTHS):
        ids = torch.randint(config.vocab_size, (1, n), generator=g)
        with torch.no_grad():
            y = model(ids, output_hidden_states=True, output_attentions=True,
                      use_cache=False)
        expected[f"ids.{i}"] = ids[0].to(torch.int32)
        expected[f"logits.{i}"] = y.logits[0].contiguous()
        expected[f"hidden.{i}"] = y.hidden_states[-1][0].contiguous()
        if i == SHOWN:
            a = torch.stack([x[0] for x in y.attentions])
            expected["attention"] = a.reshape(-1, n).contiguous()
    save_file(expected, expect / "model.safetensors",
              metadata=dict(torch=torch.__version__,
                            transformers=tr.__version__))
    size = sum(f.stat().st_size for f in hf.parent.rglob("*") if f.is_file())
    print(f"{name}: {size} bytes, logits {expected['logits.2'].std():.3g}")


def main():
    torch.set_num_threads(1)
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else \
        Path(__file__).resolve().parent
    for seed, (name, case) in enumerate(CASES.items(), 71):
        if not sys.argv[2:] or name in sys.argv[2:]:
            make(name, case, out, seed)


if __name__ == "__main__":
    main()
