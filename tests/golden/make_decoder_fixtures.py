#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make tests/golden/{gpt2,llama,gemma3,gpt_neox,qwen3,phi3}/: small decoders of
random weights, as Hugging Face directories and GGUF files of the same weights,
with what transformers says about them.

    python3 tests/golden/make_decoder_fixtures.py [OUT [CASE ...]]

Needs torch 2.5, transformers 4.57, gguf 0.19, safetensors, numpy. A case is a
folder with hf/ (config.json and safetensors), model.gguf or both, and
expected/model.safetensors: for sequence i `ids.i` [n], `logits.i` [n, V] and
`hidden.i` [n, width] (after the last norm), in float32, and for one of them
`attention` [layers * heads * n, n]. Weights are rounded to the stored type
(block types: quantised and widened by the gguf package) before transformers
sees them.

The cases of SERVED are for the server: hf/ has a tokenizer.json as published
checkpoints of its kind have (of few merges), and served.json says what the
library makes of texts: ids, and the text that the likeliest tokens continue
with.
"""
import copy
import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
import transformers as tr
from gguf import GGMLQuantizationType as T
from safetensors.torch import save_file
from tokenizers import (AddedToken, Tokenizer, decoders, normalizers,
                        pre_tokenizers, processors)

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
NEOX = dict(vocab_size=61, max_position_embeddings=64, hidden_size=36,
            num_hidden_layers=2, num_attention_heads=3, intermediate_size=50,
            bos_token_id=0, eos_token_id=0)
QWEN3 = dict(LLAMA, num_attention_heads=4, num_key_value_heads=2, head_dim=8)
LLAMA3_ROPE = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0,
                   high_freq_factor=4.0, original_max_position_embeddings=32)

# name: kind, config, and how it is stored. `types` cycles over the tensors of
# the GGUF whose rows are multiples of 32. `keys` changes config.json (None: the
# key goes), as other versions of transformers write it.
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
    "gpt_neox": dict(kind="gpt_neox", gguf=False,
                     config=dict(NEOX, hidden_size=32, num_attention_heads=2,
                                 rotary_pct=0.25)),
    "gpt_neox-sequential-f16": dict(
        kind="gpt_neox", dtype="F16",
        config=dict(NEOX, use_parallel_residual=False, rotary_pct=1.0,
                    rotary_emb_base=500)),
    "gpt_neox-bare-tied-bf16": dict(
        kind="gpt_neox", dtype="BF16", gguf=False, bare=True,
        config=dict(NEOX, tie_word_embeddings=True, rotary_pct=0.5,
                    attention_bias=False, hidden_act="gelu_fast",
                    rope_scaling=dict(rope_type="linear", factor=4.0)),
        keys=dict(rotary_pct=None, partial_rotary_factor=None,
                  rotary_emb_base=None, rope_theta=None, rope_scaling=None,
                  rope_parameters=dict(rope_type="linear", factor=4.0,
                                       rope_theta=10000,
                                       partial_rotary_factor=0.5))),  # 5.0
    "gpt_neox-q": dict(kind="gpt_neox", types=(T.Q8_0, T.Q4_0, T.Q5_1),
                       config=dict(NEOX, hidden_size=64, num_hidden_layers=1,
                                   num_attention_heads=2,
                                   intermediate_size=96)),
    "qwen3": dict(kind="qwen3", config=dict(QWEN3, tie_word_embeddings=True)),
    "qwen3-linear-f16": dict(
        kind="qwen3", dtype="F16",
        config=dict(QWEN3, num_key_value_heads=4, head_dim=12,
                    rope_theta=500.0,
                    rope_scaling=dict(rope_type="linear", factor=4.0))),
    "qwen3-bias-bf16": dict(kind="qwen3", dtype="BF16", gguf=False,
                            config=dict(QWEN3, attention_bias=True)),
    "qwen3-window": dict(
        kind="qwen3", gguf=False, shards="12KB",
        config=dict(QWEN3, use_sliding_window=True, sliding_window=5,
                    max_window_layers=1),
        keys=dict(layer_types=None)),  # before 4.53
    "qwen3-q": dict(
        kind="qwen3", types=(T.Q8_0, T.Q4_0, T.Q5_1),
        config=dict(QWEN3, hidden_size=64, head_dim=24, intermediate_size=64,
                    tie_word_embeddings=True)),
}
SERVED = {
    "gpt_neox-served": dict(
        kind="gpt_neox", dtype="F16", tokenizer="starcoder",
        config=dict(NEOX, hidden_size=24, num_hidden_layers=1)),
    "qwen3-served": dict(
        kind="qwen3", dtype="BF16", tokenizer="qwen2",
        config=dict(QWEN3, num_hidden_layers=1, tie_word_embeddings=True,
                    bos_token_id=None, eos_token_id=2)),
}
# Rotary scaling past the positions of the training.
TINY = dict(vocab_size=37, max_position_embeddings=48, hidden_size=16,
            num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
            intermediate_size=20, bos_token_id=0, eos_token_id=0)
SCALED = {
    "llama-yarn": dict(
        kind="llama", dtype="BF16",
        config=dict(TINY, head_dim=16, rope_theta=100.0,
                    rope_scaling=dict(rope_type="yarn", factor=4.0,
                                      original_max_position_embeddings=12))),
    "llama-dynamic": dict(
        kind="llama", dtype="BF16", gguf=False,
        config=dict(TINY, rope_theta=100.0,
                    rope_scaling=dict(rope_type="dynamic", factor=4.0,
                                      original_max_position_embeddings=44))),
    "qwen2-yarn": dict(
        kind="qwen2", dtype="BF16", gguf=False,
        config=dict(TINY, max_position_embeddings=24, hidden_size=24,
                    rope_theta=100.0,
                    rope_scaling=dict(type="yarn", factor=2.0, truncate=False,
                                      beta_fast=1.5, beta_slow=0.25,
                                      mscale=0.7, mscale_all_dim=1.3))),
    "gemma3-yarn": dict(
        kind="gemma3", dtype="BF16", gguf=False,
        config=dict(GEMMA, vocab_size=37, max_position_embeddings=48,
                    hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                    num_key_value_heads=1, intermediate_size=20,
                    rope_theta=100.0, layer_types=["sliding_attention",
                                                   "full_attention"],
                    rope_scaling=dict(rope_type="yarn", factor=3.0,
                                      original_max_position_embeddings=16))),
    "gpt_neox-yarn": dict(
        kind="gpt_neox", dtype="BF16",
        config=dict(NEOX, vocab_size=37, max_position_embeddings=48,
                    hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
                    intermediate_size=40, rotary_pct=0.5, rotary_emb_base=50,
                    rope_scaling=dict(rope_type="yarn", factor=3.0,
                                      original_max_position_embeddings=16))),
    "qwen3-yarn": dict(
        kind="qwen3", dtype="BF16",
        config=dict(TINY, head_dim=16, rope_theta=20.0,
                    rope_scaling=dict(rope_type="yarn", factor=3.0,
                                      attention_factor=1.25, beta_fast=1.0,
                                      beta_slow=0.25,
                                      original_max_position_embeddings=16))),
}
NEAR = {
    "smollm3": dict(
        kind="smollm3", dtype="BF16",
        config=dict(TINY, num_hidden_layers=4, rope_theta=100.0,
                    pad_token_id=0, tie_word_embeddings=True)),
    "smollm3-window": dict(
        kind="smollm3", dtype="BF16", gguf=False,
        config=dict(TINY, num_hidden_layers=2, rope_theta=100.0,
                    pad_token_id=0, no_rope_layers=[0, 1],
                    use_sliding_window=True, sliding_window=5,
                    attention_bias=True, mlp_bias=True,
                    rope_scaling=dict(rope_type="yarn", factor=4.0,
                                      original_max_position_embeddings=12))),
    "phi3": dict(
        kind="phi3", dtype="BF16",
        config=dict(TINY, hidden_size=32, num_attention_heads=4,
                    num_key_value_heads=2, rope_theta=100.0, sliding_window=7,
                    pad_token_id=0)),
    "phi3-partial": dict(
        kind="phi3", dtype="BF16",
        config=dict(TINY, hidden_size=32, num_key_value_heads=2,
                    rope_theta=100.0, partial_rotary_factor=0.75,
                    pad_token_id=0, tie_word_embeddings=True)),
    "phi3-q": dict(
        kind="phi3", types=(T.Q8_0, T.Q4_0, T.Q5_1),
        config=dict(TINY, hidden_size=64, num_attention_heads=4,
                    num_key_value_heads=1, intermediate_size=32,
                    pad_token_id=0, tie_word_embeddings=True)),
}
TEXTS = ("The daemon answers", "we've 2024 days;  Gr\u00fc\u00dfe",
         "int i = 0;\n    return")
CONTINUED = 8  # tokens
MODELS = {
    "gpt2": (tr.GPT2Config, tr.GPT2LMHeadModel),
    "llama": (tr.LlamaConfig, tr.LlamaForCausalLM),
    "mistral": (tr.MistralConfig, tr.MistralForCausalLM),
    "qwen2": (tr.Qwen2Config, tr.Qwen2ForCausalLM),
    "gemma3": (tr.Gemma3TextConfig, tr.Gemma3ForCausalLM),
    "gpt_neox": (tr.GPTNeoXConfig, tr.GPTNeoXForCausalLM),
    "qwen3": (tr.Qwen3Config, tr.Qwen3ForCausalLM),
    "smollm3": (tr.SmolLM3Config, tr.SmolLM3ForCausalLM),
    "phi3": (tr.Phi3Config, tr.Phi3ForCausalLM),
}
ARCHS = {"mistral": "llama", "qwen2": "llama", "smollm3": "llama"}  # ours, and GGUF's but one
PARTS = {  # of a block: Hugging Face, GGUF
    "gpt2": (("ln_1", "attn_norm"), ("attn.c_attn", "attn_qkv"),
             ("attn.c_proj", "attn_output"), ("ln_2", "ffn_norm"),
             ("mlp.c_fc", "ffn_up"), ("mlp.c_proj", "ffn_down")),
    "llama": (("self_attn.q_proj", "attn_q"), ("self_attn.k_proj", "attn_k"),
              ("self_attn.v_proj", "attn_v"),
              ("self_attn.o_proj", "attn_output"),
              ("self_attn.qkv_proj", "attn_qkv"),
              ("mlp.gate_up_proj", "ffn_up"),
              ("self_attn.q_norm", "attn_q_norm"),
              ("self_attn.k_norm", "attn_k_norm"),
              ("input_layernorm", "attn_norm"),
              ("mlp.gate_proj", "ffn_gate"), ("mlp.up_proj", "ffn_up"),
              ("mlp.down_proj", "ffn_down")),
    "gpt_neox": (("attention.query_key_value", "attn_qkv"),
                 ("attention.dense", "attn_output"),
                 ("input_layernorm", "attn_norm"),
                 ("post_attention_layernorm", "ffn_norm"),
                 ("mlp.dense_h_to_4h", "ffn_up"),
                 ("mlp.dense_4h_to_h", "ffn_down")),
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
    elif kind == "gpt_neox":
        whole = {"gpt_neox.embed_in": "token_embd",
                 "gpt_neox.final_layer_norm": "output_norm",
                 "embed_out": "output"}
        parts, skip = PARTS["gpt_neox"], 2
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
            elif "wte" in name or "embed_tokens" in name or "embed_in" in name:
                p.copy_(rand(p, 0.5))
            elif "wpe" in name:
                p.copy_(rand(p, 0.3))
            else:
                sharp = 2.0 if any(s in name for s in (
                    "c_attn", "q_proj", "k_proj", "qkv_proj",
                    "query")) else 1.0
                p.copy_(rand(p, sharp / p.shape[-1] ** 0.5))


def permuted(w, heads):
    """Rows as llama.cpp's converter orders them: pairs (2i, 2i+1)."""
    d = w.shape[0] // heads
    return (w.reshape(heads, 2, d // 2, *w.shape[1:]).swapaxes(1, 2)
            .reshape(w.shape))


def by_kind(n, heads):
    """Rows of head after head, each q, k, v, as all q, all k, all v."""
    return np.arange(n).reshape(heads, 3, -1).swapaxes(0, 1).reshape(-1)


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


def write_scaling(w, c):
    s = getattr(c, "rope_scaling", None) or {}
    if s.get("rope_type") == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(s["factor"])
    if s.get("rope_type") == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(s["factor"])
        w.add_rope_scaling_orig_ctx_len(s["original_max_position_embeddings"])
        if "beta_fast" in s:
            w.add_rope_scaling_yarn_beta_fast(s["beta_fast"])
            w.add_rope_scaling_yarn_beta_slow(s["beta_slow"])
        if "attention_factor" in s:  # llama.cpp multiplies its own
            w.add_rope_scaling_attn_factors(
                s["attention_factor"] / (0.1 * np.log(s["factor"]) + 1))


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
    if kind == "gpt_neox":
        w.add_rope_dimension_count(int(d * c.rotary_pct))
        w.add_rope_freq_base(c.rotary_emb_base)
        w.add_parallel_residual(c.use_parallel_residual)
        w.add_layer_norm_eps(c.layer_norm_eps)
        write_scaling(w, c)
        return
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_rope_freq_base(c.rope_theta)
    if kind in ("llama", "mistral", "smollm3", "phi3"):
        w.add_rope_dimension_count(
            int(d * getattr(c, "partial_rotary_factor", 1.0)))
        w.add_vocab_size(c.vocab_size)
    if d != c.hidden_size // c.num_attention_heads or \
            kind in ("gemma3", "qwen3"):
        w.add_key_length(d)
        w.add_value_length(d)
    if getattr(c, "sliding_window", None) and kind != "qwen2":
        w.add_sliding_window(c.sliding_window)
    write_scaling(w, c)


def write_gguf(path, model, case, change):
    """Writes the file and, with `change`, gives the model the weights as the
    file has them."""
    kind, c = case["kind"], model.config
    arch = {"mistral": "llama", "gpt_neox": "gptneox"}.get(kind, kind)
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
        pairs = arch in ("llama", "smollm3")
        if pairs and "attn_q." in gname:
            heads = c.num_attention_heads
        if pairs and "attn_k." in gname:
            heads = c.num_key_value_heads
        if kind == "gemma3" and "norm" in gname:
            a = a + 1
        a = np.ascontiguousarray(a)
        rows = permuted(np.arange(a.shape[0]), heads) if heads else \
            np.arange(a.shape[0])
        if "attn_qkv" in gname and kind == "gpt_neox":
            rows = by_kind(a.shape[0], c.num_attention_heads)
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
        saved = saved.base_model
    saved.save_pretrained(out, max_shard_size=case.get("shards", "5GB"))
    (out / "generation_config.json").unlink(missing_ok=True)
    if "keys" in case:
        path = out / "config.json"
        config = {**json.loads(path.read_text()), **case["keys"]}
        path.write_text(json.dumps(
            {k: v for k, v in config.items() if v is not None or
             k not in case["keys"]}, indent=2) + "\n")


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "tests/golden")
    for seed, (name, case) in enumerate(
            {**CASES, **SERVED, **SCALED, **NEAR}.items(), 1):
        if len(sys.argv) > 2 and name not in sys.argv[2:]:
            continue
        run = make_served if name in SERVED else make
        run(out / ARCHS.get(case["kind"], case["kind"]) / name, case, seed)


