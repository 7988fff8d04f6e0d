#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make tests/golden/decoder_class/: small decoders with random weights and a
head for labels, as transformers saves them, with what it says about them.

    python3 tests/golden/make_class_fixtures.py [OUT]

Needs torch 2.5, transformers 4.57, tokenizers 0.22, safetensors. A folder has
config.json, model.safetensors and expected.json:

  sequences  ids (some end with padding, or are nothing else) and raw `class`
             scores, in float32
  texts      where there is a tokenizer.json: text, ids, and `scores` after the
             activation of the text-classification pipeline

The tokenizer adds its end token to a text, which is the padding token, too: it
does not count.
"""
import json
import sys
from pathlib import Path

import torch
import transformers as tr
from tokenizers import Tokenizer, decoders, processors

from make_decoder_fixtures import (DTYPES, GEMMA, GPT2, LLAMA, NEOX, QWEN3,
                                   fill)

THREE = {0: "bad", 1: "so so", 2: "good"}
CASES = {
    "gpt2-class": dict(cls="GPT2ForSequenceClassification", config=GPT2,
                       pad=None, id2label=THREE),
    "llama-class": dict(cls="LlamaForSequenceClassification", config=LLAMA,
                        pad=5, id2label=THREE),
    "mistral-class-one-bf16": dict(
        cls="MistralForSequenceClassification", dtype="BF16", pad=5,
        config=dict(LLAMA, sliding_window=7, head_dim=8),
        id2label={0: "relevance"}),
    "qwen2-class-many": dict(
        cls="Qwen2ForSequenceClassification", config=LLAMA, pad=5,
        problem_type="multi_label_classification", id2label=THREE),
    "gemma3-class": dict(cls="Gemma3TextForSequenceClassification",
                         config=dict(GEMMA, num_hidden_layers=2), pad=0,
                         id2label={0: "no", 1: "yes"}),
    "gpt_neox-class": dict(cls="GPTNeoXForSequenceClassification",
                           config=dict(NEOX, rotary_pct=0.5), pad=5,
                           dtype="F16", id2label=THREE),
    "qwen3-class": dict(
        cls="Qwen3ForSequenceClassification", pad=0, tokenizer=True,
        config=dict(QWEN3, max_position_embeddings=400, bos_token_id=None,
                    eos_token_id=0), id2label=THREE),
    "phi3-class": dict(cls="Phi3ForSequenceClassification", config=LLAMA,
                       pad=5, id2label=THREE),
    "smollm3-class": dict(
        cls="SmolLM3ForSequenceClassification", pad=5, id2label=THREE,
        config=dict(LLAMA, no_rope_layer_interval=2)),
}
LENGTHS = (1, 3, 16, 17, 40)
CHUNK = 256  # tokens that the server reads at a time
TEXTS = ("The daemon answers", "we've 2024 days;  Gr\u00fc\u00dfe", "a",
         "\u00e9" * (CHUNK // 2))


def scores(config, y):
    """transformers' TextClassificationPipeline."""
    if config.problem_type == "multi_label_classification" or \
            config.num_labels == 1:
        return torch.sigmoid(y)
    return torch.softmax(y, dim=-1)


def run(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0]


def plain(t):
    return [float(f"{x:.9g}") for x in t.flatten().tolist()]


def sequences(n_vocab, pad, g):
    for n in LENGTHS:
        yield torch.randint(6, n_vocab, (n,), generator=g).tolist()
    pad = 5 if pad is None else pad
    ids = torch.randint(6, n_vocab, (20,), generator=g).tolist()
    yield ids + [pad] * 19
    yield [pad] * 2 + ids[:5] + [pad] + ids[5:8] + [pad]
    yield [pad] * 20


def make_tokenizer():
    here = Path(__file__).parent / "tokenizer"
    t = Tokenizer.from_file(f"{here}/qwen2/tokenizer.json")
    t.decoder = decoders.ByteLevel()
    end = t.id_to_token(0)
    t.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A {end} $B {end}",
        special_tokens=[(end, 0)])
    return t


def make(out, name, case, seed):
    cls = getattr(tr, case["cls"])
    tok = make_tokenizer() if case.get("tokenizer") else None
    more = dict(case["config"], pad_token_id=case["pad"],
                id2label=case["id2label"],
                label2id={v: k for k, v in case["id2label"].items()})
    if tok:
        more["vocab_size"] = tok.get_vocab_size()
    if "problem_type" in case:
        more["problem_type"] = case["problem_type"]
    c = cls.config_class(**more)
    c._attn_implementation = "eager"
    model = cls(c).eval()
    fill(model, name.split("-")[0], seed)
    dtype = DTYPES[case.get("dtype", "F32")]
    model.to(dtype).save_pretrained(out)
    model = cls.from_pretrained(out, torch_dtype=torch.float32,
                                attn_implementation="eager").eval()
    g = torch.Generator().manual_seed(1000 + seed)
    made = dict(transformers=tr.__version__, torch=torch.__version__)
    made["sequences"] = [
        {"ids": ids, "class": plain(run(model, ids))}
        for ids in sequences(c.vocab_size, case["pad"], g)]
    if tok:
        tok.save(str(out / "tokenizer.json"), pretty=False)
        made["texts"] = []
        for text in TEXTS:
            ids = tok.encode(text).ids
            made["texts"].append(
                dict(text=text, ids=ids,
                     scores=plain(scores(c, run(model, ids)))))
        assert len(made["texts"][-1]["ids"]) == CHUNK + 1
    (out / "expected.json").write_text(json.dumps(made) + "\n")
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
    print(f"{name}: {size} bytes, {made['sequences'][4]['class']}")


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else
                Path(__file__).parent / "decoder_class")
    for i, (name, case) in enumerate(CASES.items()):
        out = root / name
        out.mkdir(parents=True, exist_ok=True)
        make(out, name, case, 300 + i)


if __name__ == "__main__":
    main()
