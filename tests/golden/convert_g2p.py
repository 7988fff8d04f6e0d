#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Bring g2p-en's letters to phonemes (a GRU encoder-decoder without attention,
Apache-2.0) into seqd's layout.

    tests/golden/convert_g2p.py SHARED MODELS OUT

MODELS is the folder that `SHARED/models/get.sh MODELS g2p-en-gru` filled. Bytes
are moved, never rounded. What is read ends with </s>: source_tokenizer.json
lowers letters, cuts them apart and puts it behind them. What is written are
phonemes with spaces between them.
"""
import json
import sys
from pathlib import Path

import checkpoint as ck

NAMES = {"emb": "embedding.weight", "w_ih": "rnn.weight_ih_l0",
         "w_hh": "rnn.weight_hh_l0", "b_ih": "rnn.bias_ih_l0",
         "b_hh": "rnn.bias_hh_l0"}


def source_tokenizer(letters):
    def special(text):
        return dict(id=letters.index(text), content=text, special=True,
                    single_word=False, lstrip=False, rstrip=False,
                    normalized=False)

    end = "</s>"
    return dict(
        version="1.0", truncation=None, padding=None,
        added_tokens=[special(t) for t in ("<pad>", "<unk>", end)],
        normalizer=dict(type="Lowercase"),
        pre_tokenizer=dict(type="Split", pattern=dict(Regex="."),
                           behavior="Isolated", invert=False),
        post_processor=dict(
            type="TemplateProcessing",
            single=[dict(Sequence=dict(id="A", type_id=0)),
                    dict(SpecialToken=dict(id=end, type_id=0))],
            pair=[dict(Sequence=dict(id="A", type_id=0)),
                  dict(SpecialToken=dict(id=end, type_id=0)),
                  dict(Sequence=dict(id="B", type_id=0)),
                  dict(SpecialToken=dict(id=end, type_id=0))],
            special_tokens={end: dict(id=end, ids=[letters.index(end)],
                                      tokens=[end])}),
        decoder=None,
        model=dict(type="WordLevel", unk_token="<unk>",
                   vocab={t: i for i, t in enumerate(letters)}))


def target_tokenizer(phonemes):
    tok = ck.tokenizer(phonemes, dict(type="seqd-whitespace"), unk="<unk>",
                       bos="<s>", eos="</s>")
    tok["added_tokens"] += [
        dict(id=phonemes.index(t), content=t, special=True)
        for t in ("<pad>", "<s>", "</s>")]
    return tok


def main():
    shared, models, out = map(Path, sys.argv[1:4])
    ref = json.loads((shared / "models/g2p-en-gru/reference.json").read_text())
    t = ck.read(models / "g2p-en-gru/model.safetensors")
    tensors = {}
    for side, prefix in (("enc", "encoder."), ("dec", "decoder.")):
        for old, new in NAMES.items():
            tensors[prefix + new] = t[f"{side}_{old}"]
    tensors["output.weight"], tensors["output.bias"] = t["fc_w"], t["fc_b"]
    letters, phonemes = ref["graphemes"], ref["phonemes"]
    V, E = t["dec_emb"].shape
    assert t["enc_emb"].shape == [len(letters), E] and V == len(phonemes)
    config = dict(model_type="seq2seq-rnn", cell="gru",
                  source_vocab_size=len(letters), vocab_size=V,
                  embedding_dim=E, hidden_size=t["dec_w_hh"].shape[1],
                  attention="none", decoder_start_token_id=ref["begin"],
                  eos_token_id=ref["end"])
    ck.save(out, config, target_tokenizer(phonemes), tensors)
    (out / "source_tokenizer.json").write_text(
        json.dumps(source_tokenizer(letters), indent=0) + "\n")
    print(f"{out}: {len(letters)} letters, {V} phonemes")


if __name__ == "__main__":
    main()
