#!/usr/bin/env python3
"""Write one translator of random weights, of Marian's shape, in two forms:
OUT/hf (MarianMTModel, for seqd) and OUT/ct2 (CTranslate2's float32, by its
own converter).

    translate_model.py OUT base|small

base: as the opus-mt models: width 512, 8 heads, 6 + 6 layers of 2048,
32,000 tokens; small: 256, 8 heads, 4 + 2 layers of 1024, 8,000 tokens. The end
and the padding are made too unlikely to be written. A token is a word: "w17".
Needs the Python packages torch, transformers and ctranslate2.

SPDX-License-Identifier: MIT
"""
import json
import os
import sys
import types

import torch
import transformers
from ctranslate2.converters import TransformersConverter

SIZES = {
    "base": dict(vocab_size=32000, d_model=512, encoder_layers=6,
                 decoder_layers=6, ffn=2048),
    "small": dict(vocab_size=8000, d_model=256, encoder_layers=4,
                  decoder_layers=2, ffn=1024),
}
NEVER = -1e4


def model_of(size):
    n = dict(SIZES[size])
    ffn, pad = n.pop("ffn"), n["vocab_size"] - 1
    torch.manual_seed(1)
    m = transformers.MarianMTModel(transformers.MarianConfig(
        encoder_ffn_dim=ffn, decoder_ffn_dim=ffn, encoder_attention_heads=8,
        decoder_attention_heads=8, max_position_embeddings=512,
        activation_function="swish", scale_embedding=True, eos_token_id=0,
        forced_eos_token_id=None, pad_token_id=pad,
        decoder_start_token_id=pad, **n)).eval()
    with torch.no_grad():
        m.model.shared.weight[pad] = 0  # CTranslate2 begins with a zero row
        for i in (0, 1, pad):
            m.final_logits_bias[0, i] = NEVER
    m.generation_config.forced_eos_token_id = None
    m.generation_config.bad_words_ids = [[pad]]
    return m


def words(n):
    return ["</s>", "<unk>"] + [f"w{i}" for i in range(2, n - 1)] + ["<pad>"]


def write_tokenizer(path, vocab):
    special = [{"id": i, "content": vocab[i], "special": True,
                "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False} for i in (0, 1, len(vocab) - 1)]
    end = {"SpecialToken": {"id": "</s>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    space = {"type": "Metaspace", "replacement": "\u2581",
             "prepend_scheme": "always", "split": True}
    json.dump({
        "version": "1.0", "added_tokens": special, "normalizer": None,
        "pre_tokenizer": space,
        "post_processor": {
            "type": "TemplateProcessing", "single": [text, end],
            "pair": [text, {"Sequence": {"id": "B", "type_id": 0}}, end],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [0],
                                        "tokens": ["</s>"]}}},
        "decoder": space,
        "model": {"type": "Unigram", "unk_id": 1,
                  "vocab": [["\u2581" + w if w[0] == "w" else w, -1.0]
                            for w in vocab]}},
        open(path, "w"))


class Converter(TransformersConverter):
    """Asks the words above for the vocabulary: there is no SentencePiece."""

    vocab = []

    def load_tokenizer(self, tokenizer_class, name, **kwargs):
        return types.SimpleNamespace(
            get_vocab=lambda: {w: i for i, w in enumerate(self.vocab)},
            eos_token="</s>", unk_token="<unk>", bos_token=None)


def make(out, size):
    hf = os.path.join(out, "hf")
    m = model_of(size)
    m.save_pretrained(hf)
    vocab = words(m.config.vocab_size)
    write_tokenizer(os.path.join(hf, "tokenizer.json"), vocab)
    c = Converter(hf)
    c.vocab = vocab
    c.convert(os.path.join(out, "ct2"), quantization="float32", force=True)


if __name__ == "__main__":
    make(*sys.argv[1:])
