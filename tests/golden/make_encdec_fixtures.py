#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make tests/golden/{marian,bart,t5}/: small encoder-decoders of random
weights, as transformers' save_pretrained writes them, with what it says about
them.

    python3 tests/golden/make_encdec_fixtures.py [OUT [CASE ...]]

Needs torch 2.5, transformers 4.57, safetensors, numpy. A case is a folder with
hf/ (config.json, generation_config.json and safetensors) and
expected/model.safetensors: for pair i `source.i` [n] and `target.i` [m] (which
begins with the start token), `logits.i` [m, V] and `hidden.i` [m, width] (what
the head reads, before T5's scale) in float32; for one of them `attention`
[layers * heads * m, n], the cross attention of the decoder; and `greedy.i`,
what generate(num_beams=1) makes of the source, the start token first. Weights
are rounded to the stored type before transformers sees them.
"""
import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers as tr
from safetensors.torch import save_file

PAIRS = ((1, 1), (19, 23), (41, 34))
SHOWN = 1  # the pair whose attention is kept
GREEDY = 12  # tokens
DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

BART = dict(vocab_size=61, d_model=24, encoder_layers=2, decoder_layers=2,
            encoder_attention_heads=3, decoder_attention_heads=2,
            encoder_ffn_dim=41, decoder_ffn_dim=37,
            max_position_embeddings=48, pad_token_id=60, bos_token_id=0,
            eos_token_id=0, decoder_start_token_id=60, forced_eos_token_id=0)

T5 = dict(vocab_size=61, d_model=24, d_kv=8, d_ff=41, num_layers=2,
          num_heads=3, pad_token_id=0, eos_token_id=1,
          decoder_start_token_id=0)

CASES = {
    "marian": dict(
        kind="marian", never=60,
        config=dict(BART, activation_function="swish", scale_embedding=True)),
    "marian-two-vocabularies": dict(
        kind="marian", resize=53,
        config=dict(BART, d_model=21, encoder_attention_heads=3,
                    decoder_attention_heads=1,
                    decoder_start_token_id=52, pad_token_id=52,
                    share_encoder_decoder_embeddings=False,
                    encoder_layers=1, decoder_layers=3,
                    activation_function="relu")),
    "marian-untied-f16": dict(
        kind="marian", dtype="F16",
        config=dict(BART, tie_word_embeddings=False,
                    activation_function="gelu", scale_embedding=True)),
    "marian-two-untied-bf16": dict(
        kind="marian", dtype="BF16",
        config=dict(BART, tie_word_embeddings=False, encoder_layers=1,
                    decoder_layers=1, share_encoder_decoder_embeddings=False,
                    decoder_vocab_size=53, decoder_start_token_id=52,
                    activation_function="gelu_new")),
    "bart": dict(kind="bart", config=BART),
    "bart-untied-bf16": dict(
        kind="bart", dtype="BF16",
        config=dict(BART, tie_word_embeddings=False, scale_embedding=True,
                    encoder_layers=1, decoder_layers=1, forced_bos_token_id=0,
                    decoder_start_token_id=2,
                    activation_function="relu")),
    "mbart-f16": dict(
        kind="bart", model="mbart", dtype="F16",
        config=dict(BART, encoder_layers=1, decoder_layers=2,
                    forced_bos_token_id=7, scale_embedding=True)),
    "t5": dict(kind="t5", config=dict(T5, num_decoder_layers=1)),
    "t5-gated": dict(
        kind="t5",
        config=dict(T5, tie_word_embeddings=False, num_layers=1,
                    num_decoder_layers=2, d_kv=7,
                    feed_forward_proj="gated-gelu",
                    relative_attention_num_buckets=10,
                    relative_attention_max_distance=23)),
    "t5-silu-bf16": dict(
        kind="t5", dtype="BF16",
        config=dict(T5, num_layers=1, feed_forward_proj="gated-silu",
                    relative_attention_max_distance=33)),
    "mt5-f16": dict(
        kind="t5", model="mt5", dtype="F16",
        unsaid=("tie_word_embeddings", "feed_forward_proj", "dense_act_fn",
                "is_gated_act"),
        config=dict(T5, tie_word_embeddings=False, num_layers=1,
                    num_heads=2, feed_forward_proj="gated-gelu")),
    "t5-act-bf16": dict(
        kind="t5", dtype="BF16",
        config=dict(T5, num_layers=1, feed_forward_proj="gated-gelu",
                    dense_act_fn="relu")),
}

CLASSES = {
    "marian": (tr.MarianConfig, tr.MarianMTModel),
    "bart": (tr.BartConfig, tr.BartForConditionalGeneration),
    "mbart": (tr.MBartConfig, tr.MBartForConditionalGeneration),
    "t5": (tr.T5Config, tr.T5ForConditionalGeneration),
    "mt5": (tr.MT5Config, tr.MT5ForConditionalGeneration),
}


def round_to(v, dtype):
    return v.to(dtype).float()


def randomise(model, dtype, seed):
    """Weights that make peaked attention and distinct logits."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            v = torch.randn(p.shape, generator=g)
            if "norm" in name and name.endswith("weight"):
                v = 1 + 0.2 * v
            elif p.ndim == 1:
                v = 0.2 * v
            elif "shared" in name or "embed" in name:
                v = 0.7 * v
            elif "relative_attention_bias" in name:
                v = 1.0 * v
            else:
                v = v * 1.2 / p.shape[1] ** 0.5
            if "embed_positions" in name and not p.requires_grad:
                continue  # sines and cosines
            p.copy_(round_to(v, dtype))
        if hasattr(model, "final_logits_bias"):
            b = model.final_logits_bias
            b.copy_(round_to(torch.randn(b.shape, generator=g), dtype))


def expected(model, config, seed):
    rng = np.random.default_rng(seed)
    start = config.decoder_start_token_id
    out_v = getattr(config, "decoder_vocab_size", None) or config.vocab_size
    found = {}
    for i, (n, m) in enumerate(PAIRS):
        source = torch.from_numpy(rng.integers(1, config.vocab_size, n))
        target = torch.from_numpy(rng.integers(1, out_v, m))
        target[0] = start
        with torch.no_grad():
            y = model(input_ids=source[None], decoder_input_ids=target[None],
                      attention_mask=torch.ones(1, n, dtype=torch.long),
                      output_attentions=True, output_hidden_states=True,
                      use_cache=False)
            made = model.generate(
                source[None], attention_mask=torch.ones(1, n,
                                                        dtype=torch.long),
                num_beams=1, do_sample=False, max_new_tokens=GREEDY,
                use_cache=False)
        found[f"source.{i}"] = source.int()
        found[f"target.{i}"] = target.int()
        found[f"logits.{i}"] = y.logits[0].float().contiguous()
        found[f"hidden.{i}"] = \
            y.decoder_hidden_states[-1][0].float().contiguous()
        found[f"greedy.{i}"] = made[0].int().contiguous()
        if i == SHOWN:
            a = torch.stack(y.cross_attentions)[:, 0]
            found["attention"] = a.reshape(-1, n).float().contiguous()
    return found


def leave_out(path, keys, config_class):
    said = json.loads(path.read_text())
    left = {k: v for k, v in said.items() if k not in keys}
    again = config_class(**left)
    assert all(getattr(again, k) == said[k] for k in keys), keys
    path.write_text(json.dumps(left, indent=2, sort_keys=True) + "\n")


def make(out, name, case, seed):
    config_class, model_class = CLASSES[case.get("model", case["kind"])]
    dtype = DTYPES[case.get("dtype", "F32")]
    torch.manual_seed(seed)
    config = config_class(**case["config"])
    config._attn_implementation = "eager"
    model = model_class(config).eval()
    if "resize" in case:
        model.resize_decoder_token_embeddings(case["resize"])
    randomise(model, dtype, seed)
    if "never" in case:
        model.generation_config.bad_words_ids = [[case["never"]]]
    where = out / case["kind"] / name
    found = expected(model, config, seed)
    model.to(dtype).save_pretrained(where / "hf")
    if "unsaid" in case:  # what a class has as its default
        leave_out(where / "hf" / "config.json", case["unsaid"], config_class)
    (where / "expected").mkdir(exist_ok=True)
    save_file(found, where / "expected" / "model.safetensors")


def main():
    out = Path(sys.argv[1] if len(sys.argv) > 1 else
               Path(__file__).parent)
    for i, (name, case) in enumerate(CASES.items()):
        if not sys.argv[2:] or name in sys.argv[2:]:
            make(out, name, case, 100 + i)


main()
