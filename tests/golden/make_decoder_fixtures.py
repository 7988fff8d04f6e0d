#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make tests/golden/{gpt2,llama,gemma3}/: small decoders with random weights, as Hugging
Face directories and GGUF files of the same weights, with what transformers
says about them.

    python3 tests/golden/make_decoder_fixtures.py [OUT [CASE ...]]

Needs torch 2.5, transformers 4.57, gguf 0.19, safetensors, numpy. A case is a
folder with hf/ (config.json and safetensors), model.gguf or both, and
expected/model.safetensors: for sequence i `ids.i` [n], `logits.i` [n, V] and
`hidden.i` [n, width] (after the last norm), in float32, and for one of them
`attention` [layers * heads * n, n]. Weights are rounded to the stored type
(block types: quantised and widened by the gguf package) before transformers
sees them.
"""
import copy
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers as tr
from gguf import GGMLQuantizationType as T
from safetensors.torch import save_file

LENGTHS = (1, 19, 41)
SHOWN = 1  # the sequence whose attention is kept
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

GPT2 = dict(vocab_size=61, n_positions=48, n_embd=24, n_layer=2, n_head=3,
            bos_token_id=0, eos_token_id=0)
LLAMA = dict(vocab_size=61, max_position_embeddings=64, hidden_size=24,
             num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1,
             intermediate_size=41, bos_token_id=0, eos_token_id=0)
GEMMA = dict(vocab_size=61, max_position_embeddings=64, hidden_size=20,
             num_hidden_layers=7, num_attention_heads=4,
             num_key_value_heads=2, intermediate_size=28, head_dim=8,
             query_pre_attn_scalar=8, sliding_window=6, bos_token_id=0,
             eos_token_id=0, pad_token_id=0)
LLAMA3_ROPE = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                   high_freq_factor=4.0, original_max_position_embeddings=32)

# name: kind, config, and how it is stored. `types` cycles over the tensors of
# the GGUF whose rows are multiples of 32.
CASES = {
    "gpt2": dict(kind="gpt2", config=GPT2),
    "gpt2-bare-f16": dict(kind="gpt2", config=dict(GPT2, n_inner=40),
                          bare=True, dtype="F16"),
    "gpt2-untied-bf16": dict(
        kind="gpt2", dtype="BF16",
        config=dict(GPT2, n_embd=36, tie_word_embeddings=False,
                    activation_function="gelu_pytorch_tanh")),
    "gpt2-q": dict(kind="gpt2", config=dict(GPT2, n_embd=96, vocab_size=67),
                   types=(T.Q8_0, T.Q4_0, T.Q5_1, T.Q4_1, T.Q5_0)),
    "llama": dict(kind="llama", config=dict(LLAMA, tie_word_embeddings=True)),
    "llama-bias-bf16": dict(
        kind="llama", dtype="BF16", gguf=False,
        config=dict(LLAMA, hidden_size=40, head_dim=16, num_attention_heads=4,
                    num_key_value_heads=2, attention_bias=True,
                    mlp_bias=True)),
    "llama-linear-f16": dict(
        kind="llama", dtype="F16",
        config=dict(LLAMA, num_key_value_heads=3, rope_theta=500.0,
                    rope_scaling=dict(rope_type="linear", factor=4.0))),
    "llama-llama3-rope": dict(
        kind="llama",
        config=dict(LLAMA, hidden_size=36, head_dim=16,
                    rope_scaling=LLAMA3_ROPE)),
    "llama-q": dict(
        kind="llama", types=(T.Q4_0, T.Q4_0, T.Q8_0, T.Q5_1, T.Q4_1, T.Q5_0),
        config=dict(LLAMA, hidden_size=96, num_attention_heads=6,
                    num_key_value_heads=2, intermediate_size=160,
                    vocab_size=67, tie_word_embeddings=True)),
    "mistral": dict(
        kind="mistral", shards="12KB",
        config=dict(LLAMA, sliding_window=7, head_dim=8)),
    "qwen2": dict(kind="qwen2", config=dict(LLAMA, num_key_value_heads=3,
                                            tie_word_embeddings=True)),
    "qwen2-window": dict(
        kind="qwen2", gguf=False,
        config=dict(LLAMA, num_hidden_layers=3, use_sliding_window=True,
                    sliding_window=5, max_window_layers=1)),
    "gemma3": dict(kind="gemma3", config=GEMMA),
    "gemma3-scaled-bf16": dict(
        kind="gemma3", dtype="BF16",
        config=dict(GEMMA, rope_theta=5000.0,
                    rope_scaling=dict(rope_type="linear", factor=8.0))),
    "gemma3-scalar": dict(
        kind="gemma3", gguf=False,
        config=dict(GEMMA, query_pre_attn_scalar=20, num_attention_heads=3,
                    num_key_value_heads=1, sliding_window=17)),
}
MODELS = {
    "gpt2": (tr.GPT2Config, tr.GPT2LMHeadModel),
    "llama": (tr.LlamaConfig, tr.LlamaForCausalLM),
    "mistral": (tr.MistralConfig, tr.MistralForCausalLM),
    "qwen2": (tr.Qwen2Config, tr.Qwen2ForCausalLM),
    "gemma3": (tr.Gemma3TextConfig, tr.Gemma3ForCausalLM),
}
ARCHS = {"mistral": "llama", "qwen2": "llama"}  # ours, and GGUF's but one
PARTS = {  # of a block: Hugging Face, GGUF
    "gpt2": (("ln_1", "attn_norm"), ("attn.c_attn", "attn_qkv"),
             ("attn.c_proj", "attn_output"), ("ln_2", "ffn_norm"),
             ("mlp.c_fc", "ffn_up"), ("mlp.c_proj", "ffn_down")),
    "llama": (("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
              ("self_attn.v_proj", "attn_v"),
              ("self_attn.o_proj", "attn_output"),
              ("self_attn.q_norm", "attn_q_norm"),
              ("self_attn.k_norm", "attn_k_norm"),
              ("input_layernorm", "attn_norm"),
              ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"),
              ("mlp.down_proj", "ffn_down")),
}
NORMS = {"llama": (("post_attention_layernorm", "ffn_norm"),),
         "gemma3": (("post_attention_layernorm", "post_attention_norm"),
                    ("pre_feedforward_layernorm", "ffn_norm"),
                    ("post_feedforward_layernorm", "post_ffw_norm"))}


def gguf_name(kind, name):
    base, end = name.rsplit(".", 1)
    if kind == "gpt2":
        whole = {"transformer.wte": "token_embd",
                 "transformer.wpe": "position_embd",
                 "transformer.ln_f": "output_norm", "lm_head": "output"}
        parts, skip = PARTS["gpt2"], 2
    else:
        whole = {"model.embed_tokens": "token_embd",
                 "model.norm": "output_norm", "lm_head": "output"}
        parts = PARTS["llama"] + NORMS.get(kind, NORMS["llama"])
        skip = 2
    if base in whole:
        return f"{whole[base]}.{end}"
    bits = base.split(".")
    layer, part = bits[skip], ".".join(bits[skip + 1:])
    return f"blk.{layer}.{dict(parts)[part]}.{end}"


def fill(model, kind, seed):
    """Random weights of a size at which every part matters."""
    g = torch.Generator().manual_seed(seed)
    rand = lambda p, scale: torch.randn(p.shape, generator=g) * scale
    with torch.no_grad():
        for name, p in model.named_parameters():
            if "norm" in name or ".ln_" in name:
                one = 0.0 if kind == "gemma3" or name.endswith("bias") else 1.0
                p.copy_(one + rand(p, 0.3))
            elif name.endswith("bias"):
                p.copy_(rand(p, 0.3))
            elif "wte" in name or "embed" in name:
                p.copy_(rand(p, 0.5))
            elif "wpe" in name:
                p.copy_(rand(p, 0.3))
            else:
                sharp = 2.0 if any(s in name for s in
                                   ("c_attn", "q_proj", "k_proj")) else 1.0
                p.copy_(rand(p, sharp / p.shape[-1] ** 0.5))


def permuted(w, heads):
    """Rows as llama.cpp's converter orders them: pairs (2i, 2i+1)."""
    d = w.shape[0] // heads
    return (w.reshape(heads, 2, d // 2, *w.shape[1:]).swapaxes(1, 2)
            .reshape(w.shape))


def stored(name, a, case, turn):
    """The array as the GGUF holds it, and its type."""
    types = case.get("types")
    if a.ndim == 1 or name.startswith("position_embd"):
        return a.astype(np.float32), T.F32
    if types and a.shape[-1] % 32 == 0:
        t = types[turn % len(types)]
        return gguf.quants.quantize(a, t), t
    t = {"F32": T.F32, "F16": T.F16, "BF16": T.BF16}[case.get("dtype", "F32")]
    return gguf.quants.quantize(a, t), t


def llama3_factors(c, d):
    s, base = c.rope_scaling, c.rope_theta
    low = s["original_max_position_embeddings"] / s["low_freq_factor"]
    high = s["original_max_position_embeddings"] / s["high_freq_factor"]
    out = []
    for i in range(0, d, 2):
        length = 2 * np.pi * base ** (i / d)
        if length < high:
            out.append(1.0)
        elif length > low:
            out.append(s["factor"])
        else:
            smooth = (s["original_max_position_embeddings"] / length -
                      s["low_freq_factor"]) / \
                (s["high_freq_factor"] - s["low_freq_factor"])
            out.append(1 / ((1 - smooth) / s["factor"] + smooth))
    return np.array(out, np.float32)


def write_keys(w, kind, c):
    """What llama.cpp's converter writes."""
    if kind == "gpt2":
        w.add_context_length(c.n_positions)
        w.add_embedding_length(c.n_embd)
        w.add_feed_forward_length(c.n_inner or 4 * c.n_embd)
        w.add_block_count(c.n_layer)
        w.add_head_count(c.n_head)
        w.add_layer_norm_eps(c.layer_norm_epsilon)
        return
    d = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_block_count(c.num_hidden_layers)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_rope_freq_base(c.rope_theta)
    if kind in ("llama", "mistral"):
        w.add_rope_dimension_count(d)
        w.add_vocab_size(c.vocab_size)
    if d != c.hidden_size // c.num_attention_heads or kind == "gemma3":
        w.add_key_length(d)
        w.add_value_length(d)
    if getattr(c, "sliding_window", None) and kind != "qwen2":
        w.add_sliding_window(c.sliding_window)
    if (getattr(c, "rope_scaling", None) or {}).get("rope_type") == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(c.rope_scaling["factor"])


def write_gguf(path, model, case, change):
    """Writes the file and, with `change`, gives the model the weights as the
    file has them."""
    kind, c = case["kind"], model.config
    arch = "llama" if kind == "mistral" else kind
    w = gguf.GGUFWriter(str(path), arch)
    write_keys(w, kind, c)
    if (getattr(c, "rope_scaling", None) or {}).get("rope_type") == "llama3":
        d = getattr(c, "head_dim", None) or \
            c.hidden_size // c.num_attention_heads
        w.add_tensor("rope_freqs.weight", llama3_factors(c, d))
    turn = 0
    for name, p in model.named_parameters():
        a = p.detach().numpy().astype(np.float32)
        conv = name.endswith("weight") and any(
            s in name for s in ("c_attn", "c_proj", "c_fc"))
        gname, a = gguf_name(kind, name), a.T if conv else a
        heads = 0
        if arch == "llama" and "attn_q." in gname:
            heads = c.num_attention_heads
        if arch == "llama" and "attn_k." in gname:
            heads = c.num_key_value_heads
        if kind == "gemma3" and "norm" in gname:
            a = a + 1
        a = np.ascontiguousarray(a)
        rows = permuted(np.arange(a.shape[0]), heads) if heads else \
            np.arange(a.shape[0])
        raw, t = stored(gname, np.ascontiguousarray(a[rows]), case, turn)
        turn += raw.ndim == 2
        w.add_tensor(gname, raw, raw_dtype=t)
        if change and a.ndim == 2:
            b = np.empty_like(a)
            b[rows] = gguf.quants.dequantize(raw, t)
            with torch.no_grad():
                p.copy_(torch.from_numpy(b.T if conv else b))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write_hf(out, model, case):
    t = DTYPES[case.get("dtype", "F32")]
    saved = copy.deepcopy(model).to(t)  # `to` rounds the rotary table, too
    if case.get("bare"):
        saved = saved.transformer
    saved.save_pretrained(out, max_shard_size=case.get("shards", "5GB"))
    (out / "generation_config.json").unlink(missing_ok=True)


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden")
    for seed, (name, case) in enumerate(CASES.items(), 1):
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        make(out / ARCHS.get(case["kind"], case["kind"]) / name, case, seed)


def make(out, case, seed):
    config, cls = MODELS[case["kind"]]
    c = config(**case["config"])
    c._attn_implementation = "eager"
    model = cls(c).eval()
    fill(model, case["kind"], seed)
    dtype = DTYPES[case.get("dtype", "F32")]
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(dtype).float())
    (out / "expected").mkdir(parents=True, exist_ok=True)
    if case.get("gguf", True):
        write_gguf(out / "model.gguf", model, case, "types" in case)
    if "types" not in case:
        write_hf(out / "hf", model, case)
    g = torch.Generator().manual_seed(1000 + seed)
    expected = {}
    for i, n in enumerate(LENGTHS):
        ids = torch.randint(c.vocab_size, (1, n), generator=g)
        with torch.no_grad():
            y = model(ids, output_hidden_states=True, output_attentions=True,
                      use_cache=False)
        expected[f"ids.{i}"] = ids[0].to(torch.int32)
        expected[f"logits.{i}"] = y.logits[0].contiguous()
        expected[f"hidden.{i}"] = y.hidden_states[-1][0].contiguous()
        if i == SHOWN:
            a = torch.stack([x[0] for x in y.attentions])
            expected["attention"] = a.reshape(-1, n).contiguous()
    made = dict(torch=torch.__version__, transformers=tr.__version__,
                gguf="0.19")
    save_file(expected, out / "expected/model.safetensors",
              metadata={k: str(v) for k, v in made.items()})
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    lg = expected[f"logits.{len(LENGTHS) - 1}"]
    print(f"{out.name}: {size} bytes, logits {lg.std():.3g} max {lg.abs().max():.3g}")


if __name__ == "__main__":
    main()