def make_model(case, seed, **more):
    config, cls = MODELS[case["kind"]]
    c = config(**{**case["config"], **more})
    c._attn_implementation = "eager"
    model = cls(c).eval()
    fill(model, case["kind"], seed)
    dtype = DTYPES[case.get("dtype", "F32")]
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(p.to(dtype).float())
    return model


def make_tokenizer(case):
    """The parts of Pythia's and of Qwen3's files around the merges of
    make_tokenizer_fixtures.py."""
    here = Path(__file__).parent / "tokenizer"
    t = Tokenizer.from_file(f"{here}/{case['tokenizer']}/tokenizer.json")
    t.normalizer = normalizers.NFC()
    t.decoder = decoders.ByteLevel()
    if case["kind"] == "gpt_neox":
        t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        t.add_tokens([AddedToken(" " * n) for n in (4, 3, 2)])
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    return t


def continue_text(model, tok, text):
    ids = tok.encode(text).ids
    more = list(ids)
    for _ in range(CONTINUED):
        with torch.no_grad():
            y = model(torch.tensor([more]), use_cache=False).logits[0, -1]
        best = y.topk(2).values
        assert best[0] - best[1] > 2e-3  # no matter of rounding
        more.append(int(y.argmax()))
    got = tok.decode(more[len(ids):])
    return dict(input=text, ids=ids, text=got)


def make_served(out, case, seed):
    tok = make_tokenizer(case)
    n = tok.get_vocab_size()
    model = make_model(case, seed, vocab_size=n)
    # Small, or each token would follow itself; mute, those that are no text:
    # parts of characters, added tokens. The best logits are over 0.
    mute = [i for i in range(n) if i in tok.get_added_tokens_decoder() or
            "\ufffd" in tok.decode([i])]
    with torch.no_grad():
        model.get_input_embeddings().weight *= 0.125
        model.get_output_embeddings().weight[mute] = 0
    if case["kind"] == "gpt_neox":  # as files from before 2024 have
        model.gpt_neox.layers[0].attention.register_buffer(
            "bias", torch.ones(1, 1, 4, 4, dtype=torch.uint8))
    write_hf(out / "hf", model, case)
    tok.save(str(out / "hf/tokenizer.json"), pretty=False)
    end = tok.id_to_token(model.config.eos_token_id)
    (out / "hf/tokenizer_config.json").write_text(json.dumps(
        dict(add_prefix_space=False, eos_token=end)) + "\n")
    rows = [continue_text(model, tok, t) for t in TEXTS]
    (out / "served.json").write_text(json.dumps(rows, indent=1) + "\n")
    print(f"{out.name}: {[r['text'] for r in rows]}")


def make(out, case, seed):
    model = make_model(case, seed)
    c = model.config
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
